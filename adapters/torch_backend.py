"""PyTorch: ``torch.nn.functional`` in its default layout (NCHW, contiguous), gradients by its own autograd.

Where torch has a padding of its own (``"valid"``, ``"same"`` at stride 1, the same number on both sides) its own is
what runs; SAME at a larger stride, SAME_LOWER and uneven pads are padded first: with zeros for convolution, with the
identity of the maximum for pooling. Nothing is checked here that torch could check itself.

It may import `padding` and `backend`; torch is imported when a `TorchBackend` is created.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .backend import Array, Contract, DeviceUnavailable, Padding, Pair, Unsupported
from .padding import pads_of

__all__ = ["TorchBackend", "devices", "probe"]

Tensor = Any  # torch is not there to be asked for its types

# What torch says of itself as not offered, in its own words. Any other exception of torch's is passed on as it is.
_NOT_OFFERED = ("not implemented for", "doesn't support float64", "does not support bfloat16")


def devices(torch: Any) -> list[tuple[str, bool, str]]:
    """List the devices of ``torch`` (the module): name, whether it is there, and how that was detected.

    Examples
    --------
    >>> import types
    >>> no = types.SimpleNamespace(is_available=lambda: False)
    >>> fake = types.SimpleNamespace(__version__="0", cuda=no, backends=types.SimpleNamespace(mps=no))
    >>> devices(fake)[1]
    ('cuda', False, 'torch.cuda.is_available() is False in torch 0')
    """
    version = torch.__version__
    cuda = torch.cuda.is_available()
    how = f"torch.cuda.is_available() is {cuda} in torch {version}"
    found = [("cpu", True, f"torch {version}"), ("cuda", cuda, torch.cuda.get_device_name() if cuda else how)]
    mps = torch.backends.mps.is_available()
    return [*found, ("mps", mps, f"torch.backends.mps.is_available() is {mps} in torch {version}")]


def probe() -> list[tuple[str, bool, str]]:
    """Import torch and list its `devices`."""
    return devices(importlib.import_module("torch"))


class TorchBackend:
    """PyTorch on one device.

    The code for ``"cuda"`` and ``"mps"`` has not been run on such a device yet.

    Parameters
    ----------
    device
        ``"cpu"``, ``"cuda"`` or ``"mps"``.
    mode
        ``"eager"``; no other yet.

    Raises
    ------
    ImportError
        torch is not installed, or does not load.
    DeviceUnavailable
        The device is not there.
    """

    name = "torch"

    def __init__(self, device: str = "cpu", mode: str = "eager") -> None:
        self._torch = torch = importlib.import_module("torch")
        self._functional = torch.nn.functional
        self._device = device
        self.mode = mode
        self.version = torch.__version__
        available, how = {name: rest for name, *rest in devices(torch)}[device]
        if not available:
            raise DeviceUnavailable(f"torch:{device}: no {device.upper()} device: {how}")
        self.device = how if device == "cuda" else device
        # torch documents that cuDNN convolutions may use TF32 unless this switch, its own, is off.
        self.contract = Contract(tf32=device == "cuda" and torch.backends.cudnn.allow_tf32)

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
        """Run ``torch.nn.functional.conv2d``."""
        b = None if bias is None else self._tensor(bias)
        with self._answer():
            y = self._conv2d(self._nchw(x), self._oihw(w), b, strides, padding, dilation=dilations, groups=groups)
            return self._image(y)

    def conv2d_vjp(
        self, x: Array, w: Array, dy: Array, *, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> tuple[Array, Array]:
        """Run ``torch.autograd.grad`` on the very call that `conv2d` makes."""
        with self._answer():
            image, filters = self._leaf(self._nchw(x)), self._leaf(self._oihw(w))
            y = self._conv2d(image, filters, None, strides, padding, dilation=dilations, groups=groups)
            dx, dw = self._torch.autograd.grad(y, (image, filters), self._nchw(dy))
            return self._image(dx), self._array(dw.permute(2, 3, 1, 0))

    def max_pool(self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Array:
        """Run ``torch.nn.functional.max_pool2d``."""
        with self._answer():
            return self._image(self._pool(self._nchw(x), ksize, strides, padding, dilations))

    def max_pool_vjp(
        self, x: Array, dy: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> Array:
        """Run ``torch.autograd.grad`` on the very call that `max_pool` makes."""
        with self._answer():
            image = self._leaf(self._nchw(x))
            y = self._pool(image, ksize, strides, padding, dilations)
            (dx,) = self._torch.autograd.grad(y, image, self._nchw(dy))
            return self._image(dx)

    def max_pool_with_argmax(
        self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> tuple[Array, Array]:
        """Run ``max_pool2d`` with ``return_indices``; torch's ``row * W + column`` becomes the specification's index.

        The index is ``(row * W + column) * C + channel`` of the input, int64; -1 where torch points at a pad.
        """
        pads: list[Pair] = [(0, 0), (0, 0)]  # those put in before torch's call; its own indices leave its own pads out
        with self._answer():
            image = self._nchw(x)
            y, index = self._pool(image, ksize, strides, padding, dilations, return_indices=True, padded=pads)
            flat = self._image(index)
        height, width, channels = x.shape[1:]
        padded_width = pads[1][0] + width + pads[1][1]
        row, column = flat // padded_width - pads[0][0], flat % padded_width - pads[1][0]
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        argmax = (row * width + column) * channels + np.arange(channels)
        return self._image(y), np.where(inside, argmax, -1)

    def _conv2d(
        self, x: Tensor, w: Tensor, bias: Tensor | None, strides: Pair, padding: Padding, **rest: Any
    ) -> Tensor:
        own: str | tuple[int, ...]
        if isinstance(padding, str) and (padding == "SAME_LOWER" or (padding == "SAME" and strides != (1, 1))):
            pads = pads_of(tuple(x.shape[2:]), tuple(w.shape[2:]), strides, padding, rest["dilation"])
            x, own = self._pad(x, pads, 0), (0, 0)
        elif isinstance(padding, str):
            own = padding.lower()
        elif all(before == after for before, after in padding):
            own = tuple(before for before, _ in padding)
        else:
            x, own = self._pad(x, padding, 0), (0, 0)
        return self._functional.conv2d(x, w, bias, stride=strides, padding=own, **rest)

    def _pool(
        self,
        x: Tensor,
        ksize: Pair,
        strides: Pair,
        padding: Padding,
        dilations: Pair,
        *,
        return_indices: bool = False,
        padded: list[Pair] | None = None,
    ) -> Any:
        if padding not in ("SAME", "SAME_LOWER", "VALID") and isinstance(padding, str):
            own: Any = padding  # max_pool2d has no names for paddings: torch is to say so
        else:
            pads = pads_of(tuple(x.shape[2:]), ksize, strides, padding, dilations)
            own = tuple(before for before, _ in pads)
            # torch takes the same number on both sides, of at most half the kernel.
            if any(before != after for before, after in pads) or any(
                2 * p > k for p, k in zip(own, ksize, strict=True)
            ):
                x, own = self._pad(x, pads, self._lowest(x)), (0, 0)
                if padded is not None:
                    padded[:] = pads
        return self._functional.max_pool2d(
            x, ksize, stride=strides, padding=own, dilation=dilations, return_indices=return_indices
        )

    def _pad(self, x: Tensor, pads: tuple[Pair, Pair], value: float) -> Tensor:
        (top, bottom), (left, right) = pads
        if min(top, bottom, left, right) < 0:
            # torch.nn.functional.pad would crop: that is its meaning of a negative pad, and not convolution's.
            raise ValueError(f"padding is {pads!r}; torch takes no uneven padding, and none can be put in by hand")
        return self._functional.pad(x, (left, right, top, bottom), value=value)

    def _lowest(self, x: Tensor) -> float:
        return -float("inf") if x.is_floating_point() else self._torch.iinfo(x.dtype).min

    def _leaf(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise Unsupported(f"torch's autograd is for floating point types; {x.dtype} can require no gradient")
        return x.requires_grad_()

    def _nchw(self, x: Array) -> Tensor:
        return self._tensor(np.transpose(x, (0, 3, 1, 2)))

    def _oihw(self, w: Array) -> Tensor:
        return self._tensor(np.transpose(w, (3, 2, 0, 1)))

    def _tensor(self, array: Array) -> Tensor:
        # A copy in C order: torch takes no negative strides and must never write to what the caller owns.
        copy = np.array(array, order="C", copy=True)
        if copy.dtype.name == "bfloat16":
            return self._torch.from_numpy(copy.view(np.int16)).view(self._torch.bfloat16).to(self._device)
        return self._torch.from_numpy(copy).to(self._device)

    def _image(self, x: Tensor) -> Array:
        return self._array(x.permute(0, 2, 3, 1))

    def _array(self, x: Tensor) -> Array:
        x = x.detach().cpu()
        if x.dtype != self._torch.bfloat16:
            array: Array = x.numpy()
            return array
        bfloat16 = importlib.import_module("ml_dtypes").bfloat16
        bits: Array = x.contiguous().view(self._torch.int16).numpy()
        return bits.view(bfloat16)

    @contextmanager
    def _answer(self) -> Iterator[None]:
        try:
            yield
        except (NotImplementedError, RuntimeError, TypeError) as error:
            if any(words in str(error) for words in _NOT_OFFERED):
                raise Unsupported(f"torch says: {' '.join(str(error).split())}") from error
            raise
