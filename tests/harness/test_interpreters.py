"""`--python`: backends in other interpreters, which have NumPy and nothing of ours."""

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest

from convspec.adapters.backend import BackendError
from convspec.harness import interpreters
from convspec.harness.deviations.entry import Declared
from convspec.harness.deviations.files import known
from convspec.harness.interpreters import Interpreters, probe

MINE = """
import numpy as np
from convspec.adapters import Unsupported
class Mine:
    name = "mine"
    def max_pool(self, x, *, ksize, strides, padding, dilations):
        raise Unsupported("only here to say where: " + __import__("sys").prefix)
"""


def make_venv(folder, *packages):
    """A virtual environment that has these packages of ours and no other; made without the network."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for package in packages:
        (site / package.name).symlink_to(package)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def numpy_alone(tmp_path_factory):
    package = Path(np.__file__).parent
    libraries = [path for path in [package.with_name("numpy.libs")] if path.exists()]
    return make_venv(tmp_path_factory.mktemp("numpy_alone") / "venv", package, *libraries)


def check(*args, cwd):
    command = [sys.executable, "-m", "convspec.harness.cli", "check", *args]
    env = {**os.environ, "COLUMNS": "140"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300, check=False)


def test_the_environment_of_these_tests_is_what_it_says(numpy_alone):
    ours = ("convspec", "ml_dtypes", "pytest", "hypothesis")
    program = f"import importlib.util as u; print([n for n in {ours} if u.find_spec(n)])"
    assert subprocess.run([numpy_alone, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_one_backend_in_two_interpreters_makes_two_columns(numpy_alone, tmp_path):
    pythons = ("--python", f"here={sys.executable}", "--python", f"there={numpy_alone}")
    args = ("--level", "quick", "-n", "2", "-k", "same_odd", "--json", "out.json")
    done = check("numpy%here", "numpy%there", "numpy", *pythons, *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header = done.stdout.splitlines()
    assert [line for line in header if "numpy%here" in line and "numpy%there" in line]
    assert [line for line in header if line.count(np.__version__) == 3], "versions stand under the labels"
    found = json.loads((tmp_path / "out.json").read_text())
    assert list(found["summary"]) == ["numpy%here", "numpy%there", "numpy"]
    states = {(c["backend"], c["dtype"]): c["state"] for c in found["cells"]}
    assert states["numpy%here", "bfloat16"] == "pass"
    assert states["numpy%there", "float32"] == states["numpy%here", "float32"] == "pass"
    lacking = [c for c in found["cells"] if (c["backend"], c["dtype"]) == ("numpy%there", "bfloat16")]
    assert lacking[0]["state"] == "unsupported"
    assert "needs ml_dtypes, which this interpreter does not have" in lacking[0]["reason"]


def test_one_path_is_for_all_and_a_file_of_ones_own_runs_there(numpy_alone, tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    args = ("--level", "quick", "-n", "1", "-k", "max_pool_maximum", "--json", "out.json")
    done = check("mine.py:Mine", "--python", str(numpy_alone), *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    reasons = {c["dtype"]: c["reason"] for c in json.loads((tmp_path / "out.json").read_text())["cells"]}
    assert str(numpy_alone.parents[1]) in reasons["float32"]


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_what_cannot_run_is_one_line_and_exit_2(numpy_alone, tmp_path):
    bare = make_venv(tmp_path / "bare")
    # Runs the question as a Python of these versions would answer it.
    forged = 'exec "{python}" -c "import sys; {forge}; exec(sys.argv[1])" "$2"\n'
    old, aged = (
        script(tmp_path / name, forged.format(python=numpy_alone, forge=forge))
        for name, forge in {
            "old": "sys.version_info = (3, 8, 18)",
            "aged": "import numpy; numpy.__version__ = '1.19.5'",
        }.items()
    )
    silent = script(tmp_path / "silent", "")
    broken = script(tmp_path / "broken", "echo no shared library >&2; exit 127\n")
    (tmp_path / "text").write_text("hello")
    cases = [
        (("numpy", "--python", "/no/such/python"), ("--python /no/such/python", "no such file")),
        (("numpy", "--python", str(tmp_path)), ("this is a folder", "bin/python")),
        (("numpy", "--python", str(tmp_path / "text")), ("cannot be started",)),
        (("numpy", "--python", silent), ("no Python with which a program runs", "status 0")),
        (("numpy", "--python", broken), ("status 127", "no shared library")),
        (("numpy", "--python", old), ("Python 3.8.18 is too old", "3.10 or later")),
        (("numpy", "--python", aged), ("NumPy 1.19.5 is too old", "1.22 or later")),
        (("numpy", "--python", str(bare)), ("has no NumPy", f"{bare} -m pip install numpy")),
        (("torch", "--python", str(numpy_alone)), ("torch", f"install it there: {numpy_alone} -m pip install torch")),
        (("torch:tpu", "--python", str(numpy_alone)), ("torch has no device 'tpu'", str(numpy_alone))),
        (("numpy%new", "--python", f"old={numpy_alone}"), ("numpy%new", "known: old", "--python new=")),
        (("numpy%new",), ("none is named", "--python new=/path/to/python")),
        (("numpy", "--python", f"old={numpy_alone}"), ("no backend here is old", "BACKEND%old")),
        (("numpy", "--python", "/a", "--python", "/b"), ("/a is for every backend already", "old=/b")),
        (("numpy", "--python", "x=/a", "--python", "x=/b"), ("x is /a already; give it another name",)),
        (("numpy", "--python", "/a", "--python", f"numpy={numpy_alone}"), ("every backend here has another",)),
    ]
    for args, said in cases:
        done = check(*args, "-k", "same_odd", cwd=tmp_path)
        assert done.returncode == 2, (args, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert not done.stdout
        for part in said:
            assert part in done.stderr, (args, done.stderr)


def test_which_interpreter_a_label_means():
    given = Interpreters.parse(["/all", "torch=/t", "old=/o"])
    places = {
        "torch": ("torch", "/t"),
        "torch:cuda@eager": ("torch:cuda@eager", "/t"),
        "torch:cuda%old": ("torch:cuda", "/o"),
        "numpy": ("numpy", "/all"),
        "dir/100%/mine.py:B": ("dir/100%/mine.py:B", "/all"),
        "dir/mine.py:B%old": ("dir/mine.py:B", "/o"),
        "command:worker --fill 5%old": ("command:worker --fill 5%old", None),
    }
    assert {label: given.of(label) for label in places} == places
    assert Interpreters.parse([]).of("torch") == ("torch", None)
    assert Interpreters.parse(["./a=b/python"]).default == "./a=b/python"
    with pytest.raises(BackendError, match=r"which interpreter is 3\.12"):
        given.of("torch%3.12")


@pytest.mark.parametrize("label", ["numpy", "numpy:definition"])
def test_a_relative_path_and_a_name_on_path_are_found(numpy_alone, tmp_path, label, monkeypatch):
    monkeypatch.setenv("PATH", str(numpy_alone.parent))
    monkeypatch.chdir(numpy_alone.parents[1])
    for python in ("python", "bin/python", "./bin/python"):
        with Interpreters.parse([python]).remote(label) as backend:
            assert backend.hello["name"] == label
            assert backend.text == label


def test_known_deviations_are_those_of_the_version_in_whichever_interpreter():
    entries = known()
    versions = {"torch": "2.13.0", "tensorflow": "2.21.0"}
    here, there = (Declared.of(entries, name, {"versions": versions}).entries for name in ("torch", "torch:cpu%old"))
    assert here == there
    assert 0 < len(here) < len(entries)
    assert not Declared.of(entries, "torch%old", {"versions": {"torch": "0.1"}}).entries


def test_a_program_that_prints_for_ever_is_refused_before_it_fills_the_memory(tmp_path):
    for stream in ("", " >&2"):
        endless = script(tmp_path / "yes", f"exec yes{stream}\n")
        with pytest.raises(BackendError, match="asked for its version it writes without an end"):
            probe(endless)


def test_what_a_wrapper_started_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreters, "_SECONDS", 0.5)
    sleeps = script(tmp_path / "sleeps", f"sleep 600 & echo $! > {tmp_path}/pid; wait\n")
    with pytest.raises(BackendError, match=r"did not import NumPy within 0\.5 s"):
        probe(sleeps)
    leaves = script(tmp_path / "leaves", f'sleep 600 & echo $! >> {tmp_path}/pid; exec "{sys.executable}" "$@"\n')
    probe(leaves)
    for pid in (tmp_path / "pid").read_text().split():
        assert gone(int(pid)), pid


def gone(pid):
    for _ in range(100):
        try:
            if "(sleep) Z" in Path(f"/proc/{pid}/stat").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
