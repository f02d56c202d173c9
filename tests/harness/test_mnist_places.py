"""Where the full set of digits is looked for, and its download."""

import gzip
import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from mnist_files import COUNTS, NAMES, REAL, archive, complaint, hashes, put, real, small

from convspec.harness.training import data, idx
from convspec.harness.training.data import DataError


@pytest.fixture
def raw():
    return small()


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
    said = (target, "no mirror gave it: ", "0" * 64, known[0], "404")
    text = complaint(lambda: data.fetch(tmp_path / "cache", [url, f"{url}gone/"], wrong), *said)
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
