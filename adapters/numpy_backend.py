"""The reference as two backends: ``numpy`` (the fast form) and ``numpy:definition`` (the literal sums and maxima).

They are judged as any other backend is, which is how a fault of the fast form would show.

It may import `convspec.reference`, which is imported when a `NumpyBackend` is created, its training when it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from .backend import Array, Padding, Pair, Unsupported, check_layers

__all__ = ["NumpyBackend"]


class NumpyBackend:
    """The reference, in one of its two forms.

    Parameters
    ----------
    mode
        ``"fast"`` or ``"definition"``.

    Examples
    --------
    >>> NumpyBackend("definition").name
    'numpy:definition'
    """

    def __init__(self, mode: str = "fast") -> None:
        definition = "convspec.reference.definition"
        fast = ("convspec.reference.conv2d", "convspec.reference.max_pool")
        conv2d, max_pool = fast if mode == "fast" else (definition, definition)
        self._convolution, self._pooling = importlib.import_module(conv2d), importlib.import_module(max_pool)
        self.name = "numpy" if mode == "fast" else f"numpy:{mode}"
        self.mode = mode
        self.version = np.__version__
        self.device = "cpu"

    def conv2d(
        self,
        x: Array,
        w: Array,
        *,
        strides: Pair,
        padding: Padding,
        dilations: Pair,
        groups: int,
        bias: Array | None = None,
    ) -> Array:
        """Return ``conv2d`` of this form."""
        y: Array = self._convolution.conv2d(
            x, w, strides=strides, padding=padding, dilations=dilations, groups=groups, bias=bias
        )
        return y

    def conv2d_vjp(
        self, x: Array, w: Array, dy: Array, *, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> tuple[Array, Array]:
        """Return ``conv2d_vjp`` of this form."""
        gradients: tuple[Array, Array] = self._convolution.conv2d_vjp(
            x, w, dy, strides=strides, padding=padding, dilations=dilations, groups=groups
        )
        return gradients

    def block(
        self, x: Array, w: Array, bias: Array, *, pool: tuple[Pair, Pair, Padding] | None = None, **options: Any
    ) -> Array:
        """Return convolution, bias, ReLU and pooling of this form, one after the other."""
        hidden: Array = np.maximum(self.conv2d(x, w, bias=bias, **options), x.dtype.type(0))
        return hidden if pool is None else self.max_pool(hidden, **_pooling(pool))

    def block_vjp(
        self,
        x: Array,
        w: Array,
        bias: Array,
        dy: Array,
        *,
        pool: tuple[Pair, Pair, Padding] | None = None,
        **options: Any,
    ) -> tuple[Array, Array, Array]:
        """Return the gradients of `block` with respect to the image, the filters and the bias."""
        sums = self.conv2d(x, w, bias=bias, **options)
        if pool is not None:
            dy = self.max_pool_vjp(np.maximum(sums, x.dtype.type(0)), dy, **_pooling(pool))
        through = np.where(sums > 0, dy, x.dtype.type(0))
        dx, dw = self.conv2d_vjp(x, w, through, **options)
        return dx, dw, through.sum(axis=(0, 1, 2), dtype=np.float64).astype(x.dtype)

    def max_pool(self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Array:
        """Return ``max_pool`` of this form."""
        y: Array = self._pooling.max_pool(x, ksize=ksize, strides=strides, padding=padding, dilations=dilations)
        return y

    def max_pool_vjp(
        self, x: Array, dy: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> Array:
        """Return ``max_pool_vjp`` of this form."""
        dx: Array = self._pooling.max_pool_vjp(
            x, dy, ksize=ksize, strides=strides, padding=padding, dilations=dilations
        )
        return dx

    def max_pool_with_argmax(
        self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> tuple[Array, Array]:
        """Return ``max_pool_with_argmax`` of this form."""
        answer: tuple[Array, Array] = self._pooling.max_pool_with_argmax(
            x, ksize=ksize, strides=strides, padding=padding, dilations=dilations
        )
        return answer

    def loss_and_gradients(self, images: Array, labels: Array, *parameters: Array, net: Any) -> tuple[Array, ...]:
        """Return ``loss_and_gradients`` of the reference."""
        check_layers(net, parameters)
        found: tuple[Array, ...] = self._training().loss_and_gradients(images, labels, *parameters, net=net)
        return found

    def train(
        self, images: Array, labels: Array, *state: Array, net: Any, batch: int, rate: float, momentum: float
    ) -> tuple[Array, ...]:
        """Return ``train`` of the reference."""
        check_layers(net, state, each=2)
        options = {"net": net, "batch": batch, "rate": rate, "momentum": momentum}
        found: tuple[Array, ...] = self._training().train(images, labels, *state, **options)
        return found

    def _training(self) -> Any:
        if self.mode != "fast":
            raise Unsupported("the literal sums of one batch through a net would take hours; ask numpy, the fast form")
        return importlib.import_module("convspec.reference.training")


def _pooling(pool: tuple[Pair, Pair, Padding]) -> dict[str, Any]:
    ksize, strides, padding = pool
    return {"ksize": ksize, "strides": strides, "padding": padding, "dilations": (1, 1)}
