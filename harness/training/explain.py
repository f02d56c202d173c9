"""What a step of training that went wrong looks like: known wrong readings inside the net, and wrong ways to train.

May import the reference and the catalogue. A reading is put in place of the reference's convolutions and pools; it
explains a pass if it gives that pass within the criteria of a right one, or nearly. So a fault that nobody described
has no name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from convspec.harness.diagnosis import particular
from convspec.harness.oracle import readings
from convspec.reference import training
from convspec.reference.arguments import Array
from convspec.reference.training import Net, Pass

from . import lockstep
from .subject import Lost, Subject

#: Images that a pass is repeated on, and seconds that may be spent on naming one fault.
IMAGES, SECONDS = 8, 60.0


def of_pass(subject: Subject, net: Net, batch: tuple[Array, Array], parameters: list[Array], scale: float) -> str:
    """Name what a backend's pass looks like; empty where nothing known gives it.

    Parameters
    ----------
    subject : Subject
        Asked once more, on few images.
    net, batch, parameters
        The step that failed.
    scale : float
        As in `lockstep.compare`.
    """
    few = batch[0][:IMAGES], batch[1][:IMAGES]
    right = training.one_pass(net, *few, parameters)
    try:
        got = subject.passed(net, *few, parameters)
    except Lost:
        return ""
    for name, wrong in _scaled(right, len(few[0])):
        if not lockstep.compare(net, few, parameters, wrong, got, scale=scale, retake=False).first:
            return name
    apart = lockstep.compare(net, few, parameters, right, got, scale=scale)
    if not apart.first:
        return ""  # right on few images: nothing that is wrong on each of them
    until = time.monotonic() + SECONDS
    found = []
    for name, cls in readings.known().items():
        if time.monotonic() > until:
            break
        reading = cls()
        try:
            with np.errstate(all="ignore"):
                wrong = training.one_pass(net, *few, parameters, reading)
                near = _explains(lockstep.compare(net, few, parameters, wrong, got, ops=reading, scale=scale), apart)
        except Exception:  # noqa: S112 - a reading that refuses such calls explains nothing
            continue
        if near:
            found.append(name)
    return str(readings.known()[min(found, key=particular)].zoo.what) if found else ""


def _explains(left: lockstep.Compared, apart: lockstep.Compared) -> bool:
    """Whether what a reading leaves unexplained is nothing, or next to it.

    Where inputs are rounded to few digits, an activation on the edge between two of them falls on either side, and some
    elements are as far apart as those digits. So a reading that leaves a fiftieth on average and a quarter at worst
    explains it too: what is another reading leaves about as much as there was.
    """
    if not left.first:
        return True
    before, after = (np.log(np.maximum(list(one.errors.values()), 1e-9)).mean() for one in (apart, left))
    return bool(after <= before - np.log(50) and left.worst[1] <= apart.worst[1] / 4)


def _scaled(right: Pass, count: int) -> Iterator[tuple[str, Pass]]:
    """Passes of a net that is right, with its gradients spoilt on the way to the optimizer."""
    n = np.float32(count)

    def scaled(factor: np.float32) -> Pass:
        return right._replace(
            output_gradients=tuple(g * factor for g in right.output_gradients),
            gradients=tuple(g * factor for g in right.gradients),
        )

    if count > 1:
        yield "the gradient is divided by N - 1", scaled(n / (n - 1))
        parameters_only = tuple(g * (n / (n - 1)) for g in right.gradients)
        yield "the gradient is divided by N - 1", right._replace(gradients=parameters_only)
    yield "the gradient is summed over the batch, not averaged", scaled(n)
    yield "the gradient has the wrong sign", scaled(np.float32(-1))
    biases = tuple(np.zeros_like(g) if g.ndim == 1 else g for g in right.gradients)
    yield "the biases get no gradient", right._replace(gradients=biases)


def of_update(
    before: Sequence[Array], after: Sequence[Array], gradients: Sequence[Array], rate: float, momentum: float
) -> str:
    """Name the rule by which velocities and weights were changed; empty where none that is known fits.

    Parameters
    ----------
    before, after : sequences of ndarray
        Parameters, then velocities.
    gradients : sequence of ndarray
        The backend's own, at the parameters before.
    rate, momentum : float
        What was asked for.
    """
    half = len(before) // 2
    w, v = (np.concatenate([a.ravel().astype(np.float64) for a in part]) for part in (before[:half], before[half:]))
    w1, v1 = (np.concatenate([a.ravel().astype(np.float64) for a in part]) for part in (after[:half], after[half:]))
    g = np.concatenate([a.ravel().astype(np.float64) for a in gradients])
    length = float(g @ g) or 1.0
    rest = v1 - momentum * v
    share = float(rest @ g) / length  # how much of the gradient the velocity took
    decayed = _fit(w - w1 - rate * v1, w)

    def near(a: Array, b: Array) -> bool:
        return bool(np.abs(a - b).max() <= 1e-4 * (np.abs(b).max() or 1.0))

    classical = near(rest, g)
    dampening = 1 - share
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("Nesterov's momentum, not the classical", lambda: classical and near(w - w1, rate * (g + momentum * v1))),
        (
            f"dampened momentum (dampening {dampening:.3g})",
            lambda: near(rest, share * g) and abs(dampening) > 1e-3 and near(w - w1, rate * v1),
        ),
        ("no momentum", lambda: near(v1, g) and near(w - w1, rate * g)),
        ("the update has the wrong sign", lambda: near(w1 - w, rate * v1)),
        (f"weight decay ({decayed / rate:.3g})", lambda: near(w - w1 - rate * v1, decayed * w) and decayed > 0),
        (f"the learning rate is {_fit(w - w1, v1):.3g}", lambda: classical and near(w - w1, _fit(w - w1, v1) * v1)),
    )
    return next((name for name, fits in rules if fits()), "")


def _fit(a: Array, b: Array) -> float:
    """The factor by which b comes nearest to a."""
    return float(a @ b) / (float(b @ b) or 1.0)
