"""Frames: a prefix, a JSON header, raw little-endian arrays. No pickle.

What a frame looks like is told for other languages in ``PROTOCOL.md``; this file is the Python end of it, used on both
sides. May import the standard library and NumPy; ml_dtypes only at the moment a bfloat16 array is met.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
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

# One encoder for all frames: json.dumps builds a new one whenever it is given an option.
_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

_PLAIN = {name: np.dtype(name) for name in DTYPES if name != "bfloat16"}
_NAMES = {dtype: name for name, dtype in _PLAIN.items()}

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
    body: Bytes

    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays, as writable views of the body; MissingDtypeError where one is unknown here."""
        found, start = [], 0
        for entry in self.header["arrays"]:
            dtype = dtype_named(entry["dtype"])
            count = math.prod(entry["shape"])
            raw = self.body[start : start + count * dtype.itemsize]
            start = _aligned(start + count * dtype.itemsize)
            try:
                found.append(_native(raw.view(dtype)).reshape(entry["shape"]))
            except (ValueError, OverflowError) as error:
                raise ProtocolError(f"no array has the shape {entry['shape']}: {error}") from None
        return tuple(found)


def encode(header: Mapping[str, Any], arrays: Iterable[Array] = ()) -> list[memoryview]:
    """Build a frame as buffers to be written one after the other, without copying contiguous arrays.

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
    [16, 58, 12, 4]
    """
    entries, parts, size = [], [], 0
    for array in arrays:
        name = dtype_name(array.dtype)
        if name is None:
            raise ProtocolError(f"an array of dtype {array.dtype} cannot travel; known are {', '.join(DTYPES)}")
        if size + array.nbytes > MAX_BODY:  # before any copy: a broadcast view may claim terabytes
            raise ProtocolError(f"an array of shape {array.shape} and dtype {name} is too large to travel")
        raw = _native(np.ascontiguousarray(array).reshape(-1)).view(np.uint8)
        gap = -raw.size % ALIGNMENT
        entries.append({"dtype": name, "shape": list(array.shape)})
        parts += [raw.data] if raw.size else []
        parts += [memoryview(bytes(gap))] if gap else []
        size += raw.size + gap
    text = _JSON.encode({**header, "arrays": entries}).encode("ascii")
    if len(text) > MAX_HEADER or size > MAX_BODY:
        raise ProtocolError(f"a frame of {len(text)} + {size} bytes is too large")
    return [memoryview(PREFIX.pack(MAGIC, len(text), size)), memoryview(text), *parts]


def sizes(prefix: bytes | memoryview) -> tuple[int, int]:
    """Read a prefix: the bytes of the header and of the body that follow it.

    Raises
    ------
    ProtocolError
        It is cut short, does not start with the magic, or claims absurd lengths.

    Examples
    --------
    >>> sizes(b"CVS1" + (7).to_bytes(4, "little") + (24).to_bytes(8, "little"))
    (7, 24)
    """
    if len(prefix) != PREFIX.size:
        raise ProtocolError(f"cut short: {len(prefix)} bytes of a prefix of {PREFIX.size}")
    magic, header, body = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise ProtocolError(f"not a frame: it starts with {bytes(prefix)!r}")
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
        header = json.loads(bytes(text).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a header that is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise ProtocolError("a header without a kind")
    entries = header.setdefault("arrays", [])
    if not isinstance(entries, list):
        raise ProtocolError("arrays is not a list")
    size = 0
    for entry in entries:
        size = _aligned(size + _entry_size(entry))
    if size != body_size:
        raise ProtocolError(f"the arrays have {size} bytes and the body {body_size}")
    return header


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


def _aligned(size: int) -> int:
    return size + -size % ALIGNMENT


def _native(array: Array) -> Array:
    """Swap the bytes on a big-endian machine; elsewhere nothing is done."""
    return array if np.little_endian else array.byteswap()


def _entry_size(entry: Any) -> int:
    name, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
    if name not in DTYPES or not isinstance(shape, list):
        raise ProtocolError(f"an array entry that is not {{dtype, shape}}: {entry!r:.80}")
    # bool is an int to Python, and no size.
    if len(shape) > 32 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise ProtocolError(f"a shape that no array has: {shape!r:.80}")
    return math.prod(shape) * (2 if name == "bfloat16" else _PLAIN[name].itemsize)
