"""A case: one call of one operation, told by shapes, attributes, data recipe, memory layout and seed.

May import the reference's geometry and the standard library. Holds no array: the data come from `recipes`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from convspec.reference import geometry

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]

CONVOLUTIONS = ("conv2d", "conv2d_vjp")
#: Optional methods: convolution, bias, ReLU and perhaps pooling in one, as compilers fuse them.
BLOCKS = ("block", "block_vjp")
POOLS = ("max_pool", "max_pool_vjp", "max_pool_with_argmax")


@dataclass(frozen=True)
class Case:
    """One call. `x` is NHWC; `kernel` is the filter's (or the pooling window's) height and width."""

    op: str
    x: tuple[int, int, int, int]
    kernel: Pair
    filters: int = 0
    strides: Pair = (1, 1)
    padding: Padding = "VALID"
    dilations: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    dtype: str = "float32"
    recipe: str = "integers"
    layout: str = "C"
    seed: int = 0
    pool: tuple[Pair, Pair, str] | None = None  # of a block: window, strides and padding; None pools nothing

    def but(self, **changes: Any) -> Case:
        """The same case with some fields changed."""
        return replace(self, **changes)

    @property
    def is_convolution(self) -> bool:
        """Whether a filter is part of the call."""
        return self.op in CONVOLUTIONS or self.op in BLOCKS

    @cached_property
    def window(self) -> geometry.Window:
        """Output size and padding, from the one place that knows them."""
        return geometry.resolve(
            self.x[1:3], self.kernel, strides=self.strides, padding=self.padding, dilations=self.dilations
        )

    @cached_property
    def pooled(self) -> geometry.Window | None:
        """The windows of a block's pooling, over what its convolution gives."""
        if self.pool is None:
            return None
        ksize, strides, padding = self.pool
        return geometry.resolve(self.window.output, ksize, strides=strides, padding=padding)

    @property
    def w(self) -> tuple[int, int, int, int]:
        """The filter's shape, HWIO."""
        return (*self.kernel, self.x[3] // self.groups, self.filters)

    @property
    def y(self) -> tuple[int, int, int, int]:
        """The output's shape, NHWC."""
        output = self.window.output if self.pooled is None else self.pooled.output
        return (self.x[0], *output, self.filters if self.is_convolution else self.x[3])

    @property
    def taps(self) -> int:
        """Products in one output element, padding counted."""
        return self.kernel[0] * self.kernel[1] * (self.x[3] // self.groups if self.is_convolution else 1)

    @property
    def size(self) -> tuple[int, int, int]:
        """How large the case is: the order in which witnesses are preferred."""
        elements = self.x[0] * self.x[1] * self.x[2] * self.x[3]
        kernel = self.kernel[0] * self.kernel[1] * max(self.filters, 1)
        attributes = sum(self.strides) + sum(self.dilations) + self.groups + (self.layout != "C")
        return (elements + kernel, attributes, self.seed)

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of the backend's method."""
        common: dict[str, Any] = {"strides": self.strides, "padding": self.padding, "dilations": self.dilations}
        if not self.is_convolution:
            return common | {"ksize": self.kernel}
        return common | {"groups": self.groups} | ({"pool": self.pool} if self.op in BLOCKS else {})

    def describe(self) -> str:
        """The call in one line, as it would be written."""
        arguments = [f"x{list(self.x)}"]
        if self.is_convolution:
            arguments.append(f"w{list(self.w)}")
        if self.op.endswith("_vjp"):
            arguments.append(f"dy{list(self.y)}")
        if self.op in BLOCKS:
            arguments.insert(2, f"bias[{self.filters}]")
        options = self.options | ({"bias": f"[{self.filters}]"} if self.bias else {})
        plain = {"dilations": (1, 1), "groups": 1, "pool": None}
        shown = [f"{k}={v!r}" for k, v in options.items() if plain.get(k) != v]
        layout = "" if self.layout == "C" else f", {self.layout} memory"
        return f"{self.op}({', '.join(arguments + shown)})  # {self.dtype}, {self.recipe}{layout}, seed {self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """The case as JSON-able data, and back through `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Case:
        """The case that `to_dict` wrote; lists become tuples again."""

        def tupled(value: Any) -> Any:
            return tuple(tupled(v) for v in value) if isinstance(value, list | tuple) else value

        return cls(**{key: tupled(value) for key, value in data.items()})
