"""Hostile backends judged by real runs: each gets its verdict, the run goes on, and nothing of it is left behind.

The backends are in `hostile/`; what single calls make of such deaths is in `test_process_deaths`.
"""

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest

from convspec.harness.cases.case import Case
from convspec.harness.judge import Judge, Question
from convspec.harness.process import strays
from convspec.harness.process.protocol import Request
from convspec.harness.process.remote import RemoteBackend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")

HERE = Path(__file__).parent / "hostile"
FILE = HERE / "backends.py"
CHECK = (sys.executable, "-m", "convspec.harness.cli", "check")
ROUND = "conv2d-sum and float32"

# Backend: the state of its cell, and what its finding says of the kind and of what came.
VERDICTS = {
    "SegfaultsInCall": ("crash", "crash", "killed by SIGSEGV"),
    "SegfaultsInThread": ("crash", "crash", "killed by SIGSEGV"),
    "WritesPastOutput": ("crash", "crash", "killed by SIG"),
    "Exits": ("crash", "crash", "exited with status 0 by itself"),
    "ReturnsObjects": ("fail", "type", "ndarray of object"),
    "ReturnsText": ("fail", "type", "str"),
    "ReturnsOtherShape": ("fail", "shape", ", 1)"),
    "ClaimsTerabytes": ("fail", "type", "too large to send"),
    "Prints": ("pass", None, None),
    "LeavesChildren": ("pass", None, None),
    "ClosesStandardStreams": ("pass", None, None),
}
HANGS = ("SleepsForEver", "IgnoresSignals")


def carriers(mark):
    """The processes with a mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


class Place:
    """A folder for temporary files and a mark for processes, both of which have to be empty at the end."""

    def __init__(self, folder):
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.mark = f"CONVSPEC_TEST_{uuid.uuid4().hex}"
        self.env = {**os.environ, self.mark: "1", "TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1"}
        self.shared = self.segments()

    @staticmethod
    def segments():
        """Files of ours under /dev/shm; others put theirs there meanwhile."""
        return {path for path in Path("/dev/shm").glob("*") if "convspec" in path.name or path.name.startswith("psm_")}

    def run(self, *command):
        """Run it to its end."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, check=False, cwd=HERE)
        assert carriers(self.mark) == [], "a process was left behind"
        assert list(self.temporary.iterdir()) == []
        assert self.segments() <= self.shared
        return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def cells(place, tmp_path_factory):
    """One run of `convspec check` over all of them, and one of pytest, with less patience, over those that hang."""
    results = tmp_path_factory.mktemp("results") / "results.json"

    def told():
        return {cell["backend"].rpartition(":")[2]: cell for cell in json.loads(results.read_text())["cells"]}

    check = [*CHECK, *(f"{FILE}:{name}" for name in VERDICTS)]
    done = place.run(*check, "-k", ROUND, "--level", "quick", "-n", "1", "--json", str(results))
    assert done.returncode == 1, done.stderr
    found = told()
    suite = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "convspec.conformance"]
    asked = [part for name in HANGS for part in ("--backend", f"{FILE}:{name}")]
    chosen = ["--convspec-timeout", "1", "-k", ROUND, "--level", "quick", "--convspec-json", str(results)]
    done = place.run(*suite, *asked, *chosen)
    assert done.returncode == 1, done.stdout
    return {**found, **told()}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(cells, name):
    state, kind, got = VERDICTS[name]
    cell = cells[name]
    assert (cell["clause"], cell["dtype"], cell["state"]) == ("conv2d-sum", "float32", state)
    found = cell["findings"][:1]
    if name == "WritesPastOutput":  # its damage may show otherwise as well, before the process dies of it
        found = [finding for finding in cell["findings"] if finding["kind"] == kind][:1]
    assert [finding["kind"] for finding in found] == ([kind] if kind else [])
    if kind:
        assert got in found[0]["got"]
    else:
        assert cell["cases"] > 10
        assert cell["outputs"] > 1000


@pytest.mark.parametrize("name", HANGS)
def test_a_hang_is_a_verdict(cells, name):
    finding = cells[name]["findings"][0]
    assert (cells[name]["state"], finding["kind"], finding["got"]) == ("crash", "hang", "no answer within 1 s")


def test_a_backend_that_dies_at_import_cannot_be_judged(place):
    done = place.run(
        sys.executable, "-m", "convspec.harness.cli", "check", f"{HERE}/dies_at_import.py:Backend", "-k", ROUND
    )
    assert done.returncode == 2
    assert "killed by SIGSEGV; it wrote: loading the library" in done.stderr
    assert "Traceback" not in done.stderr


CASE = Case("conv2d", (1, 4, 4, 1), (2, 2), filters=1)


def test_filling_memory_is_a_verdict():
    with RemoteBackend(f"{FILE}:FillsMemory", memory=400 << 20) as backend:
        outcome = Judge(backend).against_truth(CASE, Question("conv2d-sum"))
        assert outcome.finding.kind == "crash"
        assert "MiB of memory, more than 400 MiB" in outcome.finding.got


def test_a_large_input_that_is_changed_is_told():
    x = np.arange(400_000, dtype=np.float32).reshape(1, 200, 200, 10)
    options = {"ksize": (1, 1), "strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
    with RemoteBackend(f"{FILE}:ChangesLargeInput") as backend:
        for layout in ("C", "F"):
            answer = backend.call(Request("max_pool", (x,), (layout,), options))
            assert (answer.status, answer.mutated) == ("ok", (0,))


def test_children_that_left_the_process_group_end_with_the_worker(place):
    x, w = np.ones((1, 4, 4, 1), np.float32), np.ones((2, 2, 1, 1), np.float32)
    options = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1), "groups": 1}
    with RemoteBackend(f"{FILE}:LeavesChildren", env={place.mark: "1"}) as backend:
        assert backend.call(Request("conv2d", (x, w), ("C", "C"), options)).status == "ok"
        assert len([pid for pid in carriers(place.mark) if pid != os.getpid()]) >= 4
    assert carriers(place.mark) == []


def test_only_marked_processes_are_ended():
    with subprocess.Popen(["sleep", "60"], env={**os.environ, strays.VARIABLE: "other"}) as bystander:
        try:
            mark = strays.mark()
            with subprocess.Popen(["sleep", "60"], env={strays.VARIABLE: mark}, start_new_session=True) as stray:
                strays.end(mark)
                assert stray.wait(5) == -9
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_the_temporary_folder_is_where_it_should_be(place):
    code = "import tempfile; print(tempfile.gettempdir())"
    assert place.run(sys.executable, "-c", code).stdout.strip() == str(place.temporary)
    assert tempfile.gettempdir() != str(place.temporary)
