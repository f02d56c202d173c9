"""Recipes of NaN where nobody may look, or where a factor of zero does not excuse from looking.

May import this folder only. Entered in the list of `recipes`, which imports this file last.
"""

from __future__ import annotations

import numpy as np

from .case import Case
from .recipes import RECIPES, Array, Data, met, recipe


def _plain(case: Case, rng: np.random.Generator) -> Data:
    return RECIPES["integers" if case.is_convolution else "distinct"](case, rng)


@recipe("nan-unread")
def nan_unread(case: Case, rng: np.random.Generator) -> Data:
    """Exact. NaN in every pixel that no window reads: between strides, behind the last window."""
    data = _plain(case, rng)
    x = np.array(data["x"], float)
    rows, columns = (np.isin(np.arange(case.x[1 + axis]), met(case, axis)[0]) for axis in (0, 1))
    x[:, ~np.outer(rows, columns)] = np.nan
    return data | {"x": x}


@recipe("nan-group")
def nan_group(case: Case, rng: np.random.Generator) -> Data:
    """Exact elsewhere. NaN in all channels of one group: the others' outputs do not see it."""
    data = _plain(case, rng)
    x: Array = np.array(data["x"], float).reshape(*case.x[:3], case.groups, -1)
    x[..., rng.integers(0, case.groups), :] = np.nan
    return data | {"x": x.reshape(case.x)}


def _zero_tap(case: Case, rng: np.random.Generator, target: str) -> Data:
    """NaN somewhere, and one tap of zeros in all filters: zero times NaN is NaN, and is not to be skipped."""
    data = dict(RECIPES[f"nan-in-{target}"](case, rng))
    if case.kernel != (1, 1):
        w = np.array(data["w"], float)
        w[rng.integers(0, case.kernel[0]), rng.integers(0, case.kernel[1])] = 0
        data["w"] = w
    return data


@recipe("nan-in-x-zero-tap")
def nan_pixel_under_a_zero_tap(case: Case, rng: np.random.Generator) -> Data:
    """A NaN pixel under a tap of zeros."""
    return _zero_tap(case, rng, "x")


@recipe("nan-in-dy-zero-tap")
def nan_gradient_under_a_zero_tap(case: Case, rng: np.random.Generator) -> Data:
    """A NaN in dy, which goes back along a tap of zeros too."""
    return _zero_tap(case, rng, "dy")
