"""The check that takes two processes of one backend: a sum that threads split is reported, shared outputs are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ONE_CHECK = ("-k", "thread_invariance", "--level", "standard", "-n", "1")
NAMES = {
    "SplitsByThreads": f"{HERE / 'wrong_threads.py'}:SplitsByThreads",
    "Threads": "convspec.harness.oracle.readings.right_orders:Threads",
}


def judged(name, folder):
    """Exit status, what is printed, and the one cell of the check."""
    command = [sys.executable, "-m", "convspec.harness.cli", "check", NAMES[name], *ONE_CHECK, "--json", "out.json"]
    env = os.environ | {"OMP_NUM_THREADS": "4", "COLUMNS": "110"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stderr
    [cell] = json.loads((folder / "out.json").read_text("utf-8"))["cells"]
    return done.returncode, done.stdout, cell


def test_a_sum_split_by_threads_is_shown_and_breaks_no_must(tmp_path):
    status, shown, cell = judged("SplitsByThreads", tmp_path)
    assert cell["state"] == "fail"
    assert {f["clause"] for f in cell["findings"]} == {"thread-invariance"}
    assert status == 0, shown
    assert "thread-invariance (SHOULD)" in shown
    assert "other bits with one thread" in shown


def test_threads_that_share_out_the_outputs_are_right(tmp_path):
    status, shown, cell = judged("Threads", tmp_path)
    assert (status, cell["state"], cell["findings"]) == (0, "pass", []), shown
    assert cell["cases"] > 5
