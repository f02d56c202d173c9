"""Frames: a prefix, a JSON header, raw little-endian arrays. No pickle.

What a frame looks like is told for other languages in ``PROTOCOL.md``; this file is the Python end of it, used on both
sides. Most frames are small and a run makes ten thousands of them, so what is done here for each array is counted.
May import the standard library and NumPy; ml_dtypes only at the moment a bfloat16 array is met.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"CVS1"
PREFIX = struct.Struct("<4sIQ")  # magic, bytes of the header, bytes of the body
ALIGNMENT = 8  # every array starts at a multiple of this many bytes of the body
MAX_HEADER = 1 << 20
MAX_BODY = 1 << 32
DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)

SMALL = 1 << 16  # bytes of a body that is copied rather than written in parts: one system call for the whole frame

# One encoder for all frames: json.dumps builds a new one whenever it is given an option.
as_json: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_DECODER = json.JSONDecoder()

_PLAIN = {name: np.dtype(name) for name in DTYPES if name != "bfloat16"}
_NAMES = {dtype: name for name, dtype in _PLAIN.items()}
_ITEM_SIZES = {**{name: dtype.itemsize for name, dtype in _PLAIN.items()}, "bfloat16": 2}
_ZEROS = bytes(ALIGNMENT)

Array = np.ndarray[Any, Any]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class ProtocolError(ValueError):
    """Bytes that are not a frame, or a value that no frame can carry."""


class MissingDtypeError(ProtocolError):
    """A dtype of the protocol that this interpreter lacks: bfloat16 without ml_dtypes."""


def dtype_named(name: str) -> np.dtype[Any]:
    """Dtype of a name of the protocol, in this machine's byte order.

    Raises
    ------
    ProtocolError
        The name is none of `DTYPES`.
    MissingDtypeError
        It is ``bfloat16`` and ml_dtypes is not installed.

    Examples
    --------
    >>> dtype_named("float16")
    dtype('float16')
    """
    if name in _PLAIN:
        return _PLAIN[name]
    if name != "bfloat16":
        raise ProtocolError(f"unknown dtype {name!r}; known are {', '.join(DTYPES)}")
    try:
        import ml_dtypes  # noqa: PLC0415 -- an interpreter with NumPy and a framework alone may lack it
    except ImportError:
        raise MissingDtypeError("bfloat16 needs ml_dtypes, which this interpreter does not have") from None
    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return found


def dtype_name(dtype: np.dtype[Any]) -> str | None:
    """Name of a dtype in the protocol, or None where it has none: objects, text, complex, swapped byte order.

    Examples
    --------
    >>> dtype_name(np.dtype("float32")), dtype_name(np.dtype(">f4")), dtype_name(np.dtype(object))
    ('float32', None, None)
    """
    name = _NAMES.get(dtype)  # a dtype's own `name` is put together anew each time
    if name is None and dtype.name == "bfloat16":
        name = _NAMES[dtype] = "bfloat16"
    return name


class Frame(NamedTuple):
    """A frame taken apart: the header, and the bytes of the arrays that it lists.

    Examples
    --------
    >>> frame = decode(b"".join(encode({"kind": "call"}, [np.arange(3, dtype=np.int8)])))
    >>> frame.header["kind"], frame.arrays()
    ('call', (array([0, 1, 2], dtype=int8),))
    """

    header: dict[str, Any]
    body: Bytes | bytearray
    elsewhere: Callable[[int, int], Bytes] | None = None  # the bytes of an array that is not in the body: at, how many
    short: bytes = b""  # a header that is not JSON (`short`), instead of the other

    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays, as writable views of the body; MissingDtypeError where one is unknown here."""
        found, start = [], 0
        for entry in self.header["arrays"]:
            name, shape = entry["dtype"], entry["shape"]
            dtype = _PLAIN[name] if name in _PLAIN else dtype_named(name)
            try:
                if "at" in entry:
                    if self.elsewhere is None:
                        raise ProtocolError("an array in shared memory, where there is none")
                    raw = self.elsewhere(entry["at"], math.prod(shape) * dtype.itemsize)
                    array: Array = np.ndarray(shape, dtype, raw)
                else:
                    array = np.ndarray(shape, dtype, self.body, start)  # one step, where slicing and viewing takes four
                    start += array.nbytes + -array.nbytes % ALIGNMENT
            except ProtocolError:
                raise
            except (ValueError, OverflowError, TypeError) as error:
                raise ProtocolError(f"no array has the shape {shape}: {error}") from None
            found.append(array if np.little_endian else array.byteswap())
        return tuple(found)


def encode(header: Mapping[str, Any], arrays: Iterable[Array] = ()) -> list[memoryview]:
    """Build a frame as buffers to be written one after the other, without copying large contiguous arrays.

    Parameters
    ----------
    header : mapping
        JSON-able; the key ``arrays`` is filled in here.
    arrays : iterable of ndarray
        Any shape, any strides, a dtype of the protocol.

    Raises
    ------
    ProtocolError
        A dtype that cannot travel, or more bytes than a frame may have.

    Examples
    --------
    >>> [len(part) for part in encode({"kind": "call"}, [np.zeros(3, np.float32)])]
    [90]
    """
    return framed(as_json(header), arrays)


def framed(header: str, arrays: Iterable[Array], places: Sequence[int | None] = ()) -> list[memoryview]:
    """Build a frame like `encode`, of a header that is JSON already: ``{"kind":"call", ...}``.

    Parameters
    ----------
    header : str
        A JSON object with at least one key, in ASCII.
    arrays : iterable of ndarray
        Any shape, any strides, a dtype of the protocol.
    places : sequence of int or None
        Where each array is found by other means; None, or nothing: in the body.

    Examples
    --------
    >>> bytes(framed('{"kind":"x"}', [np.zeros(5, np.int8)], [64])[0][16:])
    b'{"kind":"x","arrays":[{"dtype":"int8","shape":[5],"at":64}]}'
    """
    entries: list[str] = []
    parts: list[bytes | memoryview] = []
    size = 0
    for n, array in enumerate(arrays):
        name = dtype_name(array.dtype)
        if name is None:
            raise ProtocolError(f"an array of dtype {array.dtype} cannot travel; known are {', '.join(DTYPES)}")
        count = array.nbytes
        if size + count > MAX_BODY:  # before any copy: a broadcast view may claim terabytes
            raise ProtocolError(f"an array of shape {array.shape} and dtype {name} is too large to travel")
        place = places[n] if places else None
        entry = f'{{"dtype":"{name}","shape":[{",".join(map(str, array.shape))}]'
        if place is not None:
            entries.append(f'{entry},"at":{place}}}')
            continue
        entries.append(entry + "}")
        parts.append(_native(array).tobytes() if count <= SMALL else _bytes_of(array))
        if gap := -count % ALIGNMENT:
            parts.append(_ZEROS[:gap])
        size += count + gap
    text = f'{header[:-1]},"arrays":[{",".join(entries)}]}}'.encode("ascii")
    if len(text) > MAX_HEADER or size > MAX_BODY:
        raise ProtocolError(f"a frame of {len(text)} + {size} bytes is too large")
    start = PREFIX.pack(MAGIC, len(text), size)
    if size <= SMALL:
        return [memoryview(b"".join((start, text, *parts)))]
    return [memoryview(start + text), *[memoryview(part) for part in parts]]


def _bytes_of(array: Array) -> memoryview:
    return _native(np.ascontiguousarray(array).reshape(-1)).view(np.uint8).data


def sizes(prefix: bytes | memoryview) -> tuple[int, int]:
    """Read the prefix that a frame begins with: the bytes of the header and of the body that follow it.

    Raises
    ------
    ProtocolError
        It is cut short, does not start with the magic, or claims absurd lengths.

    Examples
    --------
    >>> sizes(b"CVS1" + (7).to_bytes(4, "little") + (24).to_bytes(8, "little"))
    (7, 24)
    """
    if len(prefix) < PREFIX.size:
        raise ProtocolError(f"cut short: {len(prefix)} bytes of a prefix of {PREFIX.size}")
    magic, header, body = PREFIX.unpack_from(prefix)
    if magic != MAGIC:
        raise ProtocolError(f"not a frame: it starts with {bytes(prefix[: PREFIX.size])!r}")
    if not 2 <= header <= MAX_HEADER or body > MAX_BODY:
        raise ProtocolError(f"absurd lengths in a prefix: header {header}, body {body} bytes")
    return int(header), int(body)


def parse(text: bytes | memoryview, body_size: int) -> dict[str, Any]:
    """Read a header, and check that the arrays it lists fill a body of this size.

    Raises
    ------
    ProtocolError
        It is not a JSON object with a ``kind`` and well-formed ``arrays``, or they do not add up to the body.

    Examples
    --------
    >>> parse(b'{"kind":"bye","arrays":[]}', 0)["kind"]
    'bye'
    """
    try:
        words = str(text, "utf-8")
        halves = "\\ud" in words or "\\uD" in words  # pairs of them are characters, one alone is none
        # json.loads also looks for white space around it, which takes as long again.
        header, end = _DECODER.raw_decode(words) if words[:1] == "{" else (None, -1)
        if end != len(words):
            header = json.loads(words)
        header = _whole(header) if halves else header
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a header that is not JSON: {error}") from None
    if type(header) is not dict or type(header.get("kind")) is not str:
        raise ProtocolError("a header without a kind")
    entries = header.setdefault("arrays", [])
    if type(entries) is not list:
        raise ProtocolError("arrays is not a list")
    size = 0
    for entry in entries:
        size += _entry_size(entry)
        size += -size % ALIGNMENT
    if size != body_size:
        raise ProtocolError(f"the arrays have {size} bytes and the body {body_size}")
    return header


def utf8(text: str) -> str:
    r"""Return a text that UTF-8 can hold: half of a surrogate pair, which no pipe and no file takes, is written out.

    Examples
    --------
    >>> utf8("a\ud800b")
    'a\\ud800b'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _whole(value: Any) -> Any:
    """The same with every text as `utf8` makes it: what a worker writes goes into reports and to other processes."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {utf8(name): _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def decode(data: bytes | memoryview) -> Frame:
    """Take one whole frame apart.

    Raises
    ------
    ProtocolError
        It is not exactly one well-formed frame.

    Examples
    --------
    >>> decode(b"".join(encode({"kind": "call", "op": "conv2d"}))).header["op"]
    'conv2d'
    """
    view = memoryview(data)
    header, body = sizes(view[: PREFIX.size])
    if len(view) != PREFIX.size + header + body:
        raise ProtocolError(f"a frame of {len(view)} bytes that claims {PREFIX.size + header + body}")
    fields = parse(view[PREFIX.size : PREFIX.size + header], body)
    return Frame(fields, np.frombuffer(view[PREFIX.size + header :], np.uint8).copy())


def _native(array: Array) -> Array:
    """Swap the bytes on a big-endian machine; elsewhere nothing is done."""
    return array if np.little_endian else array.byteswap()


def _entry_size(entry: Any) -> int:
    """Bytes that an array of this entry takes in the body."""
    name, shape = (entry.get("dtype"), entry.get("shape")) if type(entry) is dict else (None, None)
    size = _ITEM_SIZES.get(name) if type(name) is str else None
    if size is None or type(shape) is not list:
        raise ProtocolError(f"an array entry that is not {{dtype, shape}}: {entry!r:.80}")
    for n in shape if len(shape) <= 32 else (None,):
        if type(n) is not int or not 0 <= n < 1 << 62:  # bool is an int to Python, and no size
            raise ProtocolError(f"a shape that no array has: {shape!r:.80}")
        size *= n
    if "at" not in entry:
        return size
    if type(entry["at"]) is not int or not 0 <= entry["at"] < 1 << 63:
        raise ProtocolError(f"a place that no array has: {entry['at']!r:.80}")
    return 0
