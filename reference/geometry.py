"""Output sizes, padding and which taps lie on the input: the one place that knows.

May import `arguments` of this folder and nothing else of ours. NumPy is not needed here: geometry is integers.
Along one axis, output `o` reads the input at `o * stride + tap * dilation - before`, for tap = 0 .. kernel - 1.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from . import arguments

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


class Window(NamedTuple):
    """A window laid over an image, everything resolved to integers: (height, width) pairs and ((top, bottom), ...)."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    output: Pair
    pads: Pads


def effective_kernel(kernel: int, dilation: int) -> int:
    """Pixels from the first tap to the last, both included: (k - 1) d + 1.

    >>> effective_kernel(3, 2)
    5
    """
    return (kernel - 1) * dilation + 1


def resolve(
    size: Pair, kernel: Pair, *, strides: object, padding: object, dilations: object = (1, 1), ksize: str = "w"
) -> Window:
    """Lay a window of `kernel` taps over an image of `size` pixels.

    Parameters
    ----------
    size : (int, int)
        Height and width of the input, zero allowed.
    kernel : (int, int)
        Taps per axis, at least one.
    strides, dilations : int, pair or 4-vector [1, h, w, 1]
        Positive.
    padding : str or ((top, bottom), (left, right))
        "SAME", "VALID" or "SAME_LOWER" in any case, or pixels a side.
    ksize : str
        What the caller calls the kernel, for messages.

    Returns
    -------
    Window
        SAME: the output has ceil(n / s) pixels, the padding is the least that allows it, and an odd pixel goes last
        (first for SAME_LOWER). VALID and explicit: floor((n + before + after - k_eff) / s) + 1, and 0 where the
        effective kernel does not fit.

    Raises
    ------
    TypeError, ValueError
        As `arguments` says, naming the argument.

    Examples
    --------
    >>> resolve((28, 28), (5, 5), strides=1, padding="SAME").pads
    ((2, 2), (2, 2))
    >>> resolve((5, 4), (2, 3), strides=2, padding="same").pads
    ((0, 1), (0, 1))
    >>> resolve((5, 4), (2, 3), strides=(2, 1), padding=((1, 0), (0, 0)), dilations=2).output
    (2, 0)
    """
    return _resolve(
        arguments.sizes("size", size),
        arguments.pair(ksize, kernel),
        arguments.pair("strides", strides),
        arguments.padding(padding),
        arguments.pair("dilations", dilations),
    )


@lru_cache(maxsize=1024)
def _resolve(size: Pair, kernel: Pair, strides: Pair, padding: str | Pads, dilations: Pair) -> Window:
    output_h, pads_h = _axis(
        size[0], kernel[0], strides[0], padding if isinstance(padding, str) else padding[0], dilations[0]
    )
    output_w, pads_w = _axis(
        size[1], kernel[1], strides[1], padding if isinstance(padding, str) else padding[1], dilations[1]
    )
    return Window(kernel, strides, dilations, (output_h, output_w), (pads_h, pads_w))


def _axis(size: int, kernel: int, stride: int, padding: str | Pair, dilation: int) -> tuple[int, Pair]:
    """Output size and (before, after) along one axis."""
    span = effective_kernel(kernel, dilation)
    if padding in ("SAME", "SAME_LOWER"):
        output = -(-size // stride)
        total = max((output - 1) * stride + span - size, 0) if output else 0
        less, more = total // 2, total - total // 2
        return output, ((less, more) if padding == "SAME" else (more, less))
    before, after = (0, 0) if isinstance(padding, str) else padding
    return max((size + before + after - span) // stride + 1, 0), (before, after)


def valid_taps(size: int, kernel: int, stride: int, dilation: int, before: int, output: int) -> range:
    """Taps that may lie on the input for some output; all others lie on padding for every output.

    >>> valid_taps(size=2, kernel=1000, stride=1, dilation=1, before=499, output=2)
    range(498, 501)
    """
    if not (size and output):
        return range(0)
    first = max(0, -(((output - 1) * stride - before) // dilation))
    last = min(kernel - 1, (size - 1 + before) // dilation)
    return range(first, max(first, last + 1))


def valid_outputs(tap: int, size: int, stride: int, dilation: int, before: int, output: int) -> Pair:
    """Outputs lo .. hi - 1 for which this tap lies on the input (lo == hi when there is none).

    >>> valid_outputs(0, size=5, stride=1, dilation=1, before=2, output=5)
    (2, 5)
    """
    offset = tap * dilation - before
    low = max(0, -(offset // stride))
    high = min(output, (size - 1 - offset) // stride + 1)
    return low, max(low, high)


class Reach(NamedTuple):
    """Input pixels start .. stop - 1 that a run of outputs reads, and where they lie in its span of `span` pixels."""

    start: int
    stop: int
    head: int
    span: int


def reach(low: int, high: int, size: int, kernel: int, stride: int, dilation: int, before: int) -> Reach:
    """What outputs low .. high - 1 read of an axis of `size` pixels; what the span has beyond it is padding.

    >>> reach(0, 2, size=5, kernel=3, stride=1, dilation=1, before=1)
    Reach(start=0, stop=3, head=1, span=4)
    """
    first = low * stride - before
    end = (high - 1) * stride - before + effective_kernel(kernel, dilation)
    start, stop = max(first, 0), min(end, size)
    if start >= stop:
        return Reach(0, 0, 0, end - first)
    return Reach(start, stop, start - first, end - first)
