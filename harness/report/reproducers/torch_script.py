"""PyTorch: `torch.nn.functional` on NCHW tensors, `F.pad` where SAME is uneven, `torch.autograd.grad`.

May import `backend`, as the other languages, and the adapters' geometry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convspec.adapters.padding import split

from .backend import NO_PADS, Array, Call, Language, Pads, Pair, indented, keywords, unless

_SWITCHES = {
    "nomkldnn": ("torch.backends.mkldnn.enabled = False",),
    "nocudnn": ("torch.backends.cudnn.enabled = False",),
    "tf32": ("torch.backends.cudnn.allow_tf32 = True", "torch.backends.cuda.matmul.allow_tf32 = True"),
    "notf32": ("torch.backends.cudnn.allow_tf32 = False", "torch.backends.cuda.matmul.allow_tf32 = False"),
    "benchmark": ("torch.backends.cudnn.benchmark = True",),
    "deterministic": ("torch.use_deterministic_algorithms(True)",),
}


class Torch(Language):
    """Scripts for PyTorch."""

    channels_first = True
    convert = (
        "def as_numpy(result):",
        '    """The result as NumPy: float64, or its own type where that is an integer; and that type\'s name."""',
        "    result = result.detach().cpu()",
        "    array = (result.double() if result.is_floating_point() else result).numpy()",
        '    return array, str(result.dtype).removeprefix("torch.")',
    )

    def environment(self) -> list[str]:
        """Lines before anything is imported."""
        return ['os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"'] if self.mode == "deterministic" else []

    def imports(self) -> list[str]:
        """Torch, its device, and the switches of the mode."""
        device = [f'torch.set_default_device("{self.device}")'] if self.device not in ("", "cpu") else []
        return ["import torch", "import torch.nn.functional as F", *device, *_SWITCHES.get(self.mode, ())]

    def argmax(self, call: Call, argmax: Array) -> Array:
        """Torch counts row * width + column, in the image as it was padded by `F.pad`."""
        _, first = split(call.pads(), tuple(call.options["ksize"]))
        (top, _), (left, right) = first
        width, channels = call.arrays["x"].shape[2:]
        row, column = np.divmod(argmax // channels, width)
        counted: Array = (row + top) * (left + width + right) + column + left
        return counted

    def tensor(self, value: str, array: Array, name: str) -> str:
        """`torch.tensor`."""
        del name
        if not array.size:
            return f"torch.zeros({value.removeprefix('np.zeros(').removesuffix(')')}, dtype=torch.{array.dtype.name})"
        layout = ".contiguous(memory_format=torch.channels_last)"
        last = layout if self.mode == "channels_last" and array.ndim == 4 else ""
        copied = f"np.ascontiguousarray({value})" if ".transpose(" in value else value
        return f"torch.tensor({copied}, dtype=torch.{array.dtype.name}){last}"

    def function(self, call: Call) -> list[str]:
        """`forward`, compiled if the mode says so, and `call`, which returns it or its gradients."""
        x = ", ".join(call.inputs)
        compiled = ["@torch.compile(fullgraph=True, dynamic=False)"] if self.mode == "compile" else []
        lines = [*compiled, f"def forward{call.suffix}({x}):", *indented(self._forward(call)), "", ""]
        if call.op == call.forward:
            one = f"forward{call.suffix}({x})"
            result = f"list({one})" if call.op == "max_pool_with_argmax" else f"[{one}]"
            return [*lines, f"def call{call.suffix}({x}):", f"    return {result}"]
        leaf = "torch.nn.Parameter({0})" if self.mode == "modules" else "{0}.detach().requires_grad_()"
        leaves = ", ".join(leaf.format(name) for name in call.inputs)
        return [
            *lines,
            f"def call{call.suffix}({x}, dy):",
            f"    inputs = [{leaves}]",
            f"    y = forward{call.suffix}(*inputs)",
            "    return list(torch.autograd.grad(y, inputs, dy))",
        ]

    def _forward(self, call: Call) -> list[str]:
        if "w" not in call.arrays:
            options = call.options
            return self._pool(call, call.pads(), options["ksize"], options["strides"], options["dilations"], "return ")
        if call.op not in ("block", "block_vjp"):
            return self._convolution(call, "return ")
        lines = [*self._convolution(call, "y = "), "y = torch.relu(y)"]
        if call.options["pool"] is None:
            return [*lines, "return y"]
        ksize, strides, _ = call.options["pool"]
        pooled = self._pool(call, call.pool_pads(), ksize, strides, (1, 1), "return ", "y")
        return [*lines, *pooled]

    def _convolution(self, call: Call, to: str) -> list[str]:
        own, first = self._own(call)
        o = call.options
        given: dict[str, Any] = {
            "stride": unless(o["strides"], (1, 1)),
            "padding": unless(own, (0, 0)),
            "dilation": unless(o["dilations"], (1, 1)),
            "groups": unless(o["groups"], 1),
        }
        lines = [f"x = F.pad(x, {_sides(first)})"] if first != NO_PADS else []
        bias = "bias" in call.arrays
        if self.mode != "modules":
            return [*lines, f"{to}F.conv2d(x, w{', bias' if bias else ''}{keywords(**given)})"]
        rows, columns, channels, filters = call.arrays["w"].shape
        sizes = f"{channels * o['groups']}, {filters}, ({rows}, {columns})"
        lines.append(f"layer = torch.nn.Conv2d({sizes}{keywords(**given)}, bias={bias}, dtype=w.dtype)")
        for name, attribute in (("w", "weight"), ("bias", "bias")) if bias else (("w", "weight"),):
            leaf = name if call.op != call.forward else f"torch.nn.Parameter({name})"
            lines.append(f"layer.{attribute} = {leaf}")
        return [*lines, f"{to}layer(x)"]

    def _own(self, call: Call) -> tuple[str | Pair, Pads]:
        padding, strides = call.options["padding"], call.options["strides"]
        if padding == "VALID":
            return (0, 0), NO_PADS
        if padding == "SAME" and (strides == (1, 1) or self.mode == "native-same"):
            return "same", NO_PADS
        if isinstance(padding, str) and padding not in ("SAME", "SAME_LOWER"):
            return padding, NO_PADS
        return split(call.pads())

    def _pool(
        self, call: Call, pads: Pads, ksize: Pair, strides: Pair, dilations: Pair, to: str, image: str = "x"
    ) -> list[str]:
        own: Any
        padding = call.options["padding"]
        unknown = isinstance(padding, str) and padding not in ("SAME", "SAME_LOWER", "VALID") and image == "x"
        own, first = (padding, NO_PADS) if unknown else split(pads, ksize)
        lines = []
        if first != NO_PADS:
            dtype = call.arrays["x"].dtype
            lowest = 'float("-inf")' if dtype.kind not in "iub" else f"torch.iinfo({image}.dtype).min"
            lines.append(f"{image} = F.pad({image}, {_sides(first)}, value={lowest})")
        given = keywords(
            stride=strides,
            padding=unless(own, (0, 0)),
            dilation=unless(dilations, (1, 1)),
            return_indices=unless(call.op == "max_pool_with_argmax", False),
        )
        if self.mode == "modules":
            return [*lines, f"{to}torch.nn.MaxPool2d({ksize}{given})({image})"]
        return [*lines, f"{to}F.max_pool2d({image}, {ksize}{given})"]


def _sides(pads: Pads) -> str:
    (top, bottom), (left, right) = pads
    return f"({left}, {right}, {top}, {bottom})"
