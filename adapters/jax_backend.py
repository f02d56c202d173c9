"""JAX: ``jax.lax.conv_general_dilated`` and ``jax.lax.reduce_window``, NHWC and HWIO, gradients by its own ``jax.vjp``.

Every padding is JAX's own, by name (SAME, SAME_LOWER, VALID) or as explicit pads. JAX has no operation that gives the
position of a maximum, so `max_pool_with_argmax` is not here. Nothing is checked here that JAX could check itself.

It may import `backend` and `modes`; JAX is imported when a `JaxBackend` is created.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from .backend import Array, Contract, Padding, Pair, Unsupported, present
from .modes import Mode

__all__ = ["JaxBackend", "devices", "probe"]

Tensor = Any  # JAX is not there to be asked for its types

_LAYOUT = ("NHWC", "HWIO", "NHWC")

# No arrays, so constants of what jax.jit compiles.
_CONVOLUTION = ("strides", "padding", "dilations", "groups")
_POOLING = ("ksize", "strides", "padding", "dilations")


def devices(jax: Any) -> list[tuple[str, bool, str]]:
    """List the devices of ``jax`` (the module): name, whether it is there, and how that was detected.

    Examples
    --------
    >>> import types
    >>> def none(kind):
    ...     raise RuntimeError(f"Unknown backend: {kind!r} requested")
    >>> devices(types.SimpleNamespace(__version__="0", devices=none))[1]
    ('gpu', False, "jax.devices('gpu') raises in JAX 0: Unknown backend: 'gpu' requested")
    """
    try:
        gpu, how = True, str(jax.devices("gpu")[0].device_kind)
    except RuntimeError as error:
        gpu, how = False, f"jax.devices('gpu') raises in JAX {jax.__version__}: {' '.join(str(error).split())}"
    return [("cpu", True, f"JAX {jax.__version__}"), ("gpu", gpu, how)]


def probe() -> list[tuple[str, bool, str]]:
    """Import JAX and list its `devices`."""
    return devices(_jax())


class JaxBackend:
    """JAX on one device; 64-bit types are enabled for the whole process.

    The code for ``"gpu"`` has not been run on such a device yet.

    Parameters
    ----------
    device
        One of `devices`.
    mode
        One of `modes`.

    Raises
    ------
    ImportError
        JAX is not installed, or does not load.
    DeviceUnavailable
        The device is not there.
    """

    name = "jax"
    devices = ("cpu", "gpu")
    # JAX has no interpreter: what it calls eager compiles each operation by itself.
    modes = {  # noqa: RUF012 - read, never written
        "eager": Mode("each operation of jax.lax by itself", compiles=True),
        "jit": Mode("jax.jit of each operation with its bias, and of its gradient", compiles=True),
    }

    def __init__(self, device: str = "cpu", mode: str = "eager") -> None:
        self._jax = jax = _jax()
        self.mode = mode
        self.version = jax.__version__
        how = present("jax", device, devices(jax))
        self.device = how if device == "gpu" else device
        self._place = jax.devices(device)[0]
        # JAX documents that float32 may run in TF32 on a GPU unless this switch, its own, says otherwise. That it
        # flushes subnormals it documents of "some backends", which is no declaration: the measurement says of which.
        full = jax.config.jax_default_matmul_precision in ("highest", "float32")
        self.contract = Contract(tf32=device == "gpu" and not full)
        compiled = jax.jit if mode == "jit" else _as_it_is
        self._conv2d = compiled(self._convolve, static_argnames=_CONVOLUTION)
        self._conv2d_vjp = compiled(self._convolve_vjp, static_argnames=_CONVOLUTION)
        self._max_pool = compiled(self._pool, static_argnames=_POOLING)
        self._max_pool_vjp = compiled(self._pool_vjp, static_argnames=_POOLING)

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
        """Run ``jax.lax.conv_general_dilated``, and ``+`` where there is a bias."""
        arrays = (x, w) if bias is None else (x, w, bias)
        options = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
        y: Array = self._run(self._conv2d, *arrays, **options)
        return y

    def conv2d_vjp(
        self, x: Array, w: Array, dy: Array, *, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> tuple[Array, Array]:
        """Run ``jax.vjp`` of the very call that `conv2d` makes."""
        options = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
        gradients: tuple[Array, Array] = self._run(self._conv2d_vjp, x, w, dy, **options)
        return gradients

    def max_pool(self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Array:
        """Run ``jax.lax.reduce_window`` with ``jax.lax.max``."""
        options = {"ksize": ksize, "strides": strides, "padding": padding, "dilations": dilations}
        y: Array = self._run(self._max_pool, x, **options)
        return y

    def max_pool_vjp(
        self, x: Array, dy: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> Array:
        """Run ``jax.vjp`` of the very call that `max_pool` makes."""
        options = {"ksize": ksize, "strides": strides, "padding": padding, "dilations": dilations}
        dx: Array = self._run(self._max_pool_vjp, x, dy, **options)
        return dx

    # ---- on tensors: what jax.jit compiles in mode "jit"

    def _convolve(
        self,
        x: Tensor,
        w: Tensor,
        bias: Tensor | None = None,
        *,
        strides: Pair,
        padding: Padding,
        dilations: Pair,
        groups: int,
    ) -> Tensor:
        y = self._jax.lax.conv_general_dilated(
            x, w, strides, padding, rhs_dilation=dilations, dimension_numbers=_LAYOUT, feature_group_count=groups
        )
        return y if bias is None else y + bias

    def _convolve_vjp(self, x: Tensor, w: Tensor, dy: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        _, pull = self._jax.vjp(partial(self._convolve, **options), x, w)
        dx, dw = pull(dy)
        return dx, dw

    def _pool(self, x: Tensor, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Tensor:
        own = padding if isinstance(padding, str) else ((0, 0), *padding, (0, 0))
        lowest = np.array(self._lowest(x), x.dtype)
        return self._jax.lax.reduce_window(
            x, lowest, self._jax.lax.max, (1, *ksize, 1), (1, *strides, 1), own, window_dilation=(1, *dilations, 1)
        )

    def _pool_vjp(self, x: Tensor, dy: Tensor, **options: Any) -> Tensor:
        _, pull = self._jax.vjp(partial(self._pool, **options), x)
        (dx,) = pull(dy)
        return dx

    def _lowest(self, x: Tensor) -> float:
        # The identity of the maximum: from no other initial value does JAX make a maximum that it can differentiate.
        jnp = self._jax.numpy
        return -float("inf") if jnp.issubdtype(x.dtype, jnp.floating) else int(jnp.iinfo(x.dtype).min)

    # ---- in and out

    def _run(self, function: Callable[..., Any], *arrays: Array, **options: Any) -> Any:
        with self._answer():
            results = function(*map(self._tensor, arrays), **options)
            return self._jax.tree.map(self._array, results)

    def _tensor(self, array: Array) -> Tensor:
        # A copy in C order: JAX may otherwise share the memory of what the caller owns, and takes it never to change.
        return self._jax.device_put(np.array(array, order="C", copy=True), self._place)

    def _array(self, tensor: Tensor) -> Array:
        if tensor.dtype == self._jax.dtypes.float0:
            raise Unsupported("jax.vjp has no gradient with respect to integers: it gives them the type float0")
        array: Array = np.asarray(tensor)
        return array

    @contextmanager
    def _answer(self) -> Iterator[None]:
        try:
            yield
        except (NotImplementedError, RuntimeError) as error:
            # XLA's own word for what it does not offer is the status that its message begins with.
            if isinstance(error, NotImplementedError) or str(error).startswith("UNIMPLEMENTED"):
                raise Unsupported(f"JAX says: {' '.join(str(error).split())}") from error
            raise


def _as_it_is(function: Callable[..., Any], **_options: Any) -> Callable[..., Any]:
    return function


def _jax() -> Any:
    # Several processes may share a GPU, and JAX would otherwise take most of its memory for the first of them.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)  # float64 is float32 without it
    return jax
