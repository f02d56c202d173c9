"""How far a step of training may lie from the reference's: the criteria of `spec/training.md`, in units of each.

May import the reference and the oracle's bounds. Everything is compared at the reference's own weights, so that nothing
that was compared before has a say. ReLU signs and the maxima of windows are taken from the backend where it is near
enough to be free in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from convspec.adapters.backend import Contract
from convspec.harness.oracle.bounds import WINOGRAD_AMPLIFICATION
from convspec.reference import geometry, training
from convspec.reference import max_pool as pooling
from convspec.reference.arguments import Array
from convspec.reference.training import Net, Operations, Own, Pass

#: Relative error of the loss; of an output or a gradient, against its largest element; of a branch that differs.
LOSS, GRADIENT, MARGIN = 5e-6, 5e-5, 1e-5
#: Relative distance of all weights after a few free steps on the same branches.
NEAR = 3e-5
#: What one branch that rounding took otherwise was seen to move the weights by, some steps later.
BRANCH = 1e-2
#: Units in the last place, of the larger of a weight and its change.
ULPS = 4
#: Elements of a pool's input that may have got a gradient by a digit that was rounded away; more are no chance.
ODD_ONES = 1000
#: So many of them may be a tie in the reference: rounding makes a few, a rule for ties that is wrong makes thousands.
ODD_TIES = 16
EPSILON = 2.0**-23


class Compared(NamedTuple):
    """Errors in units of what is allowed, in the order in which they are made: forward, loss, then back."""

    errors: dict[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """The largest error and what it is of."""
        name = max(self.errors, key=lambda one: self.errors[one])
        return name, self.errors[name]

    @property
    def first(self) -> str:
        """What parts first; empty where nothing does."""
        return next((name for name, error in self.errors.items() if not error <= 1), "")


def names(net: Net) -> list[str]:
    """What is compared in a step, in the order of `Compared`.

    Examples
    --------
    >>> names(training.NETS["B"])[:3]
    ['0 conv2d: output', '1 max_pool: output', '2 leaky_relu: output']
    """
    layers = [f"{number} {kind}" for number, (kind, _) in enumerate(net)]
    back: list[str] = []
    for number in reversed(range(len(net))):
        back.append(f"{layers[number]}: gradient of the output")
        if number in training.weighted(net):
            back += [f"{layers[number]}: gradient of the {part}" for part in ("weights", "bias")]
    return [*(f"{layer}: output" for layer in layers), "loss", "branches", *back]


def allowance(contract: Contract) -> float:
    """By how much the criteria are wider for what a backend declares: coarser inputs, or a transform."""
    if contract.tf32:
        return 2.0**13  # TF32 keeps 13 bits fewer
    return {"winograd": WINOGRAD_AMPLIFICATION, "fft": 16.0}.get(contract.algorithm, 1.0)


def compare(
    net: Net,
    batch: tuple[Array, Array],
    parameters: Sequence[Array],
    reference: Pass,
    got: Pass,
    *,
    ops: Operations = Own,
    scale: float = 1.0,
    retake: bool = True,
) -> Compared:
    """Compare a backend's pass with the reference's, in units of the criteria times `scale`.

    Where branches differ, the reference goes back once more along the backend's, unless `retake` is false: its
    gradients were then changed afterwards.
    """
    errors: dict[str, float] = {}
    found = iter(names(net))
    for mine, theirs in zip(reference.outputs, got.outputs, strict=True):
        errors[next(found)] = relative(mine, theirs) / (GRADIENT * scale)
    errors[next(found)] = _scalar(reference.loss, got.loss) / (LOSS * scale)
    same = all(a.shape == b.shape for a, b in zip(reference.outputs, got.outputs, strict=True))
    margin, differ = branches(net, reference.outputs, got.outputs) if same else (np.inf, False)
    errors[next(found)] = margin / (MARGIN * scale)
    back = list(found)
    if differ and retake:
        reference = training.backward(net, *batch, parameters, reference.outputs, ops, got.outputs)
    later = _back(net, reference, got, scale)
    if retake and same and any(not error <= 1 for error in later):
        taken = as_taken(net, reference.outputs, got, scale)
        if taken is not None:
            reference = training.backward(net, *batch, parameters, reference.outputs, ops, taken)
            later = _back(net, reference, got, scale)
    return Compared(errors | dict(zip(back, later, strict=True)))


def _back(net: Net, reference: Pass, got: Pass, scale: float) -> list[float]:
    """Errors of all gradients, in the order in which they are made."""
    errors = []
    places = training.places(net)
    for number in reversed(range(len(net))):
        pairs = [(reference.output_gradients[number], got.output_gradients[number])]
        if number in places:
            at = places[number]
            pairs += list(zip(reference.gradients[at : at + 2], got.gradients[at : at + 2], strict=True))
        errors += [relative(mine, theirs) / (GRADIENT * scale) for mine, theirs in pairs]
    return errors


def as_taken(net: Net, mine: Sequence[Array], got: Pass, scale: float = 1.0) -> list[Array] | None:
    """The backend's outputs, with the maxima of windows where its gradients went; None where that is not near enough.

    A backend that computes in more digits than it returns may send a gradient to an element that is the maximum by a
    digit that was rounded away. It may do so where the two are near a tie; of elements that are equal in the reference
    the first takes the gradient, but for a few that rounding may have made equal.
    """
    taken, moved = list(got.outputs), False
    for number, (kind, _) in enumerate(net):
        if kind != "max_pool" or number == 0:
            continue
        x, own, sent = got.outputs[number - 1], mine[number - 1], got.output_gradients[number - 1]
        if sent.shape != x.shape:
            return None
        window = training.window(net[number], x.shape)
        first = np.zeros(x.shape, bool)
        at = pooling.argmax(x, window).reshape(len(x), -1)
        np.put_along_axis(first.reshape(len(x), -1), at, values=True, axis=1)
        places = np.argwhere((sent != 0) & ~first)
        if len(places) > ODD_ONES:
            return None
        near = MARGIN * scale * float(np.abs(x).max(initial=0.0))
        x = taken[number - 1] = x.copy()
        some = len(places) <= ODD_TIES  # few enough to be elements that rounding alone made equal
        for n, r, c, k in places:
            raised = _raised(got.outputs[number - 1], own, window, (n, r, c, k), near, some)
            moved |= raised is not None
            x[n, r, c, k] = x[n, r, c, k] if raised is None else raised
    return taken if moved else None


def _raised(x: Array, own: Array, window: geometry.Window, place: tuple[int, ...], near: float, tie: bool) -> Any:
    """What an element would be if it were the maximum of a window in which it nearly is; None where it is in none."""
    n, r, c, k = place
    (kernel_h, kernel_w), (stride_h, stride_w), _, (rows, columns), ((above, _), (before, _)) = window
    for row in range(max(0, -(-(r + above - kernel_h + 1) // stride_h)), min(rows - 1, (r + above) // stride_h) + 1):
        top = row * stride_h - above
        for column in range(
            max(0, -(-(c + before - kernel_w + 1) // stride_w)), min(columns - 1, (c + before) // stride_w) + 1
        ):
            left = column * stride_w - before
            cut = (n, slice(max(0, top), top + kernel_h), slice(max(0, left), left + kernel_w), k)
            largest = x[cut].max()
            tied = own[n, r, c, k] == own[cut].max() and np.count_nonzero(own[cut] == own[cut].max()) > 1
            if largest - x[n, r, c, k] <= near and (tie or not tied):
                return np.nextafter(largest, np.inf, dtype=x.dtype)
    return None


def relative(mine: Array, theirs: Array) -> float:
    """Largest difference over the largest element; infinity where shapes, types or NaN do not fit."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return float("inf")
    with np.errstate(all="ignore"):
        error = float(np.abs(mine - theirs).max(initial=0.0))
        largest = float(max(mine.max(initial=0.0), -mine.min(initial=0.0)))
    return _ratio(error, largest)


def _scalar(mine: Any, theirs: Any) -> float:
    return relative(np.asarray(mine).reshape(()), np.asarray(theirs).reshape(()))


def branches(net: Net, mine: Sequence[Array], theirs: Sequence[Array]) -> tuple[float, bool]:
    """How far from a tie the reference is where the other took another branch, and whether it did anywhere."""
    margin, differ = 0.0, False
    for number, (kind, _) in enumerate(net):
        if number == 0 or kind not in ("relu", "leaky_relu", "max_pool"):
            continue
        own, other = mine[number - 1], theirs[number - 1]
        if np.array_equal(own, other):
            continue
        if kind == "max_pool":
            window = training.window(net[number], own.shape)
            one, two = pooling.argmax(own, window), pooling.argmax(other, window)
            apart = one != two
            flat = own.reshape(len(own), -1)
            away = [np.take_along_axis(flat, at.reshape(len(own), -1), 1).reshape(at.shape) for at in (one, two)]
            distance = (away[0] - away[1])[apart]
        else:
            apart = (own > 0) != (other > 0)
            distance = np.abs(own[apart])
        if distance.size:
            differ = True
            largest = float(np.abs(own).max())
            margin = max(margin, float(distance.max()) / largest if largest else float("inf"))
    return margin, differ


def compare_update(
    before: Sequence[Array], after: Sequence[Array], gradients: Sequence[Array], rate: float, momentum: float
) -> Compared:
    """Compare a backend's next velocities and weights with the classical rule, given its own gradients.

    The velocity may be as wrong as a gradient may be; the weights follow from the backend's own velocity to a few ulp.
    """
    half = len(before) // 2
    errors: dict[str, float] = {}
    for number in range(half):
        w, v, w1, v1, g = before[number], before[half + number], after[number], after[half + number], gradients[number]
        with np.errstate(all="ignore"):
            expected = v.dtype.type(momentum) * v + g
            allowed = GRADIENT * float(np.abs(g).max()) + ULPS * EPSILON * float(np.abs(expected).max())
            errors[f"velocity {number}"] = _ratio(float(np.abs(v1 - expected).max()), allowed)
            change = v.dtype.type(rate) * v1
            ulp = EPSILON * np.maximum(np.abs(w), np.abs(change))
            off = np.abs(w1.astype(np.float64) - (w.astype(np.float64) - rate * v1.astype(np.float64)))
            errors[f"weights {number}"] = _ratio(float((off / np.maximum(ulp, 1e-45)).max()), ULPS)
    return Compared(errors)


def _ratio(error: float, allowed: float) -> float:
    if error == 0:
        return 0.0
    return error / allowed if allowed and np.isfinite(error) else float("inf")


def distance(mine: Sequence[Array], theirs: Sequence[Array]) -> float:
    """Euclidean distance of all weights, relative to the reference's length."""
    with np.errstate(all="ignore"):
        apart = sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in zip(mine, theirs, strict=True))
        length = sum(float((a.astype(np.float64) ** 2).sum()) for a in mine)
    return float(np.sqrt(apart / length)) if np.isfinite(apart) and length else float("inf")
