"""Invalid calls: a valid case with one thing changed that the specification says must be refused.

May import this folder and the worker's request. Each change is one line in `CHANGES`: the arrays and options before,
the arrays and options after, and the clause that says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convspec.harness.process.protocol import Request

from .case import Case
from .recipes import Data, arrays, names

Change = Callable[[Data, dict[str, Any]], None]


@dataclass(frozen=True)
class _Named:
    clause: str
    ops: tuple[str, ...]
    why: str
    apply: Change


CHANGES: dict[str, _Named] = {}

ALL = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp")
CONV = ("conv2d", "conv2d_vjp")
POOL = ("max_pool", "max_pool_vjp")
VJP = ("conv2d_vjp", "max_pool_vjp")


def _option(key: str, value: Any) -> Change:
    def apply(_: Data, options: dict[str, Any]) -> None:
        options[key] = value

    return apply


def _array(key: str, make: Callable[[Any], Any]) -> Change:
    def apply(data: Data, _: dict[str, Any]) -> None:
        data[key] = np.ascontiguousarray(make(data[key]))

    return apply


def _add(clause: str, ops: tuple[str, ...], why: str, **changes: Change) -> None:
    for name, apply in changes.items():
        CHANGES[name] = _Named(clause, ops, why, apply)


def _uneven_groups(data: Data, options: dict[str, Any]) -> None:
    """Two groups of two channels each, and three filters."""
    options["groups"] = 2
    data["w"] = np.ascontiguousarray(data["w"][:, :, :2, :3])
    data["dy"] = np.ascontiguousarray(data["dy"][..., :3]) if "dy" in data else data["w"]


def _where_it_makes_no_odds(key: str, value: Any) -> Change:
    """An attribute that the size of the output does not show: one row of pixels and one of taps."""

    def apply(data: Data, options: dict[str, Any]) -> None:
        data["x"] = np.ascontiguousarray(data["x"][:, :1])
        if "w" in data:
            data["w"] = np.ascontiguousarray(data["w"][:1])
        else:
            options["ksize"] = (1, options["ksize"][1])
        if "dy" in data:
            data["dy"] = np.ascontiguousarray(data["dy"][:, :1])
        options[key] = value

    return apply


_add(
    "error-strides-positive",
    ALL,
    "strides are at least 1",
    stride_zero=_option("strides", (0, 0)),
    stride_zero_h=_option("strides", (0, 1)),
    stride_zero_w=_option("strides", (2, 0)),
    stride_negative=_option("strides", (-1, -1)),
    stride_negative_w=_option("strides", (1, -2)),
    stride_minus_one_w=_option("strides", (1, -1)),
    stride_zero_over_one_row=_where_it_makes_no_odds("strides", (0, 1)),
)
_add(
    "error-dilations-positive",
    ALL,
    "dilations are at least 1",
    dilation_zero=_option("dilations", (0, 0)),
    dilation_zero_w=_option("dilations", (1, 0)),
    dilation_negative=_option("dilations", (-1, 1)),
    dilation_zero_of_one_tap=_where_it_makes_no_odds("dilations", (0, 1)),
)
_add(
    "error-ksize-positive",
    POOL,
    "a window has at least one element on each axis",
    ksize_zero=_option("ksize", (0, 0)),
    ksize_zero_h=_option("ksize", (0, 2)),
    ksize_negative=_option("ksize", (2, -1)),
)
_add(
    "error-rank",
    ALL,
    "x has rank 4",
    x_rank_3=_array("x", lambda x: x[0]),
    x_rank_2=_array("x", lambda x: x[0, :, :, 0]),
    x_rank_5=_array("x", lambda x: x[None]),
    x_rank_5_at_the_end=_array("x", lambda x: x[..., None]),
)
_add(
    "error-rank",
    CONV,
    "w has rank 4",
    w_rank_3=_array("w", lambda w: w[0]),
    w_rank_5=_array("w", lambda w: w[None]),
    w_rank_2=_array("w", lambda w: w[0, 0]),
)
_add(
    "error-channel-mismatch",
    CONV,
    "w has cin / groups input channels",
    one_channel_more=_array("x", lambda x: np.concatenate([x, x[..., :1]], axis=3)),
    one_channel_less=_array("x", lambda x: x[..., 1:]),
    filter_of_one_channel=_array("w", lambda w: w[:, :, :1]),
    one_filter_channel_more=_array("w", lambda w: np.concatenate([w, w[:, :, :1]], axis=2)),
)
_add(
    "error-groups-divide",
    CONV,
    "groups is positive and divides the channels of x and the filters",
    groups_zero=_option("groups", 0),
    groups_negative=_option("groups", -1),
    groups_odd=_option("groups", 3),
)
_add("error-groups-divide", CONV, "groups divides the number of filters", groups_uneven=_uneven_groups)
_add(
    "error-negative-padding",
    ALL,
    "explicit padding is not negative",
    pad_negative=_option("padding", ((-1, -1), (-1, -1))),
    pad_negative_top=_option("padding", ((-1, 0), (0, 0))),
    pad_negative_right=_option("padding", ((0, 1), (1, -1))),
)
_add(
    "error-unknown-padding",
    ALL,
    "padding is SAME, VALID, SAME_LOWER or two pairs",
    pad_unknown=_option("padding", "FULL"),
    pad_misspelt=_option("padding", "SAMEE"),
    pad_of_another_standard=_option("padding", "SAME_UPPER"),
    pad_empty=_option("padding", ""),
)


def _other(a: Any) -> Any:
    return a.astype(np.float64 if a.dtype != np.float64 else np.float32)


_add(
    "error-dtype-mismatch",
    CONV,
    "x and w have one dtype",
    w_other_dtype=_array("w", _other),
    x_other_dtype=_array("x", _other),
)
_add("error-dtype-mismatch", VJP, "dy has the dtype of x", dy_other_dtype=_array("dy", _other))
_add(
    "error-gradient-shape",
    VJP,
    "dy has the shape of the output",
    dy_one_row_more=_array("dy", lambda d: np.concatenate([d, d[:, :1]], axis=1)),
    dy_one_column_less=_array("dy", lambda d: d[:, :, 1:]),
    dy_one_channel_more=_array("dy", lambda d: np.concatenate([d, d[..., :1]], axis=3)),
    dy_of_one_pixel=_array("dy", lambda d: d[:, :1, :1]),
    dy_of_one_channel=_array("dy", lambda d: d[..., :1]),
    dy_of_one_row=_array("dy", lambda d: d.reshape(d.shape[0], 1, -1, d.shape[3])),
    dy_one_image_more=_array("dy", lambda d: np.concatenate([d, d[:1]], axis=0)),
)


@dataclass(frozen=True)
class Invalid:
    """A valid case and the name of the change that makes it invalid."""

    case: Case
    change: str

    @property
    def why(self) -> str:
        """The rule that is broken."""
        return CHANGES[self.change].why

    def request(self) -> Request:
        """The call to make."""
        data, options = dict(arrays(self.case)), dict(self.case.options)
        CHANGES[self.change].apply(data, options)
        order = names(self.case)
        return Request(self.case.op, tuple(data[n] for n in order), tuple("C" for _ in order), options)

    def describe(self) -> str:
        """The call in one line."""
        request = self.request()
        shown = [f"{n}{list(a.shape)} {a.dtype}" for n, a in zip(names(self.case), request.arrays, strict=True)]
        options = [f"{k}={v!r}" for k, v in request.options.items()]
        return f"{self.case.op}({', '.join(shown + options)})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return {"case": self.case.to_dict(), "change": self.change}


def invalid_calls(clause: str, dtype: str) -> list[Invalid]:
    """Every invalid call of a clause, each on two plain cases."""
    found = []
    for name, change in CHANGES.items():
        for op in change.ops if change.clause == clause else ():
            for padding in ("VALID", "SAME"):
                pool = op in POOL
                base = Case(
                    op, (1, 4, 5, 4), (2, 2) if pool else (2, 3), 0 if pool else 4, padding=padding, dtype=dtype
                )
                found.append(Invalid(base.but(recipe="distinct") if pool else base, name))
    return found
