"""Which pixel each tap of a convolution reads, asked of the backend one tap at a time.

May import the judge. The image holds odd numbers that all differ, the filter is one at a single tap: the answer is then
the pixel that the tap reads, an even number where it is read twice, and zero where it is not read at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .cases.case import Case
from .cases.formats import FORMATS, dtype_of
from .cases.recipes import Array
from .judge import Judge
from .oracle.truth import truths

MOST_TAPS = 128
MOST_TOLD = 4


@dataclass(frozen=True)
class Read:
    """What one tap does for one output element: `got` is the value read, `want` the value of the right pixel."""

    tap: tuple[int, int, int]
    got: float
    want: float

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
        right = np.argwhere(pixels == self.want)
        instead = f"not {_pixel(right[0])}" if self.want else "where padding lies"
        return f"{where} reads {_pixel(place[0])}, {instead}"


def _pixel(index: Array) -> str:
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
    wrong: dict[tuple[int, ...], list[Read]] = {}
    for tap, got, want in _answers(judge, case, pixels):
        if got is None or got.shape != want.shape:
            return ""
        for index in np.argwhere(got != want):
            at = tuple(int(i) for i in index)
            wrong.setdefault(at, []).append(Read(tap, float(got[at]), float(want[at])))
    if not wrong:
        return ""
    index = max(wrong, key=lambda at: (len(wrong[at]), [-i for i in at]))
    return f"output {list(index)}: {_together(wrong[index], pixels, taps)}"


def _answers(judge: Judge, case: Case, pixels: Array) -> Iterator[tuple[tuple[int, int, int], Array | None, Array]]:
    plain, dtype = case.but(layout="C", bias=False), dtype_of(case.dtype)
    for tap in np.ndindex(case.w[:3]):
        w = np.zeros(case.w)
        w[tap] = 1
        data = {"x": pixels.astype(dtype), "w": w.astype(dtype)}
        answer = judge.ask(plain, data)
        want = truths(plain, data)[0].value.astype(np.float64)
        got = answer.arrays[0].astype(np.float64) if answer.status == "ok" and answer.arrays else None
        yield tap, got, want  # type: ignore[misc] - a filter has three axes before its last


def _together(reads: list[Read], pixels: Array, taps: int) -> str:
    """One sentence where all taps are moved alike, a list where they are not."""
    moves = {_move(read, pixels) for read in reads}
    if len(reads) > 1 and len(moves) == 1 and None not in moves:
        down, right = moves.pop()  # type: ignore[misc] - it is not None
        which = "every tap" if len(reads) == taps else f"{len(reads)} of {taps} taps"
        return f"{which} inside the image is moved by ({down}, {right}) pixels"
    told = [read.said(pixels) for read in reads[:MOST_TOLD]]
    more = len(reads) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _move(read: Read, pixels: Array) -> tuple[int, int] | None:
    """By how many rows and columns a tap reads beside its pixel, in the same image and channel."""
    place, right = np.argwhere(pixels == read.got), np.argwhere(pixels == read.want)
    if not len(place) or not len(right) or place[0][0] != right[0][0] or place[0][3] != right[0][3]:
        return None
    return int(place[0][1] - right[0][1]), int(place[0][2] - right[0][2])
