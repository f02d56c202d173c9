"""The smallest case of a finding as SVG: the input with its padding, one window, and the taps that went wrong.

May import the cases. Which window is drawn is read off the finding's own words; where they name none it is the first.
Shapes differ as well as colours: padding is hatched, a tap is a square, what is wrong has a cross, a 2 or a ring.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from convspec.harness.cases.case import Case
from convspec.harness.cases.windows import reads

#: A pixel's side, the space around a grid, rows and columns that are shown at most.
UNIT, EDGE, MOST = 20, 22, (24, 28)

Pair = tuple[int, int]

_WORST = re.compile(r"elements of (\w+) are wrong, the worst at \[([\d, ]+)\]")
_OUTPUT = re.compile(r"^output \[([\d, ]+)\]")
_MOVED = re.compile(r"every tap is moved by (-?\d+) rows and (-?\d+) columns")
_TAP = re.compile(
    r"tap \((\d+), (\d+)\)(?: of channel \d+)? (is missing|is doubled|gives|reads)"
    r"(?: (?:image \d+ )?pixel \((\d+), (\d+)\))?"
)


@dataclass(frozen=True)
class Drawing:
    """An SVG and what it shows in words; both empty where a finding has no call that could be drawn."""

    svg: str = ""
    caption: str = ""


def draw(finding: dict[str, Any]) -> Drawing:
    """Draw the case of a finding, as in a results file.

    Examples
    --------
    >>> case = Case("conv2d", (1, 3, 4, 1), (2, 2), filters=1, padding="SAME").to_dict()
    >>> message = "1 of 12 elements of y are wrong, the worst at [0, 2, 3, 0]."
    >>> draw({"case": case, "message": message, "taps": ""}).caption
    'Input of 3 x 4 pixels, padding: bottom 1, right 1. The window of output (2, 3).'
    """
    case = finding.get("case")
    if not case or "change" in case:
        return Drawing()
    return _Picture(Case.from_dict(case), finding).drawing()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


class _Picture:
    """What of one case is drawn, and where."""

    def __init__(self, case: Case, finding: dict[str, Any]) -> None:
        self.case = case
        (self.top, self.bottom), (self.left, self.right) = case.window.pads
        self.height, self.width = case.x[1:3]
        self.taps_said = str(finding.get("taps") or "")
        self.worst = _WORST.search(str(finding.get("message") or ""))
        moved = _MOVED.search(self.taps_said)
        self.moved = (int(moved[1]), int(moved[2])) if moved else None
        self.output = self._which_output()
        self.rows, self.columns = (self._shown(axis) for axis in (0, 1))

    def _which_output(self) -> Pair | None:
        """The output whose window is drawn: the wrong one that the finding names, or one that reads the wrong pixel."""
        height, width = self.case.window.output
        if not (height and width):
            return None
        told = _OUTPUT.search(self.taps_said)
        place = _numbers(told[1]) if told else []
        if not place and self.worst and self.worst[1] == "y" and self.case.pool is None:
            place = _numbers(self.worst[2])
        if len(place) == 4 and place[1] < height and place[2] < width:
            return place[1], place[2]
        if self.worst and self.worst[1] == "dx":
            row, column = _numbers(self.worst[2])[1:3]
            return self._reader(0, row), self._reader(1, column)
        return 0, 0

    def _reader(self, axis: int, pixel: int) -> int:
        """The first output along an axis that reads a pixel; the very first where none does."""
        taps = reads(self.case, axis)
        return next((place for place, read in enumerate(taps) if pixel in read), 0)

    def _shown(self, axis: int) -> range:
        """The rows or columns that are drawn: all, or so many of them around the window."""
        before, size, after = ((self.top, self.height, self.bottom), (self.left, self.width, self.right))[axis]
        low, high, most = -before, size + after, MOST[axis]
        if self.moved and (window := self._window(axis)):  # what is read instead may lie beyond the padding
            low, high = min(low, window.start + self.moved[axis]), max(high, window.stop + self.moved[axis])
        if high - low <= most:
            return range(low, high)
        window = self._window(axis)
        middle = (window.start + window.stop) // 2 if window else (low + high) // 2
        start = min(max(middle - most // 2, low), high - most)
        return range(start, start + most)

    def _window(self, axis: int) -> range:
        """From the first tap of the window to the last, both included."""
        if self.output is None:
            return range(0)
        taps = reads(self.case, axis)[self.output[axis]]
        return range(int(taps[0]), int(taps[-1]) + 1)

    # ---- in words -------------------------------------------------------------------------------------------------

    def drawing(self) -> Drawing:
        """The picture; nothing where there is no pixel to draw."""
        if not (len(self.rows) and len(self.columns)):
            return Drawing()
        caption = " ".join(self._said())
        return Drawing(self._svg(caption), caption)

    def _said(self) -> Iterator[str]:
        sides = (("top", self.top), ("bottom", self.bottom), ("left", self.left), ("right", self.right))
        padding = ", ".join(f"{name} {size}" for name, size in sides if size) or "none"
        yield f"Input of {self.height} x {self.width} pixels, padding: {padding}."
        if len(self.rows) < self.top + self.height + self.bottom:
            yield f"Rows {self.rows[0]} to {self.rows[-1]} are drawn."
        if len(self.columns) < self.left + self.width + self.right:
            yield f"Columns {self.columns[0]} to {self.columns[-1]} are drawn."
        if self.output is None:
            yield "There is no output: the window does not fit."
            return
        yield f"The window of output {self.output}."
        if self.taps_said:
            yield f"{self.taps_said[0].upper()}{self.taps_said[1:]}."
        if self.worst and self.worst[1] != "y":
            yield f"The worst element of {self.worst[1]} is marked."

    # ---- in lines -------------------------------------------------------------------------------------------------

    def _svg(self, caption: str) -> str:
        outputs = self.case.window.output
        right = EDGE + len(self.columns) * UNIT
        small = min(outputs[0], MOST[0]), min(outputs[1], MOST[1])
        width = right + (2 * EDGE + max(small[1] * UNIT, 2 * UNIT + EDGE) if self.output else EDGE)
        height = 2 * EDGE + max(len(self.rows), small[0] if self.output else 0) * UNIT
        inner = [*self._input(), *self._taps(), *(self._outputs(right + 2 * EDGE, small) if self.output else ())]
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            f' class="case" role="img" aria-label="{escape(caption)}">{"".join(inner)}</svg>'
        )

    def _at(self, row: float, column: float) -> tuple[float, float]:
        """The upper left corner of a pixel of the input: x and y."""
        return EDGE + (column - self.columns[0]) * UNIT, EDGE + (row - self.rows[0]) * UNIT

    def _drawn(self, row: int, column: int) -> bool:
        return row in self.rows and column in self.columns

    def _input(self) -> Iterator[str]:
        """Pixels, hatched padding, their numbers, and the frame of the window."""
        padded = range(-self.top, self.height + self.bottom), range(-self.left, self.width + self.right)
        pixels = [(r, c) for r in self.rows for c in self.columns if r in padded[0] and c in padded[1]]
        inside = {(r, c) for r, c in pixels if 0 <= r < self.height and 0 <= c < self.width}
        yield _text(EDGE, 11, "input", "name")
        yield _squares("pixel", (self._at(*place) for place in sorted(inside)))
        padding = [self._at(*place) for place in pixels if place not in inside]
        yield _squares("pad", padding)
        if padding:
            lines = (
                f"M{x:g} {y + UNIT:g}l{UNIT} -{UNIT}m-{UNIT} {UNIT // 2}l{UNIT // 2} -{UNIT // 2}" for x, y in padding
            )
            yield f'<path class="hatch" d="{"".join(lines)}"/>'
        for row in self.rows[:: 1 + len(self.rows) // 20]:
            if 0 <= row < self.height:
                yield _text(EDGE - 5, self._at(row, 0)[1] + 14, str(row), "index end")
        if self.output is not None:
            rows, columns = self._window(0), self._window(1)
            yield self._frame(rows, columns, "window")
            if self.moved:
                down, along = self.moved
                rows = range(rows.start + down, rows.stop + down)
                columns = range(columns.start + along, columns.stop + along)
                yield self._frame(rows, columns, "window bad")

    def _frame(self, rows: range, columns: range, kind: str) -> str:
        """A frame, cut where the drawing ends."""
        low = max(rows.start, self.rows.start), max(columns.start, self.columns.start)
        high = min(rows.stop, self.rows.stop), min(columns.stop, self.columns.stop)
        (x, y), (right, bottom) = self._at(*low), self._at(*high)
        return (
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{max(right - x, 0):g}" height="{max(bottom - y, 0):g}"/>'
        )

    def _taps(self) -> Iterator[str]:
        """Where the taps of the window lie, and what is wrong with which."""
        if self.output is None:
            return
        rows, columns = (reads(self.case, axis)[self.output[axis]] for axis in (0, 1))
        places = {(i, j): (int(r), int(c)) for i, r in enumerate(rows) for j, c in enumerate(columns)}
        yield _squares("tap", (self._at(*p) for p in places.values() if self._drawn(*p)), UNIT // 2)
        for match in _TAP.finditer(self.taps_said):
            place = places.get((int(match[1]), int(match[2])))
            if place is None or not self._drawn(*place):
                continue
            instead = (int(match[4]), int(match[5])) if match[4] else None
            yield from self._wrong(match[3], place, instead)
        if self.worst and self.worst[1] == "dx":
            _, row, column, _ = _numbers(self.worst[2])
            yield from [_cross(*self._at(row, column))] if self._drawn(row, column) else ()
        if self.worst and self.worst[1] == "dw":
            i, j, *_ = _numbers(self.worst[2])
            yield from [_cross(*self._at(*places[i, j]))] if self._drawn(*places[i, j]) else ()

    def _wrong(self, how: str, place: Pair, instead: Pair | None) -> Iterator[str]:
        """A mark on a tap: a cross where it is missing, a 2 where it counts twice, a line to what it reads instead."""
        x, y = self._at(*place)
        middle = UNIT / 2
        if how == "is doubled":
            yield _text(x + middle, y + 15, "2", "twice")
        elif how == "reads" and instead and self._drawn(*instead):
            to_x, to_y = self._at(*instead)
            yield f'<path class="cross" d="M{x + middle:g} {y + middle:g}L{to_x + middle:g} {to_y + middle:g}"/>'
            yield f'<circle class="ring" cx="{to_x + middle:g}" cy="{to_y + middle:g}" r="7"/>'
        else:
            yield _cross(x, y)

    def _outputs(self, left: float, shown: Pair) -> Iterator[str]:
        """The output, with the element whose window is drawn, and a cross where it is the wrong one."""
        assert self.output is not None
        total = self.case.window.output
        yield _text(left, 11, "output", "name")
        yield _squares("pixel", ((left + c * UNIT, EDGE + r * UNIT) for r in range(shown[0]) for c in range(shown[1])))
        if shown != total:
            yield _text(left, EDGE + shown[0] * UNIT + 14, f"of {total[0]} x {total[1]}", "index")
        row, column = self.output
        if row < shown[0] and column < shown[1]:
            x, y = left + column * UNIT, EDGE + row * UNIT
            yield f'<rect class="window" x="{x}" y="{y}" width="{UNIT}" height="{UNIT}"/>'
            if _OUTPUT.search(self.taps_said):
                yield _cross(x, y)
        if self.worst and self.worst[1] == "y":
            row, column = _numbers(self.worst[2])[1:3]
            if row < shown[0] and column < shown[1]:
                yield _cross(left + column * UNIT, EDGE + row * UNIT)


def _squares(kind: str, corners: Any, side: int = UNIT) -> str:
    """Many squares as one path."""
    inset = (UNIT - side) / 2
    path = "".join(f"M{x + inset:g} {y + inset:g}h{side}v{side}h-{side}z" for x, y in corners)
    return f'<path class="{kind}" d="{path}"/>' if path else ""


def _cross(x: float, y: float) -> str:
    return f'<path class="cross" d="M{x + 4:g} {y + 4:g}l12 12m0 -12l-12 12"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
