"""The digits: the shipped subset of MNIST, and the full set wherever it lies or can be had.

May import NumPy and `idx`; pooch only for a download that was asked for. Pixels are divided by 255 and nothing else
is done to them: no mean is subtracted, no order changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .idx import COUNTS, PARTS, DataError, Raw, read_idx, read_npz, reason, shapes

__all__ = [
    "MIRRORS",
    "SUBSET",
    "SUBSET_COUNTS",
    "SUBSET_SHA256",
    "DataError",
    "Digits",
    "fetch",
    "full",
    "places",
    "read_folder",
    "subset",
]

#: The first images of the training set and of the test set, made by `benchmarks/mnist_subset.py`.
SUBSET = Path(__file__).with_name("mnist_subset.npz")
SUBSET_COUNTS = (5_000, 1_000)
SUBSET_SHA256 = "43c088837367d82738fd72a18d6c2f2c4dce0f64694f1dc1f8512c2dbf9f7a20"
#: Tried in turn.
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_SHA256 = tuple(part.sha256 for part in PARTS)
_ARCHIVE_SHA256 = tuple(part.archive_sha256 for part in PARTS)
_NPZ = "mnist.npz"
_SECONDS = 30.0
_WANTED = f"the four IDX files ({', '.join(part.name for part in PARTS)}; plain or .gz) or {_NPZ}"


@dataclass(frozen=True, eq=False)
class Digits:
    """A training set and a test set.

    Images are float32 [n, 28, 28, 1], the files' bytes divided by 255: 0 is paper, 1 is ink. Labels are int64 [n], 0 to
    9. `source` says where they are from, for people.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    test_images: npt.NDArray[np.float32]
    test_labels: npt.NDArray[np.int64]
    source: str

    @classmethod
    def of(cls, raw: Raw, source: str) -> Digits:
        """The digits that files hold as bytes.

        Examples
        --------
        >>> one = np.full((1, 28, 28), 51, np.uint8), np.array([7], np.uint8)
        >>> digits = Digits.of(Raw(*one, *one), "made up")
        >>> digits.images.shape, digits.images[0, 0, 0, 0], digits.labels
        ((1, 28, 28, 1), np.float32(0.2), array([7]))
        """
        return cls(
            _scaled(raw.images),
            raw.labels.astype(np.int64),
            _scaled(raw.test_images),
            raw.test_labels.astype(np.int64),
            source,
        )


def subset(path: Path = SUBSET) -> Digits:
    """The digits that ship with the package: MNIST's first 5,000 of training and first 1,000 of test.

    Licence: CC BY-SA 3.0, see `MNIST-LICENSE.md` beside the file.

    Raises
    ------
    DataError
        The file is not the one that was shipped.

    Examples
    --------
    >>> digits = subset()
    >>> digits.images.shape, digits.test_images.shape
    ((5000, 28, 28, 1), (1000, 28, 28, 1))
    >>> digits.labels[:5]
    array([5, 0, 4, 1, 9])
    """
    remedy = "reinstall convspec"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); expected the shipped subset; {remedy}") from error
    if found != SUBSET_SHA256:
        raise DataError(f"{path}: has SHA-256 {found}; expected the shipped subset's, {SUBSET_SHA256}; {remedy}")
    train, test = SUBSET_COUNTS
    return Digits.of(read_npz(path, SUBSET_COUNTS), f"the shipped subset of MNIST ({train} + {test} images)")


def full(folder: Path | None = None, *, download: bool = False, mirrors: Sequence[str] = MIRRORS) -> Digits:
    """All of MNIST, 60,000 + 10,000 images, its content checked by SHA-256.

    Parameters
    ----------
    folder : Path, optional
        Holds the four IDX files (plain or .gz, ``-idx`` or ``.idx`` in their names), itself or in ``MNIST/raw`` as
        torchvision's root does, or `mnist.npz` as Keras has it. By default the usual places are looked at: `places`.
    download : bool
        Where no folder is given and no usual place has it, get it with pooch and keep it in the first of `places`.
    mirrors : sequence of str
        What the names of the files are appended to; tried in turn.

    Raises
    ------
    DataError
        It is nowhere, or a file is damaged, truncated, mislabelled or another one; pooch is missing, or no mirror has
        the right file.
    """
    if folder is not None:
        return Digits.of(*read_folder(Path(folder)))
    looked_at = places()
    for place in looked_at:
        if _complete(_idx_files(place)) or (place / _NPZ).is_file():
            return Digits.of(*read_folder(place))
    if download:
        return Digits.of(*read_folder(fetch(looked_at[0], mirrors)))
    raise DataError(
        f"MNIST is in none of {', '.join(map(str, looked_at))}; expected {_WANTED}; name the folder that has them, or "
        "allow the download"
    )


def places() -> list[Path]:
    """The folders where MNIST usually lies: our own downloads, then torchvision's, then Keras's.

    torchvision has no folder of its own; its users' roots are ``data``, ``../data`` (as in PyTorch's examples),
    ``~/data`` and ``~/.cache/torch`` (``TORCH_HOME``). Keras's is ``~/.keras`` (``KERAS_HOME``).
    """
    home = Path.home()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    torch = Path(os.environ.get("TORCH_HOME") or caches / "torch")
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras")
    roots = [Path("data"), Path("..", "data"), home / "data", torch, torch / "datasets"]
    return [caches / "convspec" / "mnist", *(root / "MNIST" / "raw" for root in roots), keras / "datasets"]


def read_folder(
    folder: Path, counts: tuple[int, int] = COUNTS, sha256: Sequence[str] | None = _SHA256
) -> tuple[Raw, str]:
    """The bytes that a folder holds, found as `full` describes, and where they are from.

    Counts and hashes can be others than MNIST's; without hashes any content is good.

    Raises
    ------
    DataError
        As of `full`.
    """
    hashes: Sequence[str | None] = sha256 or [None] * len(PARTS)
    lying = [_idx_files(place) for place in (folder, folder / "MNIST" / "raw")]
    for files in lying:
        if _complete(files):
            arrays = [read_idx(*asked) for asked in zip(files.values(), shapes(counts), hashes, strict=True)]
            return Raw(*arrays), f"MNIST's IDX files in {next(iter(files.values())).parent}"
    npz = folder / _NPZ
    if npz.is_file():
        return read_npz(npz, counts, sha256), f"MNIST in {npz}"
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; expected one with {_WANTED}; name the folder that has them")
    most = max(lying, key=len)
    lacking = ", ".join(part.name for part in PARTS if part.name not in most)
    found = f"lacks {lacking}" if most else "has nothing of MNIST"
    raise DataError(f"{folder}: {found}; expected {_WANTED}; add what is lacking, or name another folder")


def fetch(into: Path, mirrors: Sequence[str] = MIRRORS, sha256: Sequence[str] = _ARCHIVE_SHA256) -> Path:
    """Download the four gzipped files into a folder, from the first mirror that has the right one; return the folder.

    A file that is there and right is not asked for again.

    Raises
    ------
    DataError
        pooch is missing, or no mirror has a file with that SHA-256.
    """
    try:
        import pooch  # noqa: PLC0415 - an extra, wanted by a download only
    except ImportError as error:
        raise DataError(
            "pooch, which downloads MNIST, is not installed; run `python -m pip install 'convspec[mnist]'`, or name a "
            f"folder with {_WANTED}"
        ) from error
    for part, known in zip(PARTS, sha256, strict=True):
        name = f"{part.name}.gz"
        failures = []
        for mirror in mirrors:
            try:
                loader = pooch.HTTPDownloader(timeout=_SECONDS)
                pooch.retrieve(mirror + name, f"sha256:{known}", fname=name, path=into, downloader=loader)
                break
            except (OSError, ValueError) as error:  # requests' are OSErrors, another hash is a ValueError
                failures.append(f"{mirror + name} ({reason(error)})")
        else:
            raise DataError(
                f"{into / name}: no mirror gave it: {', '.join(failures)}; expected SHA-256 {known}; try again, or "
                f"name a folder with {_WANTED}"
            )
    return into


def _idx_files(folder: Path) -> dict[str, Path]:
    """Those of the four files that lie in a folder, by their usual names; plain before gzipped."""
    found: dict[str, Path] = {}
    for part in PARTS:
        names = [part.name, part.name.replace("-idx", ".idx")]
        for candidate in [*names, *(f"{name}.gz" for name in names)]:
            if (folder / candidate).is_file():
                found.setdefault(part.name, folder / candidate)
    return found


def _complete(files: dict[str, Path]) -> bool:
    return len(files) == len(PARTS)


def _scaled(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Bytes as float32 in 0 to 1, correctly rounded, with an axis for the one channel."""
    scaled = images.astype(np.float32)[..., np.newaxis]
    scaled /= 255
    return scaled
