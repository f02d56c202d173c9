"""Every wrong backend is wrong on its recorded call, and every right one is right."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

import convspec

sys.path.append(str(Path(__file__).resolve().parents[1]))

from convspec.adapters import registry
from convspec.harness.oracle.readings.calls import arrays_of, ask, conv, conv_vjp, observe, pool, pool_vjp, wrong
from convspec.harness.oracle.readings.correct import Correct
from mutants import RIGHT, ZOO, where

RUN = """
import sys; sys.path[:0] = [{root!r}]
from mutants import ZOO
from convspec.harness.oracle.readings.calls import observe
observe(ZOO[{name!r}](), ZOO[{name!r}].zoo.witness)
"""


def run_apart(name):
    """What becomes of a process that runs a witness: "crash", "hang" or "ok"."""
    text = RUN.format(root=str(Path(__file__).resolve().parents[1]), name=name)
    patience = 4 if ZOO[name].zoo.fatal == "hang" else 120  # a busy machine takes a while to start and to die
    try:
        done = subprocess.run([sys.executable, "-c", text], timeout=patience, check=False, capture_output=True)
    except subprocess.TimeoutExpired:
        return "hang"
    return "crash" if done.returncode < 0 else "exit" if done.returncode == 3 else f"ok {done.stderr.decode()}"


@pytest.mark.parametrize("name", [name for name, cls in ZOO.items() if not cls.zoo.fatal])
def test_mutant_is_wrong_on_its_witness(name):
    right = ZOO[name].zoo.right or Correct
    assert wrong(ZOO[name](), right(), ZOO[name].zoo.witness) is not None


@pytest.mark.parametrize("name", [name for name, cls in ZOO.items() if cls.zoo.fatal])
def test_fatal_mutant_dies_on_its_witness(name):
    assert run_apart(name) == ZOO[name].zoo.fatal


@pytest.mark.parametrize("name", list(ZOO))
def test_correct_backend_is_right_on_every_witness(name):
    assert wrong(Correct(), Correct(), ZOO[name].zoo.witness) is None


EXACT = [(name, asked) for name, cls in ZOO.items() for asked in cls.zoo.witness if asked.get("exact")]


@pytest.mark.parametrize(("name", "asked"), EXACT, ids=[name for name, _ in EXACT])
def test_exact_witness_has_an_exact_answer(name, asked):
    """In float64, rounded once, the answer is the same: any difference from it is a fault."""
    right, arrays = (ZOO[name].zoo.right or Correct)(), arrays_of(asked)
    narrow = ask(right, asked, arrays)
    wide = ask(right, asked | {"dtype": "float64"}, [a.astype(np.float64) for a in arrays])
    pairs = zip(narrow, wide, strict=True) if isinstance(narrow, tuple) else [(narrow, wide)]
    assert all(np.array_equal(a, b.astype(a.dtype)) for a, b in pairs)


SPREAD = [
    conv((2, 7, 9, 3), (3, 3, 3, 4), padding="SAME", seed=1),
    conv((1, 8, 6, 2), (2, 4, 2, 3), strides=(2, 1), padding="SAME", seed=2),
    conv((1, 9, 9, 2), (3, 2, 2, 2), dilations=(2, 3), padding="SAME", seed=3),
    conv((6, 5, 5, 4), (3, 3, 2, 6), groups=2, padding=((1, 0), (2, 1)), seed=4),
    conv((1, 1, 1, 3), (5, 5, 3, 2), padding="SAME", seed=5),
    conv((1, 4, 4, 64), (3, 3, 64, 2), dtype="float16", data="lattice", seed=6),
    conv((1, 4, 4, 64), (3, 3, 64, 2), dtype="bfloat16", seed=7),
    conv((1, 6, 5, 3), (2, 3, 3, 2), dtype="float64", padding="SAME_LOWER", seed=8),
    conv((1, 5, 5, 2), (3, 3, 2, 2), put=[(0, (0, 1, 1, 0), float("nan")), (0, (0, 4, 4, 1), float("inf"))], seed=9),
    conv((2, 2, 2, 1), (3, 3, 1, 2)),
    conv((0, 5, 5, 1), (3, 3, 1, 2)),
    conv((1, 5, 5, 0), (3, 3, 0, 2)),
    conv_vjp((1, 5, 5, 0), (3, 3, 0, 2), (1, 3, 3, 2)),
    conv_vjp((0, 5, 5, 2), (3, 3, 2, 2), (0, 3, 3, 2)),
    conv_vjp((1, 2, 2, 2), (3, 3, 2, 2), (1, 0, 0, 2)),
    pool((0, 5, 5, 2), (2, 2)),
    pool((1, 2, 2, 2), (3, 3)),
    pool_vjp((1, 2, 2, 2), (1, 0, 0, 2), (3, 3)),
    conv_vjp((2, 7, 6, 2), (3, 3, 2, 4), (2, 4, 3, 4), strides=(2, 2), padding="SAME", seed=10),
    conv_vjp((1, 9, 9, 4), (2, 3, 2, 6), (1, 8, 7, 6), groups=2, padding=((1, 1), (0, 2)), dilations=(3, 2), seed=11),
    conv_vjp((3, 6, 6, 2), (2, 2, 2, 3), (3, 2, 2, 3), strides=(4, 3), dtype="float16", data="lattice", seed=12),
    pool((2, 7, 6, 3), (3, 2), strides=(2, 2), padding="SAME", seed=13),
    pool((1, 6, 6, 2), (2, 3), dilations=(2, 1), data="ties", dtype="float16", seed=14),
    pool((1, 5, 5, 1), (2, 2), dtype="int32", data="huge", padding=((1, 1), (0, 1)), seed=15),
    pool((1, 5, 5, 1), (2, 2), put=[(0, (0, 1, 1, 0), float("nan")), (0, (0, 4, 4, 0), float("-inf"))], seed=16),
    pool_vjp((2, 6, 6, 2), (2, 5, 5, 2), (2, 2), data=("ties", "normal"), seed=17),
    pool_vjp((1, 5, 5, 2), (1, 3, 3, 2), (3, 3), strides=(2, 2), padding="SAME", data=("ties", "lattice"), seed=18),
]
# By how much a declared contract widens the bound (Winograd's and FFT's own bounds are the suite's business).
WIDER = {"winograd": 256, "fft": 256}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", list(RIGHT))
def test_right_variant_agrees(name):
    contract = getattr(RIGHT[name], "contract", {})
    slack = 2**13 if contract.get("tf32") else WIDER.get(contract.get("algorithm"), 1)
    backend, answered = RIGHT[name](), 0
    for asked in SPREAD:
        outcome = observe(backend, [asked])[0]["outcome"] if hasattr(backend, asked["op"]) else "missing"
        assert outcome != "error" or name in ("RefusesEmpty", "SameLowerIsAnError"), asked
        if outcome == "ok":
            assert wrong(backend, Correct(), [asked], slack) is None, asked
            answered += 1
    assert answered >= 8


def test_right_variants_declare_what_they_do():
    assert len({cls.spared for cls in RIGHT.values()}) == len(RIGHT) >= 20


@pytest.mark.parametrize("seed", range(4))
def test_correct_backend_agrees_with_scipy(seed):
    asked = conv((1, 6 + seed, 7, 1), (2 + seed % 2, 3, 1, 1), dtype="float64", seed=seed)
    x, w = arrays_of(asked)
    for padding, mode in (("VALID", "valid"), ("SAME", "same")):
        if padding == "SAME" and seed % 2 == 0:
            continue  # scipy centres an even filter the other way
        y = ask(Correct(), asked | {"padding": padding}, [x, w])
        expected = signal.correlate2d(x[0, :, :, 0], w[:, :, 0, 0], mode)
        np.testing.assert_allclose(y[0, :, :, 0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("number", range(len(SPREAD)))
def test_correct_backend_agrees_with_the_reference(number):
    assert wrong(Correct(), convspec, [SPREAD[number]]) is None


@pytest.mark.parametrize("file", sorted({where(cls).rpartition(":")[0] for cls in (*ZOO.values(), *RIGHT.values())}))
def test_classes_load_by_their_name_on_the_command_line(file):
    cls = next(cls for cls in (*ZOO.values(), *RIGHT.values()) if where(cls).startswith(f"{file}:"))
    name = where(cls) if file.startswith("convspec.") else f"{Path(__file__).resolve().parents[2]}/{where(cls)}"
    assert callable(registry.load(name).conv2d)
