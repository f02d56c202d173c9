"""The suite tested by wrong backends: each is caught by the check recorded for it, and no right one is flagged.

`caught.json` holds, for each wrong backend, the clause and dtype whose check catches it first, and at which level; no
clause where it takes the calls of several checks to catch it (a cache, a fault at the n-th call). After a change to the
suite it is written anew, which takes a while; the tests only read it:

    PYTHONPATH=tests:tests/harness python tests/mutants/test_detection.py

`tox run -e zoo` runs this file.
"""

import contextlib
import json
import pkgutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from local import LocalBackend

import convspec.conformance
from convspec.harness.check import Check
from convspec.harness.judge import Judge
from convspec.harness.levels import LEVELS
from convspec.harness.process.remote import RemoteBackend
from convspec.harness.verdict import Cell
from convspec.spec import clause, clauses
from mutants import RIGHT, ZOO
from mutants.suite import CELLS, CHECKS

HERE = Path(__file__).resolve().parent
CAUGHT = json.loads((HERE / "caught.json").read_text(encoding="utf-8"))
#: Those that break no MUST clause; each with the reason.
SPARED = {
    "FlushesInputs": "keeping subnormals is a SHOULD",
    "FlushesResults": "keeping subnormals is a SHOULD",
    "Float16Flushed": "keeping subnormals is a SHOULD",
    "Float16InputsFlushed": "keeping subnormals is a SHOULD",
    "PoolFlushes": "keeping subnormals is a SHOULD",
    "SplitsByThreads": "thread-invariance is a SHOULD, and takes two processes: test_threads.py",
}
pytestmark = pytest.mark.zoo


def broken(judge, level, slug=None, dtype=None):
    """The first MUST clause that is found broken, with the check that found it: (clause, check, dtype), or None."""
    for checked, dtypes, function in CHECKS:
        for one in dtypes:
            if slug in (None, checked) and dtype in (None, one):
                cell = Cell(checked, clause(checked).level, one, "local")
                function(Check(judge, cell, level=level, seed=20))
                for finding in cell.findings:
                    if clause(finding.clause).level == "MUST":
                        return finding.clause, checked, one, finding
    return None


def test_all_conformance_modules_are_looked_at():
    found = {m.name.removeprefix("test_") for m in pkgutil.iter_modules(convspec.conformance.__path__)}
    assert {f.__module__.rpartition("test_")[2] for _, _, f in CHECKS} == found
    assert {s for s, _, _ in CHECKS} == {c.slug for c in clauses().values() if c.scope == "backend"} - {
        "thread-invariance"
    }


def test_every_wrong_backend_has_its_entry_or_its_reason():
    assert set(CAUGHT) | set(SPARED) == set(ZOO)
    assert not set(CAUGHT) & set(SPARED)


@contextlib.contextmanager
def judge_of(name, level):
    """A judge of that wrong backend; in a process of its own where it dies or hangs."""
    cls = ZOO[name]
    if not cls.zoo.fatal:
        yield Judge(LocalBackend(cls(), name), LEVELS[level].crashes)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.py"
        path.write_text(f"import sys\nsys.path.insert(0, {str(HERE.parent)!r})\nfrom {cls.__module__} import {name}\n")
        with RemoteBackend(f"{path}:{name}", timeout=2.0) as backend:
            yield Judge(backend, 1)


def catch(name):
    """Where a wrong backend is caught first: where its entry says, or else wherever."""
    by = CAUGHT.get(name)
    if by:
        with judge_of(name, by["level"]) as judge:
            if broken(judge, by["level"], by["check"], by["dtype"]):
                return by
    for level in ("quick", "standard"):
        with judge_of(name, level) as judge:
            found = broken(judge, level)
        if found:
            with judge_of(name, level) as judge:  # alone, without the calls that came before?
                alone = broken(judge, level, found[1], found[2])
            return {"check": found[1] if alone else None, "dtype": found[2] if alone else None, "level": level}
    return None


@pytest.mark.parametrize("name", sorted(CAUGHT))
def test_wrong_backend_is_caught(name):
    by = CAUGHT[name]
    with judge_of(name, by["level"]) as judge:
        assert broken(judge, by["level"], by["check"], by["dtype"]), f"{name}: {ZOO[name].zoo.what}"


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_right_backend_is_spared(name):
    """By a third of the cells, each variant by another; by all of them where it declares something unusual.

    `benchmarks/trust.py` asks every variant everything.
    """
    judge = Judge(LocalBackend(RIGHT[name](), name), LEVELS["quick"].crashes)
    step = 1 if getattr(RIGHT[name], "contract", None) else 3
    for slug, dtype in CELLS[sorted(RIGHT).index(name) % step :: step]:
        found = broken(judge, "quick", slug, dtype)
        assert found is None, found


def record():
    """Judge every wrong backend and write `caught.json`; those that are not caught are printed."""
    names = [name for name in ZOO if name not in SPARED]
    with ProcessPoolExecutor() as pool:
        found = dict(zip(names, pool.map(catch, names), strict=True))
    print(*(f"NOT CAUGHT: {name}: {ZOO[name].zoo.what}" for name, by in found.items() if by is None), sep="\n")
    text = json.dumps({name: by for name, by in sorted(found.items()) if by}, indent=1)
    (HERE / "caught.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
