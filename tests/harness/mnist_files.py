"""A small MNIST in every form, and the one line that a wrong file is told in."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from convspec.harness.training import idx
from convspec.harness.training.data import DataError

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "mnist"
SCRIPT = ROOT / "benchmarks" / "mnist_subset.py"
COUNTS = (30, 10)
NAMES = [part.name for part in idx.PARTS]
KEYS = [part.key for part in idx.PARTS]

real = pytest.mark.skipif(not REAL.is_dir(), reason="MNIST's own files are not in ../shared/data/mnist")


def small():
    """A small MNIST: noise, each label in its turn."""
    random = np.random.default_rng(0)
    train, test = (random.integers(0, 256, (n, 28, 28)).astype(np.uint8) for n in COUNTS)
    return idx.Raw(train, np.arange(30, dtype=np.uint8) % 10, test, np.arange(10, dtype=np.uint8)[::-1].copy())


def idx_bytes(array):
    return idx.idx_header(array.shape) + array.tobytes()


def put(folder, raw, name=lambda stem: stem, pack=lambda content: content):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(NAMES, raw, strict=True):
        (folder / name(stem)).write_bytes(pack(idx_bytes(array)))
    return folder


def hashes(raw):
    return [idx.content_sha256(array) for array in raw]


def complaint(call, path, *words):
    """The one line that a call ends with: it names the file, and says what to do in its last part."""
    with pytest.raises(DataError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}")
    assert text.count(";") >= 2, f"found; expected; what to do: {text}"
    assert "expected " in text
    for word in words:
        assert word in text.removeprefix(f"{path}"), text
    return text


def archive(tmp_path, raw, **changed):
    path = tmp_path / "mnist.npz"
    arrays = {**dict(zip(KEYS, raw, strict=True)), **changed}
    np.savez_compressed(path, **{key: array for key, array in arrays.items() if array is not None})
    return path, partial(idx.read_npz, path, COUNTS)
