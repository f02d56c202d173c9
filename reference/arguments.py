"""What a caller may pass, once: every bad argument is a TypeError or ValueError before any work is done.

May import NumPy and nothing of ours. A message names the argument and its value, says what was expected and what to do.
bfloat16 is known by its name, so that ml_dtypes need not be imported (whoever passes such an array has done so).
"""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]

FLOATS = frozenset(np.dtype(name) for name in ("float64", "float32", "float16"))
INTEGERS = frozenset(np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64))
PADDINGS = ("SAME", "VALID", "SAME_LOWER")
# Frameworks keep sizes in 32 bits; beyond it an "integer" is a slip, and output sizes could not be allocated anyway.
LARGEST = 2**31 - 1
# Results beyond a tebibyte are refused here, because NumPy would answer with a MemoryError or the system with a kill.
LARGEST_RESULT = 2**40
_SHOWN = 80


def show(value: object) -> str:
    """Spell a value in a message: short, and never raising."""
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"array of shape {value.shape} and dtype {value.dtype}"
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _integer(name: str, value: object, whole: object) -> int:
    """An int of any width, bools excluded."""
    if type(value) is int:
        return value
    if not isinstance(value, (bool, np.bool_)):
        try:
            return index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise TypeError(
        f"{name}={show(whole)}: {show(value)} is a {type(value).__name__}, expected an integer; pass an int"
    )


def _size(name: str, value: object, whole: object, least: int) -> int:
    number = _integer(name, value, whole)
    if not least <= number <= LARGEST:
        shown = show(number) if abs(number) < 10**_SHOWN else f"an integer of {number.bit_length()} bits"
        within = show(whole) if abs(number) < 10**_SHOWN else "..."
        fewest = "1 for the least" if least else "0 for no padding" if name == "padding" else "0 for an empty axis"
        raise ValueError(
            f"{name}={within}: {shown} is out of range, expected integers from {least} to {LARGEST}; "
            f"pass {fewest} or more"
        )
    return number


def _items(name: str, value: object, expected: str) -> tuple[object, ...]:
    """The elements of a short sequence; anything else is refused."""
    if isinstance(value, (tuple, list)):
        return tuple(value)
    if isinstance(value, np.ndarray) and value.ndim > 0 and len(value) <= 4:
        return tuple(value)
    raise TypeError(f"{name}={show(value)}: a {type(value).__name__} is not accepted, expected {expected}")


def pair(name: str, value: object) -> Pair:
    """An int, a pair or a 4-vector [1, h, w, 1] as (height, width), all positive.

    >>> pair("strides", [1, 2, 3, 1])
    (2, 3)
    """
    if type(value) is int and 0 < value <= LARGEST:
        return value, value
    if type(value) is tuple and len(value) == 2:
        height, width = value
        if type(height) is int and type(width) is int and 0 < height <= LARGEST and 0 < width <= LARGEST:
            return value
    if not isinstance(value, (tuple, list, np.ndarray, str, bytes)) or (
        isinstance(value, np.ndarray) and not value.ndim
    ):
        both = _size(name, value, value, 1)
        return both, both
    items = _items(name, value, "an int, a pair (h, w) or a 4-vector [1, h, w, 1]")
    if len(items) == 4:
        numbers = [_size(name, item, value, 1) for item in items]
        if numbers[0] != 1 or numbers[3] != 1:
            raise ValueError(
                f"{name}={show(value)}: the batch and channel parts of a 4-vector must be 1, expected [1, h, w, 1]; "
                "windows move over height and width alone"
            )
        return numbers[1], numbers[2]
    if len(items) != 2:
        raise ValueError(
            f"{name}={show(value)}: {len(items)} values, expected an int, a pair (h, w) or a 4-vector [1, h, w, 1]"
        )
    return _size(name, items[0], value, 1), _size(name, items[1], value, 1)


def sizes(name: str, value: object) -> Pair:
    """Height and width of an image, zero allowed."""
    items = _items(name, value, "a pair (h, w)")
    if len(items) != 2:
        raise ValueError(f"{name}={show(value)}: {len(items)} values, expected a pair (h, w)")
    return _size(name, items[0], value, 0), _size(name, items[1], value, 0)


def padding(value: object) -> str | Pads:
    """A padding's name in capitals, or ((top, bottom), (left, right)) with nothing negative.

    >>> padding("same"), padding([[1, 2], [0, 0]])
    ('SAME', ((1, 2), (0, 0)))
    """
    if type(value) is str and value in PADDINGS:
        return value
    expected = "'SAME', 'VALID', 'SAME_LOWER' or ((top, bottom), (left, right))"
    if isinstance(value, str):
        name = value.upper()
        if name not in PADDINGS:
            raise ValueError(f"padding={show(value)}: unknown name, expected {expected}")
        return name
    sides = [_items("padding", side, expected) for side in _items("padding", value, expected)]
    if [len(side) for side in sides] != [2, 2]:
        raise ValueError(
            f"padding={show(value)}: wrong structure, expected {expected}; give two pairs, in pixels a side"
        )
    (top, bottom), (left, right) = sides
    return (
        (_size("padding", top, value, 0), _size("padding", bottom, value, 0)),
        (_size("padding", left, value, 0), _size("padding", right, value, 0)),
    )


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is ml_dtypes.bfloat16, without importing it."""
    return dtype.kind == "V" and dtype.type.__name__ == "bfloat16"


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that sums are made in: float32 for the 16-bit floats, else the type itself."""
    return np.dtype(np.float32) if dtype == np.float16 or is_bfloat16(dtype) else dtype


def array(name: str, value: object, rank: int, axes: str, *, integers: bool = False, exact: bool = False) -> Array:
    """An array of that rank and of a type that the operation takes (`exact`: integers and Python objects besides)."""
    if type(value) is not np.ndarray:
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{name}={show(value)}: a {type(value).__name__} is not accepted, expected a numpy.ndarray {axes}; "
                f"pass numpy.asarray({name}) in a floating dtype"
            )
        value = np.asarray(value)
    if value.ndim != rank:
        raise ValueError(
            f"{name} has shape {value.shape} of rank {value.ndim}, expected rank {rank}: {axes}; reshape it"
        )
    dtype = value.dtype
    if dtype in FLOATS or is_bfloat16(dtype):
        return value
    if (integers or exact) and dtype in INTEGERS:
        return value
    if exact and dtype.kind == "O":
        return value
    raise TypeError(_dtype_refused(name, dtype, integers))


def _dtype_refused(name: str, dtype: np.dtype[Any], integers: bool) -> str:
    if not dtype.isnative:
        return f"{name} has dtype {dtype.str} in foreign byte order, expected the native one; convert it with .astype"
    known = "float64, float32, float16 or bfloat16" + (" or an integer type of 8 to 64 bits" if integers else "")
    return f"{name} has dtype {dtype}, expected {known}; convert it with {name}.astype(numpy.float32)"


def image(x: object, *, exact: bool = False) -> Array:
    """The input of a pool: NHWC, floats or integers."""
    return array("x", x, 4, "[batch, height, width, channels]", integers=True, exact=exact)


def operands(x: object, w: object, groups: object, *, exact: bool = False) -> tuple[Array, Array, int]:
    """Image, filters and groups of a convolution that fit each other."""
    image_, filters = (
        array("x", x, 4, "[batch, height, width, channels]", exact=exact),
        array("w", w, 4, "[kernel height, kernel width, channels / groups, filters]", exact=exact),
    )
    if image_.dtype != filters.dtype:
        raise TypeError(f"w has dtype {filters.dtype}, expected {image_.dtype} as x; convert one with .astype")
    return image_, filters, fit(image_.shape, filters.shape, groups)


def fit(x: tuple[int, ...], w: tuple[int, ...], groups: object, names: tuple[str, str] = ("x", "w")) -> int:
    """Groups, if filters of shape `w` fit images of shape `x` with them.

    >>> fit((1, 5, 5, 6), (3, 3, 2, 9), 3)
    3
    """
    number = groups if type(groups) is int and 0 < groups <= LARGEST else _size("groups", groups, groups, 1)
    kernel_h, kernel_w, depth, filters_out = w
    image_, filters = names
    channels = x[3]
    if not (kernel_h and kernel_w):
        raise ValueError(f"{filters} has shape {w}: a kernel without taps, expected at least 1 by 1")
    if channels % number:
        raise ValueError(
            f"groups={number} does not divide the {channels} channels of {image_}; expected a divisor of them"
        )
    if filters_out % number:
        raise ValueError(
            f"groups={number} does not divide the {filters_out} filters of {filters}; expected a divisor of them"
        )
    if depth * number != channels:
        raise ValueError(
            f"{filters} has shape {w}: {depth} channels a filter, expected {channels // number} "
            f"(the {channels} channels of {image_} / groups={number})"
        )
    return number


def shape(name: str, value: object, axes: str) -> tuple[int, int, int, int]:
    """Four sizes, zero allowed.

    >>> shape("input_shape", [1, 28, 28, 3], "[batch, height, width, channels]")
    (1, 28, 28, 3)
    """
    items = _items(name, value, f"four integers {axes}")
    if len(items) != 4:
        raise ValueError(f"{name}={show(value)}: {len(items)} values, expected four: {axes}; give each axis its size")
    first, second, third, fourth = (_size(name, item, value, 0) for item in items)
    return first, second, third, fourth


def bias(value: object, w: Array) -> Array | None:
    """A bias that fits the filters: one number a filter, in their type."""
    if value is None:
        return None
    vector = array("bias", value, 1, "[filters]", exact=w.dtype.kind in "iuO")
    if vector.shape[0] != w.shape[3]:
        raise ValueError(f"bias has shape {vector.shape}, expected {w.shape[3:]}: one number a filter of w")
    if vector.dtype != w.dtype:
        raise TypeError(f"bias has dtype {vector.dtype}, expected {w.dtype} as w; convert it with .astype")
    return vector


def gradient(dy: object, shape: tuple[int, ...], dtype: np.dtype[Any], *, exact: bool = False) -> Array:
    """The gradient of a result: its very shape and type."""
    axes = "[batch, output height, output width, channels]"
    gradient_ = array("dy", dy, len(shape), axes, integers=True, exact=exact)
    if gradient_.shape != shape:
        raise ValueError(f"dy has shape {gradient_.shape}, expected {shape}, the shape of the result")
    if gradient_.dtype != dtype:
        raise TypeError(f"dy has dtype {gradient_.dtype}, expected {dtype} as x; convert it with .astype")
    return gradient_


def result_shape(shape: tuple[int, int, int, int], itemsize: int, name: str = "padding") -> tuple[int, int, int, int]:
    """The shape itself, unless no machine could hold it."""
    batch, height, width, channels = shape
    if batch * height * width * channels * itemsize > LARGEST_RESULT:
        raise ValueError(
            f"{name} makes a result of shape {shape}, more than {LARGEST_RESULT} bytes; expected one that fits memory; "
            "pass smaller pads or larger strides"
        )
    return shape
