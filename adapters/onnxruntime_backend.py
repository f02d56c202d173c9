"""ONNX Runtime: a model of one ``Conv`` or ``MaxPool`` a call, run by an ``InferenceSession``.

ONNX has NCHW alone, so images and filters are transposed here on their way in and out. Shapes and attributes are
constants of the model. Every padding is the operators' own, ``auto_pad`` by name or ``pads``; only for convolution with
SAME and a dilation, which ONNX Runtime has not under that name, do pads go in instead.
Nothing is checked here that ONNX Runtime could check itself.

It may import `padding`, `modes` and `backend`; ONNX Runtime is imported when an `OnnxruntimeBackend` is created.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from .backend import Array, Contract, DeviceUnavailable, Padding, Pair, Unsupported, present
from .modes import Mode
from .padding import pads_of

__all__ = ["OnnxruntimeBackend", "devices", "probe"]

# The last opset in which Conv and MaxPool changed (bfloat16 came in), and the file format that came with it. A newer
# one says nothing else of them, and fewer releases of ONNX Runtime take it.
_OPSET, _IR = 22, 10

_PROVIDERS = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}
_NAMES = {"SAME": "SAME_UPPER"}  # the others are the same, and of one that is unknown here ONNX Runtime is to say so

# What ONNX Runtime says of itself as not offered, in its own words, besides the status NOT_IMPLEMENTED. Any other
# exception of its is passed on as it is.
_NOT_OFFERED = (
    "of input parameter",  # the types that the operator's definition lists
    "Pad should be smaller than kernel",  # MaxPool
    "can't be converted to MLDataType",  # arrays of a type that its Python interface does not take
)

_SESSIONS = 32  # each holds threads and a copy of its filters


def devices(ort: Any) -> list[tuple[str, bool, str]]:
    """List the devices of ``ort`` (the module): name, whether it is there, and how that was detected.

    Examples
    --------
    >>> import types
    >>> fake = types.SimpleNamespace(__version__="0", get_available_providers=lambda: ["CPUExecutionProvider"])
    >>> devices(fake)[1]
    ('gpu', False, 'this build of ONNX Runtime 0 has CPUExecutionProvider and no CUDAExecutionProvider')
    """
    version, there = ort.__version__, ort.get_available_providers()
    built = _PROVIDERS["gpu"] in there
    how = f"this build of ONNX Runtime {version} has {', '.join(there)} and no {_PROVIDERS['gpu']}"
    return [("cpu", True, f"ONNX Runtime {version}"), ("gpu", built, _PROVIDERS["gpu"] if built else how)]


def probe() -> list[tuple[str, bool, str]]:
    """Import ONNX Runtime and list its `devices`."""
    return devices(importlib.import_module("onnxruntime"))


class OnnxruntimeBackend:
    """ONNX Runtime on one device.

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
        ONNX Runtime or onnx is not installed, or does not load.
    DeviceUnavailable
        The device is not there.
    """

    name = "onnxruntime"
    devices = ("cpu", "gpu")
    modes = {  # noqa: RUF012 - read, never written
        "initializers": Mode("filters and bias are constants of the model, which ONNX Runtime lays out anew (NCHWc)"),
        "inputs": Mode("filters and bias are inputs of the model: ONNX Runtime's kernels for NCHW"),
    }

    def __init__(self, device: str = "cpu", mode: str = "initializers") -> None:
        self._ort = ort = importlib.import_module("onnxruntime")
        self._onnx = importlib.import_module("onnx")
        self.mode = mode
        self.version = ort.__version__
        present("onnxruntime", device, devices(ort))
        self.device = device
        self._provider = _PROVIDERS[device]
        # Its CUDA provider documents that convolutions may use TF32 unless its option use_tf32 is 0.
        self.contract = Contract(tf32=device == "gpu")
        self._session = lru_cache(maxsize=_SESSIONS)(self._new_session)
        if device == "gpu":  # a provider that does not start is left out with no more than a warning
            self._try_provider()

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
        """Run ``Conv``, whose third input is the bias."""
        own = _own_padding(x, w.shape[:2], strides, padding, dilations, named=dilations == (1, 1))
        constants = {"W": _oihw(w)} if bias is None else {"W": _oihw(w), "B": np.ascontiguousarray(bias)}
        attributes = {"strides": strides, "dilations": dilations, "group": groups, **own}
        (y,) = self._run("Conv", _nchw(x), constants, ["Y"], attributes)
        return _nhwc(y)

    def conv2d_vjp(self, *_arrays: Array, **_options: Any) -> tuple[Array, Array]:
        """Refuse: there are no gradients."""
        raise _no_gradients()

    def max_pool(self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Array:
        """Run ``MaxPool``."""
        (y,) = self._pool(["Y"], x, ksize, strides, padding, dilations)
        return _nhwc(y)

    def max_pool_vjp(self, *_arrays: Array, **_options: Any) -> Array:
        """Refuse: there are no gradients."""
        raise _no_gradients()

    def max_pool_with_argmax(
        self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> tuple[Array, Array]:
        """Run ``MaxPool`` with its second output, ``Indices``, for which ONNX Runtime has other kernels.

        ONNX counts through the whole NCHW tensor, ``((n * C + c) * H + row) * W + column``; that becomes
        ``(row * W + column) * C + c`` of the item, int64. Where no tap lies inside the image ONNX Runtime gives row and
        column -1; that becomes -1.
        """
        values, indices = self._pool(["Y", "Indices"], x, ksize, strides, padding, dilations)
        items, height, width, channels = x.shape
        planes = np.arange(items * channels).reshape(items, channels, 1, 1) * (height * width)
        place = _nhwc(indices - planes)  # row * W + column; one outside the plane is handed on as it is
        return _nhwc(values), np.where(place == -width - 1, -1, place * channels + np.arange(channels))

    def _pool(
        self, outputs: list[str], x: Array, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> list[Array]:
        own = _own_padding(x, ksize, strides, padding, dilations, named=True)
        attributes = {"kernel_shape": ksize, "strides": strides, "dilations": dilations, **own}
        return self._run("MaxPool", _nchw(x), {}, outputs, attributes)

    def _run(
        self, op: str, x: Array, parameters: dict[str, Array], outputs: list[str], attributes: dict[str, Any]
    ) -> list[Array]:
        arrays = {"X": x, **parameters}
        constant = parameters if self.mode == "initializers" else {}
        with self._answer():
            session = self._session(self._model(op, arrays, constant, outputs, attributes))
            fed = {name: array for name, array in arrays.items() if name not in constant}
            results: list[Array] = session.run(outputs, fed)
            return results

    def _model(
        self,
        op: str,
        arrays: dict[str, Array],
        constant: dict[str, Array],
        outputs: list[str],
        attributes: dict[str, Any],
    ) -> bytes:
        helper, onnx = self._onnx.helper, self._onnx
        types = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in arrays.items()}
        inputs = [
            helper.make_tensor_value_info(name, types[name], array.shape)
            for name, array in arrays.items()
            if name not in constant
        ]
        # Outputs have no shape: it is for ONNX Runtime to find.
        kinds = {"Y": types["X"], "Indices": onnx.TensorProto.INT64}
        results = [helper.make_tensor_value_info(name, kinds[name], None) for name in outputs]
        node = helper.make_node(op, list(arrays), outputs, **attributes)
        held = [onnx.numpy_helper.from_array(array, name) for name, array in constant.items()]
        graph = helper.make_graph([node], op, inputs, results, held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        serialized: bytes = model.SerializeToString()
        return serialized

    def _new_session(self, model: bytes) -> Any:
        options = self._ort.SessionOptions()
        options.log_severity_level = 4  # its C++ side logs every refusal that it raises too; fatal ones still show
        # Threads sleep while they wait: a session's would otherwise take a core from the next one's.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads := os.environ.get("OMP_NUM_THREADS", ""):  # it reads no variable by itself
            options.intra_op_num_threads = int(threads)
        if self._provider != _PROVIDERS["cpu"]:  # what the device cannot do is then refused, not done by the CPU
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        return self._ort.InferenceSession(model, options, providers=[self._provider])

    def _try_provider(self) -> None:
        x, attributes = np.zeros((1, 1, 1, 1), np.float32), {"kernel_shape": (1, 1)}
        try:
            providers = self._session(self._model("MaxPool", {"X": x}, {}, ["Y"], attributes)).get_providers()
            problem = "" if self._provider in providers else f"a session has {', '.join(providers)} only"
        except Exception as error:
            problem = " ".join(str(error).split())
        if problem:
            raise DeviceUnavailable(f"onnxruntime:gpu: {self._provider} is there but does not start: {problem}")

    @contextmanager
    def _answer(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # its exceptions have no base class of their own
            message = " ".join(str(error).split())
            if "NOT_IMPLEMENTED" in message or any(words in message for words in _NOT_OFFERED):
                raise Unsupported(f"ONNX Runtime says: {message}") from error
            raise


def _no_gradients() -> Unsupported:
    return Unsupported("ONNX Runtime's inference build has no gradients")


def _own_padding(
    x: Array, kernel: tuple[int, ...], strides: Pair, padding: Padding, dilations: Pair, *, named: bool
) -> dict[str, Any]:
    if padding in ("SAME_UPPER", "NOTSET"):  # ONNX's own names, which it would take; any other it refuses itself
        raise ValueError(f"padding must be 'SAME', 'VALID', 'SAME_LOWER' or two pairs, got {padding!r}")
    if isinstance(padding, str) and (named or padding not in ("SAME", "SAME_LOWER")):
        return {"auto_pad": _NAMES.get(padding, padding)}
    (top, bottom), (left, right) = pads_of(x.shape[1:3], tuple(kernel), strides, padding, dilations)
    return {"pads": [top, left, bottom, right]}


# By axes counted from the ends, so that an array of another rank gets to ONNX Runtime, which is to refuse it.


def _nchw(x: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def _oihw(w: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(w, (-1, -2), (0, 1)))


def _nhwc(y: Array) -> Array:
    return np.moveaxis(y, 1, -1)
