"""Copies by several threads: all of it arrives, whatever the size, and what goes wrong in a thread is told."""

import ctypes
import os
import threading

import numpy as np
import pytest

from convspec.harness.process import copies


@pytest.fixture(autouse=True)
def three_processors(monkeypatch):
    monkeypatch.setattr(copies, "processors", lambda: 3)


@pytest.mark.parametrize("size", [0, 1, copies.ALONE - 1, copies.ALONE, copies.ALONE + 1, 9 * copies.PART + 5])
def test_every_byte_is_worked_on_once(size):
    seen, lock = [], threading.Lock()

    def work(start, stop):
        with lock:
            seen.append((start, stop))

    copies.in_parts(size, work)
    ends = sorted(seen)
    assert [start for start, _ in ends] == [0, *(stop for _, stop in ends[:-1])]
    assert ends[-1][1] == size
    assert len(ends) == (1 if size < copies.ALONE else -(-size // copies.PART))


@pytest.mark.parametrize("rows", [3, copies.ALONE // 8 // 7 + 1])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_copy_is_equal(rows, order):
    x = np.asarray(np.arange(7.0 * rows).reshape(rows, 7), order=order)
    y = np.zeros((rows, 7))
    copies.copy(x, y)
    np.testing.assert_array_equal(x, y)


def test_memory_is_fetched_as_it_is():
    there = np.random.default_rng(0).integers(0, 256, copies.ALONE + 4099, np.uint8)
    here = np.zeros_like(there)
    try:
        copies.fetch(os.getpid(), there.ctypes.data, here)
    except OSError as error:
        pytest.skip(f"memory cannot be read here: {error}")
    np.testing.assert_array_equal(there, here)


def test_what_fails_in_a_thread_is_told():
    main = threading.get_ident()
    begun = threading.Event()

    def work(start, stop):
        if threading.get_ident() == main:
            begun.wait(10)
        else:
            begun.set()
            raise OSError(14, "Bad address")

    with pytest.raises(OSError, match="Bad address"):
        copies.in_parts(copies.ALONE, work)


def test_what_is_not_there_is_not_fetched():
    here = np.zeros(copies.ALONE, np.uint8)
    with pytest.raises(OSError, match=r"\w"):
        copies.fetch(os.getpid(), ctypes.sizeof(ctypes.c_void_p), here)
