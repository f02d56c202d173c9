"""Pads for what a framework has no name for: SAME at a stride, SAME_LOWER; and for one that pads both sides alike.

It may import `convspec.reference.geometry` alone: what SAME means is decided there and nowhere else.
"""

from __future__ import annotations

from convspec.reference import geometry

from .backend import Padding, Pair

__all__ = ["pads_of", "split"]

Pads = tuple[Pair, Pair]


def pads_of(size: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, padding: Padding, dilations: Pair) -> Pads:
    """Return ``((top, bottom), (left, right))`` for any padding that the specification knows.

    Arguments that have no answer (a stride of 0, say) give no pads, so that the framework is the one to refuse them.

    Examples
    --------
    >>> pads_of((5, 4), (3, 3), (2, 2), "SAME", (1, 1))
    ((1, 1), (0, 1))
    >>> pads_of((5, 4), (3, 3), (0, 2), "SAME", (1, 1))
    ((0, 0), (0, 0))
    """
    if not isinstance(padding, str):
        return padding
    if len(size) != 2 or len(kernel) != 2 or min(*kernel, *strides, *dilations) < 1:
        return (0, 0), (0, 0)
    height, width = size
    rows, columns = kernel
    window = geometry.resolve((height, width), (rows, columns), strides=strides, padding=padding, dilations=dilations)
    return window.pads


def split(pads: Pads, ksize: Pair | None = None) -> tuple[Pair, Pads]:
    """Divide pads into torch's own, the same on both sides of an axis, and what is put in before.

    ``max_pool2d`` takes half the kernel at most; where more is asked for (``ksize`` is given), all is put in before.

    Examples
    --------
    >>> split(((0, 1), (2, 2)))
    ((0, 2), ((0, 1), (0, 0)))
    """
    own = [min(sides) for sides in pads]
    if ksize is not None:
        own = [pad if 2 * pad <= k else 0 for pad, k in zip(own, ksize, strict=True)]
    rows, columns = ((sides[0] - pad, sides[1] - pad) for sides, pad in zip(pads, own, strict=True))
    return (own[0], own[1]), (rows, columns)
