"""What travels between the harness and a worker: calls and their answers, as frames of `frames`.

Told for other languages in ``PROTOCOL.md``. May import the standard library, NumPy and `frames`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .frames import Array, Frame, MissingDtypeError, ProtocolError, as_json, decode, encode, framed

__all__ = [
    "Answer",
    "Frame",
    "MissingDtypeError",
    "ProtocolError",
    "Request",
    "answer_frame",
    "answer_from",
    "decode",
    "encode",
    "pack",
    "request_frame",
    "request_from",
    "unpack",
]

VERSION = 1
STATUSES = ("ok", "unsupported", "error", "crash", "hang", "missing")
SENT_STATUSES = ("ok", "unsupported", "error", "missing")  # the others are what the near side sees from outside
MAX_RESULT = 1 << 31  # bytes of one array in an answer


# Neither of the two is frozen, though nobody changes one: a frozen one takes eight times as long to build, and a small
# call builds two of each.
@dataclass(eq=False, slots=True)
class Request:
    """One call that a backend is asked to make.

    Parameters
    ----------
    op : str
        The method's name, e.g. ``"conv2d"``.
    arrays : tuple of ndarray
        The positional arguments. A third array of ``conv2d`` is handed over as the keyword ``bias``.
    layouts : tuple of str
        The memory layout of each array on the far side (`layouts.LAYOUTS`); as many as arrays.
    options : dict
        The keywords: None, bool, int, float, str, and tuples, lists and dicts (with str keys) of these.

    Examples
    --------
    >>> x = np.zeros((1, 4, 4, 1), np.float32)
    >>> Request("max_pool", (x,), ("C",), {"ksize": (2, 2), "strides": (2, 2)}).op
    'max_pool'
    """

    op: str
    arrays: tuple[Array, ...] = ()
    layouts: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Answer:
    """What came of a call.

    Parameters
    ----------
    status : str
        ``ok`` (it returned), ``unsupported``, ``error`` (it raised), ``missing`` (no such method), ``crash`` (its
        process died or wrote something that is not an answer) or ``hang`` (no answer in time).
    arrays : tuple of ndarray
        The results, when all of them are arrays of a dtype of the protocol.
    error : str or None
        ``"ValueError: text"``, the reason of ``unsupported``, or how the process ended.
    what : str or None
        The type of what was returned where arrays were expected, e.g. ``"list"``.
    mutated : tuple of int
        Indices of arrays that the call changed: a bit of them, their shape, or the bytes between and around them.
    aliases : tuple of int
        Indices of arrays that a result shares memory with.
    stderr : str
        The tail of what was written to stderr (crash, hang), or where an exception was raised (error).
    seconds : float
        Wall time of the method alone.
    reused : bool
        Whether a result of an earlier call has changed since: its memory was used again.

    Examples
    --------
    >>> Answer("error", error="ValueError: no").status
    'error'
    """

    status: str
    arrays: tuple[Array, ...] = ()
    error: str | None = None
    what: str | None = None
    mutated: tuple[int, ...] = ()
    aliases: tuple[int, ...] = ()
    stderr: str = ""
    seconds: float = 0.0
    reused: bool = False


def pack(value: Any) -> Any:
    """Turn an option into plain JSON; what JSON lacks is tagged: ``{"tuple": []}``, ``{"dict": {}}``, ``{"float": ""}``

    Examples
    --------
    >>> pack(((1, 2), "SAME"))
    {'tuple': [{'tuple': [1, 2]}, 'SAME']}
    """
    if value is None or type(value) in (bool, str, int):
        return value
    if isinstance(value, (tuple, list)):
        items = [pack(item) for item in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: pack(item) for key, item in value.items()}}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    for kind, plain in ((np.bool_, bool), ((int, np.integer), int), (str, str)):
        if isinstance(value, kind):
            return plain(value)
    raise ProtocolError(f"an option of type {type(value).__name__} cannot travel: {value!r:.80}")


def packed(value: Any) -> str:
    """Return the JSON text of `pack`, built at once for what nearly all options are: text, ints and tuples of them.

    Examples
    --------
    >>> packed(((1, 2), "SAME"))
    '{"tuple":[{"tuple":[1,2]},"SAME"]}'
    """
    kind = type(value)
    if kind is tuple:
        return f'{{"tuple":[{",".join([packed(item) for item in value])}]}}'
    if kind is int:
        return str(value)
    return as_json(value if kind is str else pack(value))


def unpack(value: Any) -> Any:
    """Undo `pack`.

    Examples
    --------
    >>> unpack(pack({"pad": ((0, 1), (2, 3))}))
    {'pad': ((0, 1), (2, 3))}
    """
    if type(value) is list:
        return [unpack(item) for item in value]
    if type(value) is not dict:
        return value
    tag, inner = next(iter(value.items())) if len(value) == 1 else (None, None)
    if tag == "tuple" and type(inner) is list:
        return tuple([unpack(item) for item in inner])
    if tag == "dict" and type(inner) is dict:
        return {key: unpack(item) for key, item in inner.items()}
    if tag == "float" and inner in ("nan", "inf", "-inf"):
        return float(inner)
    raise ProtocolError(f"an option with an unknown tag: {value!r:.80}")


def request_frame(
    request: Request, serial: int, places: Sequence[int | None] = (), *, by_address: bool = False
) -> list[memoryview]:
    """Frame of kind ``call``; its serial number comes back with the answer.

    Parameters
    ----------
    request : Request
        The call.
    serial : int
        Its number.
    places : sequence of int or None
        Where in the shared segment each array is; None, or nothing: in the frame.
    by_address : bool
        Whether large results may stay in the worker's memory, to be fetched from there.

    Examples
    --------
    >>> decode(b"".join(request_frame(Request("conv2d"), 3))).header["serial"]
    3
    """
    if len(request.layouts) != len(request.arrays):
        raise ProtocolError(f"{len(request.arrays)} arrays and {len(request.layouts)} layouts")
    options = ",".join([f"{as_json(name)}:{packed(value)}" for name, value in request.options.items()])
    layouts = ",".join(map(as_json, request.layouts))
    asked = ',"by_address":true' if by_address else ""
    return framed(
        f'{{"kind":"call","serial":{serial},"op":{as_json(request.op)},"layouts":[{layouts}],'
        f'"options":{{{options}}}{asked}}}',
        request.arrays,
        places,
    )


def request_from(frame: Frame) -> Request:
    """Undo `request_frame`.

    Raises
    ------
    ProtocolError
        A field is missing or of a wrong type.
    MissingDtypeError
        An array's dtype is not known to this interpreter.

    Examples
    --------
    >>> request_from(decode(b"".join(request_frame(Request("conv2d", (), (), {"padding": "SAME"}), 0)))).options
    {'padding': 'SAME'}
    """
    header = frame.header
    op, layouts, options = header.get("op"), header.get("layouts"), header.get("options")
    if type(op) is not str or type(layouts) is not list or type(options) is not dict or header["kind"] != "call":
        raise ProtocolError(f"not a call: {header!r:.120}")
    if len(layouts) != len(header["arrays"]) or any(type(name) is not str for name in layouts):
        raise ProtocolError(f"not a layout for each array: {layouts!r:.120}")
    return Request(op, frame.arrays(), tuple(layouts), {key: unpack(value) for key, value in options.items()})


def answer_frame(
    answer: Answer, serial: Any, places: Sequence[int | None] = (), *, kept: bool = False
) -> list[memoryview]:
    """Frame of kind ``answer``; what is as usual is left out.

    Parameters
    ----------
    answer : Answer
        What came of the call.
    serial : int
        The number of the call.
    places : sequence of int or None
        Addresses of results in this process's memory; None, or nothing: in the frame.
    kept : bool
        Whether the backend still refers to arrays in the shared segment.

    Examples
    --------
    >>> decode(b"".join(answer_frame(Answer("missing"), 1))).header["status"]
    'missing'
    """
    told = {name: value for name, usual in _USUAL.items() if (value := getattr(answer, name)) != usual}
    return framed(
        f'{{"kind":"answer","serial":{packed(serial)},"status":"{answer.status}","seconds":{answer.seconds!r}'
        + (',"kept":true' if kept else "")
        + (f",{as_json(told)[1:]}" if told else "}"),
        answer.arrays,
        places,
    )


#: What an answer need not say.
_USUAL = {"error": None, "what": None, "mutated": (), "aliases": (), "stderr": "", "reused": False}


def answer_from(frame: Frame, serial: int, inputs: int) -> Answer:
    """Undo `answer_frame` for the call of this serial number, which had so many input arrays.

    Raises
    ------
    ProtocolError
        It answers another call, or a field is missing or of a wrong type.

    Examples
    --------
    >>> answer_from(decode(b"".join(answer_frame(Answer("ok", mutated=(1,)), 5))), 5, 2).mutated
    (1,)
    """
    header = frame.header
    if header["kind"] != "answer" or header.get("serial") != serial:
        raise ProtocolError(f"not the answer to call {serial}: {header!r:.120}")
    get = header.get
    status, seconds, reused = get("status"), get("seconds", 0.0), get("reused", False)
    if status not in SENT_STATUSES or type(seconds) not in (int, float):
        raise ProtocolError(f"an answer with status {status!r:.40} and seconds {seconds!r:.40}")
    error, what, stderr = get("error"), get("what"), get("stderr")
    for text in (error, what, stderr):
        if text is not None and type(text) is not str:
            raise ProtocolError("an answer whose error, what or stderr is not text")
    if type(reused) is not bool:
        raise ProtocolError(f"an answer whose reused is {reused!r:.40}")
    mutated, aliases = _indices(get("mutated", []), inputs), _indices(get("aliases", []), inputs)
    try:
        arrays = frame.arrays()
    except MissingDtypeError:  # the far side has ml_dtypes and this one has not
        arrays, what = (), "ndarray of bfloat16 (unknown here without ml_dtypes)"
    return Answer(status, arrays, error, what, mutated, aliases, stderr or "", float(seconds), reused)


def _indices(value: Any, inputs: int) -> tuple[int, ...]:
    if value == [] or (type(value) is list and all(type(i) is int and 0 <= i < inputs for i in value)):
        return tuple(value)
    raise ProtocolError(f"not indices of {inputs} input arrays: {value!r:.80}")
