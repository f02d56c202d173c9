"""Short headers say what JSON would, to the bit and the type; what they have no room for is left to JSON."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convspec.harness.process import protocol, short
from convspec.harness.process.frames import SMALL, Frame, ProtocolError, decode, sizes
from convspec.harness.process.protocol import Answer, Request
from convspec.harness.process.remote import RemoteBackend

PAIRS = st.tuples(*[st.integers(0, 2**32 - 1)] * 2)
ARRAYS = st.sampled_from(short.DTYPES).flatmap(lambda name: hnp.arrays(name, st.tuples(*[st.integers(0, 3)] * 4)))
X = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
POOL = {"strides": (2, 1), "padding": "VALID", "dilations": (1, 1), "ksize": (2, 2)}


@st.composite
def requests(draw):
    op = draw(st.sampled_from(short.OPS))
    arrays = tuple(draw(st.lists(ARRAYS, max_size=short.MOST)))
    layouts = tuple(draw(st.sampled_from(short.LAYOUTS)) for _ in arrays)
    options = {"strides": draw(PAIRS), "padding": draw(st.sampled_from(short.PADDINGS)), "dilations": draw(PAIRS)}
    more = {"ksize": draw(PAIRS)} if op.startswith("max_pool") else {"groups": draw(st.integers(0, 2**32 - 1))}
    return Request(op, arrays, layouts, {**options, **more})


def taken_apart(parts):
    """A frame as either side reads it."""
    data = b"".join(parts)
    header, body = sizes(data)
    assert len(data) == 16 + header + body
    text = data[16 : 16 + header]
    assert short.is_short(text)
    return Frame({}, bytearray(data[16 + header :]), short=text)


def spelt(request):
    arrays = [(array.dtype, array.shape, array.tobytes()) for array in request.arrays]
    return request.op, request.layouts, repr(request.options), arrays


@given(requests(), st.integers(0, 2**64 - 1), st.booleans())
def test_a_call_says_what_it_says_in_json(request_, serial, by_address):
    frame = taken_apart(short.call_frame(request_, serial, by_address=by_address))
    told, flag, found = short.call_from(frame)
    in_json = protocol.request_from(decode(b"".join(protocol.request_frame(request_, serial))))
    assert (told, flag, spelt(found)) == (serial, by_address, spelt(in_json))


@given(st.lists(ARRAYS, min_size=1, max_size=short.MOST), st.floats(0, 1e6), st.integers(0, 2**64 - 1))
def test_an_answer_says_what_it_says_in_json(arrays, seconds, serial):
    frame = taken_apart(short.answer_frame(Answer("ok", tuple(arrays), seconds=seconds), serial))
    found = short.answer_from(frame, serial)
    assert (found.status, found.seconds) == ("ok", seconds)
    assert [(a.dtype, a.shape, a.tobytes()) for a in found.arrays] == [(a.dtype, a.shape, a.tobytes()) for a in arrays]
    assert all(a.flags.writeable and a.flags.aligned for a in found.arrays)


@pytest.mark.parametrize(
    "changes",
    [
        {"strides": 2},
        {"strides": [2, 1]},
        {"strides": (2, True)},
        {"strides": (2, 1.0)},
        {"strides": (np.int64(2), 1)},
        {"strides": (1,), "dilations": (1, 1, 1)},
        {"strides": (-1, 1)},
        {"ksize": (2**32, 1)},
        {"padding": "valid"},
        {"padding": ((0, 0), (0, 0))},
        {"padding": None},
        {"groups": 1},
    ],
    ids=str,
)
def test_other_options_travel_in_json(changes):
    assert short.call_frame(Request("max_pool", (X,), ("C",), {**POOL, **changes}), 1) is None


@pytest.mark.parametrize(
    ("op", "arrays", "layouts"),
    [
        ("max_pool_with_argmax", (X,), ("C",)),
        ("conv2d", (X, X), ("C", "C")),
        ("max_pool", (X[0],), ("C",)),
        ("max_pool", (X,) * 4, ("C",) * 4),
        ("max_pool", (X,), ()),
        ("max_pool", (X,), ("diagonal",)),
        ("max_pool", (X > 1,), ("C",)),
        ("max_pool", (X.astype(">f4"),), ("C",)),
        ("max_pool", (np.zeros((1, SMALL, 1, 1), np.float32),), ("C",)),
    ],
)
def test_other_calls_travel_in_json(op, arrays, layouts):
    assert short.call_frame(Request(op, arrays, layouts, POOL), 1) is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer("missing"),
        Answer("ok", what="list"),
        Answer("ok", (X[0],)),
        Answer("ok", (X,), mutated=(0,)),
        Answer("ok", (X,), aliases=(0,)),
        Answer("ok", (X,), reused=True),
        Answer("ok", (X,), stderr="said"),
        Answer("ok", (X.astype(bool),)),
    ],
)
def test_other_answers_travel_in_json(answer):
    assert short.answer_frame(answer, 1) is None


def test_a_broken_answer_is_told():
    good = taken_apart(short.answer_frame(Answer("ok", (X,)), 5))
    assert short.answer_from(good, 5).arrays[0].tobytes() == X.tobytes()
    for text, body in broken(good):
        with pytest.raises(ProtocolError):
            short.answer_from(Frame({}, bytearray(body), short=text), 5)


def broken(good):
    """Headers and bodies, each with one fault."""
    faults = {
        "another serial": (good.short[:8] + b"\6" + good.short[9:], good.body),
        "a call": (b"\1" + good.short[1:], good.body),
        "no array": (b"\2\0" + good.short[2:24], b""),
        "another count": (b"\2\2" + good.short[2:], good.body),
        "an unknown dtype": (good.short[:24] + b"\x63" + good.short[25:], good.body),
        "a layout": (good.short[:25] + b"\1" + good.short[26:], good.body),
        "a body too short": (good.short, good.body[:-8]),
        "a body too long": (good.short, good.body + bytes(8)),
        "a shape without end": (good.short[:28] + b"\xff" * 16, good.body),
        "half a header": (good.short[:-4], good.body),
    }
    return faults.values()


BACKEND = """
import os
class Echo:
    name = "echo"
    def max_pool(self, x, **options):
        if x[0, 0, 0, 0] == 7: raise ValueError(f"{options}")
        if x[0, 0, 0, 0] == 8: x[0] = 1
        return x.copy()
"""


def test_a_worker_is_asked_in_short_and_answers_alike(tmp_path, monkeypatch):
    (tmp_path / "echo.py").write_text(BACKEND)
    reads, seen = short.answer_from, []
    monkeypatch.setattr(short, "answer_from", lambda frame, serial: seen.append(serial) or reads(frame, serial))
    with RemoteBackend(f"{tmp_path}/echo.py:Echo") as backend:
        assert "short" not in backend.hello
        assert backend.call(Request("max_pool", (X,), ("negative",), POOL)).arrays[0].tobytes() == X.tobytes()
        assert seen == [1]
        error = backend.call(Request("max_pool", (X + 7,), ("C",), POOL))  # in short, and answered in JSON
        assert (error.status, error.error) == ("error", f"ValueError: {POOL}")
        assert backend.call(Request("max_pool", (X + 8,), ("C",), POOL)).mutated == (0,)
        assert backend.call(Request("max_pool", (X,), ("C",), {**POOL, "strides": 2})).arrays[0].shape == X.shape
        assert (seen, backend.restarts) == ([1], 0)


def test_the_document_lists_what_the_code_has():
    text = Path(protocol.__file__).with_name("PROTOCOL.md").read_text(encoding="utf-8")
    section = text.partition("## Short headers")[2].partition("\n## ")[0]
    for names in (short.DTYPES, short.LAYOUTS):
        assert " ".join(f"`{name}`" for name in names) in section
    assert ", ".join(f"{n} `{name}`" for n, name in enumerate(short.OPS)) in section
    assert ", ".join(f'{n} `"{name}"`' for n, name in enumerate(short.PADDINGS)) in section
    call, answer = (int(size) for size in re.findall(r"H is (\d+) \+ 20 n", section))
    frame = taken_apart(short.call_frame(Request("max_pool", (X,), ("C",), POOL), 1))
    assert len(frame.short) == call + 20
    assert len(taken_apart(short.answer_frame(Answer("ok", (X,)), 1)).short) == answer + 20
    assert f"at most {SMALL} bytes" in section
