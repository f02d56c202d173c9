"""Short headers: what nearly all calls and answers say, in fixed places, not in JSON; an extension (``PROTOCOL.md``).

To write and to read the JSON of a small call takes two Python processes longer than the pipe and all checks together.
What has no place here travels in JSON: other methods and options, large arrays, answers that say more than arrays.
May import the standard library, NumPy, `frames` and `protocol`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from .frames import ALIGNMENT, MAGIC, PREFIX, SMALL, Array, Frame, ProtocolError, dtype_named
from .protocol import Answer, Request

CALL, ANSWER = 1, 2  # the first byte; that of JSON is "{"
OPS = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp")
CONVOLUTION = ("strides", "padding", "dilations", "groups")
POOLING = ("strides", "padding", "dilations", "ksize")
PADDINGS = ("SAME", "VALID", "SAME_LOWER")
LAYOUTS = ("C", "F", "strided", "negative", "broadcast", "readonly", "offset")
DTYPES = ("float64", "float32", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
MOST = 3  # arrays
RANK = 4  # of each
BY_ADDRESS = 1

_DTYPES = tuple([dtype_named(name) for name in DTYPES])
_DTYPE = {dtype: n for n, dtype in enumerate(_DTYPES)}
_OP, _PADDING, _LAYOUT = ({name: n for n, name in enumerate(names)} for names in (OPS, PADDINGS, LAYOUTS))
# By the number of arrays: a whole frame's start, for writing, and by its size: a header, for reading.
_CALL, _ANSWER = "4BIQ6I", "2B6xQd"
_CALLS, _ANSWERS = (
    [struct.Struct(PREFIX.format + kind + n * "BB2x4I") for n in range(MOST + 1)] for kind in (_CALL, _ANSWER)
)
_READ_CALL, _READ_ANSWER = (
    {one.size: one for one in [struct.Struct("<" + kind + n * "BB2x4I") for n in range(MOST + 1)]}
    for kind in (_CALL, _ANSWER)
)
_ZEROS = bytes(ALIGNMENT)
_INT = {int}


def is_short(header: bytes) -> bool:
    """Whether a frame's header is one of these."""
    return header[0] <= ANSWER


def call_frame(request: Request, serial: int, *, by_address: bool = False) -> list[memoryview] | None:
    """Frame of a call, or None for one that has to travel in JSON.

    Examples
    --------
    >>> pool = {"strides": (2, 2), "padding": "VALID", "dilations": (1, 1), "ksize": (2, 2)}
    >>> x = np.zeros((1, 4, 4, 1), np.float32)
    >>> [part.nbytes for part in call_frame(Request("max_pool", (x,), ("C",), pool), 7)]
    [140]
    >>> call_frame(Request("max_pool", (x,), ("C",), {**pool, "strides": 2}), 7) is None
    True
    """
    op, options, arrays = _OP.get(request.op), request.options, request.arrays
    if op is None or tuple(options) != (CONVOLUTION if op < 2 else POOLING) or len(arrays) != len(request.layouts):
        return None
    strides, padding, dilations, last = options.values()
    if op < 2 and type(last) is int:
        last = (last, 0)
    if not type(strides) is type(dilations) is type(last) is tuple or type(padding) is not str:
        return None
    numbers = strides + dilations + last
    if not len(strides) == len(dilations) == len(last) == 2 or not _INT.issuperset(map(type, numbers)):
        return None  # True is no 1: it has to arrive as it is
    try:
        fields = [CALL, len(arrays), op, _PADDING[padding], BY_ADDRESS if by_address else 0, serial, *numbers]
        return _frame(_CALLS, fields, arrays, [_LAYOUT[name] for name in request.layouts])
    except (KeyError, struct.error):  # another padding, layout or dtype; a number that has no room
        return None


def _frame(
    forms: list[struct.Struct], fields: list[object], arrays: tuple[Array, ...], layouts: Sequence[int]
) -> list[memoryview] | None:
    if len(arrays) > MOST:
        return None
    size, parts = 0, [b""]
    for array, layout in zip(arrays, layouts, strict=False):
        shape, count = array.shape, array.nbytes
        if len(shape) != RANK or size + count > SMALL or not np.little_endian:
            return None
        fields += (_DTYPE[array.dtype], layout, *shape)
        parts.append(array.tobytes())
        if gap := -count % ALIGNMENT:
            parts.append(_ZEROS[:gap])
        size += count + gap
    form = forms[len(arrays)]
    parts[0] = form.pack(MAGIC, form.size - PREFIX.size, size, *fields)
    return [memoryview(b"".join(parts))]


def call_from(frame: Frame) -> tuple[int, bool, Request]:
    """Serial number, whether results may be told by address, and the request of a short call.

    Raises
    ------
    ProtocolError
        It is none, or of another size than its arrays.
    """
    try:
        fields = _READ_CALL[len(frame.short)].unpack(frame.short)
        _, count, op, padding, flags, serial, top, left, down, right, one, two, *entries = fields
        arrays = _arrays(count, entries, frame.body)
        options = {"strides": (top, left), "padding": PADDINGS[padding], "dilations": (down, right)}
        options[POOLING[3] if op > 1 else CONVOLUTION[3]] = (one, two) if op > 1 else one
        layouts = tuple([LAYOUTS[n] for n in entries[1::6]])
        return serial, bool(flags & BY_ADDRESS), Request(OPS[op], arrays, layouts, options)
    except (KeyError, IndexError) as error:
        raise ProtocolError(f"not a short call: {frame.short[:80]!r}, {error!r}") from None


def _arrays(count: int, entries: list[int], body: Any) -> tuple[Array, ...]:
    """The arrays of entries of six numbers each, as views of the body, which they fill."""
    found, start = [], 0
    try:
        for n in range(0, len(entries), 6):
            array: Array = np.ndarray(entries[n + 2 : n + 6], _DTYPES[entries[n]], body, start)
            start += array.nbytes + -array.nbytes % ALIGNMENT
            found.append(array)
    except (TypeError, ValueError) as error:  # more bytes than there are
        raise ProtocolError(f"a short header whose arrays the body does not hold: {error}") from None
    if start != len(body) or len(found) != count:
        raise ProtocolError(f"a short header of {len(found)} arrays, {start} bytes, with other numbers beside it")
    return tuple(found)


def answer_frame(answer: Answer, serial: int) -> list[memoryview] | None:
    """Frame of the answer to a short call, or None for one that has to travel in JSON.

    Examples
    --------
    >>> answer_frame(Answer("error", error="ValueError: no"), 7) is None
    True
    """
    if answer.status != "ok" or not answer.arrays or answer.mutated or answer.aliases or answer.reused:
        return None
    if answer.error is not None or answer.what is not None or answer.stderr:
        return None
    try:
        fields: list[object] = [ANSWER, len(answer.arrays), serial, answer.seconds]
        return _frame(_ANSWERS, fields, answer.arrays, _ZEROS)
    except (KeyError, struct.error):
        return None


def answer_from(frame: Frame, serial: int) -> Answer:
    """Undo `answer_frame` for the call of this serial number.

    Raises
    ------
    ProtocolError
        It answers another call, or is of another size than its arrays.

    Examples
    --------
    >>> y = np.ones((1, 1, 1, 2), np.float32)
    >>> data = bytes(answer_frame(Answer("ok", (y,), seconds=0.5), 7)[0])
    >>> answer_from(Frame({}, bytearray(data[-8:]), short=data[16:-8]), 7).arrays[0]
    array([[[[1., 1.]]]], dtype=float32)
    """
    try:
        kind, count, told, seconds, *entries = _READ_ANSWER[len(frame.short)].unpack(frame.short)
        if kind != ANSWER or told != serial or not count or any(entries[1::6]):
            raise ProtocolError(f"not the answer to call {serial}: {frame.short[:80]!r}")
        return Answer("ok", _arrays(count, entries, frame.body), seconds=seconds)
    except (KeyError, IndexError) as error:
        raise ProtocolError(f"not a short answer: {frame.short[:80]!r}, {error!r}") from None
