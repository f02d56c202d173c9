"""Pads for what a framework has no name for: SAME at a stride, SAME_LOWER.

It may import `convspec.reference.geometry` alone: what SAME means is decided there and nowhere else.
"""

from __future__ import annotations

from convspec.reference import geometry

from .backend import Padding, Pair

__all__ = ["pads_of"]

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
