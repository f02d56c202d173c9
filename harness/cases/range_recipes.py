"""Recipes of large and of far-apart numbers: what overflows, on the way or at the end, and what must not.

May import this folder only. Entered in the list of `recipes`, which imports this file last.
"""

from __future__ import annotations

import math

import numpy as np

from .case import Case
from .formats import ACCUMULATOR, FORMATS
from .recipes import Data, fan_in, integers, nonzero, recipe, shapes, signed, thin


@recipe("bytes")
def bytes_(case: Case, rng: np.random.Generator) -> Data:
    """Exact. Integers of up to 7 bits on both sides, as quantised data: sums beyond what 16 bits hold."""
    budget = 2 ** FORMATS[ACCUMULATOR[case.dtype]].precision
    most = fan_in(case)
    amplitude = int(min(max(math.sqrt(budget / most), 1), 127))
    scale = 2.0**-8 if case.dtype == "float16" else 1.0  # so that no sum leaves float16's range
    data = {name: nonzero(rng, amplitude, shape) for name, shape in shapes(case).items()}
    keep = 0.5 * budget / most if most > budget else 1.0
    return {name: thin(rng, a, keep) * (scale if name == "x" else 1) if name != "w" else a for name, a in data.items()}


@recipe("overshoot")
def overshoot(case: Case, rng: np.random.Generator) -> Data:
    """Exact in float32. Three of four taps sum beyond float16, all four do not: partial sums must not be float16."""
    data = integers(case, rng)
    w = np.zeros((case.taps, case.filters))
    for column in w.T:
        chosen = rng.permutation(case.taps)[: case.taps // 3 * 3]
        column[chosen] = np.resize((60000.0, 60000.0, -60000.0), len(chosen))[rng.permutation(len(chosen))]
        column[chosen[9:]] = 0
    return data | {"x": np.ones(case.x), "w": w.reshape(case.w)}


@recipe("large")
def large(case: Case, rng: np.random.Generator) -> Data:
    """Sums just below the largest finite number: they must stay finite, and right."""
    room = FORMATS[case.dtype].largest / max(fan_in(case), 1) / 2
    factor = 2.0 ** np.floor(np.log2(room) / 2)
    data = {name: signed(rng, shape, 0.5, 1.0) * factor for name, shape in shapes(case).items()}
    return data | ({"bias": data["bias"] * 0} if "bias" in data else {})


@recipe("overflow")
def overflow(case: Case, rng: np.random.Generator) -> Data:
    """Sums beyond the output's largest number: infinity is the rounded answer, where the accumulator holds the sum."""
    data = large(case, rng)
    return {name: np.abs(a) * (2 if name == "w" else 16) for name, a in data.items()}


@recipe("far-apart")
def far_apart(case: Case, rng: np.random.Generator) -> Data:
    """Huge x and tiny w or the reverse, their products ordinary: no operand may be of a type of narrower range."""
    factor = 2.0 ** {"float64": 450, "float16": 13}.get(case.dtype, 110)
    huge, tiny = ("x", "w") if rng.integers(0, 2) else ("w", "x")
    scales = {huge: factor, tiny: 1 / factor}
    return {name: signed(rng, shape, 0.5, 1.0) * scales.get(name, 1.0) for name, shape in shapes(case).items()}


@recipe("largest")
def largest(case: Case, rng: np.random.Generator) -> Data:
    """Exact. The largest finite numbers in x under one tap of a half a filter: a narrower x would round to infinity."""
    data = integers(case, rng)
    w, dy = np.zeros((case.taps, case.filters)), np.zeros(case.y)
    if case.taps:
        w[rng.integers(0, case.taps, case.filters), np.arange(case.filters)] = 0.5
    if dy.size:
        dy.flat[rng.integers(0, dy.size)] = 0.5
    fmt = FORMATS[case.dtype]
    most = 2.0**fmt.largest_exponent * (2 - 2.0 ** (1 - min(fmt.precision, 11)))  # TF32 holds it too
    return data | {"x": nonzero(rng, 1, case.x) * most, "w": w.reshape(case.w), "dy": dy}
