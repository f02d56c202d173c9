"""Anybody's own backend: its four methods on NumPy arrays, found as it was named.

May import `backend`, as the other languages. The backend's own file may import what it likes; the script does not.
"""

from __future__ import annotations

from typing import Any, ClassVar

from convspec.adapters.registry import GROUP
from convspec.harness.cases.recipes import alike_along
from convspec.harness.process.worker import RESULTS

from .backend import Array, Call, Language

_LAYOUTS = {
    "F": "{0} = np.asfortranarray({0})",
    "negative": "{0} = {0}[::-1, ::-1].copy()[::-1, ::-1]  # the same values, backwards in memory",
    "strided": "{0} = np.repeat({0}, 2, axis=-1)[..., ::2]  # every second element of a larger array",
    "broadcast": "{0} = np.broadcast_to({0}[{1}], {0}.shape)",
    "nchw": "{0} = np.ascontiguousarray({0}.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)",
    "crop": "{0} = np.pad({0}, ((1, 1), (1, 1), (1, 1), (0, 0)))[1:-1, 1:-1, 1:-1]  # cut from a larger array",
    "channels": "{0} = np.pad({0}, ((0, 0), (0, 0), (0, 0), (1, 1)))[..., 1:-1]  # some of the channels of more",
    "unaligned": "{0} = np.ndarray({0}.shape, {0}.dtype, bytearray(1) + {0}.tobytes(), 1)  # off by one byte in memory",
    "readonly": "{0}.flags.writeable = False",
}


def _first(axes: tuple[int, ...]) -> str:
    """The index that takes the first element along some of four axes."""
    return ", ".join(":1" if {n, n - 4} & {*axes} else ":" for n in range(4))


class Plain(Language):
    """Scripts for a backend that is a file, a module or an entry point."""

    #: NumPy's own arrays are asked for, as the harness asks: no list, no mask, no swapped bytes.
    convert: ClassVar[tuple[str, ...]] = (
        "def as_numpy(result):",
        '    """The result, float64 or its own type where that is an integer; its type, or what it is instead."""',
        "    if not isinstance(result, np.ndarray) or isinstance(result, np.ma.MaskedArray):",
        "        return np.empty(()), type(result).__name__",
        "    array = np.asarray(result)",
        "    dtype = array.dtype",
        '    if not dtype.isnative or dtype.kind in "OSUMmc":',
        '        return array, f"ndarray of {dtype}"',
        '    return (array if dtype.kind in "iub" else array.astype(np.float64)), dtype.name',
    )

    def imports(self) -> list[str]:
        """Find the object; a class is made one."""
        name, attribute = self.named.name, self.named.attribute
        options = {"device": self.device, "mode": self.mode}
        given = ", ".join(f"{key}={value!r}" for key, value in options.items() if value)
        if self.named.kind == "file":
            lines = [
                "import importlib.util",
                "from pathlib import Path",
                f"file = Path({name!r}).resolve()",
                "sys.path.insert(0, str(file.parent))",
                'spec = importlib.util.spec_from_file_location("backend_under_test", file)',
                "module = importlib.util.module_from_spec(spec)",
                "sys.modules[spec.name] = module",
                "spec.loader.exec_module(module)",
                f"found = module.{attribute}",
            ]
        elif self.named.kind == "module":
            found = f"found = importlib.import_module({name!r}).{attribute}"
            lines = ["import importlib", 'sys.path.insert(0, "")', found]
        else:
            lines = [
                "from importlib import metadata",
                f"(point,) = metadata.entry_points(group={GROUP!r}, name={name!r})",
                "found = point.load()",
            ]
        return [*lines, f"backend = found({given}) if isinstance(found, type) else found"]

    def tensor(self, value: str, array: Array, name: str) -> str:
        """NumPy; bfloat16 is that of ml_dtypes."""
        del name
        dtype = array.dtype.name
        return f"np.array({value}, {'ml_dtypes.bfloat16' if dtype == 'bfloat16' else f'np.{dtype}'})"

    def data(self, call: Call) -> list[str]:
        """The arrays, laid out in memory as in the case."""
        lines = super().data(call)
        if any(array.dtype.name == "bfloat16" for array in call.arrays.values()):
            lines.insert(0, "import ml_dtypes")
        layout = _LAYOUTS.get(call.case.layout, "")
        four = [name for name, array in call.arrays.items() if array.ndim == 4]
        firsts = {name: _first(alike_along(call.case, name)) for name in four}
        return [*lines, *(layout.format(f"{name}{call.suffix}", firsts[name]) for name in four if layout)]

    def function(self, call: Call) -> list[str]:
        """The backend's method, every keyword given."""
        options: dict[str, Any] = call.options
        given = ", ".join(f"{key}={value!r}" for key, value in options.items())
        positional = [name for name in call.arrays if name != "bias" or call.op in ("block", "block_vjp")]
        arguments = ", ".join([*positional, *(["bias=bias"] if len(positional) < len(call.arrays) else []), given])
        head = f"def call{call.suffix}({', '.join(call.arrays)}):"
        number = RESULTS.get(call.op, 1)
        if number == 1:
            return [head, f"    return [backend.{call.op}({arguments})]"]
        return [
            head,
            f"    result = backend.{call.op}({arguments})",
            f"    several = type(result) in (tuple, list) and len(result) == {number}",
            f"    return list(result) if several else [result] * {number}",
        ]
