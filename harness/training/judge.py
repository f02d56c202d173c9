"""Verdicts of a training run: one a clause of `spec/training.md`, net, seed and backend, from what the pieces kept.

May import this folder, the verdicts and the specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convspec.adapters.backend import Contract
from convspec.harness.verdict import State, decides
from convspec.reference.training import NETS
from convspec.spec import clause

from . import lockstep
from .lockstep import distance, names
from .tasks import EARLY, Record

CLAUSES = (
    "training-operations", "training-step", "training-update", "training-early", "training-end", "training-accuracy",
)  # fmt: skip
#: At the end, so many times the band of the twins (and at least `lockstep.BRANCH`).
BAND = 3.0
#: Right answers of the test images that a net has after so many images seen, and how far from the reference's it is.
SEEN, FLOOR, APART = 4_900, {"A": 0.85, "B": 0.75}, 0.01


@dataclass(frozen=True)
class Verdict:
    """What is said of one clause: `figure` in units of `limit`'s own unit, `text` where and what it looks like."""

    clause: str
    net: str
    seed: int
    backend: str
    state: State
    figure: float | None = None
    limit: float | None = None
    text: str = ""
    diagnosis: str = ""

    @property
    def breaks(self) -> bool:
        """Whether it decides the exit status."""
        return decides(clause(self.clause).level, self.state)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self) | {"state": str(self.state), "level": clause(self.clause).level}


def band(records: Mapping[str, Record]) -> float:
    """The farthest from the reference that its twins end: what chance alone does to a free run."""
    reference = records["reference"].kept("end")
    twins = [record for who, record in records.items() if who != "reference"]
    return max(distance(reference, record.kept("end")) for record in twins)


def verdicts(
    net: str, seed: int, backend: str, record: Record, twins: Mapping[str, Record], digits: Any
) -> list[Verdict]:
    """The six verdicts on one backend."""
    facts = record.facts

    def say(slug: str, state: State | None, **rest: Any) -> Verdict:
        return Verdict(slug, net, seed, backend, State.NOT_RUN if state is None else state, **rest)

    lost = facts.get("lost")
    scale = lockstep.allowance(Contract(**facts["hello"]["contract"]))
    found = [_operations(say, facts), _step(say, net, record, scale), _update(say, facts)]
    if lost:
        kind = {"unsupported": State.UNSUPPORTED, "crash": State.CRASH, "hang": State.CRASH}.get(
            lost["kind"], State.FAIL
        )
        text = f"step {lost['at']}: {lost['text']}"
        found = [v if v.state is State.FAIL else say(v.clause, kind, text=text) for v in found]
        return [*found, *(say(slug, State.UNSUPPORTED if kind is State.UNSUPPORTED else None, text="no free run")
                          for slug in CLAUSES[3:])]  # fmt: skip
    reference = twins["reference"]
    found.append(_early(say, facts["early"], scale))
    found.append(_end(say, record, twins, scale))
    return [*found, _accuracy(say, net, record, reference, digits)]


def _state(right: bool) -> State:
    return State.PASS if right else State.FAIL


def _operations(say: Callable[..., Verdict], facts: dict[str, Any]) -> Verdict:
    wrong = facts.get("operation")
    text = f"step {wrong['step']}, {wrong['what']}" if wrong else ""
    return say("training-operations", _state(not wrong), text=text)


def _step(say: Callable[..., Verdict], net: str, record: Record, scale: float) -> Verdict:
    errors = record.arrays.get("errors", np.zeros((0, 0)))[: record.done.get("led", 0)]
    if not errors.size:
        return say("training-step", None)
    of = names(NETS[net])
    loss = float(errors[:, of.index("loss")].max()) * lockstep.LOSS * scale
    others = (
        float(np.delete(errors, [of.index("loss"), of.index("branches")], axis=1).max()) * lockstep.GRADIENT * scale
    )
    wrong = record.facts.get("failed", {}).get("step")
    text = f"loss within {loss:.1e}, outputs and gradients within {others:.1e}"
    if wrong:
        text = (
            f"{wrong['steps']} of {len(errors)} steps, first step {wrong['step']}: {wrong['first']} is the first to "
            f"part, at {wrong['error']:.3g} x the criterion; worst is {wrong['worst']}, at {wrong['worst_error']:.3g} x"
        )
    return say("training-step", _state(not wrong), figure=float(errors.max()), limit=1.0, text=text,
               diagnosis=wrong["diagnosis"] if wrong else "")  # fmt: skip


def _update(say: Callable[..., Verdict], facts: dict[str, Any]) -> Verdict:
    if "update" not in facts:
        return say("training-update", None)
    wrong = facts.get("failed", {}).get("update")
    text = ""
    if wrong:
        text = f"step {wrong['step']}: {wrong['first']} is off by {wrong['error']:.3g} x what is allowed"
    return say("training-update", _state(not wrong), figure=facts["update"], limit=1.0, text=text,
               diagnosis=wrong["diagnosis"] if wrong else "")  # fmt: skip


def _early(say: Callable[..., Verdict], early: dict[str, float], scale: float) -> Verdict:
    """The worst of three, each in units of its own limit."""
    told = {
        f"relative distance of the weights after {EARLY} steps on the same branches": (early["apart"], lockstep.NEAR),
        f"{EARLY} steps in one call, against one by one": (early["whole"], lockstep.BRANCH),
        "a branch taken otherwise, this far from a tie": (early["margin"], lockstep.MARGIN),
    }
    text, (figure, limit) = max(told.items(), key=lambda one: one[1][0] / one[1][1])
    return say("training-early", _state(figure <= limit * scale), figure=figure, limit=limit * scale, text=text)


def _end(say: Callable[..., Verdict], record: Record, twins: Mapping[str, Record], scale: float) -> Verdict:
    """Within what chance does to the twins; or else, followed on its own branches, where the reference is."""
    end, width = distance(twins["reference"].kept("end"), record.kept("end")), band(twins)
    limit = max(BAND * width, lockstep.BRANCH) * scale
    text = f"relative distance of the weights at the end; the twins' is {width:.2g}"
    told = record.facts.get("followed")
    if end <= limit or not told:
        return say("training-end", _state(end <= limit), figure=end, limit=limit, text=text)
    near = max(told["apart"], told["margin"] * lockstep.NEAR / lockstep.MARGIN)
    text = f"{end:.2g} from the reference where the twins' farthest is {width:.2g}; on the same branches"
    limit = lockstep.NEAR * scale
    return say("training-end", _state(near <= limit), figure=near, limit=limit, text=text)


def _accuracy(say: Callable[..., Verdict], net: str, record: Record, reference: Record, digits: Any) -> Verdict:
    mine, theirs = (accuracy(one, digits) for one in (reference, record))
    text = f"{theirs:.4f} of {len(digits.test_labels):,} test images, the reference {mine:.4f}"
    seen = int(record.arrays["marks"][-1]) * int(record.facts["batch"])
    floor = FLOOR[net] if seen >= SEEN else 0.0
    right = theirs >= floor and abs(theirs - mine) <= APART
    return say("training-accuracy", _state(right), figure=theirs, limit=floor, text=text)


def accuracy(record: Record, digits: Any) -> float:
    """The share of test images whose class was found."""
    return float((record.arrays["predicted"] == digits.test_labels).mean())
