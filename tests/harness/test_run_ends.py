"""How a run ends that does not come to its end: exit status 2 where it broke off, 130 where it was interrupted."""

import os
import subprocess
import sys

import pytest

from convspec.harness.process import frames
from convspec.harness.process.worker import hello

HALF = """
from convspec.adapters.numpy_backend import NumpyBackend
class Half(NumpyBackend):
    def __init__(self):
        super().__init__("fast")
        self.name, self.device, self.version = "a\\ud800b", "c\\udfff", {"v\\ud800": "1\\udc00"}
"""
QUICK = ("--level", "quick", "-k", "same_lower")


def convspec(*args, cwd, before="0", **options):
    code = f"import sys; {before}; from convspec.__main__ import main; sys.exit(main())"
    env = {**os.environ, "COLUMNS": "110"}
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.mark.parametrize("processes", ["1", "2"])
def test_half_a_character_in_what_a_backend_says_of_itself_is_written_out(tmp_path, processes):
    (tmp_path / "half.py").write_text(HALF)
    done = convspec("check", "half.py:Half", *QUICK, "-n", processes, "--json", "r.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert r'"name": "a\\ud800b"' in (tmp_path / "r.json").read_text()


def test_a_hello_can_be_written_as_utf_8():
    class Half:
        name, device, version, dtypes = "a\ud800b", "c\udfff", "1\udc00", ["float32\ud800"]

    said = hello(Half(), "half")
    assert (said["name"], said["device"], said["dtypes"]) == ("a\\ud800b", "c\\udfff", ["float32\\ud800"])
    str(said).encode("utf-8")


def test_half_a_character_from_a_worker_in_another_language_is_written_out():
    text = rb'{"kind": "hello", "name": "\ud800", "versions": {"\uDFFF": ["\ud83d\ude00"]}}'
    header = frames.parse(text, 0)
    assert header["name"] == "\\ud800"
    assert header["versions"] == {"\\udfff": ["\U0001f600"]}


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("broken", ["plan", "pytest_runtest_logreport"])
def test_an_error_inside_pytest_is_one_line_and_exit_2(tmp_path, processes, broken):
    before = f"import convspec.harness.collector as c; c.Collector.{broken} = lambda *_, **__: [][7]"
    done = convspec("check", "numpy", *QUICK, "-n", processes, cwd=tmp_path, before=before)
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "the run broke off: IndexError: list index out of range; this is a fault of convspec" in done.stderr
    assert "No MUST clause is broken" not in done.stdout
