"""Which pixel each tap of a convolution reads, asked of the backend one tap at a time.

May import the judge. The image holds odd numbers that all differ, the filter is one at a single tap: the answer is then
the pixel that the tap reads, an even number where it is read twice, and zero where it is not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cases.case import Case
from .cases.formats import FORMATS, dtype_of
from .cases.recipes import Array
from .cases.windows import reads
from .judge import Judge
from .oracle.truth import truths

MOST_TAPS = 128
MOST_TOLD = 4


@dataclass(frozen=True)
class Read:
    """What one tap does for one output element: the value read, that of the right pixel, and where that one lies."""

    tap: tuple[int, int, int]
    got: float
    want: float
    place: tuple[int, int, int, int]  # of the right pixel; outside the image where padding lies

    def said(self, pixels: Array) -> str:
        """In words, with the place of a pixel that was read in place of another."""
        where = f"tap {self.tap[:2]}" + (f" of channel {self.tap[2]}" if self.tap[2] else "")
        if self.got == 0:
            return f"{where} is missing"
        if self.want and self.got == 2 * self.want:
            return f"{where} is doubled"
        place = np.argwhere(pixels == self.got)
        if not len(place):
            return f"{where} gives {self.got:g} times one, not {self.want:g}"
        instead = f"not {_pixel(self.place)}" if self.want else "where padding lies"
        return f"{where} reads {_pixel(place[0])}, {instead}"


def _pixel(index: Any) -> str:
    n, row, column, channel = (int(i) for i in index)
    item = f"image {n} " if n else ""
    return f"{item}pixel ({row}, {column})" + (f" of channel {channel}" if channel else "")


def read_back(judge: Judge, case: Case) -> str:
    """The taps that go wrong for one output element of a forward convolution, in words; nothing where none does.

    Nothing either where they cannot be read: too many taps, or more pixels than the type has odd integers.
    """
    taps = case.taps
    if case.op != "conv2d" or not 0 < taps <= MOST_TAPS or 2 * np.prod(case.x) >= 2 ** FORMATS[case.dtype].precision:
        return ""
    pixels = 2.0 * np.arange(np.prod(case.x, dtype=int)).reshape(case.x) + 1
    answers = list(_answers(judge, case, pixels))
    if any(got is None or got.shape != want.shape for _, got, want in answers):
        return ""
    wrong = sum((got != want).astype(int) for _, got, want in answers)
    if not np.any(wrong):
        return ""
    index = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    reads = [Read(t, float(got[index]), float(want[index]), _place(case, index, t)) for t, got, want in answers]
    return f"output {[int(i) for i in index]}: {_together(reads, pixels)}"


def _answers(judge: Judge, case: Case, pixels: Array) -> Iterator[tuple[Any, Any, Array]]:
    plain, dtype = case.but(layout="C", bias=False), dtype_of(case.dtype)
    for tap in np.ndindex(case.w[:3]):
        w = np.zeros(case.w)
        w[tap] = 1
        data = {"x": pixels.astype(dtype), "w": w.astype(dtype)}
        answer = judge.ask(plain, data)
        want = truths(plain, data)[0].value.astype(np.float64)
        yield tap, answer.arrays[0].astype(np.float64) if answer.status == "ok" and answer.arrays else None, want


def _place(case: Case, index: Any, tap: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The pixel that a tap of an output element has to read."""
    n, row, column, channel = (int(i) for i in index)
    at = [int(reads(case, axis)[out, tap[axis]]) for axis, out in enumerate((row, column))]
    group = channel // (case.filters // case.groups)
    return n, at[0], at[1], group * case.w[2] + tap[2]


def _together(reads: list[Read], pixels: Array) -> str:
    """One sentence where all taps are moved alike, a list of the wrong ones where they are not."""
    for read in reads:
        place = np.argwhere(pixels == read.got)
        if read.got == read.want or not len(place):
            continue
        move = tuple(int(a) - b for a, b in zip(place[0][1:3], read.place[1:3], strict=True))
        if all(_value(pixels, r.place, move) == r.got for r in reads):
            return f"every tap is moved by {move[0]} rows and {move[1]} columns"
        break
    wrong = [read for read in reads if read.got != read.want]
    told = [read.said(pixels) for read in wrong[:MOST_TOLD]]
    more = len(wrong) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _value(pixels: Array, place: tuple[int, int, int, int], move: tuple[int, ...]) -> float:
    """The pixel so many rows and columns away; zero outside the image."""
    n, row, column, channel = place[0], place[1] + move[0], place[2] + move[1], place[3]
    inside = 0 <= row < pixels.shape[1] and 0 <= column < pixels.shape[2]
    return float(pixels[n, row, column, channel]) if inside else 0.0
