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


def resolve(size: Pair, kernel: Pair, *, strides: object, padding: object, dilations: object = (1, 1)) -> Window:
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
    return lay(arguments.sizes("size", size), arguments.pair("kernel", kernel), strides, padding, dilations)


def lay(size: Pair, kernel: Pair, strides: object, padding: object, dilations: object) -> Window:
    """`resolve` for a size and a kernel that are known to be good."""
    return _resolve(
        size,
        kernel,
        arguments.pair("strides", strides),
        arguments.padding(padding),
        arguments.pair("dilations", dilations),
    )


@lru_cache(maxsize=1024)
def _resolve(size: Pair, kernel: Pair, strides: Pair, padding: str | Pads, dilations: Pair) -> Window:
    given = (padding, padding) if isinstance(padding, str) else padding
    (rows, vertical), (columns, horizontal) = (
        _lay(size[axis], kernel[axis], strides[axis], given[axis], dilations[axis]) for axis in (0, 1)
    )
    return Window(kernel, strides, dilations, (rows, columns), (vertical, horizontal))


def _lay(size: int, kernel: int, stride: int, padding: str | Pair, dilation: int) -> tuple[int, Pair]:
    """Output size and (before, after) along one axis."""
    span = effective_kernel(kernel, dilation)
    if padding in ("SAME", "SAME_LOWER"):
        output = -(-size // stride)
        total = max((output - 1) * stride + span - size, 0) if output else 0
        less, more = total // 2, total - total // 2
        return output, ((less, more) if padding == "SAME" else (more, less))
    before, after = (0, 0) if isinstance(padding, str) else padding
    return max((size + before + after - span) // stride + 1, 0), (before, after)


class Run(NamedTuple):
    """Where one tap of an axis lies on the image: pixels (a slice with a step), and the outputs that read them."""

    tap: int
    pixels: slice
    outputs: slice


class Reach(NamedTuple):
    """What outputs read: a span of `span` pixels, of which start .. stop - 1 lie on the image, from `head` on."""

    start: int
    stop: int
    head: int
    span: int


class Axis(NamedTuple):
    """A window along one axis of an image: output o, tap t meet pixel o * stride + t * dilation - before."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    output: int

    def part(self, low: int, high: int) -> Axis:
        """The same axis for outputs low .. high - 1 alone, counted from 0."""
        return self._replace(before=self.before - low * self.stride, output=high - low)

    def taps(self) -> range:
        """Taps that may lie on the image for some output; all others lie on padding for every one.

        >>> Axis(size=2, kernel=1000, stride=1, dilation=1, before=499, output=2).taps()
        range(498, 501)
        """
        if not (self.size and self.output):
            return range(0)
        first = max(0, -(((self.output - 1) * self.stride - self.before) // self.dilation))
        last = min(self.kernel - 1, (self.size - 1 + self.before) // self.dilation)
        return range(first, max(first, last + 1))

    def runs(self, among: range | None = None) -> list[Run]:
        """Every tap (of `among`) that lies on the image for some output, with the pixels and outputs that it joins.

        >>> Axis(size=5, kernel=3, stride=2, dilation=1, before=1, output=3).runs()[0]
        Run(tap=0, pixels=slice(1, 4, 2), outputs=slice(1, 3, None))
        """
        found = []
        taps = self.taps()
        if among is not None:
            taps = range(max(taps.start, among.start), min(taps.stop, among.stop))
        for tap in taps:
            offset = tap * self.dilation - self.before
            low = max(0, -(offset // self.stride))
            high = min(self.output, (self.size - 1 - offset) // self.stride + 1)
            if low < high:
                start = low * self.stride + offset
                pixels = slice(start, start + (high - low - 1) * self.stride + 1, self.stride)
                found.append(Run(tap, pixels, slice(low, high)))
        return found

    def reach(self) -> Reach:
        """What the outputs read (there is at least one); what the span has beyond the image is padding.

        >>> Axis(size=5, kernel=3, stride=1, dilation=1, before=1, output=2).reach()
        Reach(start=0, stop=3, head=1, span=4)
        """
        span = (self.output - 1) * self.stride + effective_kernel(self.kernel, self.dilation)
        start, stop = max(-self.before, 0), min(span - self.before, self.size)
        return Reach(start, stop, start + self.before, span) if start < stop else Reach(0, 0, 0, span)


def axis(window: Window, number: int, size: int) -> Axis:
    """Axis 0 (height) or 1 (width) of a window over an image of that size."""
    return Axis(
        size,
        window.kernel[number],
        window.strides[number],
        window.dilations[number],
        window.pads[number][0],
        window.output[number],
    )


def beginning(runs: list[Run], start: int) -> list[Run]:
    """The same taps over an image that begins at pixel `start`."""
    return [
        run._replace(pixels=slice(run.pixels.start - start, run.pixels.stop - start, run.pixels.step)) for run in runs
    ]
