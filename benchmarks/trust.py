"""Are right backends spared? The whole suite at a level, put to every right variant of the zoo at once.

    python benchmarks/trust.py --level deep --out benchmarks/trust.md

Each case is drawn once, its right answer is worked out once, and every variant is asked it: two processes share the
cells. A variant that declares a contract is held to it. What is found against a MUST is a false alarm; a SHOULD that a
variant does not keep (the same bits in a batch, say) is counted beside it. `--json` keeps what each cell gave, so that
an interrupted run goes on where it was.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from mutants import RIGHT
from mutants.suite import CELLS, WITH_MEMORY, functions_of

from convspec.adapters import registry
from convspec.harness.check import Check
from convspec.harness.judge import Judge
from convspec.harness.process.local import LocalBackend
from convspec.harness.verdict import Cell
from convspec.spec import clause


class Everyone:
    """Stands where a run's `Power` does: asks every right variant everything, and keeps what was found."""

    everything = True

    def __init__(self, one_in):
        self.one_in, self.asked = one_in, 0
        self.judges = {name: Judge(LocalBackend(cls(), name)) for name, cls in RIGHT.items()}
        self.outputs, self.cases, self.refused, self.findings = Counter(), Counter(), Counter(), []

    def begin(self, clause, dtype):
        pass

    def put(self, case, evaluate, outcome):  # noqa: ARG002 - a run's Power looks at it
        self.asked += 1
        for number, (name, judge) in enumerate(self.judges.items()):
            if (number + self.asked) % self.one_in == 0:
                self.take(name, evaluate(judge, case))
        return [], {}

    def take(self, name, outcome):
        self.outputs[name] += outcome.outputs
        self.cases[name] += 1
        self.refused[name] += bool(outcome.refused)
        for finding in (*((outcome.finding,) if outcome.finding else ()), *outcome.also):
            self.findings.append((name, finding.clause, finding.message, finding.call))


def one(slug, dtype, level, one_in):
    """One cell for all variants."""
    everyone, started = Everyone(one_in), time.perf_counter()
    # A variant that declares a transform is asked something else by some checks.
    alone = slug in WITH_MEMORY
    apart = {n: j for n, j in everyone.judges.items() if alone or j.contract.algorithm != "direct"}
    everyone.judges = {n: j for n, j in everyone.judges.items() if n not in apart}
    functions = functions_of(slug, dtype)
    for name, judge in apart.items():
        cell = Cell(slug, clause(slug).level, dtype, name)
        for function in functions:
            function(Check(judge, cell, level=level if one_in == 1 else "standard", seed=20))
        for what in ("outputs", "cases", "refused"):
            getattr(everyone, what)[name] += getattr(cell, what)
        everyone.findings += [(name, f.clause, f.message, f.call) for f in cell.findings]
    if everyone.judges:
        judge = Judge(LocalBackend(registry.load("numpy"), "numpy"))
        for function in functions:
            function(Check(judge, Cell(slug, clause(slug).level, dtype, "numpy"), level=level, seed=20, power=everyone))
    seen = {"outputs": everyone.outputs, "cases": everyone.cases, "refused": everyone.refused}
    return {"cell": [slug, dtype], **seen, "findings": everyone.findings, "seconds": time.perf_counter() - started}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", default="quick", choices=("quick", "standard", "deep"))
    parser.add_argument("--one-in", type=int, default=1, help="put each case to one variant in so many, in turn")
    parser.add_argument("--json", type=Path, help="one line a cell; read first where it exists")
    parser.add_argument("--out", type=Path, help="write the table here (Markdown)")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    done = [json.loads(line) for line in asked.json.open()] if asked.json and asked.json.exists() else []
    left = [cell for cell in CELLS if list(cell) not in [d["cell"] for d in done]]
    started = time.perf_counter()
    with ProcessPoolExecutor(asked.processes) as pool:
        for future in as_completed([pool.submit(one, *cell, asked.level, asked.one_in) for cell in left]):
            done.append(future.result())
            if asked.json:
                with asked.json.open("a") as file:
                    file.write(json.dumps(done[-1]) + "\n")
            if sys.stderr.isatty() or len(done) % 25 == 0:
                print(f"{len(done)} of {len(CELLS)} cells, {time.perf_counter() - started:.0f} s", file=sys.stderr)
    text = table(done, asked.level, asked.one_in)
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    sys.exit(any(clause(f[1]).level == "MUST" for d in done for f in d["findings"]))


def table(done, level, one_in):
    lines = [
        f"# Right backends are spared: level {level}",
        "",
        f"`python benchmarks/trust.py --level {level} --one-in {one_in}`: the cases of the suite at that level, put to "
        f"{'all' if one_in == 1 else f'one in {one_in}'} of the {len(RIGHT)} right variants of the zoo"
        f"{'' if one_in == 1 else ', in turn (variants that declare a transform: the whole suite at standard)'}.",
        "",
        "| variant | what is unusual | cases | outputs judged | refused | false alarms | broken SHOULD |",
        "|---|---|---|---|---|---|---|",
    ]
    totals = Counter()
    for name, cls in RIGHT.items():
        musts = [f for d in done for f in d["findings"] if f[0] == name and clause(f[1]).level == "MUST"]
        shoulds = {f[1] for d in done for f in d["findings"] if f[0] == name and clause(f[1]).level == "SHOULD"}
        row = {what: sum(d[what].get(name, 0) for d in done) for what in ("cases", "outputs", "refused")}
        totals += Counter(row | {"alarms": len(musts)})
        lines.append(
            f"| {name} | {cls.spared} | {row['cases']:,} | {row['outputs']:,} | {row['refused']:,} | {len(musts)}"
            f"{' ' + musts[0][1] if musts else ''} | {', '.join(sorted(shoulds)) or '-'} |"
        )
    every = " | ".join(f"{totals[what]:,}" for what in ("cases", "outputs", "refused"))
    seconds = sum(d["seconds"] for d in done)
    lines += [
        f"| **all** | | {every} | **{totals['alarms']}** | |",
        "",
        f"{datetime.datetime.now().astimezone().date()}, {os.cpu_count()} cores of {platform.machine()}, "
        f"{platform.system()}; numpy {np.__version__}, python {platform.python_version()}; "
        f"{seconds:,.0f} s of one core.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
