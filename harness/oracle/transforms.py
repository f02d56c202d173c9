"""Direct sums, Winograd or Fourier: told by what one huge pixel does to outputs that it is no part of.

May import the cases, the reference and this folder. A direct sum multiplies a pixel by its weight and by nothing else:
where the weight is zero, or where the window does not hold the pixel, no finite value of it matters. A transform mixes
the pixels of a tile (Winograd) or of the image (Fourier) and relies on them cancelling, which rounding spoils.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import round_to
from convspec.harness.cases.recipes import Data
from convspec.reference import conv2d

from .bounds import accumulator_of, compare, delta, narrows
from .truth import Truth

Array = npt.NDArray[Any]

#: A pixel so large that a transform's rounding of it is larger than every other sum.
HUGE = {"float64": 2.0**80, "float32": 2.0**40, "float16": 2.0**14, "bfloat16": 2.0**40}
#: The widest Winograd tile in use has 8 outputs: what a pixel spoils lies at most 7 outside its receptive field.
TILE_REACH = 7
ORDER = ("direct", "winograd", "fft")


@dataclass(frozen=True)
class Probe:
    """One pixel replaced: the data, the outputs that must not notice, and how far each lies from those that read it."""

    value: float
    data: Data
    untouched: Array
    distance: Array


def probes(case: Case, data: Data) -> tuple[Probe, Probe]:
    """The same image with one huge pixel, and with one NaN."""
    rng = np.random.default_rng(case.seed)
    place = (int(rng.integers(case.x[0])), 5 + int(rng.integers(3)), 5 + int(rng.integers(3)), _any(rng, case.x[3]))
    marked = np.zeros(case.x)
    marked[place] = 1
    window = case.window
    under_weight = conv2d.forward(marked, (data["w"] != 0).astype(np.float64), window) != 0
    in_window = conv2d.forward(marked, np.ones(case.w), window) != 0
    distance = _distance(case, place)
    made = []
    for value, notice in ((HUGE[case.dtype], under_weight), (np.nan, in_window)):
        x = data["x"].copy()
        x[place] = value
        made.append(Probe(value, data | {"x": x}, ~notice, distance))
    return made[0], made[1]


def _any(rng: np.random.Generator, size: int) -> int:
    return int(rng.integers(size))


def _distance(case: Case, place: tuple[int, ...]) -> Array:
    """How many outputs each output lies away from the nearest that reads the pixel; other images are far away."""
    axes = []
    for axis in (0, 1):
        at = np.arange(case.window.output[axis])
        first, last = place[axis + 1] - case.kernel[axis] + 1, place[axis + 1]
        axes.append(np.maximum(np.maximum(first - at, at - last), 0))
    distance = np.broadcast_to(np.maximum(axes[0][:, None], axes[1])[None, :, :, None], case.y).copy()
    distance[np.arange(case.x[0]) != place[0]] = max(case.y)
    return distance


def right_for_some(got: Array, truth: Truth, dtype: str, contract: Contract) -> bool:
    """Whether an answer without a huge pixel is right for any algorithm at all: else a probe says nothing."""
    wider = (Contract(contract.accumulate, contract.tf32, contract.flush_subnormals, name) for name in ORDER[1:])
    return any(compare(got, truth, dtype, one) is None for one in wider)


def leaks(probe: Probe, before: Array, after: Array, truth: Truth, dtype: str, contract: Contract) -> Array:
    """Outputs that noticed a pixel that is no part of them: a mask. What rounding in any order explains is no leak."""
    with np.errstate(all="ignore"):
        if np.isnan(probe.value):
            return np.asarray(probe.untouched & ~np.isfinite(after.astype(np.float64)))
        plain = Contract(contract.accumulate, contract.tf32, contract.flush_subnormals)
        allowed = delta(truth, dtype, plain)
        y = truth.value
        if narrows(dtype, accumulator_of(dtype, contract)):
            sides = (round_to(y + sign * allowed, dtype) - y for sign in (-1, 1))
            allowed = np.max([np.abs(side) for side in sides], axis=0)
        wide = after.astype(y.dtype)
        # What was off before the pixel was huge has another cause.
        near = np.abs(wide - y) <= allowed + np.abs(before.astype(y.dtype) - y)
        # A zero weight times a pixel that became infinite is NaN: inputs of a smaller range, and no transform.
        return np.asarray(probe.untouched & ~near & (np.isfinite(wide) | (probe.distance > 0)))


def algorithm(probe: Probe, leaking: Array) -> str:
    """The algorithm that leaks so far."""
    if not leaking.any():
        return "direct"
    return "winograd" if int(probe.distance[leaking].max()) <= TILE_REACH else "fft"
