"""TensorFlow: `tf.nn` on NHWC tensors, `GradientTape`; `tf.function`, XLA or Keras where the mode says so.

May import `backend`, as the other languages.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array, Call, Language, Pads, Pair, indented, keywords, unless

_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


class TensorFlow(Language):
    """Scripts for TensorFlow."""

    def environment(self) -> list[str]:
        """Which CPU kernels: it is read once, when TensorFlow is imported."""
        value = "0" if self.mode == "noonednn" else "1"
        return [f'os.environ["{_ONEDNN}"] = "{value}"', 'os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")']

    def imports(self) -> list[str]:
        """TensorFlow, its device, and the switches of the mode."""
        lines = ["import keras"] if self.mode == "keras" else []
        lines.append("import tensorflow as tf")
        if self.device in ("", "cpu") and self.mode != "numpy-input":
            lines.append('tf.config.set_visible_devices([], "GPU")')
        if self.mode in ("tf32", "notf32"):
            lines.append(f"tf.config.experimental.enable_tensor_float_32_execution({self.mode == 'tf32'})")
        return lines

    def tensor(self, value: str, array: Array, name: str) -> str:
        """`tf.constant`, or NumPy's array as it is where the mode is to hand that over."""
        del name
        dtype = array.dtype.name
        if self.mode == "numpy-input":
            made = "tf.bfloat16.as_numpy_dtype" if dtype == "bfloat16" else f"np.{dtype}"
            return f"np.array({value}, {made})"
        if not array.size:
            return f"tf.zeros({array.shape}, tf.{dtype})"
        if value.startswith("["):
            return f"tf.constant({value}, tf.{dtype})"
        return f"tf.cast({value}, tf.{dtype})"

    def function(self, call: Call) -> list[str]:
        """`call`, a `tf.function` if the mode says so."""
        x = ", ".join(call.inputs)
        lines = [f"def forward{call.suffix}({x}):", *indented(self._forward(call)), "", ""]
        if self.mode == "numpy-input":  # on a device that is named TensorFlow converts NumPy's arrays in another way
            device = "GPU" if self.device == "gpu" else "CPU"
            lines = [f"def forward{call.suffix}({x}):", f'    with tf.device("/{device}:0"):']
            lines += [*indented(self._forward(call), 8), "", ""]
        compiled = {"function": ["@tf.function(autograph=False)"]}
        compiled["xla"] = ["@tf.function(autograph=False, jit_compile=True)"]
        lines += compiled.get(self.mode, [])
        if call.op == call.forward:
            one = f"forward{call.suffix}({x})"
            result = f"list({one})" if call.op == "max_pool_with_argmax" else f"[{one}]"
            return [*lines, f"def call{call.suffix}({x}):", f"    return {result}"]
        wrap = "tf.convert_to_tensor({})" if self.mode == "numpy-input" else "{}"
        return [
            *lines,
            f"def call{call.suffix}({x}, dy):",
            f"    inputs = [{', '.join(wrap.format(name) for name in call.inputs)}]",
            "    with tf.GradientTape() as tape:",
            "        tape.watch(inputs)",
            f"        y = forward{call.suffix}(*inputs)",
            "    return list(tape.gradient(y, inputs, dy))",
        ]

    def _forward(self, call: Call) -> list[str]:
        o = call.options
        if "w" not in call.arrays:
            if call.op == "max_pool_with_argmax":
                given = f"{o['ksize']}, {o['strides']}, {o['padding']!r}"
                return [f"return tf.nn.max_pool_with_argmax(x, {given})"]
            return self._pool(o["ksize"], o["strides"], o["padding"], call.pads(), o["dilations"], "return ")
        if call.op not in ("block", "block_vjp"):
            return self._convolution(call, "return ")
        lines = [*self._convolution(call, "y = "), "y = tf.nn.relu(y)"]
        if o["pool"] is None:
            return [*lines, "return y"]
        ksize, strides, padding = o["pool"]
        return [*lines, *self._pool(ksize, strides, padding, call.pool_pads(), (1, 1), "return ", "y")]

    def _convolution(self, call: Call, to: str) -> list[str]:
        o = call.options
        if self.mode == "keras":
            return self._layer(call, to)
        own = self._own(o["padding"], call.pads())
        if self.mode == "depthwise":
            lines = self._depthwise(call, own)
        elif self.mode == "nchw":
            given = f'strides={o["strides"]}, padding={own!r}, data_format="NCHW"'
            more = keywords(dilations=unless(o["dilations"], (1, 1)))
            lines = ["x = tf.transpose(x, (0, 3, 1, 2))", f"y = tf.nn.conv2d(x, w, {given}{more})"]
        else:
            more = keywords(dilations=unless(o["dilations"], (1, 1)))
            lines = [f"y = tf.nn.conv2d(x, w, strides={o['strides']}, padding={own!r}{more})"]
        if "bias" in call.arrays:
            form = ', data_format="NCHW"' if self.mode == "nchw" else ""
            lines.append(f"y = tf.nn.bias_add(y, bias{form})")
        if self.mode == "nchw":
            lines.append("y = tf.transpose(y, (0, 2, 3, 1))")
        return [*lines[:-1], to + lines[-1].removeprefix("y = ")]

    def _depthwise(self, call: Call, own: Any) -> list[str]:
        o, (rows, columns, _, filters) = call.options, call.arrays["w"].shape
        channels = call.arrays["x"].shape[-1]
        shape = (rows, columns, channels, filters // channels)
        more = keywords(dilations=unless(o["dilations"], (1, 1)))
        return [
            f"w = tf.reshape(w, {shape})",
            f"y = tf.nn.depthwise_conv2d(x, w, {(1, *o['strides'], 1)}, {own!r}{more})",
        ]

    def _layer(self, call: Call, to: str) -> list[str]:
        o, (rows, columns, _, filters) = call.options, call.arrays["w"].shape
        channels, bias = call.arrays["x"].shape[-1], "bias" in call.arrays
        given = (
            f"kernel_size=({rows}, {columns}), strides={o['strides']}, padding={str(o['padding']).lower()!r}, "
            f"dilation_rate={o['dilations']}, use_bias={bias}, dtype={call.arrays['w'].dtype.name!r}"
        )
        lines = []
        if o["groups"] == channels > 1 and filters and filters % channels == 0:
            multiplier = filters // channels
            lines.append(f"w = tf.reshape(w, {(rows, columns, channels, multiplier)})")
            lines.append(f"layer = keras.layers.DepthwiseConv2D(depth_multiplier={multiplier}, {given})")
        else:
            lines.append(f"layer = keras.layers.Conv2D({filters}, groups={o['groups']}, {given})")
        weights = "[w, bias]" if bias else "[w]"
        return [*lines, "layer.build(x.shape)", f"{to}layer.stateless_call({weights}, [], x)[0]"]

    def _pool(
        self, ksize: Pair, strides: Pair, padding: Any, pads: Pads, dilations: Pair, to: str, image: str = "x"
    ) -> list[str]:
        if self.mode == "keras":
            given = f"{ksize}, {strides}, {str(padding).lower()!r}"
            dtype = f", dtype={image}.dtype.name" if image == "x" else ""
            return [f"{to}keras.layers.MaxPooling2D({given}{dtype})({image})"]
        form = ', data_format="NCHW"' if self.mode == "nchw" else ""
        before = [f"{image} = tf.transpose({image}, (0, 3, 1, 2))"] if form else []
        if dilations != (1, 1):
            given = f'{ksize}, "MAX", strides={strides}, padding={padding!r}, dilations={dilations}'
            one = f"tf.nn.pool({image}, {given}{form})"
        else:
            one = f"tf.nn.max_pool2d({image}, {ksize}, {strides}, {self._own(padding, pads)!r}{form})"
        return [*before, f"{to}tf.transpose({one}, (0, 2, 3, 1))" if form else f"{to}{one}"]

    def _own(self, padding: Any, pads: Pads) -> Any:
        """TensorFlow's name for a padding, or the pads of all four axes where it has none."""
        if isinstance(padding, str) and padding != "SAME_LOWER" and not (self.mode == "explicit" and padding == "SAME"):
            return padding
        own = [[0, 0], *([int(n) for n in np.ravel(sides)] for sides in pads), [0, 0]]
        return [own[0], own[3], own[1], own[2]] if self.mode == "nchw" else own
