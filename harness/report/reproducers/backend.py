"""What a framework's file has to say: how its arrays, its calls and their results are written.

May import the cases and the adapters' geometry. A `Language` writes lines of a script; it never makes a call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from convspec.adapters.padding import pads_of
from convspec.adapters.registry import BackendName
from convspec.harness.cases.case import Case

from . import literals

Array = npt.NDArray[Any]
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
NO_PADS: Pads = ((0, 0), (0, 0))
#: Which arrays of a call are filters, HWIO, and which are neither filters nor images.
FILTERS, VECTORS = ("w", "dw"), ("bias", "dbias")


class NoReproducer(Exception):  # noqa: N818 - a reason, for people
    """There can be no script for this; the message says why."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call: arrays as the specification lays them out, and the keywords of the backend's method."""

    op: str
    arrays: dict[str, Array]
    options: dict[str, Any]
    case: Case
    suffix: str = ""

    @property
    def arguments(self) -> str:
        """Its arrays as a script names them."""
        return ", ".join(f"{name}{self.suffix}" for name in self.arrays)

    @property
    def forward(self) -> str:
        """The operation without its gradient."""
        return self.op.removesuffix("_vjp")

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the forward operation takes."""
        return tuple(name for name in self.arrays if name != "dy")

    def kernel(self) -> tuple[int, ...]:
        """The window over the image."""
        return tuple(self.options["ksize"]) if "ksize" in self.options else tuple(self.arrays["w"].shape[:2])

    def pads(self) -> Pads:
        """Pads as numbers, whatever they were called."""
        o = self.options
        return pads_of(tuple(self.arrays["x"].shape[1:3]), self.kernel(), o["strides"], o["padding"], o["dilations"])

    def pool_pads(self) -> Pads:
        """Those of a block's pooling."""
        ksize, strides, padding = self.options["pool"]
        return pads_of(self.case.window.output, ksize, strides, padding, (1, 1))


@dataclass
class Language:
    """A framework on a device and in a mode; `named` is the backend taken apart, `notes` what a script has to admit."""

    named: BackendName
    device: str = ""
    mode: str = ""
    notes: list[str] = field(default_factory=list)

    #: Whether images are NCHW and filters OIHW; else all is as the specification has it.
    channels_first: ClassVar[bool] = False
    #: What turns one result into NumPy.
    convert: ClassVar[tuple[str, ...]] = (
        "def as_numpy(result):",
        '    """The result as NumPy: float64, or its own type where that is an integer; and that type\'s name."""',
        "    array = np.asarray(result)",
        '    whole = array.dtype.kind in "iub"',
        "    return (array if whole else array.astype(np.float64)), array.dtype.name",
    )

    def environment(self) -> list[str]:
        """Lines before anything is imported, `os` aside."""
        return []

    def imports(self) -> list[str]:
        """Lines that import the framework, and set it up."""
        return []

    def native(self, name: str, array: Array) -> Array:
        """An array of the specification as the framework has it."""
        if not self.channels_first or name in VECTORS or array.ndim < 2:
            return array
        if name in FILTERS:
            return np.moveaxis(array, (-1, -2), (0, 1))
        return np.moveaxis(array, -1, 1)

    def from_specification(self, name: str, variable: str) -> str:
        """The same as an expression in a script."""
        if not self.channels_first or name in VECTORS:
            return variable
        return f"{variable}.transpose(3, 2, 0, 1)" if name in FILTERS else f"{variable}.transpose(0, 3, 1, 2)"

    def argmax(self, call: Call, argmax: Array) -> Array:
        """The specification's indices as the framework counts them."""
        del call
        return argmax

    def data(self, call: Call) -> list[str]:
        """Lines that make the arrays of a call."""
        large = {n: a for n, a in call.arrays.items() if a.size > literals.MOST}
        # Further calls of a script must not draw again what the first has drawn under the same names.
        made = literals.recipe_lines(call.case, large) if large and not call.suffix else []
        lines = list(made)
        for name, array in call.arrays.items():
            variable = f"{name}{call.suffix}"
            if name in large and made:
                value = self.from_specification(name, variable)
            else:
                value = self._literal(self.native(name, array))
            lines.append(literals.wrapped(f"{variable} = {self.tensor(value, array, name)}"))
        return lines

    def _literal(self, array: Array) -> str:
        if not array.size:
            return f"np.zeros({array.shape})"
        return literals.nested(array) if array.size <= literals.MOST else literals.packed(array)

    def tensor(self, value: str, array: Array, name: str) -> str:
        """An expression: the framework's array of these values (nested lists or NumPy), in the type of `array`."""
        raise NotImplementedError

    def function(self, call: Call) -> list[str]:
        """Lines that define `call` (with its suffix) of the call's arrays, which returns a list of results."""
        raise NotImplementedError


def indented(lines: list[str], by: int = 4) -> list[str]:
    """Lines moved to the right."""
    return [" " * by + line if line else line for line in lines]


def keywords(**values: Any) -> str:
    """Keywords of a call, each after a comma: those that are None are left out.

    >>> keywords(stride=(2, 1), groups=None)
    ', stride=(2, 1)'
    """
    return "".join(f", {name}={value!r}" for name, value in values.items() if value is not None)


def unless(value: Any, usual: Any) -> Any:
    """The value, or None where it is the usual one."""
    return None if value == usual else value
