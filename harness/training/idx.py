"""MNIST's files, read and distrusted: IDX, gzipped or plain, and Keras's `mnist.npz`.

May import NumPy and the standard library only. What a file says of itself is held against what it has to be before
it is believed; whatever is wrong with it is a `DataError` of one line. Nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "COUNTS",
    "PARTS",
    "DataError",
    "Part",
    "Raw",
    "content_sha256",
    "idx_header",
    "read_idx",
    "read_npz",
    "reason",
    "shapes",
]

Bytes = npt.NDArray[np.uint8]

#: Images of the training set and of the test set.
COUNTS = (60_000, 10_000)
_SIDE = 28
_CLASSES = 10
# Two zero bytes, the type (8: unsigned byte), the number of axes. http://yann.lecun.com/exdb/mnist/, "file formats".
_MAGIC = {1: b"\0\0\x08\x01", 3: b"\0\0\x08\x03"}
_NOUN = {1: "labels", 3: "images"}
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ANEW = "get the file anew"


class DataError(ValueError):
    """Digits that cannot be had: one line that names the file, what it holds, what it should, and what to do."""


class Part(NamedTuple):
    """One of MNIST's four files, and what it is called elsewhere."""

    #: As an IDX file, unpacked.
    name: str
    #: In `mnist.npz`.
    key: str
    #: Of the unpacked IDX file.
    sha256: str
    #: Of the gzipped file on the mirrors.
    archive_sha256: str


class Raw(NamedTuple):
    """The digits as the files have them: uint8, images [n, 28, 28], labels [n]."""

    images: Bytes
    labels: Bytes
    test_images: Bytes
    test_labels: Bytes


#: In the order of `Raw`.
PARTS = (
    Part(
        "train-images-idx3-ubyte",
        "x_train",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    Part(
        "train-labels-idx1-ubyte",
        "y_train",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    Part(
        "t10k-images-idx3-ubyte",
        "x_test",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    Part(
        "t10k-labels-idx1-ubyte",
        "y_test",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)


def shapes(counts: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """The shapes of the four parts, where the sets have so many images."""
    train, test = counts
    return (train, _SIDE, _SIDE), (train,), (test, _SIDE, _SIDE), (test,)


def idx_header(shape: Sequence[int]) -> bytes:
    """What an IDX file of bytes of this shape, of one or three axes, begins with.

    Examples
    --------
    >>> idx_header((10000,)).hex(" ", 4)
    '00000801 00002710'
    """
    return _MAGIC[len(shape)] + b"".join(length.to_bytes(4, "big") for length in shape)


def content_sha256(array: Bytes) -> str:
    """SHA-256 of the unpacked IDX file that holds this array, whatever file it came from.

    Examples
    --------
    >>> content_sha256(np.array([7, 2, 1], np.uint8))[:8]
    'e10ef624'
    """
    return hashlib.sha256(idx_header(array.shape) + array.tobytes()).hexdigest()


def read_idx(path: Path, shape: tuple[int, ...], sha256: str | None = None) -> Bytes:
    """Read one IDX file; whether it is gzipped is seen from its content, not from its name.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        What it has to hold: [n] labels or [n, height, width] images.
    sha256 : str, optional
        Of the unpacked file; by default any content is good.

    Returns
    -------
    ndarray of uint8, of that shape

    Raises
    ------
    DataError
        It is not there, damaged, truncated or too long, has another magic number or other counts, a label above 9, or
        another hash.
    """
    header = idx_header(shape)
    size = len(header) + math.prod(shape)
    expected = f"expected {_described(shape)}"
    try:
        # A byte more than there should be: so gzip comes to its checksum, and no file fills the memory.
        data = _unpacked(path, size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); {expected}; {_ANEW}") from error
    if data[:4] != header[:4]:
        raise DataError(f"{path}: {_mistaken(data, len(shape))}")
    if len(data) >= len(header) and data[: len(header)] != header:
        told = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, len(header), 4))
        raise DataError(
            f"{path}: says it holds {_described(told)}; {expected}; {_ANEW} (training and test set swapped?)"
        )
    if len(data) != size:
        found = f"more than {size}" if len(data) > size else str(len(data))
        raise DataError(f"{path}: has {found} bytes unpacked; {expected} in {size} bytes; {_ANEW}")
    array = np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)
    _check(str(path), array, sha256)
    return array


def read_npz(path: Path, counts: tuple[int, int] = COUNTS, sha256: Sequence[str] | None = None) -> Raw:
    """Read the four arrays of Keras's `mnist.npz`.

    Parameters
    ----------
    path : Path
    counts : (int, int)
        How many images the training set and the test set have to have.
    sha256 : sequence of four str, optional
        Of the unpacked IDX files that hold the same; by default any content is good.

    Raises
    ------
    DataError
        It is not there, damaged or no such archive; lacks an array, or has it pickled, of another type or shape, with a
        label above 9, or with another hash.
    """
    wanted = ", ".join(part.key for part in PARTS)
    arrays = []
    for at, (part, shape) in enumerate(zip(PARTS, shapes(counts), strict=True)):
        array = _member(path, part.key, f"expected an npz archive of {wanted}")
        kind = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "no array"
        if kind != f"uint8 {list(shape)}":
            raise DataError(f"{path}: {part.key} is {kind}; expected uint8 {list(shape)}; get Keras's file anew")
        _check(f"{path} ({part.key})", array, sha256[at] if sha256 else None)
        arrays.append(array)
    return Raw(*arrays)


def reason(error: BaseException) -> str:
    r"""What an exception says, in one line.

    Examples
    --------
    >>> reason(EOFError("no data\nleft"))
    'no data left'
    """
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


def _unpacked(path: Path, most: int) -> bytes:
    """The first bytes of a file, or of what is gzipped in it."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == _GZIP
        stream.seek(0)
        if not zipped:
            return stream.read(most)
        with gzip.GzipFile(fileobj=stream) as unzipped:
            return unzipped.read(most)


def _member(path: Path, key: str, expected: str) -> Any:
    try:
        # Opened here, for NumPy leaves the file open where it is no archive.
        with path.open("rb") as stream:
            begin = stream.read(len(_ZIP))
            stream.seek(0)
            if begin == _ZIP:
                with np.load(stream, allow_pickle=False) as archive:
                    if key in archive.files:
                        return archive[key]
                    found = f"has no {key}, but {', '.join(archive.files)}"
            else:
                found = f"is no archive, begins with 0x{begin.hex()}" if begin else "is empty"
    except Exception as error:  # a damaged archive makes zipfile, zlib and NumPy raise a dozen kinds
        raise DataError(f"{path}: {key} cannot be read ({reason(error)}); {expected}; get Keras's file anew") from error
    raise DataError(f"{path}: {found}; {expected}; get Keras's file anew")


def _described(shape: Sequence[int]) -> str:
    size = " of " + " x ".join(map(str, shape[1:])) if shape[1:] else ""
    return f"{shape[0]} {_NOUN[len(shape)]}{size}"


def _mistaken(data: bytes, axes: int) -> str:
    """What a file with another magic number is."""
    expected = f"expected {_NOUN[axes]} (0x{_MAGIC[axes].hex()})"
    for other, magic in _MAGIC.items():
        if data[:4] == magic:
            return f"holds {_NOUN[other]} (0x{magic.hex()}); {expected}; are the images and the labels swapped?"
    if not data:
        return f"is empty; {expected}; {_ANEW}"
    page = ", as a web page does" if data.lstrip()[:1] == b"<" else ""
    return f"begins with 0x{data[:4].hex()}{page}; {expected}; {_ANEW}"


def _check(where: str, array: Bytes, sha256: str | None) -> None:
    """Labels are digits, and the content is MNIST's."""
    if array.ndim == 1 and array.size and array.max() >= _CLASSES:
        at = int(array.argmax())
        raise DataError(
            f"{where}: label {at} is {array[at]}; expected 0 to {_CLASSES - 1}; get the file anew "
            "(EMNIST's bear the same names and have letters)"
        )
    if sha256 is not None and (found := content_sha256(array)) != sha256:
        raise DataError(
            f"{where}: its content has SHA-256 {found}; expected MNIST's, {sha256}; get the file anew "
            "(Fashion-MNIST's and KMNIST's bear the same names)"
        )
