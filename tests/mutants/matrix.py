"""Which check catches which wrong backend: every wrong backend put to every case of one run.

    OMP_NUM_THREADS=1 PYTHONPATH=tests:tests/harness python tests/mutants/matrix.py

writes two files, some ten minutes of work: `matrix.json` here (for each wrong backend the clauses whose checks find it
broken, with the clause that the finding is of) and, for those of the catalogue, `told.json` beside it: in which cells
of a run it is told apart, so that a run asks it there first. Both are data that save time or are read by tests; no
verdict hangs on them. Those that die or hang are left out: `test_detection.py` judges them.
"""

import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from test_detection import CHECKS

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

HERE = Path(__file__).resolve().parent
MOST_HINTS = 3


class Everyone(Power):
    """Every wrong backend of the zoo, asked anew in each cell; those with a state are asked everything."""

    everything = True

    def __init__(self):
        super().__init__()
        self.all = {
            n: self.left.get(n) or Shadow(n, Judge(LocalBackend(cls(), n)))
            for n, cls in ZOO.items()
            if not cls.zoo.fatal
        }
        self.found = {}

    def begin(self, clause, dtype):
        self.left, self.found, self.reach = dict(self.all), {}, {}

    def put(self, case, evaluate, outcome):
        for name in list(self.left):
            if name in readings.known() and isinstance(case, Case) and not self.wants(self.left[name], case):
                continue
            broken = evaluate(self.left[name].judge, case)
            for finding in (*((broken.finding,) if broken.finding else ()), *broken.also):
                self.found.setdefault(name, finding.clause)
                del self.left[name]
                break
        return [], {}


def one(part):
    """The cells of one process: {wrong backend: [[check, dtype, clause], ...]}."""
    everyone, found = Everyone(), defaultdict(list)
    judge = Judge(LocalBackend(registry.load("numpy"), "numpy"))
    for slug, dtype in part:
        for checked, dtypes, function in CHECKS:
            if checked == slug and dtype in dtypes:
                check = Check(
                    judge, Cell(slug, clause(slug).level, dtype, "numpy"), level="quick", seed=20, power=everyone
                )
                function(check)
                for name, broken in everyone.found.items():
                    found[name].append([slug, dtype, broken])
    return dict(found)


def main():
    cells = list(dict.fromkeys((slug, dtype) for slug, dtypes, _ in CHECKS for dtype in dtypes))
    everything = defaultdict(list)
    with ProcessPoolExecutor(2) as pool:
        for found in pool.map(one, (cells[0::2], cells[1::2])):
            for name, where in found.items():
                everything[name] += where
    order = {cell: n for n, cell in enumerate(cells)}
    everything = {name: sorted(where, key=lambda w: order[w[0], w[1]]) for name, where in sorted(everything.items())}
    (HERE / "matrix.json").write_text(_lines(everything), encoding="utf-8")
    told = {name: [w[:2] for w in where[:MOST_HINTS]] for name, where in everything.items() if name in readings.known()}
    (Path(readings.__file__).parent / "told.json").write_text(_lines(told), encoding="utf-8")


def _lines(data):
    return "{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in data.items()) + "\n}\n"


if __name__ == "__main__":
    main()
