"""The kill table: the zoo against this suite at each level, and against what others would ask.

    python benchmarks/detection.py --cache FOLDER > benchmarks/detection.md
    python benchmarks/detection.py --columns onnx opinfo loop loop-1e-5 --cache FOLDER

Prints the document; progress goes to stderr. Each backend is judged afresh by each column, in a pool of processes; one
that crashes or hangs in a process of its own. Results are kept in FOLDER as JSON lines, so that an interrupted run goes
on where it was; take an empty folder after a change to the suite, the zoo or a peer. Needs the extras check, test and
torch, and `pip install onnx expecttest`.

The peers take some minutes, the levels quick and standard about an hour of one core (every right variant is judged in
full), deep longer where a wrong backend survives.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "harness"), str(ROOT / "benchmarks")]

# ruff: noqa: E402 - the threads are to be counted and the paths known before anything of these is imported
from detection_peers import PEERS
from detection_table import MOST_DISTRUSTED, SPARED, document
from mutants import ZOO
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from convspec.harness.check import Check
from convspec.harness.explore import Budget
from convspec.harness.judge import Judge
from convspec.harness.levels import LEVELS
from convspec.harness.process.local import LocalBackend
from convspec.harness.verdict import Cell
from convspec.spec import clause

Record = dict[str, Any]
COLUMNS = (*LEVELS, *PEERS)
#: Seconds after which a backend that may hang has hung: several times what the slowest peer takes, start included.
PATIENCE = 60
#: In place of the number of a call: the process was lost.
LOST = -1


def judge_one(column: str, name: str) -> Record:
    """What a column finds in one backend: the calls that it answers wrongly, and the first finding in words."""
    fatal = name in ZOO and ZOO[name].zoo.fatal
    if column in PEERS:
        return _apart(column, name) if fatal else by_peer(column, name)
    return by_suite(column, name)


def by_peer(column: str, name: str) -> Record:
    """Make the peer's calls: all of them, or as many as settle that the backend is wrong."""
    peer = PEERS[column]()
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        wrong = peer.wrong_calls((ZOO | SPARED)[name]())
        found = list(islice(wrong, MOST_DISTRUSTED + 1) if name in ZOO else wrong)
    seconds = time.perf_counter() - started
    return _record(column, name, found[0][1] if found else None, [number for number, _ in found], seconds)


def by_suite(level: str, name: str) -> Record:
    """Run the checks until one finds a MUST clause broken: first the one that is recorded, then all of them."""
    from mutants import test_detection as suite

    known = suite.CAUGHT.get(name, {})
    orders = [(known["check"], known["dtype"])] if known.get("check") else []
    should = None
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for slug, dtype in (*orders, (None, None)):
            with _judge(suite, name, level) as judge:
                for broken, must in _findings(suite, judge, level, slug, dtype):
                    if must:
                        return _record(level, name, broken, [], time.perf_counter() - started)
                    should = should or broken
    return _record(level, name, None, [], time.perf_counter() - started, should)


def _judge(suite: Any, name: str, level: str) -> Any:
    if name in ZOO:
        return suite.judge_of(name, level)
    return contextlib.nullcontext(Judge(LocalBackend(SPARED[name](), name), LEVELS[level].crashes))


class Found(Exception):  # noqa: N818 - a signal, not an error
    """Ends a check early."""


class Unshrunk(Check):
    """A check that stops at the first MUST clause that it finds broken, and looks for no smaller witness."""

    @property
    def budget(self) -> Budget:
        """That of the level, but for the shrinking."""
        return replace(super().budget, shrink_calls=0)

    def _take(self, *args: Any, **options: Any) -> None:
        super()._take(*args, **options)
        if any(clause(finding.clause).level == "MUST" for finding in self.cell.findings):
            raise Found


def _findings(suite: Any, judge: Judge, level: str, slug: str | None, dtype: str | None) -> Iterator[tuple[str, bool]]:
    """Each broken clause in the order in which it is found, and whether it is a MUST."""
    for checked, dtypes, function in suite.CHECKS:
        for one in dtypes:
            if slug in (None, checked) and dtype in (None, one):
                cell = Cell(checked, clause(checked).level, one, "local")
                with contextlib.suppress(Found):
                    function(Unshrunk(judge, cell, level=level, seed=20))
                for finding in cell.findings:
                    yield finding.clause, clause(finding.clause).level == "MUST"


def _apart(column: str, name: str) -> Record:
    """The same in a process that may be lost."""
    command, started = [sys.executable, __file__, "--one", column, name], time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return _record(column, name, "it hangs", [LOST], time.perf_counter() - started)
    if done.returncode == 0:
        found: Record = json.loads(done.stdout)
        return found
    lost = f"the process ends with status {done.returncode}"
    return _record(column, name, lost, [LOST], time.perf_counter() - started)


def _record(
    column: str, name: str, caught: str | None, calls: list[int], seconds: float, should: str | None = None
) -> Record:
    return {
        "column": column,
        "name": name,
        "caught": caught,
        "calls": calls,
        "should": should,
        "seconds": round(seconds, 3),
    }


def described(column: str) -> Record:
    """How a peer describes itself."""
    started = time.perf_counter()
    peer = PEERS[column]()
    seconds = time.perf_counter() - started
    return {"column": column, "describe": peer.describe(), "count": len(peer.cases), "seconds": round(seconds, 1)}


# ---- the run ------------------------------------------------------------------------------------------------------


def jobs_of(columns: Iterable[str], names: Iterable[str]) -> list[tuple[str, str]]:
    """What has to be judged; whether this suite spares the right variants is the business of `trust.py`."""
    return [(column, name) for column in columns for name in names if not (column in LEVELS and name in SPARED)]


def run(columns: list[str], names: list[str], cache: Path, processes: int) -> list[Record]:
    """Judge what the cache does not hold yet; everything that was asked for, from the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / "results.jsonl"
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    done = {(r["column"], r.get("name")) for r in found}
    wanted = jobs_of(columns, names)
    left = [job for job in wanted if job not in done]
    descriptions = [column for column in columns if column in PEERS and (column, None) not in done]
    shown = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        Progress(*shown, console=Console(stderr=True)) as progress,
        path.open("a", encoding="utf-8") as file,
        ProcessPoolExecutor(processes, get_context("spawn")) as pool,  # the progress bar is a thread: no fork
    ):
        asked = {pool.submit(described, column): column for column in descriptions}
        asked |= {pool.submit(judge_one, *job): " ".join(job) for job in left}
        task = progress.add_task("", total=len(wanted), completed=len(wanted) - len(left))
        for future in as_completed(asked):
            found.append(future.result())
            file.write(json.dumps(found[-1]) + "\n")
            file.flush()
            progress.update(task, advance="name" in found[-1], description=asked[future])
    chosen = set(wanted) | {(column, None) for column in columns}
    return [r for r in found if (r["column"], r.get("name")) in chosen]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS), help="which columns (all)")
    parser.add_argument("--cache", type=Path, help="a folder for the results (a temporary one)")
    parser.add_argument("--processes", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*ZOO, *SPARED], help="these backends only")
    parser.add_argument("--one", nargs=2, metavar=("COLUMN", "NAME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(by_peer(*given.one)))
        return
    columns = [column for column in COLUMNS if column in given.columns]
    with tempfile.TemporaryDirectory() as folder:
        records = run(columns, given.only or [*ZOO, *SPARED], given.cache or Path(folder), given.processes)
    print(document(columns, records))


if __name__ == "__main__":
    main()
