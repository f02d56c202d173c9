"""One run of `convspec mnist`: the pieces in processes of their own, a live display, the verdicts, the files.

May import everything of the harness.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import convspec
from convspec.adapters import registry
from convspec.adapters.backend import BackendError
from convspec.harness.interpreters import Interpreters
from convspec.harness.options import unwritten
from convspec.harness.report import results as results_file
from convspec.harness.report.rows import TRAINING
from convspec.harness.run import BROKEN, COULD_NOT_RUN, INTERRUPTED, PASSED, bar, environment, make_console
from convspec.harness.verdict import State
from convspec.reference.training import NETS

from . import data, judge, plots, report, tasks
from .lockstep import names
from .tasks import ENVIRONMENT, Record, Task

FORMAT, VERSION = TRAINING
TWINS = 5


#: What each net, seed and trainer came to.
Records = dict[tuple[str, int, str], Record]


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line."""

    backends: tuple[str, ...]
    nets: tuple[str, ...] = ("A", "B")
    steps: int = 78  # one pass over the images that come with convspec
    seeds: tuple[int, ...] = (0,)
    batch: int = 64
    rate: float = 0.05
    momentum: float = 0.9
    full: bool = False
    download: bool = False
    folder: str | None = None
    pythons: tuple[str, ...] = ()
    json_file: str | None = None
    plots: str | None = None
    resume: bool = False
    state: str = ".convspec"
    processes: int | None = None

    def tasks(self) -> list[Task]:
        """All pieces, the longest first."""
        everyone = [(name, True) for name in self.backends]
        everyone += [(who, False) for who in ("float64", "reference", *(f"twin {n}" for n in range(1, TWINS + 1)))]
        return [
            Task(net, seed, who, backend, self.steps, self.batch, self.rate, self.momentum, self.pythons)
            for net in self.nets
            for seed in self.seeds
            for who, backend in everyone
        ]


def run(asked: Asked, console: Console | None = None) -> int:
    """Train, judge, report, and return the exit status."""
    console = console or make_console()
    errors = Console(stderr=True, emoji=False)
    try:
        backends = tuple(registry.expand(asked.backends))
        Interpreters.parse(asked.pythons).check(backends)
        asked = replace(asked, backends=backends)
        if asked.plots:
            plots.require()
        digits = load(asked)
        if asked.batch > len(digits.images):
            raise BackendError(f"--batch {asked.batch}: there are only {len(digits.images):,} images")
    except (BackendError, data.DataError) as error:
        errors.print(f"convspec: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return COULD_NOT_RUN
    folder = _folder(asked, digits)
    if not asked.resume:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"Data: {digits.source}; {len(digits.images):,} images and {len(digits.test_images):,} to test")
    try:
        records = _all(asked, asked.tasks(), folder, console)
        again = _to_follow(asked, _verdicts(asked, digits, records))
        for key, record in _all(asked, again, folder, console).items() if again else ():
            records[key].facts["followed"] = record.facts.get("followed")
    except KeyboardInterrupt:
        console.print("Interrupted; the same command with --resume goes on from here.", style="yellow")
        return INTERRUPTED
    found = document(asked, digits, records)
    report.render(found, console)
    if wrong := _write(asked, found, digits, console):
        for line in (*wrong, "the same command with --resume, and another name, writes them without training again"):
            errors.print(f"convspec: {line}", style="red", highlight=False, markup=False, soft_wrap=True)
        return COULD_NOT_RUN
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        Path(asked.state).rmdir()  # if nothing else is kept there
    return BROKEN if report.broken(found) else PASSED


def _write(asked: Asked, found: dict[str, Any], digits: data.Digits, console: Console) -> list[str]:
    """Write the results and the pictures that were asked for, and return what went wrong, a line each."""
    wrong = results_file.save(found, asked.json_file)
    if asked.json_file and not wrong:
        console.print(f"Results: {asked.json_file}", highlight=False)
    if asked.plots:
        try:
            for file in plots.write(found, digits, Path(asked.plots)):
                console.print(f"Picture: {file}", highlight=False)
        except OSError as error:
            wrong.append(unwritten("--plot", asked.plots, error))
    return wrong


def load(asked: Asked) -> data.Digits:
    """The images that were asked for."""
    if asked.full or asked.folder:
        return data.full(Path(asked.folder) if asked.folder else None, download=asked.download)
    return data.subset()


def _folder(asked: Asked, digits: data.Digits) -> Path:
    """Where the pieces are kept: another one for whatever would change a result."""
    facts = [asdict(task) for task in asked.tasks()]
    key = hashlib.sha256(json.dumps([convspec.__version__, facts]).encode())
    key.update(digits.images[:: max(1, len(digits.images) // 100)].tobytes())
    return Path(asked.state) / f"mnist-{key.hexdigest()[:12]}"


# ------------------------------------------------------------------------------------------------------ the pieces


#: Of a process that works: where it tells how far it is, and the images.
_queue: Any = None
_digits: Any = None


def _begin(queue: Any, asked: Asked) -> None:
    global _queue, _digits
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends us
    _queue, _digits = queue, load(asked)


def _work(task: Task, folder: str) -> None:
    def tell(done: int, total: int, text: str) -> None:
        _queue.put((task.name, done, total, text))

    tasks.run(task, _digits, Path(folder), tell)
    _queue.put((task.name, 1, 1, "done"))


def _to_follow(asked: Asked, found: list[judge.Verdict]) -> list[Task]:
    """Runs that end farther from the reference than its twins do: chance, or not? They are followed step by step."""
    far = {(v.net, v.seed, v.backend) for v in found if v.clause == "training-end" and v.state is State.FAIL}
    return [replace(task, follow=True) for task in asked.tasks() if (task.net, task.seed, task.who) in far]


def _all(asked: Asked, pieces: list[Task], folder: Path, console: Console) -> Records:
    """Every piece done, what there is of it already included."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    workers = min(len(pieces), asked.processes or max(1, os.cpu_count() or 1))
    threads = {name: value for name, value in ENVIRONMENT.items() if value is not None}
    with environment(**threads), Live(console, len(pieces)) as live:
        pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(queue, asked))
        try:
            waiting = {pool.submit(_work, task, str(folder)) for task in pieces}
            while waiting:
                while not queue.empty():
                    live.tell(*queue.get())
                finished = {future for future in waiting if future.done()}
                for future in finished:
                    future.result()
                waiting -= finished
                live.tick(len(pieces) - len(waiting))
                time.sleep(0.05)
        except BaseException:
            _end(pool, waiting)
            raise
        pool.shutdown()
    return {(task.net, task.seed, task.who): Record.load(folder / task.file) for task in pieces}


def _end(pool: ProcessPoolExecutor, waiting: set[Future[None]]) -> None:
    """End all pieces at once: what they kept is whole, and their backends end with them."""
    for future in waiting:
        future.cancel()
    for process in list((pool._processes or {}).values()):  # no public way
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


class Live:
    """A bar for all, and a line for each piece that is at work; a line now and then where there is no terminal."""

    EVERY = 15.0

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self.progress = bar(console)
        self._all = self.progress.add_task("training", total=total, now="starting ...")
        self._lines: dict[str, Any] = {}
        self._said, self._last = time.monotonic(), "starting"

    def __enter__(self) -> Live:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def tell(self, name: str, done: int, total: int, text: str) -> None:
        """Where a piece is."""
        if text == "done":
            if name in self._lines:
                self.progress.remove_task(self._lines.pop(name))
            return
        if name not in self._lines:
            self._lines[name] = self.progress.add_task(name, total=total, now=text)
        self.progress.update(self._lines[name], completed=done, now=text)
        self._last = f"{name}, step {done} of {total}: {text}"

    def tick(self, done: int) -> None:
        """How many are done."""
        self.progress.update(self._all, completed=done, now="")
        if not self.console.is_terminal and time.monotonic() - self._said > self.EVERY:
            self._said = time.monotonic()
            self.console.print(f"{done}/{self.total} runs done; {self._last}", highlight=False)


# ---------------------------------------------------------------------------------------------------- the document


def _verdicts(asked: Asked, digits: data.Digits, records: Records) -> list[judge.Verdict]:
    """On every backend, net by net and seed by seed."""
    found: list[judge.Verdict] = []
    for net in asked.nets:
        for seed in asked.seeds:
            mine = {who: record for (n, s, who), record in records.items() if (n, s) == (net, seed)}
            twins = {who: record for who, record in mine.items() if who not in asked.backends}
            for who in asked.backends:
                found += judge.verdicts(net, seed, who, mine[who], twins, digits)
    return found


def document(asked: Asked, digits: data.Digits, records: Records) -> dict[str, Any]:
    """Everything that was found, JSON-able."""
    runs = [
        _run(net, seed, who, who in asked.backends, record, records[net, seed, "reference"], digits)
        for (net, seed, who), record in records.items()
    ]
    backends = {who: records[asked.nets[0], asked.seeds[0], who].facts for who in asked.backends}
    return results_file.head(FORMAT, VERSION) | {
        "data": {"source": digits.source, "images": len(digits.images), "test_images": len(digits.test_images)},
        "descent": {key: getattr(asked, key) for key in ("steps", "batch", "rate", "momentum")},
        "nets": list(asked.nets),
        "seeds": list(asked.seeds),
        "backends": {
            who: {**facts.get("hello", {}), "native": facts.get("native", False)} for who, facts in backends.items()
        },
        "compared": {net: names(NETS[net]) for net in asked.nets},
        "verdicts": [verdict.to_dict() for verdict in _verdicts(asked, digits, records)],
        "runs": runs,
    }


def _run(
    net: str, seed: int, who: str, backend: bool, record: Record, reference: Record, digits: data.Digits
) -> dict[str, Any]:
    """What one training run was like, for tables and pictures."""
    arrays = record.arrays
    one: dict[str, Any] = {"net": net, "seed": seed, "who": who, "backend": backend, "facts": record.facts}
    if "errors" in arrays:
        one["errors"] = [[float(f"{e:.3g}") for e in row] for row in arrays["errors"][: record.done.get("led", 0)]]
        one["losses_led"] = arrays["losses led"][: record.done.get("led", 0)].tolist()
    if "predicted" in arrays:
        apart = np.linalg.norm(arrays["sketch"] - reference.arrays["sketch"], axis=1)
        one["marks"] = arrays["marks"].tolist()
        one["distance"] = (apart / np.linalg.norm(reference.arrays["sketch"], axis=1)).tolist()
        one["losses"] = arrays["losses"].tolist()
        one["accuracy"] = judge.accuracy(record, digits)
        wrong = np.flatnonzero(arrays["predicted"] != digits.test_labels)
        one["misclassified"] = [[int(i), int(arrays["predicted"][i])] for i in wrong[:200]]
        one["first_filters"] = record.kept("end")[0].astype(np.float64).round(6).tolist()
    return one
