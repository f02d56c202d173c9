"""TensorFlow: ``tf.nn`` in eager mode, NHWC, gradients by its own ``GradientTape``.

SAME, VALID and explicit pads are TensorFlow's own; SAME_LOWER, which it has no name for, goes in as explicit pads.
That is the mode ``eager``; the others, in `tensorflow_modes`, change one decision each.
Nothing is checked here that TensorFlow could check itself, and a crash of its is left to be one.

It may import `tensorflow_modes`, `tensorflow_training` and `backend`; TensorFlow is imported when a `TensorflowBackend`
is created.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import tensorflow_training
from .backend import Array, BackendImportError, Contract, Padding, Pair, Unsupported, present
from .tensorflow_modes import MODES

__all__ = ["TensorflowBackend", "devices", "probe"]

Tensor = Any  # TensorFlow is not there to be asked for its types

# What TensorFlow says of itself as not offered, in its own words, and where its documentation says the same of
# arguments that its error does not put so. Any other exception of TensorFlow's is passed on as it is.
_NOT_OFFERED = (
    "do not yet support dilation rates larger than 1",  # conv2d gradients on the CPU
    "Gradients for grouped convolutions are not supported on CPU",
    "filter_size does not have enough elements",  # the filter gradient's words for it; in a graph either may be first
    "grouped convolutions for now",  # "... conv implementation does not support grouped convolutions for now"
    "is not implemented for `dilation_rate` > 1",  # tf.nn.pool, SAME
    "not supported in conjunction with `dilation_rate > 1`",  # tf.nn.pool, strides
    "needs to be smaller than the window size",  # tf.nn.max_pool2d: explicit pads are bounded by the window
    "Value for attr 'T' of",  # the types that an operation's documentation lists
    "not in list of allowed values",  # the same in a graph
    "only supports NHWC",  # max pooling on the CPU
    "only supports the NHWC tensor format on the CPU",
    "only supports equal length strides",  # depthwise_conv2d
    "XLA does not support",  # "... pooling ops with explicit padding"
    "Detected unsupported operations when trying to compile graph",  # XLA too: the places of the maxima
)

# oneDNN's kernels and Eigen's are two implementations with different faults. Which of them runs depends on the CPU
# unless this variable says, and a verdict must not; TensorFlow reads it once, when it is imported.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def devices(tf: Any) -> list[tuple[str, bool, str]]:
    """List the devices of ``tf`` (the module): name, whether it is there, and how that was detected.

    Examples
    --------
    >>> import types
    >>> config = types.SimpleNamespace(list_physical_devices=lambda kind: [])
    >>> test = types.SimpleNamespace(is_built_with_cuda=lambda: False)
    >>> devices(types.SimpleNamespace(__version__="0", config=config, test=test))[1]
    ('gpu', False, "tf.config.list_physical_devices('GPU') is empty in TensorFlow 0, built without CUDA")
    """
    found = tf.config.list_physical_devices("GPU")
    built = "with" if tf.test.is_built_with_cuda() else "without"
    how = f"tf.config.list_physical_devices('GPU') is empty in TensorFlow {tf.__version__}, built {built} CUDA"
    if found:
        how = str(tf.config.experimental.get_device_details(found[0]).get("device_name", found[0].name))
    return [("cpu", True, f"TensorFlow {tf.__version__}"), ("gpu", bool(found), how)]


def probe() -> list[tuple[str, bool, str]]:
    """Import TensorFlow and list its `devices`."""
    return devices(_tensorflow("eager"))


class TensorflowBackend:
    """TensorFlow on one device.

    The code for ``"gpu"`` has not been run on such a device yet.

    Parameters
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    mode
        One of `tensorflow_modes.MODES`. All but ``"noonednn"`` have oneDNN's CPU kernels, unless the environment
        variable ``TF_ENABLE_ONEDNN_OPTS`` says 0.

    Raises
    ------
    ImportError
        TensorFlow is not installed, or does not load.
    BackendImportError
        TensorFlow has been imported in this process already, with the other kernels.
    DeviceUnavailable
        The device is not there.
    """

    name = "tensorflow"

    def __init__(self, device: str = "cpu", mode: str = "eager") -> None:
        self._tf = tf = _tensorflow(mode)
        self.mode = mode
        self.version = tf.__version__
        how = present("tensorflow", device, devices(tf))
        self.device = how if device == "gpu" else device
        self._place = f"/{device.upper()}:0"
        self._mode = MODES[mode].how(tf)
        # TensorFlow documents that float32 may run in TF32 on a GPU unless this switch, its own, is off.
        with self._mode.running():
            allowed = tf.config.experimental.tensor_float_32_execution_enabled()
        self.contract = Contract(tf32=device == "gpu" and allowed)

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
        """Run ``tf.nn.conv2d``, and ``tf.nn.bias_add`` where there is a bias."""
        _check_groups(x, w, groups)
        with self._answer("conv2d"):
            tensors = [self._mode.tensor(x), self._mode.tensor(w), None if bias is None else self._mode.tensor(bias)]
            options = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
            return _array(self._mode.run(self._mode.conv2d, *tensors, **options))

    def conv2d_vjp(
        self, x: Array, w: Array, dy: Array, *, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> tuple[Array, Array]:
        """Run ``GradientTape.gradient`` on the very call that `conv2d` makes."""
        _check_groups(x, w, groups)
        with self._answer("conv2d_vjp"):
            tensors = self._mode.source(x), self._mode.source(w), self._mode.tensor(dy)
            options = {"strides": strides, "padding": padding, "dilations": dilations, "groups": groups}
            dx, dw = self._mode.run(self._conv2d_vjp, *tensors, **options)
            return _array(dx), _array(dw)

    def block(self, x: Array, w: Array, bias: Array, *, groups: int, **options: Any) -> Array:
        """Run ``tf.nn.conv2d``, ``bias_add``, ``relu`` and ``max_pool2d``; a mode that compiles takes them as one."""
        _check_groups(x, w, groups)
        with self._answer("max_pool" if options.get("pool") else "conv2d"):
            tensors = [self._mode.tensor(array) for array in (x, w, bias)]
            return _array(self._mode.run(self._block, *tensors, groups=groups, **options))

    def block_vjp(
        self, x: Array, w: Array, bias: Array, dy: Array, *, groups: int, **options: Any
    ) -> tuple[Array, Array, Array]:
        """Run ``GradientTape.gradient`` on the very call that `block` makes."""
        _check_groups(x, w, groups)
        with self._answer("max_pool_vjp" if options.get("pool") else "conv2d_vjp"):
            tensors = [*(self._mode.source(array) for array in (x, w, bias)), self._mode.tensor(dy)]
            dx, dw, db = self._mode.run(self._block_vjp, *tensors, groups=groups, **options)
            return _array(dx), _array(dw), _array(db)

    def _block(self, x: Tensor, w: Tensor, bias: Tensor, *, pool: Any = None, **options: Any) -> Tensor:
        y = self._tf.nn.relu(self._mode.conv2d(x, w, bias, **options))
        return y if pool is None else self._mode.max_pool(y, *pool, (1, 1))

    def _block_vjp(self, x: Tensor, w: Tensor, bias: Tensor, dy: Tensor, **options: Any) -> tuple[Tensor, ...]:
        with self._tape(x, w, bias) as tape:
            y = self._block(x, w, bias, **options)
        return tuple(tape.gradient(y, (x, w, bias), dy))

    def max_pool(self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Array:
        """Run ``tf.nn.max_pool2d``, or ``tf.nn.pool`` where there is a dilation, which the former does not have."""
        with self._answer("max_pool"):
            options = {"ksize": ksize, "strides": strides, "padding": padding, "dilations": dilations}
            return _array(self._mode.run(self._mode.max_pool, self._mode.tensor(x), **options))

    def max_pool_vjp(
        self, x: Array, dy: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> Array:
        """Run ``GradientTape.gradient`` on the very call that `max_pool` makes."""
        with self._answer("max_pool_vjp"):
            options = {"ksize": ksize, "strides": strides, "padding": padding, "dilations": dilations}
            return _array(self._mode.run(self._pool_vjp, self._mode.source(x), self._mode.tensor(dy), **options))

    def max_pool_with_argmax(
        self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> tuple[Array, Array]:
        """Run ``tf.nn.max_pool_with_argmax``, whose flattening is the specification's."""
        with self._answer("max_pool_with_argmax"):
            options = {"ksize": ksize, "strides": strides, "padding": padding, "dilations": dilations}
            y, argmax = self._mode.run(self._mode.max_pool_with_argmax, self._mode.tensor(x), **options)
            return _array(y), _array(argmax)

    def loss_and_gradients(self, images: Array, labels: Array, *parameters: Array, net: Any) -> tuple[Array, ...]:
        """Run a net forward and back, as `tensorflow_training` says."""
        return tensorflow_training.loss_and_gradients(self, images, labels, parameters, net)

    def train(
        self, images: Array, labels: Array, *state: Array, net: Any, batch: int, rate: float, momentum: float
    ) -> tuple[Array, ...]:
        """Train a net, as `tensorflow_training` says."""
        return tensorflow_training.train(self, images, labels, state, net, batch=batch, rate=rate, momentum=momentum)

    def _conv2d_vjp(self, x: Tensor, w: Tensor, dy: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        with self._tape(x, w) as tape:
            y = self._mode.conv2d(x, w, None, **options)
        dx, dw = tape.gradient(y, (x, w), dy)
        return dx, dw

    def _pool_vjp(self, x: Tensor, dy: Tensor, **options: Any) -> Tensor:
        with self._tape(x) as tape:
            y = self._mode.max_pool(x, **options)
        return tape.gradient(y, x, dy)

    @contextmanager
    def _tape(self, *sources: Tensor) -> Iterator[Any]:
        for source in sources:
            if not source.dtype.is_floating:
                raise Unsupported(f"GradientTape watches floating point types only; this is {source.dtype.name}")
        with self._tf.GradientTape() as tape:
            tape.watch(sources)
            yield tape

    @contextmanager
    def _answer(self, operation: str) -> Iterator[None]:
        if operation in self._mode.refuses:
            raise Unsupported(self._mode.refuses[operation])
        try:
            with self._tf.device(self._place), self._mode.running():
                yield
        except (TypeError, ValueError, self._tf.errors.OpError) as error:
            if any(words in str(error) for words in _NOT_OFFERED):
                raise Unsupported(f"TensorFlow says: {_sentence(str(error))}") from error
            raise


def _sentence(message: str) -> str:
    # Without the node that its C++ side puts before it, and the operation or the node that it puts after it.
    if message.startswith("Graph execution error"):  # then come the lines of Python that made the node, and its words
        lines = message.splitlines()
        message = " ".join(
            lines[max((n for n, line in enumerate(lines) if line.startswith("  File ")), default=-1) + 1 :]
        )
    text = " ".join(message.split())
    text = text.partition(" [[{{node")[0] or text
    text = text.partition("}} ")[2] if text.startswith("{{") else text
    return text.partition(" [Op:")[0].partition(" ; NodeDef:")[0]


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.numpy()
    return array


def _check_groups(x: Array, w: Array, groups: int) -> None:
    # tf.nn.conv2d has no argument for groups and reads their number from the shapes, so another number cannot be told
    # to it. Shapes from which it reads none are its own to refuse.
    if x.ndim == w.ndim == 4 and w.shape[2] and x.shape[3] and x.shape[3] % w.shape[2] == 0:
        read = x.shape[3] // w.shape[2]
        if read != groups:
            raise ValueError(f"groups is {groups}; tf.nn.conv2d reads {read} from x {x.shape} and w {w.shape}")


def _tensorflow(mode: str) -> Any:
    # Its C++ side logs every refusal that it raises too. Fatal messages, the ones before a crash, are still printed.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if mode == "noonednn":
        if "tensorflow" in sys.modules and os.environ.get(_ONEDNN) != "0":
            raise BackendImportError(f"tensorflow@{mode}: TensorFlow is imported already; set {_ONEDNN}=0 before")
        os.environ[_ONEDNN] = "0"
    else:
        os.environ.setdefault(_ONEDNN, "1")
    tf = importlib.import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the GPU is in use in this process already, and stays as it was set up
            break
    return tf
