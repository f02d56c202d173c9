"""ONNX Runtime: a model of one `Conv` or `MaxPool`, run by an `InferenceSession`.

May import `backend`, as the other languages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, Call, Language, indented

_NAMES = {"SAME": "SAME_UPPER"}


class OnnxRuntime(Language):
    """Scripts for ONNX Runtime."""

    channels_first = True

    def imports(self) -> list[str]:
        """ONNX and its runtime."""
        return ["import onnx", "import onnxruntime", "from onnx import helper"]

    def argmax(self, call: Call, argmax: Array) -> Array:
        """ONNX counts through the whole tensor, NCHW."""
        items, height, width, channels = call.arrays["x"].shape
        planes = np.arange(items)[:, None, None, None] * channels + np.arange(channels)
        counted: Array = np.where(argmax < 0, -width - 1, argmax // channels) + planes * height * width
        return counted

    def tensor(self, value: str, array: Array, name: str) -> str:
        """NumPy."""
        del name
        if array.dtype.name == "bfloat16":
            self.notes.append("ONNX Runtime's Python interface takes no arrays of bfloat16; this uses ml_dtypes'.")
            return f'np.array({value}, np.dtype(__import__("ml_dtypes").bfloat16))'
        return f"np.array({value}, np.{array.dtype.name})"

    def function(self, call: Call) -> list[str]:
        """`call`: builds the model and runs it."""
        o, named = call.options, {"x": "X", "w": "W", "bias": "B"}
        op = "Conv" if "w" in call.arrays else "MaxPool"
        outputs = ["Y", "Indices"] if call.op == "max_pool_with_argmax" else ["Y"]
        attributes: dict[str, Any] = {"strides": o["strides"], "dilations": o["dilations"], **self._padding(call)}
        attributes |= {"group": o["groups"]} if op == "Conv" else {"kernel_shape": o["ksize"]}
        constant = [n for n in call.arrays if n != "x"] if self.mode != "inputs" else []
        fed = [n for n in call.arrays if n not in constant]
        provider = "CUDAExecutionProvider" if self.device == "gpu" else "CPUExecutionProvider"
        held = ", ".join(f'onnx.numpy_helper.from_array({n}, "{named[n]}")' for n in constant)
        given = "".join(f", {key}={value!r}" for key, value in attributes.items())
        element = "helper.np_dtype_to_tensor_dtype({}.dtype)"
        inputs = [f'helper.make_tensor_value_info("{named[n]}", {element.format(n)}, {n}.shape)' for n in fed]
        kinds = {"Y": element.format("x"), "Indices": "onnx.TensorProto.INT64"}
        results = [f'helper.make_tensor_value_info("{name}", {kinds[name]}, None)' for name in outputs]
        feed = ", ".join(f'"{named[n]}": {n}' for n in fed)
        return [
            f"def call{call.suffix}({', '.join(call.arrays)}):",
            *indented(
                [
                    f'node = helper.make_node("{op}", {[named[n] for n in call.arrays]!r}, {outputs!r}{given})',
                    f"inputs = [{', '.join(inputs)}]",
                    f"outputs = [{', '.join(results)}]",
                    f'graph = helper.make_graph([node], "one", inputs, outputs, [{held}])',
                    'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)',
                    "options = onnxruntime.SessionOptions()",
                    "options.log_severity_level = 4",
                    "model = model.SerializeToString()",
                    f"session = onnxruntime.InferenceSession(model, options, providers=[{provider!r}])",
                    f"return session.run({outputs!r}, {{{feed}}})",
                ]
            ),
        ]

    def _padding(self, call: Call) -> dict[str, Any]:
        padding = call.options["padding"]
        named = "w" not in call.arrays or call.options["dilations"] == (1, 1)
        if isinstance(padding, str) and (named or padding not in ("SAME", "SAME_LOWER")):
            return {"auto_pad": _NAMES.get(padding, padding)}
        (top, bottom), (left, right) = call.pads()
        return {"pads": [top, left, bottom, right]}
