"""Make `harness/training/mnist_subset.npz`, the digits that ship with the package, from MNIST's own files.

    python benchmarks/mnist_subset.py --data DIR [--out FILE]

DIR holds the four IDX files or `mnist.npz`; their content is checked by SHA-256. The first 5,000 of training and the
first 1,000 of test are taken. The bytes are the same each time, with any zlib that compresses as the classic one does:
the time stamps, the mode and the system in the archive are fixed. What is printed belongs in `data.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from convspec.harness.training.data import SUBSET, SUBSET_COUNTS, read_folder
from convspec.harness.training.idx import PARTS, Raw

#: The earliest that a zip archive can say.
STAMP = (1980, 1, 1, 0, 0, 0)
UNIX = 3


def first(raw: Raw) -> dict[str, np.ndarray]:
    """The subset, by the names that Keras gives the four parts."""
    train, test = SUBSET_COUNTS
    return {part.key: array[:n] for part, array, n in zip(PARTS, raw, (train, train, test, test), strict=True)}


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """The arrays as a compressed npz whose bytes depend on nothing else."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for key, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{key}.npy", STAMP)
            entry.create_system = UNIX
            entry.external_attr = 0o644 << 16
            file.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return archive.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder with MNIST's own files")
    parser.add_argument("--out", type=Path, default=SUBSET, metavar="FILE", help="where to write; default: in place")
    given = parser.parse_args()
    raw, _ = read_folder(given.data)
    made = packed(first(raw))
    given.out.write_bytes(made)
    print(f"{given.out}: {len(made)} bytes, SHA-256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
