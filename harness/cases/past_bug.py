"""One past bug: a thread, what happened in it, the clause that it broke, and cases in which it would happen again.

May import this folder only. The bugs themselves are in `past_bugs` and `past_bugs_forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .case import Case, Padding, Pair
from .formats import FLOATS


@dataclass(frozen=True)
class PastBug:
    """One thread: what happened, the clause that it broke, and cases in which it would happen again.

    `shapes` says where the shapes are from: "given" by the thread, "reduced" from its own, or "chosen".
    """

    thread: str
    what: str
    clause: str
    cases: tuple[Case, ...]
    shapes: str = "given"
    dtypes: tuple[str, ...] = FLOATS

    @property
    def url(self) -> str:
        """The thread's address; a pull request's is found from there."""
        repository, number = self.thread.split("#")
        return f"https://github.com/{repository}/issues/{number}"


def conv(x: tuple[int, int, int, int], kernel: Pair, filters: int, **more: Any) -> Case:
    """A convolution."""
    return Case("conv2d", x, kernel, filters, **more)


def back(x: tuple[int, int, int, int], kernel: Pair, filters: int, **more: Any) -> Case:
    """Its gradients."""
    return Case("conv2d_vjp", x, kernel, filters, **more)


def pool(x: tuple[int, int, int, int], kernel: Pair, recipe: str = "distinct", **more: Any) -> Case:
    """A max pool."""
    return Case("max_pool", x, kernel, recipe=recipe, **more)


ONE: Padding = ((1, 1), (1, 1))
