"""The digits: the shipped subset, the files that the full set is kept in, and whatever may be wrong with them."""

import gzip
import hashlib
import importlib.resources
import runpy
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mnist_files import COUNTS, KEYS, NAMES, REAL, SCRIPT, archive, complaint, hashes, idx_bytes, put, real, small

from convspec.harness.training import data, idx
from convspec.harness.training.data import DataError


@pytest.fixture
def raw():
    return small()


# The shipped subset


def test_subset_has_the_declared_arrays():
    digits = data.subset()
    assert digits.images.shape == (5000, 28, 28, 1)
    assert digits.test_images.shape == (1000, 28, 28, 1)
    assert digits.labels.shape == (5000,)
    assert digits.test_labels.shape == (1000,)
    assert {digits.images.dtype, digits.test_images.dtype} == {np.dtype(np.float32)}
    assert {digits.labels.dtype, digits.test_labels.dtype} == {np.dtype(np.int64)}
    assert digits.images.flags.c_contiguous
    assert "5000 + 1000" in digits.source


def test_subset_is_handwriting_scaled_to_one_and_its_labels_are_balanced():
    digits = data.subset()
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    # All of MNIST: mean 0.1307, standard deviation 0.3081.
    assert abs(digits.images.mean(dtype=np.float64) - 0.1307) < 0.002
    assert abs(digits.images.std(dtype=np.float64) - 0.3081) < 0.002
    np.testing.assert_array_equal(digits.labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    np.testing.assert_array_equal(digits.test_labels[:10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9])
    for labels in (digits.labels, digits.test_labels):
        share = np.bincount(labels, minlength=10) / len(labels)
        assert len(share) == 10
        assert 0.08 < share.min() < share.max() < 0.13


def test_shipped_file_is_small_is_the_pinned_one_and_its_licence_lies_beside_it():
    content = data.SUBSET.read_bytes()
    assert len(content) < 1.1e6
    assert hashlib.sha256(content).hexdigest() == data.SUBSET_SHA256
    files = importlib.resources.files("convspec.harness.training")
    assert files.joinpath("mnist_subset.npz").read_bytes() == content
    licence = files.joinpath("MNIST-LICENSE.md").read_text(encoding="utf-8")
    for word in ("Yann LeCun", "Corinna Cortes", "CC BY-SA 3.0", "https://creativecommons.org/licenses/by-sa/3.0/"):
        assert word in licence


@real
def test_script_makes_the_shipped_file_anew(tmp_path):
    out = tmp_path / "made.npz"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--data", REAL, "--out", out], capture_output=True, text=True, check=True, timeout=120
    )
    made = out.read_bytes()
    assert hashlib.sha256(made).hexdigest() in done.stdout
    for ours, shipped in zip(
        idx.read_npz(out, data.SUBSET_COUNTS), idx.read_npz(data.SUBSET, data.SUBSET_COUNTS), strict=True
    ):
        np.testing.assert_array_equal(ours, shipped)
    if "ng" in zlib.ZLIB_RUNTIME_VERSION:
        pytest.skip("zlib-ng compresses to other bytes than zlib; the arrays are the same")
    assert made == data.SUBSET.read_bytes()


def test_script_packs_the_same_arrays_into_the_same_bytes(raw):
    packed = runpy.run_path(str(SCRIPT))["packed"]
    arrays = dict(zip(KEYS, raw, strict=True))
    assert packed(arrays) == packed({key: array.copy() for key, array in arrays.items()})
    assert packed(arrays) != packed({**arrays, "y_test": raw.test_labels[::-1].copy()})


@pytest.mark.parametrize("at", [0, 10, 5000, -1])
def test_subset_with_one_other_byte_is_refused_with_both_hashes(tmp_path, at):
    content = bytearray(data.SUBSET.read_bytes())
    content[at] ^= 1
    path = tmp_path / "mnist_subset.npz"
    path.write_bytes(content)
    complaint(
        lambda: data.subset(path), path, data.SUBSET_SHA256, hashlib.sha256(content).hexdigest(), "reinstall convspec"
    )


def test_subset_that_is_not_there_is_said():
    path = Path("nowhere") / "mnist_subset.npz"
    complaint(lambda: data.subset(path), path, "No such file")


# Good files


@pytest.mark.parametrize("dot", ["-idx", ".idx"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
def test_idx_files_are_read_by_all_their_names(tmp_path, raw, dot, zipped, below):
    put(
        tmp_path / below,
        raw,
        lambda stem: stem.replace("-idx", dot) + ".gz" * zipped,
        gzip.compress if zipped else bytes,
    )
    found, source = data.read_folder(tmp_path, COUNTS, hashes(raw))
    for ours, given in zip(found, raw, strict=True):
        np.testing.assert_array_equal(ours, given)
    assert str(tmp_path / below) in source


def test_gzip_is_seen_from_the_content_whatever_the_name(tmp_path, raw):
    put(tmp_path / "a", raw, pack=gzip.compress)
    put(tmp_path / "b", raw, lambda stem: f"{stem}.gz")
    for folder in ("a", "b"):
        np.testing.assert_array_equal(data.read_folder(tmp_path / folder, COUNTS, hashes(raw))[0].images, raw.images)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_keras_archive_is_read_and_is_the_same_content(tmp_path, raw, save):
    save(tmp_path / "mnist.npz", **dict(zip(KEYS, raw, strict=True)))
    found, source = data.read_folder(tmp_path, COUNTS, hashes(raw))
    for ours, given in zip(found, raw, strict=True):
        np.testing.assert_array_equal(ours, given)
    assert source == f"MNIST in {tmp_path / 'mnist.npz'}"


def test_archive_serves_where_the_idx_files_are_not_all_there(tmp_path, raw):
    np.savez(tmp_path / "mnist.npz", **dict(zip(KEYS, raw, strict=True)))
    put(tmp_path, raw)
    assert "IDX" in data.read_folder(tmp_path, COUNTS, None)[1]
    (tmp_path / NAMES[2]).unlink()
    assert "mnist.npz" in data.read_folder(tmp_path, COUNTS, None)[1]


def test_every_byte_is_scaled_to_the_nearest_float32(raw):
    images = np.resize(np.arange(256, dtype=np.uint8), (1, 28, 28))
    digits = data.Digits.of(raw._replace(images=images, labels=raw.labels[:1]), "made up")
    np.testing.assert_array_equal(digits.images[..., 0], (images / np.float64(255)).astype(np.float32))


@real
def test_real_files_are_the_whole_of_mnist():
    digits = data.full(REAL)
    assert (len(digits.images), len(digits.test_labels)) == idx.COUNTS
    assert round(float(digits.images.mean(dtype=np.float64)), 4) == 0.1307
    small = data.subset()
    np.testing.assert_array_equal(digits.images[:5000], small.images)
    np.testing.assert_array_equal(digits.test_labels[:1000], small.test_labels)


# IDX files that are not what they should be


def images_file(tmp_path, content):
    path = tmp_path / NAMES[0]
    path.write_bytes(content)
    return path, partial(idx.read_idx, path, (30, 28, 28))


def labels_file(tmp_path, content):
    path = tmp_path / NAMES[1]
    path.write_bytes(content)
    return path, partial(idx.read_idx, path, (30,))


def test_swapped_images_and_labels_are_said(tmp_path, raw):
    path, read = images_file(tmp_path, idx_bytes(raw.labels))
    complaint(read, path, "holds labels (0x00000801)", "expected images (0x00000803)", "swapped")
    path, read = labels_file(tmp_path, idx_bytes(raw.images))
    complaint(read, path, "holds images (0x00000803)", "expected labels (0x00000801)", "swapped")


def test_swapped_training_and_test_set_are_said(tmp_path, raw):
    path, read = images_file(tmp_path, idx_bytes(raw.test_images))
    complaint(read, path, "10 images of 28 x 28", "expected 30 images of 28 x 28", "training and test set swapped?")
    path, read = labels_file(tmp_path, idx_bytes(raw.test_labels))
    complaint(read, path, "10 labels", "expected 30 labels")


def test_images_of_another_size_are_said(tmp_path):
    path, read = images_file(tmp_path, idx_bytes(np.zeros((30, 32, 28), np.uint8)))
    complaint(read, path, "30 images of 32 x 28", "expected 30 images of 28 x 28")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\0", "0x00"),
        (b"\0\0\x0d\x03" + bytes(100), "0x00000d03"),
        (b"\x03\x08\0\0" + bytes(100), "0x03080000"),
        (b"\n<!DOCTYPE html>", "as a web page does"),
        (b"PK\x03\x04" + bytes(40), "0x504b0304"),
    ],
)
def test_wrong_magic_is_said(tmp_path, content, words):
    path, read = images_file(tmp_path, content)
    complaint(read, path, words, "get the file anew")


@pytest.mark.parametrize("kept", [4, 7, 15, 16, 17, 23535])
def test_truncated_files_are_said(tmp_path, raw, kept):
    path, read = images_file(tmp_path, idx_bytes(raw.images)[:kept])
    complaint(read, path, f"has {kept} bytes unpacked; expected ", "in 23536 bytes")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_that_are_too_long_are_said_and_not_held_in_memory(tmp_path, raw, pack):
    path, read = images_file(tmp_path, pack(idx_bytes(raw.images) + bytes(10_000_000)))
    complaint(read, path, "more than 23536 bytes")


@pytest.mark.parametrize("kept", [2, 5, 10, 1000, -8, -1])
def test_truncated_gzip_is_said(tmp_path, raw, kept):
    path, read = images_file(tmp_path, gzip.compress(idx_bytes(raw.images))[:kept])
    complaint(read, path, "cannot be read", "expected 30 images of 28 x 28")


@pytest.mark.parametrize("at", [2, 3, 12, 2000, -5, -1])
def test_damaged_gzip_is_said(tmp_path, raw, at):
    content = bytearray(gzip.compress(idx_bytes(raw.images), mtime=0))
    content[at] ^= 0x14
    path, read = images_file(tmp_path, content)
    complaint(read, path)


@pytest.mark.parametrize("label", [10, 255])
def test_label_above_nine_is_said_with_its_place(tmp_path, raw, label):
    raw.labels[17] = label
    path, read = labels_file(tmp_path, idx_bytes(raw.labels))
    complaint(read, path, f"label 17 is {label}", "expected 0 to 9")


def test_other_content_is_said_with_both_hashes(tmp_path, raw):
    right = hashes(raw)
    raw.labels[17] ^= 1
    put(tmp_path, raw)
    text = complaint(
        lambda: data.read_folder(tmp_path, COUNTS, right),
        tmp_path / NAMES[1],
        hashlib.sha256(idx_bytes(raw.labels)).hexdigest(),
        right[1],
    )
    assert "Fashion-MNIST" in text


def test_missing_file_and_folder_for_a_file_are_said(tmp_path):
    complaint(partial(idx.read_idx, tmp_path / "none", (3,)), tmp_path / "none", "No such file")
    complaint(partial(idx.read_idx, tmp_path, (3,)), tmp_path, "cannot be read")


# Archives that are not what they should be


def test_pickled_arrays_are_refused(tmp_path, raw):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    pickled = np.array([Trap()] * 30, dtype=object)
    path, read = archive(tmp_path, raw, y_train=pickled)
    complaint(read, path, "y_train", "Object arrays cannot be loaded when allow_pickle=False")
    np.save(tmp_path / "one.npy", pickled, allow_pickle=True)
    (tmp_path / "one.npy").rename(path)
    complaint(read, path, "is no archive")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x_test": None}, ("has no x_test, but x_train, y_train, y_test",)),
        ({"y_train": np.zeros(29, np.uint8)}, ("y_train is uint8 [29]", "expected uint8 [30]")),
        ({"y_train": np.zeros(30, np.int64)}, ("y_train is int64 [30]", "expected uint8 [30]")),
        ({"x_train": np.zeros((30, 28, 28), np.float32)}, ("x_train is float32 [30, 28, 28]",)),
        ({"x_train": np.zeros((30, 784), np.uint8)}, ("x_train is uint8 [30, 784]",)),
        ({"y_test": np.full(10, 11, np.uint8)}, ("(y_test): label 0 is 11",)),
    ],
)
def test_wrong_arrays_are_said(tmp_path, raw, changed, words):
    path, read = archive(tmp_path, raw, **changed)
    complaint(read, path, *words)


def test_archive_of_other_content_is_said_with_both_hashes(tmp_path, raw):
    path, read = archive(tmp_path, raw, x_test=raw.test_images[::-1])
    complaint(
        partial(read, hashes(raw)),
        f"{path} (x_test)",
        hashes(raw)[2],
        idx.content_sha256(np.ascontiguousarray(raw.test_images[::-1])),
    )


def test_archive_that_is_none_is_said(tmp_path, raw):
    path, read = archive(tmp_path, raw)
    expected = "expected an npz archive of x_train, y_train, x_test, y_test"
    for content, words in (
        (path.read_bytes()[:-30], "x_train cannot be read"),
        (b"", "is empty"),
        (b"<html>", "begins with 0x3c68746d"),
        (b"\x80\x04K*.", "is no archive"),
        (idx_bytes(raw.images), "begins with 0x00000803"),
    ):
        path.write_bytes(content)
        complaint(read, path, words, expected)
    np.save(tmp_path / "one.npy", raw.images)
    (tmp_path / "one.npy").rename(path)
    complaint(read, path, "is no archive", f"{expected}; get Keras's file anew")
    path.unlink()
    complaint(read, path, "No such file")


def test_archive_damaged_anywhere_is_refused_or_read_right(tmp_path, raw):
    path, read = archive(tmp_path, raw)
    content = path.read_bytes()
    random = np.random.default_rng(5)
    said = []
    for at in [*random.integers(0, len(content), 150), *range(-400, 0, 4)]:
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            found = read()
        except DataError as error:
            said.append(str(error))
        else:
            assert hashes(found) == hashes(raw)
    assert len(said) > 150
    assert all(text.startswith(str(path)) and "\n" not in text for text in said)
