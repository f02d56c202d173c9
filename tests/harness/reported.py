"""Documents of runs that never were, for the tests of the reports: whole, and of the schema's form."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from convspec.harness.cli import main
from convspec.harness.report.results import document
from convspec.harness.verdict import Cell, Finding

HELLO = {
    "kind": "hello", "protocol": 1, "name": "mine", "versions": {"python": "3.11.7", "mine": "1.0"}, "device": None,
    "methods": ["conv2d"], "missing": ["conv2d_vjp", "max_pool", "max_pool_vjp"], "contract": {}, "accepts_bias": False,
    "argmax": False, "dtypes": None,
}  # fmt: skip
FINDING = Finding("size-formula", "value", "3 of 4 elements of y are wrong.", call="conv2d(x, w)", elements=4)
KNOWN = replace(FINDING, clause="locality", deviation="mine-leaks")
ENTRY = {
    "id": "mine-leaks", "clause": "locality", "dtype": "float32", "kind": "bug", "reason": "It reads too far.",
    "url": "", "place": "mine.toml:3", "lines": [3, 11], "overlaps": [],
}  # fmt: skip


def cell(clause="size-formula", state="pass", backend="mine", dtype="float32", level="MUST", **more):
    """A cell of a state, with what makes it so."""
    findings = {"fail": [FINDING], "crash": [replace(FINDING, kind="crash", message="It died.")], "deviation": [KNOWN]}
    given = {"cases": 3, "findings": [replace(f, clause=clause) for f in findings.get(state, [])]} | more
    return Cell(clause, level, dtype, backend, **given).to_dict() | {"state": state}


def run_of(*cells, entries=None):
    """A document of one run; a backend has a deviation if `entries` has it."""
    names = list(dict.fromkeys(c["backend"] for c in cells))
    hellos = {name: HELLO | {"name": name} for name in names}
    made = document(cells, hellos, level="quick", seed=20, order=names, deviations=entries)
    # Cells as they were given, so that tests can number them; a copy, so that they can damage it.
    return copy.deepcopy(made | {"cells": list(cells)})


def all_states():
    """One backend in every state, and a broken SHOULD."""
    return run_of(
        cell(),
        cell("conv2d-sum", "fail"),
        cell("conv2d-sum", "fail", dtype="float64"),
        cell("groups", "crash"),
        cell("locality", "deviation", witnesses={"mine-leaks": "reproduced"}),
        cell("max-pool-nan", "unsupported", reason="it has no max_pool"),
        cell("same-lower", "not run"),
        cell("batch-invariance", "fail", level="SHOULD"),
        entries={"mine": {"mine-leaks": ENTRY}},
    )


def training(state="pass", clause="training-step", backend="mine", **more):
    """A document of a training run with one verdict."""
    verdict = {
        "clause": clause, "net": "B", "seed": 0, "backend": backend, "state": state, "figure": 0.5, "limit": 1.0,
        "text": "step 3, layer 0", "diagnosis": "", "level": "MUST",
    }  # fmt: skip
    run = run_of(cell(backend=backend))
    return {
        "format": "convspec-training", "version": 1, "convspec": run["convspec"], "date": run["date"],
        "machine": run["machine"], "data": {"source": "none", "images": 1, "test_images": 1},
        "descent": {"steps": 1, "batch": 1, "rate": 0.05, "momentum": 0.9}, "nets": ["B"], "seeds": [0],
        "backends": {backend: {"native": False}}, "compared": {"B": ["loss"]}, "verdicts": [verdict | more], "runs": [],
    }  # fmt: skip


def convspec(*args, cwd=None, **env):
    command = [sys.executable, "-m", "convspec.harness.cli", *args]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False, env=clean | {"COLUMNS": "110"} | env
    )


def invoke(*args):
    return CliRunner().invoke(main, list(args))


def committed():
    folder = Path(__file__).parents[2] / "results"
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
