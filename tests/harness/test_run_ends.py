"""How a run ends that does not come to its end: exit status 2 where it broke off, 130 where it was interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def convspec(*args, cwd, before="", **options):
    code = f"import sys\n{before}\nfrom convspec.__main__ import main\nsys.exit(main())"
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


FAULTS = {
    "a file that is not there": ("nowhere.py:B", "there is no file"),
    "syntax": ("syntax.py:B", "SyntaxError"),
    "abort": ("abort.py:B", "killed by SIGABRT"),
    "init": ("init.py:B", "it could not be created: RuntimeError: no"),
    "exit": ("leaves.py:B", "SystemExit"),
    "another package": ("imports.py:B", "No module named 'convspec_needs_this'"),
    "a command": ("command:no-such-program", "cannot be started"),
}
FILES = {
    "syntax.py": "def",
    "abort.py": "import os; os.abort()",
    "init.py": "class B:\n    def __init__(self): raise RuntimeError('no')\n    def conv2d(self): 0",
    "leaves.py": "raise SystemExit(0)",
    "imports.py": "import convspec_needs_this",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_skip_missing_does_not_pass_over_a_backend_that_is_there_and_broken(tmp_path, fault):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    backend, said = FAULTS[fault]
    done = convspec("check", "numpy", backend, "--skip-missing", *QUICK, "-n", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("python", "said"), [("/no/such/python", "no such file"), ("old=/no", "no backend here is old")]
)
def test_skip_missing_does_not_pass_over_an_interpreter(tmp_path, python, said):
    done = convspec("check", "numpy", "--python", python, "--skip-missing", *QUICK, "-n", "1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_skip_missing_says_which_package_is_not_here_and_judges_the_rest(tmp_path):
    """A start-up file that hides torch from each process, ours and the worker's."""
    (tmp_path / "hidden").mkdir()
    hide = (
        "import sys\nclass Hide:\n    def find_spec(self, name, *_):\n        if name == 'torch':\n            raise "
    )
    hide += "ModuleNotFoundError(\"No module named 'torch'\", name=name)\nsys.meta_path.insert(0, Hide())\n"
    (tmp_path / "hidden" / "sitecustomize.py").write_text(hide)
    before = f"import os; os.environ['PYTHONPATH'] = {str(tmp_path / 'hidden')!r}"
    args = ("numpy", "torch", "--skip-missing", *QUICK, "-n", "1", "--json", "r.json")
    done = convspec("check", *args, cwd=tmp_path, before=before)
    assert done.returncode == 0, done.stderr
    assert "not asked: torch: No module named 'torch'; install it: pip install 'convspec[torch]'" in done.stdout
    assert "nothing was asked of torch." in done.stdout
    assert "numpy: 1 of 1 cells pass" in done.stdout


IMPORTED = """
import signal
class Now:
    def find_spec(self, name, *_):
        if name == "convspec.harness.cli": signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Now())
"""
STARTED = "import signal, convspec.harness.run as r\nr._preflight = lambda _: signal.raise_signal(signal.{name})"
CONFIGURED = (
    "import signal, convspec.harness.plugin as p\np.pytest_configure = lambda: signal.raise_signal(signal.SIGINT)"
)


@pytest.mark.parametrize(
    "before", [IMPORTED, STARTED.format(name="SIGINT"), STARTED.format(name="SIGTERM"), CONFIGURED]
)
def test_an_interrupt_before_anything_is_judged_is_130_and_no_verdict(tmp_path, before):
    done = convspec("check", "numpy", *QUICK, "-n", "1", cwd=tmp_path, before=before)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "Abort" not in done.stderr
    assert "Traceback" not in done.stderr


THREE = """
import signal
from convspec.harness.collector import Collector
told, finish = Collector.pytest_runtest_logreport, Collector.pytest_sessionfinish
def again(number=signal.SIGINT): signal.raise_signal(number)
def pytest_runtest_logreport(self, report):
    told(self, report)
    if self.done: again()
def pytest_sessionfinish(self, session):
    again(), again(signal.SIGTERM)
    finish(self, session)
    again()
Collector.pytest_runtest_logreport, Collector.pytest_sessionfinish = pytest_runtest_logreport, pytest_sessionfinish
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_more_interrupts_do_not_keep_what_was_judged_from_being_saved(tmp_path, processes):
    args = ("--level", "quick", "-k", "same", "-n", processes, "--json", "r.json", "--junit", "r.xml")
    done = convspec("check", "numpy", *args, cwd=tmp_path, before=THREE)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "what was judged so far is above and saved" in done.stdout
    states = [cell["state"] for cell in json.loads((tmp_path / "r.json").read_text())["cells"]]
    assert {"pass", "not run"} == set(states)
    assert (tmp_path / "r.xml").exists()


LEAVES = """
import subprocess
from convspec.adapters.numpy_backend import NumpyBackend
class Leaves(NumpyBackend):
    def __init__(self): super().__init__("fast")
    def max_pool(self, x, **options):
        left = subprocess.Popen(["sleep", "600"], start_new_session=True)
        with open("left", "a") as file: file.write(f"{left.pid}\\n")
        import time; time.sleep(0.5)
        return super().max_pool(x, **options)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")
@pytest.mark.parametrize("processes", ["1", "2"])
def test_nothing_that_a_backend_started_outlives_a_run_whose_processes_are_all_told_to_end(tmp_path, processes):
    (tmp_path / "leaves.py").write_text(LEAVES)
    command = [sys.executable, "-m", "convspec", "check", "leaves.py:Leaves", "--level", "quick", "-k", "max_pool"]
    process = subprocess.Popen(
        [*command, "-n", processes],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for _ in range(600):
        if (tmp_path / "left").exists() and len((tmp_path / "left").read_text().splitlines()) > 3:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    left = (tmp_path / "left").read_text().split()
    assert left
    assert [pid for pid in left if is_asleep(pid)] == []


def is_asleep(pid):
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
