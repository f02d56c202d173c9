"""Arrays as Python source: numbers that give the same bits when they are read back.

May import NumPy and the cases. What is too long to be read is made again by the lines of its recipe, and where there
are none for it, it is packed; either is run here and compared with the array before it is written.
"""

from __future__ import annotations

import base64
import textwrap
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FORMATS
from convspec.harness.cases.recipes import fan_in, shapes

Array = npt.NDArray[Any]
#: So many numbers can be read.
MOST = 200
WIDTH = 100


def number(value: Any, dtype: np.dtype[Any]) -> str:
    """One number, in the fewest digits that give the same bits through a Python float.

    >>> number(np.float32(0.1), np.dtype("float32")), number(np.float16(-0.0), np.dtype("float16"))
    ('0.1', '-0.0')
    >>> number(np.float64("nan"), np.dtype("float64"))
    'nan'
    """
    if dtype.kind in "iub":
        return str(int(value))
    wide = float(value)
    if not np.isfinite(wide):
        return str(wide)
    text = str(value)
    try:
        same = dtype.type(float(text)).tobytes() == dtype.type(wide).tobytes()
    except ValueError:  # a type that prints itself in another way
        same = False
    return repr(float(text)) if same else repr(wide)


def nested(array: Array) -> str:
    """An array as nested lists.

    >>> nested(np.array([[1.0, np.inf], [-0.0, 0.5]], np.float32))
    '[[1.0, inf], [-0.0, 0.5]]'
    """
    if array.ndim == 0:
        return number(array[()], array.dtype)
    return "[" + ", ".join(nested(part) for part in array) + "]"


def wrapped(text: str, indent: str = "    ") -> str:
    """A long literal over several lines; it has to stand in brackets."""
    lines = textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def as_numpy(array: Array) -> str:
    """An expression for a NumPy array of float64, or of its own type where that is no floating one.

    >>> as_numpy(np.array([1.5], np.float16)), as_numpy(np.zeros((0, 2)))
    ('np.array([1.5])', 'np.zeros((0, 2))')
    """
    whole = array.dtype.kind in "iub"
    kind = f", np.{array.dtype.name}" if whole else ""
    if not array.size:
        return f"np.zeros({array.shape}{kind})"
    if array.size > MOST:
        return packed(array)
    return f"np.array({nested(array)}{kind})"


def packed(array: Array) -> str:
    """An expression that unpacks an array's bytes."""
    stored = array if array.dtype.isbuiltin == 1 else array.astype(np.float32)  # bfloat16 is float32, cut short
    stored = np.ascontiguousarray(stored)
    bytes_ = base64.b85encode(zlib.compress(stored.tobytes(), 9)).decode("ascii")
    lines = "\n    ".join(f'b"{bytes_[n : n + WIDTH]}"' for n in range(0, len(bytes_), WIDTH))
    unpack = f"zlib.decompress(base64.b85decode(\n    {lines}))"
    return f'np.frombuffer({unpack}, "{stored.dtype.str}").reshape({array.shape})'


def recipe_lines(case: Case, wanted: dict[str, Array]) -> list[str]:
    """Lines of NumPy that make these arrays of a case again; none where its recipe has no short form."""
    names = list(shapes(case))
    made = _made(case, names)
    if not made:
        return []
    lines = [f"rng = np.random.Generator(np.random.Philox(key={case.seed}))", *made]
    space: dict[str, Any] = {"np": np}
    exec("\n".join(lines), space)  # noqa: S102 - our own lines, run to see that they give what is claimed
    for name, array in wanted.items():
        if space[name].shape != array.shape or not _same(space[name], array):
            return []
    return lines


def _same(made: Array, array: Array) -> bool:
    with np.errstate(all="ignore"):
        cast = made.astype(array.dtype)
    return cast.tobytes() == array.tobytes()


def _made(case: Case, names: list[str]) -> list[str]:
    given = ", ".join(str(shapes(case)[name]) for name in names)
    several = ", ".join(names)
    if case.recipe == "integers" and case.is_convolution:
        budget, most = 2 ** FORMATS[case.dtype].precision, fan_in(case)
        amplitude = int(np.clip(np.sqrt(budget / most), 1, 9))
        lines = [
            f"draw = lambda s: rng.integers(1, {amplitude + 1}, s) * rng.choice((-1.0, 1.0), s)",
            f"{several} = [draw(s) for s in ({given})]",
        ]
        if most > budget:
            lines.append(f"w, dy, bias = [a * (rng.random(a.shape) < {0.5 * budget / most!r}) for a in (w, dy, bias)]")
        return lines
    if case.recipe in ("real", "statistical", "real-pool"):
        draw = "draw = lambda s: rng.uniform(0.5, 1.0, s) * rng.choice((-1.0, 1.0), s)"
        return [draw, f"{several} = [draw(s) for s in ({given})]"]
    if case.recipe == "positive":
        return [f"{several} = [rng.uniform(0.0, 1.0, s) for s in ({given})]"]
    if case.recipe == "distinct" and case.dtype in FORMATS:
        return _distinct(case)
    return []


def _distinct(case: Case) -> list[str]:
    count, precision = int(np.prod(case.x)), FORMATS[case.dtype].precision
    most = 2 ** (precision + 1) - 1
    less = float(max(min(count, most) // 2 - 1, 0))
    top = int(np.clip(2**precision // max(fan_in(case), 1), 1, 1000)) + 1
    return [
        f"x = (rng.permutation({count}) % {most} - {less}).reshape({case.x})",
        f"dy = rng.integers(1, {top}, {case.y}) * rng.choice((-1.0, 1.0), {case.y})",
    ]
