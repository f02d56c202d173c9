"""The digits: the shipped subset, the full set in every form it is kept in, the download; and whatever may be wrong."""

import gzip
import hashlib
import importlib.resources
import runpy
import subprocess
import sys
import threading
import zlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from convspec.harness.training import data, idx
from convspec.harness.training.data import DataError

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "mnist"
SCRIPT = ROOT / "benchmarks" / "mnist_subset.py"
COUNTS = (30, 10)
NAMES = [part.name for part in idx.PARTS]
KEYS = [part.key for part in idx.PARTS]

real = pytest.mark.skipif(not REAL.is_dir(), reason="MNIST's own files are not in ../shared/data/mnist")


@pytest.fixture
def raw():
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
    complaint(read, path, f"has {kept} bytes", "in 23536 bytes")


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


def archive(tmp_path, raw, **changed):
    path = tmp_path / "mnist.npz"
    arrays = {**dict(zip(KEYS, raw, strict=True)), **changed}
    np.savez_compressed(path, **{key: array for key, array in arrays.items() if array is not None})
    return path, partial(idx.read_npz, path, COUNTS)


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
    complaint(read, path, "is no archive", expected)
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


# Folders


def test_folder_without_digits_says_what_is_lacking(tmp_path, raw):
    complaint(partial(data.full, tmp_path / "none"), tmp_path / "none", "is no folder")
    complaint(partial(data.full, tmp_path), tmp_path, "has nothing of MNIST", "mnist.npz", *NAMES)
    put(tmp_path, raw)
    (tmp_path / NAMES[2]).unlink()
    assert f"lacks {NAMES[2]};" in complaint(partial(data.full, tmp_path), tmp_path)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user with nothing in the usual places."""
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home" / "work").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "home" / "work")
    return tmp_path / "home"


def test_nothing_anywhere_says_where_it_was_looked_for(home):
    with pytest.raises(DataError) as caught:
        data.full()
    text = str(caught.value)
    assert "\n" not in text
    for place in data.places():
        assert str(place) in text
    assert "allow the download" in text


@pytest.mark.parametrize("place", ["data/MNIST/raw", "../data/MNIST/raw", "../.cache/torch/MNIST/raw"])
def test_usual_folders_of_torchvision_are_looked_at(home, raw, place):
    put(Path(place), raw)
    # Found, read, and seen to be no MNIST.
    with pytest.raises(DataError, match=r"says it holds 30 images") as caught:
        data.full()
    assert Path(str(caught.value).split(": ")[0]).resolve() == (Path(place) / NAMES[0]).resolve()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_usual_folder_of_keras_is_looked_at(home, raw, monkeypatch, elsewhere):
    keras = home / "elsewhere" if elsewhere else home / ".keras"
    if elsewhere:
        monkeypatch.setenv("KERAS_HOME", str(keras))
    (keras / "datasets").mkdir(parents=True)
    path, _ = archive(keras / "datasets", raw)
    complaint(data.full, path, "x_train is uint8 [30, 28, 28]; expected uint8 [60000, 28, 28]")


def test_half_a_set_in_a_usual_folder_is_passed_over(home, raw):
    put(Path("data/MNIST/raw"), raw)
    Path("data/MNIST/raw", NAMES[3]).unlink()
    (home / ".keras" / "datasets").mkdir(parents=True)
    path, _ = archive(home / ".keras" / "datasets", raw)
    complaint(data.full, path)


@real
def test_real_files_in_a_usual_folder_are_found(home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    (home / "torch" / "MNIST").mkdir(parents=True)
    (home / "torch" / "MNIST" / "raw").symlink_to(REAL, target_is_directory=True)
    assert str(home / "torch") in data.full().source


# Download


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()


@pytest.fixture
def mirror(tmp_path, raw, monkeypatch):
    """A server that has the small MNIST, the names it was asked for, and the hashes of what it has."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = put(tmp_path / "mirror", raw, lambda stem: f"{stem}.gz", partial(gzip.compress, mtime=0))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        known = [hashlib.sha256((folder / f"{name}.gz").read_bytes()).hexdigest() for name in NAMES]
        yield f"http://127.0.0.1:{server.server_port}/", server.asked, known
        server.shutdown()
        thread.join()


def test_download_fetches_what_is_lacking_once(tmp_path, raw, mirror):
    url, asked, known = mirror
    into = data.fetch(tmp_path / "cache", [url], known)
    assert asked == [f"/{name}.gz" for name in NAMES]
    np.testing.assert_array_equal(data.read_folder(into, COUNTS, hashes(raw))[0].images, raw.images)
    (into / f"{NAMES[1]}.gz").write_bytes(b"torn")
    data.fetch(into, [url], known)
    assert asked[4:] == [f"/{NAMES[1]}.gz"]
    data.read_folder(into, COUNTS, hashes(raw))


def test_next_mirror_is_asked_where_one_fails(tmp_path, mirror):
    url, asked, known = mirror
    data.fetch(tmp_path / "cache", [f"{url}gone/", url], known)
    assert asked == [f"/{at}{name}.gz" for name in NAMES for at in ("gone/", "")]


def test_wrong_file_on_every_mirror_is_said_with_both_hashes_and_not_kept(tmp_path, mirror):
    url, _, known = mirror
    wrong = ["0" * 64, *known[1:]]
    target = tmp_path / "cache" / f"{NAMES[0]}.gz"
    text = complaint(
        lambda: data.fetch(tmp_path / "cache", [url, f"{url}gone/"], wrong), target, "0" * 64, known[0], "404"
    )
    assert url in text
    assert not target.exists()


def test_full_downloads_only_where_it_is_allowed_to(home, mirror):
    url, asked, _ = mirror
    with pytest.raises(DataError, match="allow the download"):
        data.full(mirrors=[url])
    assert asked == []
    # The small set is not MNIST: its hash is not the pinned one.
    place = home / ".cache" / "convspec" / "mnist" / f"{NAMES[0]}.gz"
    complaint(lambda: data.full(download=True, mirrors=[url]), place, idx.PARTS[0].archive_sha256)
    assert asked == [f"/{NAMES[0]}.gz"]


def test_unreachable_mirror_is_said(tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        url = f"http://127.0.0.1:{server.server_port}/"  # nobody's, once it is closed
    complaint(lambda: data.fetch(tmp_path, [url]), tmp_path / f"{NAMES[0]}.gz", url, "try again")


def test_missing_pooch_is_said_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"python -m pip install 'convspec\[mnist\]'") as caught:
        data.fetch(tmp_path)
    assert "\n" not in str(caught.value)


def test_pooch_is_imported_by_a_download_only():
    program = (
        "import sys; from convspec.harness.training import data; data.subset(); "
        "print(*{'pooch', 'requests', 'matplotlib', 'torch', 'tensorflow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
