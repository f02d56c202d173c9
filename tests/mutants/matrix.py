"""Which check catches which wrong backend: every wrong backend put to every case of one run.

    OMP_NUM_THREADS=1 PYTHONPATH=tests:tests/harness python tests/mutants/matrix.py

writes two files, some twenty minutes of work: `matrix.json` here (for each wrong backend the clauses whose checks find
it broken, with the clause that the finding is of) and, for those of the catalogue, `told.json` beside it: in which cell
of a run it is told apart soonest, so that a run asks it there first. Both are data that save time or are read by tests;
no verdict hangs on them. Those that die or hang are left out: `test_detection.py` judges them.
"""

import json
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from convspec.adapters import registry
from convspec.harness.cases.case import Case
from convspec.harness.check import Check
from convspec.harness.judge import Judge
from convspec.harness.oracle import readings
from convspec.harness.power import Power, Shadow
from convspec.harness.process.local import LocalBackend
from convspec.harness.verdict import Cell
from convspec.spec import clause
from mutants import ZOO
from mutants.suite import CELLS, WITH_MEMORY, functions_of

HERE = Path(__file__).resolve().parent


#: How soon a clause with memory tells is not counted.
LATE = 50
NEVER = 10**6


def alike(shadow, case):
    """Whether a case could tell: a reading about pools cannot be told by a convolution; of others nothing is known."""
    if shadow.name not in readings.known() or not isinstance(case, Case):
        return True
    return any(op.startswith(case.op[:4]) for op, _ in shadow.needs)


class Everyone(Power):
    """Every wrong backend of the zoo, asked anew in each cell; those with a state are asked everything."""

    everything = True

    def __init__(self):
        super().__init__()
        others = {n: cls for n, cls in ZOO.items() if not cls.zoo.fatal and n not in self.left}
        self.all = self.left | {n: Shadow(n, Judge(LocalBackend(cls(), n))) for n, cls in others.items()}
        self.found = {}

    def begin(self, clause, dtype):
        self.left, self.found, self.reach, self.tries = dict(self.all), {}, {}, Counter()

    def put(self, case, evaluate, outcome):
        shadows = [s for s in self.left.values() if alike(s, case)]
        fitting = {s.name for s in self.fitting(shadows, case)} if isinstance(case, Case) else set()
        for shadow in shadows:
            fits = shadow.name in fitting
            self.tries[shadow.name] += fits
            if fits or shadow.name not in self.found:
                self.look(shadow.name, evaluate(shadow.judge, case), fits)
        return [], {}

    def look(self, name, outcome, fits):
        """A run asks a reading only what fits it: a cell where nothing that fits tells it is no hint."""
        for finding in (*((outcome.finding,) if outcome.finding else ()), *outcome.also):
            clause, tries = self.found.get(name, (finding.clause, NEVER))
            self.found[name] = (clause, min(tries, self.tries[name] if fits else NEVER))
            if fits or name not in readings.known():
                self.left.pop(name, None)


def run(slug, dtype, judge, power):
    """One cell: the tests of a clause, on a cell of its own."""
    cell = Cell(slug, clause(slug).level, dtype, judge.backend.text)
    for function in functions_of(slug, dtype):
        function(Check(judge, cell, level="quick", seed=20, power=power))
        yield cell


def one(part):
    """The cells of one process: {wrong backend: [[check, dtype, clause, cases until it was caught], ...]}."""
    everyone, found = Everyone(), defaultdict(list)
    numpy = Judge(LocalBackend(registry.load("numpy"), "numpy"))
    for slug, dtype in part:
        if slug in WITH_MEMORY:
            for name, shadow in everyone.all.items():
                broken = [f.clause for cell in run(slug, dtype, shadow.judge, None) for f in cell.findings]
                found[name] += [[slug, dtype, broken[0], LATE]] if broken else []
            continue
        for _ in run(slug, dtype, numpy, everyone):
            for name, (broken, tries) in everyone.found.items():
                if [slug, dtype] not in [w[:2] for w in found[name]]:
                    found[name].append([slug, dtype, broken, tries])
    return dict(found)


def main():
    everything = defaultdict(list)
    with ProcessPoolExecutor(2) as pool:
        for found in pool.map(one, (CELLS[0::2], CELLS[1::2])):
            for name, where in found.items():
                if where:
                    everything[name] += where
    order = {cell: n for n, cell in enumerate(CELLS)}
    everything = {name: sorted(where, key=lambda w: order[w[0], w[1]]) for name, where in sorted(everything.items())}
    caught = {name: [w[:3] for w in where] for name, where in everything.items()}
    (HERE / "matrix.json").write_text(_lines(caught), encoding="utf-8")
    told = {name: soonest(where) for name, where in everything.items() if name in readings.known()}
    told = {name: cells for name, cells in told.items() if cells}
    (Path(readings.__file__).parent / "told.json").write_text(_lines(told), encoding="utf-8")


def soonest(where):
    """The cells that tell soonest, of three clauses: what one does not tell at another level another may."""
    first = {}
    for cell in sorted((w for w in where if w[3] < NEVER), key=lambda w: w[3]):
        first.setdefault(cell[0], cell[:2])
    return list(first.values())[:3]


def _lines(data):
    return "{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in data.items()) + "\n}\n"


if __name__ == "__main__":
    main()
