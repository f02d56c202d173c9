"""PyTorch: ``torch.nn.functional`` in its default layout (NCHW, contiguous), gradients by its own autograd.

That is the mode ``eager``; the others, in `torch_modes`, change one decision each.

Where torch has a padding of its own (``"valid"``, ``"same"`` at stride 1, the same number on both sides) its own is
what runs. Uneven pads (SAME at a larger stride, SAME_LOWER, explicit ones) are split: torch gets what is the same on
both sides, the rest is put in before, as zeros for convolution and as the identity of the maximum for pooling.
Nothing is checked here that torch could check itself.

It may import `padding`, `torch_modes`, `torch_training` and `backend`; torch is imported when a `TorchBackend` is
created.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import torch_training
from .backend import Array, Contract, Padding, Pair, Unsupported, present
from .padding import pads_of, split
from .torch_modes import MODES

__all__ = ["TorchBackend", "devices", "probe"]

Tensor = Any  # torch is not there to be asked for its types
_NO_PADS: tuple[Pair, Pair] = ((0, 0), (0, 0))

# What torch says of itself as not offered, in its own words. Any other exception of torch's is passed on as it is.
_NOT_OFFERED = (
    "not implemented for",
    "doesn't support float64",
    "does not support bfloat16",
    "padding='same' is not supported for strided convolutions",
    "does not have a deterministic implementation",
)


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
        One of `torch_modes.MODES`; ``"eager"`` is what a caller of ``torch.nn.functional`` gets.

    Raises
    ------
    ImportError
        torch is not installed, or does not load.
    DeviceUnavailable
        The device is not there, or what the mode needs.
    """

    name = "torch"

    def __init__(self, device: str = "cpu", mode: str = "eager") -> None:
        self._torch = torch = importlib.import_module("torch")
        self._device = device
        self.mode = mode
        self.version = torch.__version__
        how = present("torch", device, devices(torch))
        self.device = how if device == "cuda" else device
        self._mode = MODES[mode].how(torch)
        # torch documents that cuDNN convolutions may use TF32 unless this switch, its own, is off; without cuDNN they
        # are matrix products, which have a switch of their own.
        with self._mode.running():
            kernels = torch.backends.cudnn if torch.backends.cudnn.enabled else torch.backends.cuda.matmul
            self.contract = Contract(tf32=device == "cuda" and kernels.allow_tf32)

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

    def block(self, x: Array, w: Array, bias: Array, **options: Any) -> Array:
        """Run ``conv2d`` with its bias, ``relu`` and ``max_pool2d``; a mode that compiles takes them as one."""
        with self._answer():
            return self._image(self._mode.run(self._block, self._nchw(x), self._oihw(w), self._tensor(bias), **options))

    def block_vjp(self, x: Array, w: Array, bias: Array, dy: Array, **options: Any) -> tuple[Array, Array, Array]:
        """Run ``torch.autograd.grad`` on the very call that `block` makes."""
        with self._answer():
            sources = [self._leaf(t) for t in (self._nchw(x), self._oihw(w), self._tensor(bias))]
            y = self._mode.run(self._block, *sources, **options)
            dx, dw, db = self._torch.autograd.grad(y, sources, self._nchw(dy))
            return self._image(dx), self._array(dw.permute(2, 3, 1, 0)), self._array(db)

    def _block(
        self,
        x: Tensor,
        w: Tensor,
        b: Tensor,
        *,
        strides: Pair,
        padding: Padding,
        dilations: Pair,
        groups: int,
        pool: Any,
    ) -> Tensor:
        y = self._torch.relu(self._conv2d(x, w, b, strides, padding, dilation=dilations, groups=groups))
        if pool is None:
            return y
        ksize, pool_strides, pool_padding = pool
        return self._pool(y, ksize, pool_strides, pool_padding, (1, 1))

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

        The index is ``(row * W + column) * C + channel`` of the input, int64; -1 where torch points at a pad
        that was put in before.
        """
        with self._answer():
            y, index, first = self._pool_and_index(self._nchw(x), ksize, strides, padding, dilations, indices=True)
            values, flat = self._image(y), self._image(index)
        height, width, channels = x.shape[1:]
        (top, bottom), (left, right) = first  # torch's indices leave its own pads out, but not those put in before
        row, column = flat // (left + width + right) - top, flat % (left + width + right) - left
        # An index beyond the plane is torch's own and is handed on as it is: it is not for us to call it a pad.
        padded = (row < 0) | ((row >= height) & (row < height + bottom)) | (column < 0) | (column >= width)
        argmax = (row * width + column) * channels + np.arange(channels)
        return values, np.where(padded, -1, argmax)

    def loss_and_gradients(self, images: Array, labels: Array, *parameters: Array, net: Any) -> tuple[Array, ...]:
        """Run a net forward and back, as `torch_training` says."""
        return torch_training.loss_and_gradients(self, images, labels, parameters, net)

    def train(
        self, images: Array, labels: Array, *state: Array, net: Any, batch: int, rate: float, momentum: float
    ) -> tuple[Array, ...]:
        """Train a net, as `torch_training` says."""
        return torch_training.train(self, images, labels, state, net, batch=batch, rate=rate, momentum=momentum)

    def _conv2d(
        self, x: Tensor, w: Tensor, bias: Tensor | None, strides: Pair, padding: Padding, **rest: Any
    ) -> Tensor:
        own: str | Pair
        first = _NO_PADS
        if padding == "VALID" or (padding == "SAME" and (strides == (1, 1) or self._mode.native_same)):
            own = str(padding).lower()
        elif isinstance(padding, str) and padding not in ("SAME", "SAME_LOWER"):
            own = padding  # unknown here: torch is to say so
        else:
            pads = pads_of(tuple(x.shape[2:]), tuple(w.shape[2:]), strides, padding, rest["dilation"])
            own, first = split(pads)
        return self._mode.conv2d(x, w, bias, first, stride=strides, padding=own, **rest)

    def _pool(self, x: Tensor, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Tensor:
        return self._pool_and_index(x, ksize, strides, padding, dilations)[0]

    def _pool_and_index(
        self, x: Tensor, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair, *, indices: bool = False
    ) -> tuple[Tensor, Tensor | None, tuple[Pair, Pair]]:
        own: Any = padding  # max_pool2d has no names for paddings: of one that is unknown here torch is to say so
        first = _NO_PADS
        if padding == "SAME" and self._mode.native_same:
            raise Unsupported("torch.nn.functional.max_pool2d takes no padding='same', by its documentation")
        if not isinstance(padding, str) or padding in ("SAME", "SAME_LOWER", "VALID"):
            own, first = split(pads_of(tuple(x.shape[2:]), ksize, strides, padding, dilations), ksize)
        options = {"kernel_size": ksize, "stride": strides, "padding": own, "dilation": dilations}
        answer = self._mode.max_pool2d(x, first, return_indices=indices, **options)
        return (*answer, first) if indices else (answer, None, first)

    def _leaf(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise Unsupported(f"torch's autograd is for floating point types; {x.dtype} can require no gradient")
        return self._mode.leaf(x)

    def _nchw(self, x: Array) -> Tensor:
        return self._mode.layout(self._tensor(np.transpose(x, (0, 3, 1, 2))))

    def _oihw(self, w: Array) -> Tensor:
        return self._mode.layout(self._tensor(np.transpose(w, (3, 2, 0, 1))))

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
            with self._mode.running():
                yield
        except (NotImplementedError, RuntimeError, TypeError) as error:
            if any(words in str(error) for words in _NOT_OFFERED):
                raise Unsupported(f"torch says: {' '.join(str(error).split())}") from error
            raise
