"""JAX: `jax.lax.conv_general_dilated` and `jax.lax.reduce_window`, `jax.vjp`; `jax.jit` where the mode says so.

May import `backend`, as the other languages.
"""

from __future__ import annotations

from .backend import Array, Call, Language, indented, keywords, unless


class Jax(Language):
    """Scripts for JAX."""

    def imports(self) -> list[str]:
        """JAX, with 64-bit types, and its device."""
        lines = ["import jax", "import jax.numpy as jnp", 'jax.config.update("jax_enable_x64", True)']
        return [*lines, f'jax.config.update("jax_default_device", jax.devices("{self.device or "cpu"}")[0])']

    def tensor(self, value: str, array: Array, name: str) -> str:
        """`jnp.array`."""
        del name
        if not array.size:
            return f"jnp.zeros({array.shape}, jnp.{array.dtype.name})"
        return f"jnp.array({value}, jnp.{array.dtype.name})"

    def function(self, call: Call) -> list[str]:
        """`call`, compiled as a whole if the mode says so."""
        x = ", ".join(call.inputs)
        lines = [f"def forward{call.suffix}({x}):", *indented(self._forward(call)), "", ""]
        lines += ["@jax.jit"] if self.mode == "jit" else []
        if call.op == call.forward:
            return [*lines, f"def call{call.suffix}({x}):", f"    return [forward{call.suffix}({x})]"]
        return [
            *lines,
            f"def call{call.suffix}({x}, dy):",
            f"    _, pull = jax.vjp(forward{call.suffix}, {x})",
            "    return list(pull(dy))",
        ]

    def _forward(self, call: Call) -> list[str]:
        o = call.options
        if "w" in call.arrays:
            more = keywords(rhs_dilation=unless(o["dilations"], (1, 1)), feature_group_count=unless(o["groups"], 1))
            form = 'dimension_numbers=("NHWC", "HWIO", "NHWC")'
            one = f"jax.lax.conv_general_dilated(x, w, {o['strides']}, {o['padding']!r}, {form}{more})"
            return [f"y = {one}", f"return {'y + bias' if 'bias' in call.arrays else 'y'}"]
        padding = o["padding"] if isinstance(o["padding"], str) else ((0, 0), *o["padding"], (0, 0))
        more = keywords(window_dilation=unless((1, *o["dilations"], 1), (1, 1, 1, 1)))
        whole = call.arrays["x"].dtype.kind in "iub"
        lowest = "jnp.iinfo(x.dtype).min" if whole else "-jnp.inf"
        window = f"{(1, *o['ksize'], 1)}, {(1, *o['strides'], 1)}, {padding!r}"
        return [
            f"lowest = np.array({lowest}, x.dtype)",
            f"return jax.lax.reduce_window(x, lowest, jax.lax.max, {window}{more})",
        ]
