"""What others would ask of a backend: ONNX's node cases, a random loop with `allclose` (OpInfo: detection_torch.py).

Each peer is a list of calls with their answers, its own way of comparing, and `caught(backend)`: the first thing that
it finds wrong, or None. A peer sees only what such a suite looks at: results and errors, not inputs that change or
results X

May import NumPy, convspec, and inside each peer what it stands for.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import convspec
from convspec.harness.process.worker import accepts_bias

Array = npt.NDArray[Any]
Compare = Callable[[Array, Array], str | None]
ZERO_PADS = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Asked:
    """One call: its arrays and options, and the answer; None where an exception is expected.

    `plain` is the answer without the bias, for backends that take none.
    """

    label: str
    op: str
    arrays: tuple[Array, ...]
    options: Mapping[str, Any]
    expected: tuple[Array, ...] | None
    bias: Array | None = None
    plain: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class Peer:
    """A suite: its calls, how it compares, and what it could not be asked, by reason."""

    title: str
    cases: tuple[Asked, ...]
    compare: Compare
    skipped: Counter[str] = field(default_factory=Counter)

    def wrong_calls(self, backend: object) -> Iterator[tuple[int, str]]:
        """Make every call in turn: the number of each that is answered wrongly, and what is wrong."""
        for number, asked in enumerate(self.cases):
            if wrong := self._wrong(backend, asked):
                yield number, f"{asked.label}: {wrong}"

    def caught(self, backend: object) -> str | None:
        """What the first call that is answered wrongly says, or None."""
        return next((said for _, said in self.wrong_calls(backend)), None)

    def describe(self) -> str:
        """How many cases it holds, and what was left out."""
        left = ", ".join(f"{n} {reason}" for reason, n in sorted(self.skipped.items()))
        return f"{self.title}: {len(self.cases)} calls" + (f"; left out: {left}" if left else "")

    def _wrong(self, backend: object, asked: Asked) -> str | None:
        asked = fitted(backend, asked)
        method = getattr(backend, asked.op, None)
        if method is None:
            return None
        options = dict(asked.options) | ({} if asked.bias is None else {"bias": asked.bias.copy()})
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                result = method(*(a.copy() for a in asked.arrays), **options)
        except BaseException as error:  # SystemExit too: it is the backend's
            if isinstance(error, Exception) and (asked.expected is None or _declined(error, asked)):
                return None
            return f"{type(error).__name__}: {error}"
        if asked.expected is None:
            return "answered, where an error is expected"
        results = result if isinstance(result, tuple) else (result,)
        if len(results) != len(asked.expected) or not all(isinstance(r, np.ndarray) for r in results):
            return f"not {len(asked.expected)} arrays"
        found = (self.compare(got, want) for got, want in zip(results, asked.expected, strict=True))
        return next((one for one in found if one), None)


def fitted(backend: object, asked: Asked) -> Asked:
    """The same call within what the backend offers: without the argmax, or the bias."""
    if asked.op == "max_pool_with_argmax" and not hasattr(backend, asked.op):
        assert asked.expected is not None
        return replace(asked, op="max_pool", expected=asked.expected[:1])
    if asked.bias is not None and not accepts_bias(backend):
        return replace(asked, bias=None, expected=asked.plain)
    return asked


def _declined(error: Exception, asked: Asked) -> bool:
    """Whether the backend says that it does not do this; any error says so of SAME_LOWER, which is optional."""
    return type(error).__name__ == "Unsupported" or asked.options["padding"] == "SAME_LOWER"


# ---- ONNX ---------------------------------------------------------------------------------------------------------


@cache
def onnx_nodes() -> Peer:
    """The node cases of Conv and MaxPool that ship with `onnx`, with the tolerances that its runner uses."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    cases, skipped = [], Counter[str]()
    tolerances = set()
    for test in tests:
        node = test.model.graph.node[0]
        if node.op_type not in ("Conv", "MaxPool") or len(test.model.graph.node) > 1:
            continue
        tolerances.add((test.rtol, test.atol))
        for inputs, outputs in test.data_sets:
            asked = _onnx_case(test.name, node, inputs, outputs)
            if isinstance(asked, str):
                skipped[asked] += 1
            else:
                cases.append(asked)
    [(rtol, atol)] = tolerances
    weights = [asked.arrays[1] for asked in cases if asked.op == "conv2d"]
    flat = sum(np.ptp(w) == 0 for w in weights)
    title = f"ONNX node cases of Conv and MaxPool (all weights equal in {flat} of {len(weights)} filters)"
    return Peer(title, tuple(cases), numpy_close(rtol, atol), skipped)


def _onnx_case(name: str, node: Any, inputs: Any, outputs: Any) -> Asked | str:
    """One node case as a call, or why it cannot be one."""
    from onnx.helper import get_attribute_value

    given = {a.name: get_attribute_value(a) for a in node.attribute}
    if inputs[0].ndim != 4:
        return f"{inputs[0].ndim - 2}-dimensional"
    if given.get("ceil_mode"):
        return "with ceil_mode"
    x = to_nhwc(inputs[0])
    options = {
        "strides": tuple(given.get("strides", (1, 1))),
        "dilations": tuple(given.get("dilations", (1, 1))),
        "padding": _onnx_padding(given),
    }
    y = to_nhwc(outputs[0])
    if node.op_type == "Conv":
        arrays = (x, to_hwio(inputs[1]))
        return Asked(name, "conv2d", arrays, options | {"groups": given.get("group", 1)}, (y,))
    options["ksize"] = tuple(given["kernel_shape"])
    if len(outputs) == 1 or given.get("storage_order"):  # indices that count columns first: the maximum alone
        return Asked(name, "max_pool", (x,), options, (y,))
    if x.shape[0] * x.shape[3] > 1:
        return "whose argmax counts over batch and channels"
    return Asked(name, "max_pool_with_argmax", (x,), options, (y, to_nhwc(outputs[1])))


def _onnx_padding(given: Mapping[str, Any]) -> Any:
    auto = given.get("auto_pad", b"NOTSET").decode()
    if auto != "NOTSET":
        return {"SAME_UPPER": "SAME"}.get(auto, auto)
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    return named(((top, bottom), (left, right)))


def numpy_close(rtol: float, atol: float) -> Compare:
    def compare(got: Array, want: Array) -> str | None:
        try:
            np.testing.assert_equal(got.dtype, want.dtype)
            np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)
        except AssertionError as error:
            return first_line(error)
        return None

    return compare


# ---- a loop -------------------------------------------------------------------------------------------------------

OPS = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp")


@cache
def random_loop(atol: float = 1e-8, count: int = 400) -> Peer:
    """The loop that people write: random shapes and attributes, normal float32 data, convspec as oracle, `allclose`."""

    def compare(got: Array, want: Array) -> str | None:
        if got.shape != want.shape:
            return f"shape {got.shape}, not {want.shape}"
        return None if np.allclose(got, want, rtol=1e-5, atol=atol) else "not allclose"

    rng = np.random.default_rng(0)
    cases = tuple(_random_case(rng, OPS[i % len(OPS)], i) for i in range(count))
    return Peer(f"random loop, allclose(rtol=1e-5, atol={atol:g})", cases, compare)


def _random_case(rng: np.random.Generator, op: str, number: int) -> Asked:
    """Draw until the output has an element."""
    while True:
        groups, kernel = int(rng.integers(1, 3)), tuple(map(int, rng.integers(1, 5, 2)))
        inner, outer = rng.integers(1, 5, 2)
        x = rng.standard_normal((rng.integers(1, 4), *rng.integers(1, 11, 2), groups * inner)).astype(np.float32)
        w = rng.standard_normal((*kernel, inner, groups * outer)).astype(np.float32)
        sides = tuple(tuple(int(rng.integers(0, k // 2 + 1)) for _ in "ab") for k in kernel)
        options: dict[str, Any] = {
            "strides": tuple(map(int, rng.integers(1, 4, 2))),
            "dilations": tuple(map(int, rng.integers(1, 3, 2))),
            "padding": ("SAME", "VALID", named(sides))[rng.integers(0, 3)],
        }
        convolves = op.startswith("conv2d")
        options |= {"groups": groups} if convolves else {"ksize": kernel}
        arrays: tuple[Array, ...] = (x, w) if convolves else (x,)
        y = getattr(convspec, op.removesuffix("_vjp"))(*arrays, **options)
        if y.size == 0:
            continue
        if op.endswith("_vjp"):
            arrays = (*arrays, rng.standard_normal(y.shape).astype(np.float32))
        found = getattr(convspec, op)(*arrays, **options)
        return Asked(f"case {number}, {op}", op, arrays, options, found if isinstance(found, tuple) else (found,))


# ---- small things -------------------------------------------------------------------------------------------------


def named(pads: Any) -> Any:
    """Padding of nothing by its name."""
    return "VALID" if pads == ZERO_PADS else pads


def to_nhwc(array: Array) -> Array:
    """NCHW to NHWC."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def to_hwio(array: Array) -> Array:
    """OIHW to HWIO; a filter of another rank reversed, for calls that are wrong on purpose."""
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)


def first_line(error: Exception) -> str:
    """The first line of an error that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _torch() -> Peer:
    from detection_torch import torch_opinfo

    return torch_opinfo()


PEERS: dict[str, Callable[[], Peer]] = {
    "onnx": onnx_nodes,
    "opinfo": _torch,
    "loop": random_loop,
    "loop-1e-5": lambda: random_loop(1e-5),
}
