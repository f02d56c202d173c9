"""Every wrong backend is wrong on its recorded call, and every right one is right."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))

from mutants import ZOO
from mutants.calls import wrong
from mutants.correct import Correct

RUN = """
import sys; sys.path[:0] = [{root!r}]
from mutants import ZOO
from mutants.calls import observe
observe(ZOO[{name!r}](), ZOO[{name!r}].zoo.witness)
"""


def run_apart(name):
    """What becomes of a process that runs a witness: "crash", "hang" or "ok"."""
    text = RUN.format(root=str(Path(__file__).resolve().parents[1]), name=name)
    try:
        done = subprocess.run([sys.executable, "-c", text], timeout=4, check=False, capture_output=True)
    except subprocess.TimeoutExpired:
        return "hang"
    return "crash" if done.returncode < 0 else "exit" if done.returncode == 3 else f"ok {done.stderr.decode()}"


@pytest.mark.parametrize("name", [name for name, cls in ZOO.items() if not cls.zoo.fatal])
def test_mutant_is_wrong_on_its_witness(name):
    assert wrong(ZOO[name](), Correct(), ZOO[name].zoo.witness) is not None


@pytest.mark.parametrize("name", [name for name, cls in ZOO.items() if cls.zoo.fatal])
def test_fatal_mutant_dies_on_its_witness(name):
    assert run_apart(name) == ZOO[name].zoo.fatal


@pytest.mark.parametrize("name", list(ZOO))
def test_correct_backend_is_right_on_every_witness(name):
    assert wrong(Correct(), Correct(), ZOO[name].zoo.witness) is None
