"""Every layout holds equal values, is what its name says, and betrays each byte that is written."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convspec.harness.process import layouts
from convspec.harness.process.frames import DTYPES, dtype_named
from convspec.harness.process.layouts import LAYOUTS, changed, lay, poison, shares

PLAIN = [name for name in DTYPES if name != "bfloat16"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(PLAIN).flatmap(lambda name: hnp.arrays(name, SHAPES))


@given(ARRAYS, st.sampled_from(LAYOUTS))
def test_values_are_equal_to_the_bit_and_nothing_changed(array, layout):
    laid = lay(array, layout)
    assert laid.view.shape == array.shape
    assert laid.view.dtype == array.dtype
    assert laid.view.tobytes() == array.tobytes()
    assert not changed(laid)
    assert not shares(array, laid)
    assert laid.view.flags.aligned or layout == "unaligned"


def test_each_layout_is_what_its_name_says():
    array = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    views = {layout: lay(array, layout).view for layout in LAYOUTS}
    assert views["C"].flags.c_contiguous
    assert views["F"].flags.f_contiguous
    assert not views["F"].flags.c_contiguous
    # The buffer is (2n + 1) long on each axis: (5, 7, 9, 11), and every second element is ours.
    assert views["strided"].strides == tuple(4 * 2 * n for n in (7 * 9 * 11, 9 * 11, 11, 1))
    assert all(step < 0 for step in views["negative"].strides)
    assert not views["readonly"].flags.writeable
    assert views["offset"].ctypes.data % 64 == 4
    assert views["broadcast"].strides == views["strided"].strides  # nothing to broadcast here
    assert views["nchw"].transpose(0, 3, 1, 2).flags.c_contiguous
    assert views["crop"].strides == tuple(4 * n for n in (5 * 6 * 5, 6 * 5, 5, 1))
    assert views["channels"].strides == tuple(4 * n for n in (3 * 4 * 7, 4 * 7, 7, 1))
    assert views["unaligned"].ctypes.data % 64 == 1
    assert not views["unaligned"].flags.aligned


def test_broadcast_where_values_are_equal_to_the_bit():
    array = np.zeros((2, 3, 4), np.float32)
    array[1], array[:, :, 2] = np.nan, 7
    assert [step == 0 for step in lay(array, "broadcast").view.strides] == [False, True, False]
    array[0, 1, 0] = -0.0
    assert 0 not in lay(array, "broadcast").view.strides


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_written_byte_is_seen(layout):
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    size = lay(array, layout).buffer.nbytes
    for byte in range(size):
        laid = lay(array, layout)
        laid.buffer.reshape(-1).view(np.uint8)[byte] ^= 1
        assert changed(laid)


@pytest.mark.parametrize("size", [8, 1 << 14, (1 << 20) + 3, 3 << 20])
def test_large_buffers_are_compared_to_the_last_byte(size):
    for byte in {0, size // 2, size - 1}:
        laid = lay(np.zeros(size, np.uint8), "C")
        assert not changed(laid)
        laid.buffer[byte] = 1
        assert changed(laid)


def test_changed_shape_and_strides_are_seen():
    laid = lay(np.zeros((2, 3)), "C")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2.5; a backend can still do it
        laid.view.shape = (3, 2)
    assert changed(laid)


@pytest.mark.parametrize("name", DTYPES)
def test_poison_shows(name):
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = dtype_named(name)
    values = poison(dtype, 9).astype(np.float64)
    if dtype.kind in "fV":
        assert np.isnan(values).sum() == 3
        assert np.isposinf(values).sum() == 6
    else:
        assert (values >= (1 if dtype.kind == "b" else float(np.iinfo(dtype).max))).all()


@pytest.mark.parametrize("layout", ["strided", "offset", "crop", "channels"])
def test_poison_lies_on_every_side(layout):
    laid = lay(np.ones((2, 2), np.float32), layout)
    whole = laid.buffer.view(np.float32)
    outside = whole[~np.isfinite(whole)]
    assert outside.size == whole.size - 4
    first = laid.view.ctypes.data - laid.buffer.ctypes.data
    assert 0 < first < laid.buffer.size - 4


def test_large_strided_buffers_stay_affordable(monkeypatch):
    monkeypatch.setattr(layouts, "LARGEST_STRIDED", 1000)
    laid = lay(np.ones((10, 5, 8), np.uint8), "strided")
    assert laid.buffer.size == 10 * 5 * 17
    assert laid.view.strides == (85, 17, 2)


def test_results_in_gaps_and_on_the_input_share_memory():
    laid = lay(np.ones((4, 4), np.float32), "strided")
    assert shares(laid.view[::2, 1:], laid)
    assert shares(laid.buffer[:4].view(np.float32), laid)
    assert not shares(np.ones((4, 4), np.float32), laid)
    assert not shares(np.empty((0, 4)), laid)


def test_unknown_layout():
    with pytest.raises(ValueError, match="known are C, F"):
        lay(np.zeros(1), "diagonal")
