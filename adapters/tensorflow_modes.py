"""The modes of the TensorFlow adapter: each is the class `Eager` with one decision made otherwise.

The adapter says what is to be computed; an object of one of these classes does it, NHWC and HWIO in and out.
It may import `modes`, `padding` and `backend`; TensorFlow is handed in: the table is read where it is not installed.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from .backend import Array, BackendImportError, Padding, Pair, Unsupported
from .modes import Mode
from .padding import pads_of

__all__ = ["MODES", "Eager"]

Tensor = Any  # TensorFlow is not there to be asked for its types


class Eager:
    """``tf.nn``, one operation at a time.

    Parameters
    ----------
    tf
        The module.
    """

    #: Methods that the mode does not offer, and why.
    refuses: Mapping[str, str] = MappingProxyType({})
    #: What says to an operation that its images are not NHWC.
    form: Mapping[str, str] = MappingProxyType({})

    def __init__(self, tf: Any) -> None:
        self.tf = tf

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enclose a call."""
        yield

    def tensor(self, array: Array) -> Tensor:
        """Hand an array over: a copy in C order, for TensorFlow may share the memory of what the caller owns."""
        return self.tf.constant(np.array(array, order="C", copy=True))

    def source(self, array: Array) -> Tensor:
        """Hand an array over that a gradient is taken of."""
        return self.tensor(array)

    def run(self, function: Callable[..., Any], *tensors: Tensor, **attributes: Any) -> Any:
        """Call a function of tensors and attributes."""
        return function(*tensors, **attributes)

    def conv2d(
        self, x: Tensor, w: Tensor, bias: Tensor | None, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> Tensor:
        """Convolve; ``tf.nn.conv2d`` reads the groups from the shapes."""
        del groups
        own = self.own_padding(x.shape[1:3], w.shape[:2], strides, padding, dilations)
        y = self.tf.nn.conv2d(self.into(x), w, strides=strides, padding=own, dilations=dilations, **self.form)
        return self.out(y if bias is None else self.tf.nn.bias_add(y, bias, **self.form))

    def max_pool(self, x: Tensor, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Tensor:
        """Pool, by ``tf.nn.pool`` where there is a dilation, which ``tf.nn.max_pool2d`` does not have."""
        if dilations != (1, 1):
            if padding == "SAME_LOWER" or not isinstance(padding, str):
                # It does take a list, and pads with zeros then; but its documentation offers the two names only.
                raise Unsupported("tf.nn.pool, the one with dilations, takes SAME and VALID only, by its documentation")
            attributes = {"strides": strides, "padding": padding, "dilations": dilations, **self.form}
            return self.out(self.tf.nn.pool(self.into(x), ksize, "MAX", **attributes))
        own = self.own_padding(x.shape[1:3], ksize, strides, padding, dilations)
        return self.out(self.tf.nn.max_pool2d(self.into(x), ksize, strides, own, **self.form))

    def max_pool_with_argmax(
        self, x: Tensor, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> tuple[Tensor, Tensor]:
        """Pool, with the places of the maxima."""
        if dilations != (1, 1):
            raise Unsupported("tf.nn.max_pool_with_argmax has no dilations")
        if padding == "SAME_LOWER" or not isinstance(padding, str):
            raise Unsupported("tf.nn.max_pool_with_argmax takes SAME and VALID only, by its documentation")
        y, argmax = self.tf.nn.max_pool_with_argmax(x, ksize, strides, padding)
        return y, argmax

    def into(self, x: Tensor) -> Tensor:
        """Bring an NHWC image into the form of the mode."""
        return x

    def out(self, y: Tensor) -> Tensor:
        """Bring it back."""
        return y

    def own_padding(
        self, size: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, padding: Padding, dilations: Pair
    ) -> str | list[list[int]]:
        """Return TensorFlow's name for a padding, or the pads of all four axes where it has none."""
        if self.has_name(padding):
            return str(padding)
        pads = pads_of(tuple(size), tuple(kernel), strides, padding, dilations)
        return [[0, 0], list(pads[0]), list(pads[1]), [0, 0]]

    def has_name(self, padding: Padding) -> bool:
        """Whether the padding goes in by its name; one that is unknown does, for TensorFlow to say so."""
        return isinstance(padding, str) and padding != "SAME_LOWER"


class Function(Eager):
    """``tf.function`` of each operation, and of its gradient as a whole.

    Every combination of shapes, types and attributes has a function of its own, traced once; the last 64 are kept, so
    that memory does not grow with the number of cases.
    """

    options: dict[str, bool] = {"autograph": False}  # noqa: RUF012 - there is no Python in them to convert

    def __init__(self, tf: Any) -> None:
        super().__init__(tf)
        self._compiled = functools.lru_cache(maxsize=64)(self._compile)

    def _compile(self, function: Callable[..., Any], _signature: tuple[Any, ...], attributes: tuple[Any, ...]) -> Any:
        return self.tf.function(functools.partial(function, **dict(attributes)), **self.options)

    def run(self, function: Callable[..., Any], *tensors: Tensor, **attributes: Any) -> Any:
        """Call a function of tensors and attributes, compiled."""
        signature = tuple(None if tensor is None else (tuple(tensor.shape), tensor.dtype.name) for tensor in tensors)
        return self._compiled(function, signature, tuple(attributes.items()))(*tensors)


class Xla(Function):
    """``tf.function(jit_compile=True)``: all of it is compiled by XLA, or refused."""

    options = {"autograph": False, "jit_compile": True}  # noqa: RUF012


class Explicit(Eager):
    """SAME given as explicit pads."""

    def has_name(self, padding: Padding) -> bool:
        """Whether the padding goes in by its name."""
        return padding != "SAME" and super().has_name(padding)


class Nchw(Eager):
    """``data_format="NCHW"``, with transpositions before and after."""

    refuses = MappingProxyType(
        {"max_pool_with_argmax": "tf.nn.max_pool_with_argmax takes NHWC only, by its documentation"}
    )
    form = MappingProxyType({"data_format": "NCHW"})

    def into(self, x: Tensor) -> Tensor:
        """Bring an NHWC image into the form of the mode."""
        return self.tf.transpose(x, (0, 3, 1, 2))

    def out(self, y: Tensor) -> Tensor:
        """Bring it back."""
        return self.tf.transpose(y, (0, 2, 3, 1))

    def own_padding(
        self, size: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, padding: Padding, dilations: Pair
    ) -> str | list[list[int]]:
        """Return TensorFlow's name for a padding, or the pads of all four axes where it has none."""
        own = super().own_padding(size, kernel, strides, padding, dilations)
        return own if isinstance(own, str) else [own[0], own[3], own[1], own[2]]


class Keras(Eager):
    """Keras layers: ``Conv2D``, ``DepthwiseConv2D`` where each channel is a group, ``MaxPooling2D``.

    The filters and the bias are put in as the layer's variables for the call, and the layer has their type.
    """

    refuses = MappingProxyType({"max_pool_with_argmax": "Keras has no layer that gives the places of the maxima"})

    def __init__(self, tf: Any) -> None:
        super().__init__(tf)
        keras = importlib.import_module("keras")
        if not keras.__version__.startswith("3.") or keras.backend.backend() != "tensorflow":
            found = f"Keras {keras.__version__} on {keras.backend.backend()}"
            raise BackendImportError(f"tensorflow@keras: it needs Keras 3 on TensorFlow, and this is {found}")
        self._layers = keras.layers

    def conv2d(
        self, x: Tensor, w: Tensor, bias: Tensor | None, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> Tensor:
        """Make the layer, put the filters and the bias in, and call it."""
        options = {
            "kernel_size": tuple(w.shape[:2]),
            "strides": strides,
            "padding": self._name(padding),
            "dilation_rate": dilations,
            "use_bias": bias is not None,
            "dtype": w.dtype.name,
        }
        channels, filters = x.shape[-1], w.shape[-1]
        if groups == channels > 1 and filters and filters % channels == 0:
            layer = self._layers.DepthwiseConv2D(depth_multiplier=filters // channels, **options)
            w = self.tf.reshape(w, (*w.shape[:2], channels, filters // channels))
        else:
            layer = self._layers.Conv2D(filters, groups=groups, **options)
        layer.build(x.shape)
        y, _ = layer.stateless_call([w] if bias is None else [w, bias], [], x)
        return y

    def max_pool(self, x: Tensor, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Tensor:
        """Make the layer and call it."""
        if dilations != (1, 1):
            raise Unsupported("keras.layers.MaxPooling2D has no dilations")
        dtype = x.dtype.name if x.dtype.is_floating else None  # it casts no integers, and takes "int8" for quantization
        return self._layers.MaxPooling2D(ksize, strides, self._name(padding), dtype=dtype)(x)

    def _name(self, padding: Padding) -> str:
        if not isinstance(padding, str) or padding == "SAME_LOWER":
            raise Unsupported("Keras layers take padding='same' and 'valid' only, by their documentation")
        return padding.lower()


_NO_POOLING = "tf.nn.depthwise_conv2d is a convolution; the other modes ask for pooling"


class Depthwise(Eager):
    """``tf.nn.depthwise_conv2d``, and nothing else."""

    refuses = MappingProxyType(dict.fromkeys(("max_pool", "max_pool_vjp", "max_pool_with_argmax"), _NO_POOLING))

    def conv2d(
        self, x: Tensor, w: Tensor, bias: Tensor | None, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> Tensor:
        """Convolve each channel with its own filters."""
        channels, filters = x.shape[-1], w.shape[-1]
        if groups != channels or filters % channels:
            raise Unsupported("tf.nn.depthwise_conv2d: a group has one channel there")
        own = self.own_padding(x.shape[1:3], w.shape[:2], strides, padding, dilations)
        # Its filters are (rows, columns, channel, multiplier), and its output channels in that order: those of groups.
        w = self.tf.reshape(w, (*w.shape[:2], channels, filters // channels))
        y = self.tf.nn.depthwise_conv2d(x, w, (1, *strides, 1), own, dilations=dilations)
        return y if bias is None else self.tf.nn.bias_add(y, bias)


class NumpyInput(Eager):
    """NumPy arrays handed to ``tf.nn`` as they are."""

    def tensor(self, array: Array) -> Tensor:
        """Hand an array over as it is."""
        return array

    def source(self, array: Array) -> Tensor:
        """Hand an array over that a gradient is taken of: converted as ``tf.nn`` does it; the tape watches tensors."""
        return self.tf.convert_to_tensor(array)


class Tf32(Eager):
    """TF32 allowed while a call runs."""

    allowed = True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Enclose a call."""
        switch = self.tf.config.experimental
        before = switch.tensor_float_32_execution_enabled()
        switch.enable_tensor_float_32_execution(self.allowed)
        try:
            yield
        finally:
            switch.enable_tensor_float_32_execution(before)


class NoTf32(Tf32):
    """TF32 forbidden while a call runs."""

    allowed = False


_GPU = ("gpu",)

#: The modes by name, the default first. The adapter chooses oneDNN or not before it imports TensorFlow.
MODES = {
    "eager": Mode("tf.nn, one operation at a time; gradients by GradientTape", Eager),
    "noonednn": Mode("eager, with Eigen's CPU kernels instead of oneDNN's", Eager, ("cpu",)),
    "function": Mode("tf.function of each operation and of its gradient", Function),
    "xla": Mode("tf.function(jit_compile=True): compiled by XLA", Xla, compiles=True),
    "explicit": Mode("SAME given as explicit pads", Explicit),
    "nchw": Mode('data_format="NCHW", which most CPU kernels refuse', Nchw),
    "keras": Mode("Keras layers: Conv2D, DepthwiseConv2D, MaxPooling2D, with the weights put in", Keras),
    "depthwise": Mode("tf.nn.depthwise_conv2d for one channel a group; the rest is unsupported", Depthwise),
    "numpy-input": Mode("NumPy arrays handed to tf.nn as they are", NumpyInput),
    "tf32": Mode("TF32 allowed", Tf32, _GPU),
    "notf32": Mode("TF32 forbidden", NoTf32, _GPU),
}
