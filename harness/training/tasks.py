"""The pieces of work of a run, each in a process of its own, each of which can be taken up again where it was left.

A piece is one net, one seed and one who trains: the reference, its twins (one ulp apart, and in float64), a backend.
All of them train freely; a backend is also led step by step along the reference's weights. What was done is kept in a
file, replaced as a whole, so that a kill at any moment loses seconds and changes no result.

May import everything of this folder, the adapters and `process`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from convspec.adapters import registry
from convspec.adapters.backend import Contract
from convspec.harness.interpreters import Interpreters
from convspec.harness.process.local import LocalBackend
from convspec.reference import training
from convspec.reference.arguments import Array
from convspec.reference.training import NETS, Pass

from . import explain, lockstep, operations
from .data import Digits
from .subject import Lost, Subject, one_ulp, step, zeros

#: Free runs are followed for so many steps; weights are looked at every so many.
EARLY, EVERY = 8, 8
#: Steps at which an update is compared: the first ones, and every so many.
UPDATES_FIRST, UPDATES_EVERY = 3, 10
#: Numbers that a run's weights are projected to, to tell how far apart two runs are at each step.
SKETCH = 1024
#: Seconds between two saves, and seconds that a call of a backend may take.
SAVE_EVERY, TIMEOUT = 3.0, 300.0
TEST_BATCH = 50  # a pass that also goes back takes a megabyte an image
#: One thread each, as many pieces run beside one another; and memory as it comes: filling it costs more than a step.
ENVIRONMENT: dict[str, str | None] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ENVIRONMENT |= dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
ENVIRONMENT |= {"MALLOC_PERTURB_": None, "GLIBC_TUNABLES": None}

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Task:
    """One piece: `who` is "reference", "twin 1" .. , "float64" or a backend's name."""

    net: str
    seed: int
    who: str
    backend: bool
    steps: int
    batch: int
    rate: float
    momentum: float
    pythons: tuple[str, ...] = ()
    follow: bool = False  # the whole run once more, with the reference behind it on the same branches

    @property
    def name(self) -> str:
        """What a progress line calls it."""
        return f"net {self.net}, seed {self.seed}: {self.who}{', followed' if self.follow else ''}"

    @property
    def file(self) -> str:
        """Name of the file that it is kept in."""
        plain = "".join(c if c.isalnum() else "-" for c in self.who)[:60]
        kind = "-followed" if self.follow else ""
        return f"{self.net}-{self.seed}-{plain}-{zlib.crc32(self.who.encode()):08x}{kind}.npz"

    @property
    def descent(self) -> dict[str, Any]:
        """The keywords of training."""
        return {"batch": self.batch, "rate": self.rate, "momentum": self.momentum}


@dataclass
class Record:
    """What came of a piece, so far. `state` is how the reference's lockstep, or the free run, goes on."""

    done: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it beside, then put it in place: nobody ever sees half a file."""
        beside = path.with_suffix(f".{os.getpid()}.part")
        told = np.frombuffer(json.dumps({"done": self.done, "facts": self.facts}).encode(), np.uint8)
        with beside.open("wb") as file:
            np.savez(file, **{"told": told, **self.arrays})  # type: ignore[arg-type]
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Record:
        """What was saved; an empty one where nothing was, or where it cannot be read."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            told = json.loads(arrays.pop("told").tobytes().decode())
            return cls(told["done"], told["facts"], arrays)
        except (OSError, ValueError, EOFError, KeyError, BadZipFile):
            return cls()

    def keep(self, name: str, arrays: list[Array]) -> None:
        """Keep a list of arrays under one name."""
        for key in [key for key in self.arrays if key.startswith(f"{name}/")]:
            del self.arrays[key]
        self.arrays.update({f"{name}/{number:03}": array for number, array in enumerate(arrays)})

    def kept(self, name: str) -> list[Array]:
        """Undo `keep`."""
        return [self.arrays[key] for key in sorted(self.arrays) if key.startswith(f"{name}/")]


def batches(count: int, batch: int, seed: int, steps: range) -> Array:
    """Indices of the images of some steps, one row a step: each pass over the data in an order of its own.

    Examples
    --------
    >>> batches(4, 2, 0, range(2)).shape
    (2, 2)
    """
    a_pass = count // batch
    if not a_pass:
        raise ValueError(f"a batch of {batch} is more than the {count} images that there are")
    rows = []
    for number in steps:
        which, place = divmod(number, a_pass)
        order = np.random.Generator(np.random.Philox([seed, 2, which])).permutation(count)
        rows.append(order[place * batch : (place + 1) * batch])
    return np.array(rows).reshape(len(rows), batch)


def run(task: Task, digits: Digits, folder: Path, progress: Progress) -> Record:
    """Do what is left of a piece, and keep it."""
    path = folder / task.file
    record = Record.load(path)
    if record.done.get("all"):
        return record
    started = time.perf_counter()
    record.facts["batch"] = task.batch
    if task.backend:
        interpreters = Interpreters.parse(task.pythons)
        with interpreters.remote(task.who, timeout=TIMEOUT, env=ENVIRONMENT) as backend:
            if task.follow:
                with contextlib.suppress(Lost):  # it trained the first time, so that the end is judged as it was
                    record.facts["followed"] = followed(task, digits, Subject(backend), task.steps, progress)
            else:
                _judge(task, digits, Subject(backend), backend.hello, record, path, progress)
    else:
        subject = Subject(LocalBackend(registry.load("numpy"), "numpy"))
        _freely(task, digits, subject, record, path, progress)
    record.facts["seconds"] = record.facts.get("seconds", 0.0) + time.perf_counter() - started
    record.done["all"] = 1
    record.save(path)
    return record


def _judge(
    task: Task, digits: Digits, subject: Subject, hello: Any, record: Record, path: Path, tell: Progress
) -> None:
    record.facts["hello"] = {key: hello[key] for key in ("name", "versions", "device", "contract")}
    record.facts["native"] = subject.native
    try:
        _led(task, digits, subject, Contract(**hello["contract"]), record, path, tell)
        if "early" not in record.facts:
            record.facts["early"] = followed(task, digits, subject, min(EARLY, task.steps))
        _freely(task, digits, subject, record, path, tell)
    except Lost as lost:
        record.facts["lost"] = {"kind": lost.kind, "text": str(lost), "at": record.done.get("led", 0)}


# ------------------------------------------------------------------------------------------- led step by step


def _led(
    task: Task, digits: Digits, subject: Subject, contract: Contract, record: Record, path: Path, tell: Progress
) -> None:
    """Every step at the reference's weights: loss, outputs, gradients, and now and then the update."""
    if record.done.get("led", 0) >= task.steps:
        return
    net, scale = NETS[task.net], lockstep.allowance(contract)
    state = record.kept("led")
    if not state:
        parameters = training.initial(net, task.seed)
        state = [*parameters, *zeros(parameters)]
        record.arrays["errors"] = np.zeros((task.steps, len(lockstep.names(net))), np.float32)
        record.arrays["losses led"] = np.zeros((task.steps, 2), np.float64)
    half, saved = len(state) // 2, time.monotonic()
    snapshots = {0, task.steps // 2, task.steps - 1}
    for now in range(record.done.get("led", 0), task.steps):
        at = batches(len(digits.images), task.batch, task.seed, range(now, now + 1))[0]
        batch = digits.images[at], digits.labels[at]
        parameters = state[:half]
        mine = training.one_pass(net, *batch, parameters)
        theirs = subject.passed(net, *batch, parameters)
        compared = lockstep.compare(net, batch, parameters, mine, theirs, scale=scale)
        record.arrays["errors"][now] = list(compared.errors.values())
        record.arrays["losses led"][now] = float(mine.loss), float(np.asarray(theirs.loss).ravel()[0])
        if compared.first:
            _blame(record, "step", now, compared, partial(explain.of_pass, subject, net, batch, parameters, scale))
        if now in snapshots:
            wrong = operations.wrong_operation(subject, net, batch[0], parameters, mine, contract)
            wrong = wrong or (operations.wrong_activation(net, theirs) if subject.native else "")
            if wrong and "operation" not in record.facts:
                record.facts["operation"] = {"step": now, "what": wrong}
        if now < UPDATES_FIRST or now % UPDATES_EVERY == 0:
            _update(task, subject, batch, state, theirs, record, now)
        state = step(state, mine.gradients, task.rate, task.momentum)
        record.done["led"] = now + 1
        name, worst = compared.worst
        tell(now + 1, 2 * task.steps, f"loss {float(mine.loss):.4f}, worst {worst:.2g} x the criterion ({name})")
        if time.monotonic() - saved > SAVE_EVERY:
            record.keep("led", state)
            record.save(path)
            saved = time.monotonic()
    record.keep("led", [])


def _blame(record: Record, what: str, now: int, compared: lockstep.Compared, named: Callable[[], str]) -> None:
    """Keep the first step that fails, what parts first in it, and what it looks like; count the others."""
    failed = record.facts.setdefault("failed", {})
    if what in failed:
        failed[what]["steps"] += 1
        return
    name, worst = compared.worst
    first = compared.first
    failed[what] = {
        "step": now, "steps": 1, "first": first, "error": compared.errors[first], "worst": name, "worst_error": worst,
        "diagnosis": named(),
    }  # fmt: skip


def _update(
    task: Task, subject: Subject, batch: tuple[Array, Array], state: list[Array], theirs: Pass, record: Record, now: int
) -> None:
    """One step by the backend's own optimizer, from the reference's weights and velocities."""
    _, *after = subject.trained(NETS[task.net], *batch, state, **task.descent)
    gradients = theirs.gradients  # its own: what they are is another clause's business
    compared = lockstep.compare_update(state, after, gradients, task.rate, task.momentum)
    record.facts["update"] = max(record.facts.get("update", 0.0), compared.worst[1])
    if compared.first:
        named = partial(explain.of_update, state, after, gradients, task.rate, task.momentum)
        _blame(record, "update", now, compared, named)


# --------------------------------------------------------------------------------------------------- free runs


def followed(
    task: Task, digits: Digits, subject: Subject, steps: int, tell: Progress = lambda *_: None
) -> dict[str, float]:
    """Steps that the backend takes from where it got itself, with the reference behind it on the same branches.

    Where an element is so near a tie that rounding decides, two right runs go apart at once, by as much as that element
    weighs. So the reference takes the branches that the backend takes, if they are near enough; then what is left is
    rounding. `whole` is the first of them in one call, against one by one: what the backend keeps to itself shows
    there, though nobody can follow its branches.
    """
    net, start = NETS[task.net], _start(task)
    state, first, behind, half, margin = start, start, start, len(start) // 2, 0.0
    at = batches(len(digits.images), task.batch, task.seed, range(steps))
    for number, row in enumerate(at):
        batch = digits.images[row], digits.labels[row]
        theirs = subject.passed(net, *batch, state[:half])
        outputs = training.forward(net, batch[0], behind[:half])
        if all(a.shape == b.shape for a, b in zip(outputs, theirs.outputs, strict=True)):
            margin = max(margin, lockstep.branches(net, outputs, theirs.outputs)[0])
            taken = lockstep.as_taken(net, outputs, theirs) or theirs.outputs
            mine = training.backward(net, *batch, behind[:half], outputs, branches=taken)
        else:  # the step's clause says so
            mine = training.backward(net, *batch, behind[:half], outputs)
        behind = step(behind, mine.gradients, task.rate, task.momentum)
        state = list(subject.trained(net, *batch, state, **task.descent)[1:])
        first = state if number < EARLY else first
        tell(number + 1, steps, "on the same branches")
    rows = at[:EARLY].ravel()
    whole = subject.trained(net, digits.images[rows], digits.labels[rows], start, **task.descent)[1:]
    apart = lockstep.distance(first[:half], whole[:half])
    return {"apart": lockstep.distance(behind[:half], state[:half]), "whole": apart, "margin": margin}


def _start(task: Task) -> list[Array]:
    parameters = training.initial(NETS[task.net], task.seed)
    if task.who.startswith("twin "):
        parameters = one_ulp(parameters, int(task.who.removeprefix("twin ")))
    if task.who == "float64":
        parameters = [parameter.astype(np.float64) for parameter in parameters]
    return [*parameters, *zeros(parameters)]


def _pieces(first: int, steps: int) -> Iterator[tuple[int, int]]:
    """From step to step where weights are looked at: 1, 2, 4, 8, 16, 24 ... and the last."""
    marks = sorted({1, 2, 4, *range(EVERY, steps + 1, EVERY), steps})
    before = first
    for mark in marks:
        if before < mark <= steps:
            yield before, mark
            before = mark


def _freely(task: Task, digits: Digits, subject: Subject, record: Record, path: Path, tell: Progress) -> None:
    """Train from the same start on the same batches, with nobody looking; then classify the test images."""
    net = NETS[task.net]
    state = record.kept("state") or _start(task)
    kind, half, saved = state[0].dtype, len(state) // 2, time.monotonic()
    first = record.done.get("free", 0)
    if not first:
        record.arrays |= {"losses": np.zeros(0, np.float64), "marks": np.zeros(0, np.int64)}
        record.arrays["sketch"] = np.zeros((0, SKETCH), np.float64)
    for start, stop in _pieces(first, task.steps):
        at = batches(len(digits.images), task.batch, task.seed, range(start, stop)).ravel()
        losses, *state = subject.trained(net, digits.images[at].astype(kind), digits.labels[at], state, **task.descent)
        arrays = record.arrays
        arrays["losses"] = np.concatenate([arrays["losses"], np.asarray(losses, np.float64).ravel()])
        arrays["marks"] = np.append(arrays["marks"], stop)
        arrays["sketch"] = np.concatenate([arrays["sketch"], [sketch(state[:half])]])
        record.done["free"] = stop
        done = stop + (task.steps if task.backend else 0)
        tell(done, task.steps * (2 if task.backend else 1), f"loss {float(arrays['losses'][-1]):.4f}")
        if time.monotonic() - saved > SAVE_EVERY:
            record.keep("state", state)
            record.save(path)
            saved = time.monotonic()
    record.keep("end", state[:half])
    record.keep("state", [])
    record.arrays["predicted"] = classify(task, digits, subject, state[:half])


def classify(task: Task, digits: Digits, subject: Subject, parameters: list[Array]) -> Array:
    """The class that the trained net gives each test image, by the one who trained it."""
    net, found = NETS[task.net], []
    for start in range(0, len(digits.test_images), TEST_BATCH):
        cut = slice(start, start + TEST_BATCH)
        images = digits.test_images[cut].astype(parameters[0].dtype)
        if subject.native:
            logits = subject.passed(net, images, digits.test_labels[cut], parameters).outputs[-1]
        else:
            logits = training.forward(net, images, parameters, subject)[-1]
        found.append(logits.argmax(axis=1).astype(np.int8))
    return np.concatenate(found)


def sketch(parameters: list[Array]) -> Array:
    """A random projection of all weights: distances between sketches are those between weights, within some percent."""
    flat = np.concatenate([parameter.ravel() for parameter in parameters]).astype(np.float64)
    place, sign = _projection(flat.size)
    return np.bincount(place, weights=flat * sign, minlength=SKETCH)


@lru_cache(maxsize=1)  # one net a piece
def _projection(size: int) -> tuple[Array, Array]:
    """Where each weight is added, and with which sign."""
    rng = np.random.Generator(np.random.Philox(3))
    return rng.integers(SKETCH, size=size), rng.integers(2, size=size) * 2 - 1
