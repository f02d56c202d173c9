"""One convolution or pool as each framework is called for it: Python text that makes `y` (NHWC) of `x`, `w` and `bias`.

May import this folder's `geometry` and nothing else of ours; frameworks are named here and never imported. `x` and `y`
are float32, NHWC, `w` is HWIO: NumPy arrays, which no call rebinds. Where a framework has a name for a padding the name
is written, for it holds for images of every size; else the pads are, as numbers. What is avoided, and why, is in
`adapters/deviations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .geometry import Pads, Pair, Window, effective_kernel

Shape = tuple[int, int, int, int]
NO_PADS: Pads = ((0, 0), (0, 0))
#: Named paddings under which the output has ceil(n / s) pixels.
SAMES = ("SAME", "SAME_LOWER")


class Asked(NamedTuple):
    """A call, everything resolved. `filters` is None for a pool; `padding` is a name, or pads that are not all 0."""

    shape: Shape
    filters: Shape | None
    window: Window
    padding: str | Pads
    groups: int = 1
    bias: bool = False

    @property
    def strided(self) -> bool:
        """Whether windows are more than a pixel apart."""
        return max(self.window.strides) > 1

    @property
    def dilated(self) -> bool:
        """Whether taps are more than a pixel apart."""
        return max(self.window.dilations) > 1

    def slack(self, axis: int) -> int:
        """Pixels at the end of an axis (0 height, 1 width) that the last window does not reach; negative: padding."""
        window = self.window
        span = effective_kernel(window.kernel[axis], window.dilations[axis])
        last = (window.output[axis] - 1) * window.strides[axis] - window.pads[axis][0] + span
        return self.shape[1 + axis] - last

    def skips(self) -> bool:
        """Whether the windows of SAME leave pixels at an end out, as at a stride larger than the kernel."""
        return self.padding in SAMES and max(self.slack(0), self.slack(1)) > 0


def calls(asked: Asked) -> dict[str, str]:
    """Write the call for each framework: name to code.

    >>> pool = Asked((1, 4, 4, 1), None, Window((2, 2), (2, 2), (1, 1), (2, 2), NO_PADS), "VALID")
    >>> print(calls(pool)["tensorflow"])
    import tensorflow as tf
    <BLANKLINE>
    y = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")
    """
    pool = asked.filters is None
    writers = {
        "tensorflow": _tensorflow_pool if pool else _tensorflow_conv,
        "torch": _torch_pool if pool else _torch_conv,
        "keras": _keras_pool if pool else _keras_conv,
        "jax": _jax_pool if pool else _jax_conv,
        "onnx": _onnx,
    }
    return {name: "\n".join(write(asked)) for name, write in writers.items()}


def onnx_names(asked: Asked) -> bool:
    """Whether ONNX Runtime is right about `auto_pad` here; elsewhere `pads` are written."""
    return isinstance(asked.padding, str) and not (asked.padding in SAMES and (asked.dilated or asked.skips()))


def torch_splits(asked: Asked) -> bool:
    """Whether PyTorch's own padding, one number an axis, will not do: `F.pad` goes first."""
    if asked.filters and asked.padding == "SAME" and not asked.strided:
        return False
    uneven = any(before != after for before, after in asked.window.pads)
    return uneven or (asked.filters is None and not _within_half(asked))


def _within_half(asked: Asked) -> bool:
    return all(2 * before <= k for (before, _), k in zip(asked.window.pads, asked.window.kernel, strict=True))


def _within_window(asked: Asked) -> bool:
    return all(max(sides) < k for sides, k in zip(asked.window.pads, asked.window.kernel, strict=True))


def _arguments(**given: Pair | int) -> str:
    """Keyword arguments, those at their default of 1 left out, equal pairs as one number."""
    return "".join(f", {name}={_short(value)}" for name, value in given.items() if value not in (1, (1, 1)))


def _short(value: Pair | int) -> str:
    return str(value[0]) if isinstance(value, tuple) and value[0] == value[1] else str(value)


def _four(pads: Pads) -> str:
    """Pads of all axes of an NHWC image."""
    return f"[[0, 0], {list(pads[0])}, {list(pads[1])}, [0, 0]]"


def _crop(asked: Asked) -> str:
    """Every s-th output of a call at stride 1 (clause stride-skips-pixels)."""
    return "[:, ::{}, ::{}]".format(*asked.window.strides)


# ---- TensorFlow


def _tensorflow_conv(asked: Asked) -> Iterator[str]:
    window = asked.window
    named = isinstance(asked.padding, str) and asked.padding != "SAME_LOWER"
    own = f'"{asked.padding}"' if named else _four(window.pads)
    yield "import tensorflow as tf"
    yield ""
    rest = _arguments(dilations=window.dilations)
    groups = f"  # {asked.groups} groups: by the shape of w" if asked.groups > 1 else ""
    yield f"y = tf.nn.conv2d(x, w, strides={_short(window.strides)}, padding={own}{rest}){groups}"
    if asked.bias:
        yield "y = tf.nn.bias_add(y, bias)"


def _tensorflow_pool(asked: Asked) -> Iterator[str]:
    window, image = asked.window, "x"
    named = isinstance(asked.padding, str) and asked.padding != "SAME_LOWER"
    own = f'"{asked.padding}"' if named else _four(window.pads)
    yield "import tensorflow as tf"
    yield ""
    if window.pads != NO_PADS and (asked.dilated or not (named or _within_window(asked))):
        image = "padded"
        yield f'padded = tf.pad(x, {_four(window.pads)}, constant_values=float("-inf"))'
    if asked.dilated or image == "padded":
        own = '"VALID"'
    if asked.dilated:
        rest, crop = f"dilations={list(window.dilations)}", _crop(asked) if asked.strided else ""
        yield f'y = tf.nn.pool({image}, {list(window.kernel)}, "MAX", padding={own}, {rest}){crop}'
    else:
        rest = f"ksize={_short(window.kernel)}, strides={_short(window.strides)}, padding={own}"
        yield f"y = tf.nn.max_pool2d({image}, {rest})"


# ---- PyTorch


def _torch_start(asked: Asked, value: str = "") -> Iterator[str]:
    (top, bottom), (left, right) = asked.window.pads
    yield "import torch"
    yield "import torch.nn.functional as F"
    yield ""
    yield "images = torch.from_numpy(x).permute(0, 3, 1, 2)  # NHWC to NCHW"
    if asked.filters:
        yield "filters = torch.from_numpy(w).permute(3, 2, 0, 1)  # HWIO to OIHW"
    if torch_splits(asked):
        yield f"images = F.pad(images, ({left}, {right}, {top}, {bottom}){value})  # left, right, top, bottom"


def _torch_padding(asked: Asked) -> str:
    if asked.filters and asked.padding == "SAME" and not asked.strided:
        return ', padding="same"'
    if torch_splits(asked) or asked.window.pads == NO_PADS:
        return ""
    return f", padding={_short((asked.window.pads[0][0], asked.window.pads[1][0]))}"


def _torch_conv(asked: Asked) -> Iterator[str]:
    window = asked.window
    yield from _torch_start(asked)
    bias = ", torch.from_numpy(bias)" if asked.bias else ""
    rest = _arguments(dilation=window.dilations, groups=asked.groups)
    yield f"y = F.conv2d(images, filters{bias}, stride={_short(window.strides)}{_torch_padding(asked)}{rest})"
    yield "y = y.permute(0, 2, 3, 1)  # NCHW to NHWC"


def _torch_pool(asked: Asked) -> Iterator[str]:
    window = asked.window
    yield from _torch_start(asked, ', value=float("-inf")')
    rest = f"stride={_short(window.strides)}{_torch_padding(asked)}{_arguments(dilation=window.dilations)}"
    yield f"y = F.max_pool2d(images, {_short(window.kernel)}, {rest})"
    yield "y = y.permute(0, 2, 3, 1)  # NCHW to NHWC"


# ---- Keras


def _keras_conv(asked: Asked) -> Iterator[str]:
    window, filters = asked.window, asked.filters or asked.shape
    both = asked.strided and asked.dilated  # which its layers refuse
    named = asked.padding in ("SAME", "VALID") and not both
    yield "import keras"
    yield ""
    image = "x" if named or window.pads == NO_PADS else "padded"
    if image == "padded":
        yield f"padded = keras.layers.ZeroPadding2D({window.pads})(x)"
    own = str(asked.padding).lower() if named else "valid"
    rest = "" if both else _arguments(strides=window.strides)
    rest += f', padding="{own}"' + _arguments(dilation_rate=window.dilations, groups=asked.groups)
    rest += "" if asked.bias else ", use_bias=False"
    yield f"layer = keras.layers.Conv2D({filters[3]}, {_short(window.kernel)}{rest})"
    yield f"layer.build({image}.shape)"
    yield f"layer.set_weights([w{', bias' if asked.bias else ''}])  # HWIO, as they are"
    yield f"y = layer({image}){_crop(asked) if both else ''}"


def _keras_pool(asked: Asked) -> Iterator[str]:
    window = asked.window
    named = asked.padding in ("SAME", "VALID") and not asked.dilated
    yield "import keras"
    yield ""
    image = "x" if named or window.pads == NO_PADS else "padded"
    if image == "padded":
        yield f'padded = keras.ops.pad(x, {_four(window.pads)}, constant_values=float("-inf"))'
    if asked.dilated:
        yield from _keras_taps(window, image)
        return
    own = str(asked.padding).lower() if named else "valid"
    rest = f'strides={_short(window.strides)}, padding="{own}"'
    yield f"y = keras.layers.MaxPooling2D({_short(window.kernel)}, {rest})({image})"


def _keras_taps(window: Window, image: str) -> Iterator[str]:
    """Pool with dilation, which Keras has not: the maximum of what each tap meets."""
    (rows, columns), (down, across) = window.kernel, window.dilations
    slices = [
        f"{name} : {name} + {(out - 1) * stride + 1} : {stride}"
        for name, out, stride in zip("ij", window.output, window.strides, strict=True)
    ]
    places = f"for i in range(0, {rows * down}, {down}) for j in range(0, {columns * across}, {across})"
    yield "# Keras has no pool with dilation: the maximum over what each tap meets"
    yield f"taps = [{image}[:, {', '.join(slices)}] {places}]"
    yield "y = keras.ops.max(keras.ops.stack(taps), axis=0)"


# ---- JAX


def _jax_conv(asked: Asked) -> Iterator[str]:
    window = asked.window
    own = f'"{asked.padding}"' if isinstance(asked.padding, str) else str(window.pads)
    yield "import jax"
    yield ""
    yield "y = jax.lax.conv_general_dilated("
    yield f"    x, w, window_strides={window.strides}, padding={own},"
    rest = f", rhs_dilation={window.dilations}" if asked.dilated else ""
    rest += f", feature_group_count={asked.groups}" if asked.groups > 1 else ""
    yield f'    dimension_numbers=("NHWC", "HWIO", "NHWC"){rest},'
    yield f"){' + bias' if asked.bias else ''}"


def _jax_pool(asked: Asked) -> Iterator[str]:
    window = asked.window
    pads = ((0, 0), *window.pads, (0, 0))
    own = f'"{asked.padding}"' if isinstance(asked.padding, str) else str(pads)
    yield "import jax"
    yield ""
    yield "y = jax.lax.reduce_window("
    yield '    x, float("-inf"), jax.lax.max,'
    rest = f", window_dilation={(1, *window.dilations, 1)}" if asked.dilated else ""
    yield f"    window_dimensions={(1, *window.kernel, 1)}, window_strides={(1, *window.strides, 1)},"
    yield f"    padding={own}{rest},"
    yield ")"


# ---- ONNX


def _onnx(asked: Asked) -> Iterator[str]:
    (top, bottom), (left, right) = asked.window.pads
    first = asked.filters is None and not _within_window(asked)  # ONNX Runtime's MaxPool takes pads below the window
    yield "import numpy as np"
    yield "import onnx"
    yield "import onnxruntime"
    yield "from onnx import helper"
    yield ""
    held = {"W": "np.ascontiguousarray(w.transpose(3, 2, 0, 1)),  # HWIO to OIHW"} if asked.filters else {}
    held |= {"B": "bias,"} if asked.bias else {}
    if first:
        held |= {"pads": f"np.array([0, 0, {top}, {left}, 0, 0, {bottom}, {right}]),", "lowest": "np.float32(-np.inf),"}
    yield "nodes = ["
    if first:
        yield '    helper.make_node("Pad", ["X", "pads", "lowest"], ["P"]),'
    yield from _onnx_node(asked, "P" if first else "X", "" if first else _onnx_padding(asked))
    yield "]"
    yield "constants = {" + "}" * (not held)
    if held:
        yield from (f'    "{name}": {value}' for name, value in held.items())
        yield "}"
    batch, height, width, channels = asked.shape
    yield from _onnx_model((batch, channels, height, width))


def _onnx_node(asked: Asked, source: str, padding: str) -> Iterator[str]:
    window, op = asked.window, "Conv" if asked.filters else "MaxPool"
    inputs = [source, *(["W"] if asked.filters else []), *(["B"] if asked.bias else [])]
    attributes = f"kernel_shape={list(window.kernel)}, strides={list(window.strides)}"
    attributes += f", dilations={list(window.dilations)}" if asked.dilated else ""
    attributes += f", group={asked.groups}" if asked.groups > 1 else ""
    quoted = ", ".join(f'"{name}"' for name in inputs)
    yield "    helper.make_node("
    yield f'        "{op}", [{quoted}], ["Y"],'
    yield f"        {attributes}{padding},"
    yield "    ),"


def _onnx_padding(asked: Asked) -> str:
    """`auto_pad` where ONNX Runtime is right about it, else `pads` (top, left, bottom, right)."""
    (top, bottom), (left, right) = asked.window.pads
    if onnx_names(asked):
        return f', auto_pad="{"SAME_UPPER" if asked.padding == "SAME" else asked.padding}"'
    return f", pads=[{top}, {left}, {bottom}, {right}]"


def _onnx_model(shape: Shape) -> Iterator[str]:
    yield "graph = helper.make_graph("
    yield f'    nodes, "convspec", [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, {list(shape)})],'
    yield '    [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)],'
    yield "    [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],"
    yield ")"
    yield 'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)'
    yield 'session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])'
    yield '(y,) = session.run(["Y"], {"X": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})  # NHWC to NCHW'
    yield "y = y.transpose(0, 2, 3, 1)  # NCHW to NHWC"
