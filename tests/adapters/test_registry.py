"""From names to backends: each way in, and each way of not having one in a single line."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from convspec.adapters import BackendError, BackendImportError, DeviceUnavailable, UnknownBackend, devices, registry

SOURCE = """
from __future__ import annotations
import dataclasses
import {sibling}
from convspec.adapters.modes import Mode

ONLY_TWO = Mode("fused", devices=("two",), compiles=True)

@dataclasses.dataclass
class Mine:
    name: str = {sibling}.NAME
    sides: dataclasses.InitVar[int] = 4

    def conv2d(self, x, w, *, strides, padding, dilations, groups):
        return x

ready = Mine(name="ready")
empty = object()

class Nested:
    inner = Mine

class Needs:
    def __init__(self, device):
        pass

class Chip(Mine):
    devices = ("one", "two")
    modes = {{"plain": "one at a time", "graph": "all at once", "fused": ONLY_TWO}}

    def __init__(self, device="one", mode="plain"):
        super().__init__("chip")
        self.device, self.mode = device, mode

class Absent:
    def __init__(self):
        from convspec.adapters import DeviceUnavailable
        raise DeviceUnavailable("no such chip: /dev/chip is not there")
"""


@pytest.fixture
def paths(monkeypatch):
    """Whatever a load adds to sys.path and sys.modules goes away with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("_convspec_backend_", "backend_sibling_", "backend_module_")):
            del sys.modules[name]


@pytest.fixture
def mine(tmp_path, paths, request):
    sibling = f"backend_sibling_{abs(hash(request.node.name))}"
    (tmp_path / f"{sibling}.py").write_text("NAME = 'from the file beside'\n")
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format(sibling=sibling))
    return path


def refusal(text, kind=BackendError):
    with pytest.raises(kind) as error:
        registry.load(text)
    message = str(error.value)
    assert "\n" not in message
    return message


# ---- built-ins


@pytest.mark.parametrize(
    ("text", "name", "device", "mode"),
    [
        ("torch", "torch", None, None),
        ("torch:mps", "torch", "mps", None),
        ("torch@eager", "torch", None, "eager"),
        ("tensorflow:gpu@xla", "tensorflow", "gpu", "xla"),
        ("numpy", "numpy", None, None),
        ("numpy:definition", "numpy", None, "definition"),
        ("numpy@fast", "numpy", None, "fast"),
    ],
)
def test_built_in_names(text, name, device, mode):
    assert registry.parse(text) == registry.BackendName(text, name, device, mode)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torsh", "did you mean 'torch'? known: numpy, torch, tensorflow, "),
        ("torsh", ", package.module:NAME, path/to/file.py:NAME, command:PROGRAM"),
        ("TensorFlow", "did you mean 'tensorflow'?"),
        ("tf", "did you mean 'tensorflow'?"),
        ("tf:gpu", "did you mean 'tensorflow'?"),
        ("torsh:cuda", "did you mean 'torch'?"),
        ("zzz", "unknown backend 'zzz'; known: numpy, torch, tensorflow"),
        ("", "unknown backend ''; known: numpy"),
        ("torch:gpu", "torch has no device 'gpu'; known: torch:cpu, torch:cuda, torch:mps"),
        ("torch:", "torch has no device ''; known: torch:cpu"),
        ("torch@compiled", "torch has no mode 'compiled'; did you mean 'torch@compile'? known: torch@eager, "),
        ("torch@tf32", "mode 'tf32' is for another device than cpu; write torch:cuda@tf32"),
        ("torch:cuda@nomkldnn", "mode 'nomkldnn' is for another device than cuda; write torch:cpu@nomkldnn"),
        ("tensorflow:cpu@notf32", "mode 'notf32' is for another device than cpu; write tensorflow:gpu@notf32"),
        ("command:", "which command? Write command:PROGRAM ARGUMENTS"),
        ("torch:cpu@", "torch has no mode ''; known: torch@eager"),
        ("tensorflow:cuda", "tensorflow has no device 'cuda'; known: tensorflow:cpu, tensorflow:gpu"),
        ("numpy:exact", "numpy has no form 'exact'; known: numpy:fast, numpy:definition"),
        ("mine.py", "which object in that file? Write mine.py:NAME"),
        ("folder/mine", "which object in that file?"),
        ("mine.py:", "'' is no name of an object"),
        ("mine.py:a-b", "'a-b' is no name of an object"),
    ],
)
def test_an_unknown_name_lists_the_known_and_the_closest(text, expected):
    assert expected in refusal(text, UnknownBackend)


def test_a_package_that_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    message = refusal("torch", BackendImportError)
    assert message.startswith("torch: ")
    assert message.endswith("; install it: pip install 'convspec[torch]'")


def test_a_package_that_is_broken_says_its_own_last_line(monkeypatch):
    def broken(name):
        raise OSError("libexample.so.1: cannot open shared object file")

    monkeypatch.setattr("convspec.adapters.torch_backend.importlib", SimpleNamespace(import_module=broken))
    message = refusal("torch:cpu", BackendImportError)
    assert message.startswith("torch:cpu: OSError: libexample.so.1: cannot open shared object file")


# ---- modes


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def test_every_mode_of_a_device_and_of_no_other():
    cpu = registry.expand(["torch@*"])
    assert cpu == [f"torch@{text.partition('@')[2]}" for text in registry.expand(["torch:cpu@*"])]
    assert {"torch@eager", "torch@nomkldnn", "torch@modules"} <= set(cpu)
    assert "torch@tf32" not in cpu
    cuda = registry.expand(["torch:cuda@*"])
    assert {"torch:cuda@eager", "torch:cuda@tf32"} <= set(cuda)
    assert "torch:cuda@nomkldnn" not in cuda
    for text in [*cpu, *cuda]:
        assert registry.parse(text).text == text


def test_a_wildcard_leaves_other_names_alone_and_no_name_comes_twice():
    texts = ["numpy@definition", "x.py:Y", "command:sh -c 'echo @*'", "numpy@*%old", "numpy@*"]
    assert registry.expand(texts) == [*texts[:3], "numpy@fast%old", "numpy@definition%old", "numpy@fast"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torsh@*", "did you mean 'torch'?"),
        ("torch:gpu@*", "torch has no device 'gpu'"),
        ("x.py:Y@*", "x.py:Y@*: x.py has no modes; name it without @*"),
    ],
)
def test_a_wildcard_of_nothing(text, expected):
    with pytest.raises(UnknownBackend) as error:
        registry.expand([text])
    assert expected in str(error.value)


def test_what_the_machine_lacks_is_no_mode_of_it_and_is_refused_in_one_line(no_compiler):
    assert "torch@compile" not in registry.expand(["torch@*"])
    message = refusal("torch@compile", DeviceUnavailable)
    assert message.startswith("torch@compile: torch.compile needs a C++ compiler, and ")
    assert message.endswith(" is not on PATH; install one or set CXX")


def test_a_compiler_by_another_name_will_do(no_compiler, monkeypatch):
    monkeypatch.setenv("CXX", sys.executable)
    assert "torch@compile" in registry.expand(["torch@*"])


@pytest.mark.parametrize("name", ["torch", "tensorflow"])
def test_the_readme_lists_the_modes(name):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` | `eager`"))
    every, _, only = row.removeprefix(f"| `{name}` |").partition("; on ")
    device, *rest = re.findall("`([^`]+)`", only)
    modes = registry.BUILT_IN[name].modes
    assert re.findall("`([^`]+)`", every) == [mode for mode in modes if modes[mode].devices in ((), ("cpu",))]
    assert rest == [mode for mode in modes if modes[mode].devices == (device,)]


def test_which_modes_compile():
    compiling = {text for text in registry.expand(["torch@*", "tensorflow@*", "numpy@*"]) if registry.compiles(text)}
    assert {"torch@compile", "tensorflow@xla"} <= compiling
    assert not {"torch@eager", "tensorflow@eager", "numpy@fast"} & compiling
    assert not registry.compiles("mine.py:Mine")


# ---- commands


def test_a_command_is_for_the_harness_to_run():
    name = registry.parse("command:node path/worker.mjs --fast=a:b@c")
    assert (name.kind, name.name) == ("command", "node path/worker.mjs --fast=a:b@c")
    assert refusal(name.text).endswith(
        "a command is run by the harness as a process of its own, not loaded into this one"
    )


# ---- files


def test_a_class_in_a_file_is_instantiated_and_files_beside_it_import(mine):
    backend = registry.load(f"{mine}:Mine")
    assert backend.name == "from the file beside"


def test_an_object_in_a_file_is_used_as_it_is(mine):
    assert registry.load(f"{mine}:ready").name == "ready"


def test_a_nested_name(mine):
    assert registry.load(f"{mine}:Nested.inner").name == "from the file beside"


def test_a_relative_path(mine, monkeypatch):
    monkeypatch.chdir(mine.parent)
    assert registry.load("mine.py:Mine").name == "from the file beside"
    assert registry.load("./mine.py:Mine").name == "from the file beside"


def test_a_file_may_be_called_like_a_framework(mine):
    loaded = sys.modules.get("torch")
    other = mine.with_name("torch.py")
    mine.rename(other)
    assert registry.load(f"{other}:ready").name == "ready"
    assert sys.modules.get("torch") is loaded


def test_a_file_is_read_again_when_it_has_changed(mine):
    registry.load(f"{mine}:ready")
    mine.write_text(mine.read_text().replace('name="ready"', 'name="ready again and longer"'))
    assert registry.load(f"{mine}:ready").name == "ready again and longer"


def test_no_such_file(tmp_path):
    assert refusal(f"{tmp_path}/none.py:Mine", BackendImportError).endswith(f"there is no file {tmp_path / 'none.py'}")


def test_no_such_name_in_the_file(mine):
    message = refusal(f"{mine}:Mien", BackendImportError)
    assert message.endswith(f"there is no 'Mien' in {mine}; did you mean 'Mine'?")
    assert "it has: " in refusal(f"{mine}:zzzz", BackendImportError)


@pytest.mark.parametrize(
    ("code", "last_line"),
    [
        (
            "import nothing_of_this_name",
            "ModuleNotFoundError: No module named 'nothing_of_this_name' (mine.py, line 2)",
        ),
        ("raise ValueError('two\\nlines')", "ValueError: two lines (mine.py, line 2)"),
        ("def broken(:", "SyntaxError: invalid syntax (mine.py, line 2)"),
        ("raise SystemExit(3)", "SystemExit: 3 (mine.py, line 2)"),
        ("raise KeyError", "KeyError (mine.py, line 2)"),
    ],
)
def test_a_file_that_does_not_import_says_its_own_last_line(tmp_path, paths, code, last_line):
    path = tmp_path / "mine.py"
    path.write_text(f"# a backend\n{code}\n")
    path_before, modules_before = list(sys.path), set(sys.modules)
    assert refusal(f"{path}:Mine", BackendImportError) == f"{path}:Mine: {last_line}"
    assert sys.path == path_before
    assert not {name for name in set(sys.modules) - modules_before if name.startswith("_convspec_backend_")}


def test_a_class_that_needs_arguments(mine):
    message = refusal(f"{mine}:Needs", BackendImportError)
    assert "it could not be created: TypeError: " in message
    assert "missing 1 required positional argument: 'device'" in message


def test_a_device_of_its_own_that_is_not_there(mine):
    assert refusal(f"{mine}:Absent", DeviceUnavailable) == "no such chip: /dev/chip is not there"


@pytest.mark.parametrize("name", ["empty", "Nested", "dataclasses"])
def test_nothing_of_a_backend(mine, name):
    message = refusal(f"{mine}:{name}", BackendImportError)
    assert "none of a backend's methods (conv2d, conv2d_vjp, max_pool, max_pool_vjp)" in message


# ---- modules and entry points


def test_a_module_beside_the_caller(tmp_path, paths, monkeypatch):
    package = tmp_path / "backend_module_a"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("class Mine:\n    name = 'part'\n    def max_pool(self): pass\n")
    monkeypatch.chdir(tmp_path)
    assert registry.load("backend_module_a.part:Mine").name == "part"


def test_a_module_that_does_not_import():
    message = refusal("nothing_of_this.name:Mine", BackendImportError)
    assert message == "nothing_of_this.name:Mine: ModuleNotFoundError: No module named 'nothing_of_this'"


def test_a_module_that_has_no_such_name():
    assert refusal("json:Mine", BackendImportError).startswith("json:Mine: there is no 'Mine' in json; it has: ")


@pytest.fixture
def entry_points(mine, monkeypatch):
    """Entry points, one of them broken, as a distribution would declare them."""
    name = f"backend_module_{mine.parent.name.replace('-', '_')}"
    mine.rename(mine.with_name(f"{name}.py"))
    monkeypatch.syspath_prepend(mine.parent)
    points = metadata.EntryPoints(
        metadata.EntryPoint(label, f"{name}:{attribute}", registry.GROUP)
        for label, attribute in [("my-chip", "Mine"), ("my-broken-chip", "Missing"), ("modal", "Chip")]
    )
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == registry.GROUP else ())


def test_an_entry_point(entry_points):
    assert registry.parse("my-chip").kind == "entry point"
    assert registry.load("my-chip").name == "from the file beside"


def test_an_entry_point_that_does_not_load(entry_points):
    message = refusal("my-broken-chip", BackendImportError)
    assert message.startswith("my-broken-chip (entry point ")
    assert "AttributeError: " in message
    assert "Missing" in message


@pytest.mark.parametrize(
    ("text", "device", "mode"),
    [
        ("modal", "one", "plain"),
        ("modal:two", "two", "plain"),
        ("modal@graph", "one", "graph"),
        ("modal:two@fused", "two", "fused"),
    ],
)
def test_an_entry_point_with_devices_and_modes(entry_points, text, device, mode):
    backend = registry.load(text)
    assert (backend.device, backend.mode) == (device, mode)
    assert registry.compiles(text) == (mode == "fused")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("modal:three", "modal has no device 'three'; known: modal:one, modal:two"),
        ("modal@grph", "modal has no mode 'grph'; did you mean 'modal@graph'? known: modal@plain, modal@graph"),
        ("modal@fused", "mode 'fused' is for another device than one; write modal:two@fused"),
        ("modal@", "which mode? Write NAME[:DEVICE][@MODE]"),
        ("modal:", "which device? Write NAME[:DEVICE][@MODE]"),
        ("my-chip@graph", "my-chip has no mode 'graph'; it has none to choose"),
        ("my-chip:one", "my-chip has no device 'one'; it has none to choose"),
        ("model:one", "did you mean 'modal'?"),
    ],
)
def test_what_may_not_follow_an_entry_point(entry_points, text, expected):
    assert expected in refusal(text, UnknownBackend)


def test_all_modes_of_an_entry_point(entry_points):
    assert registry.expand(["modal@*"]) == ["modal@plain", "modal@graph"]
    assert registry.expand(["modal:two@*"]) == ["modal:two@plain", "modal:two@graph", "modal:two@fused"]
    with pytest.raises(BackendImportError, match="my-broken-chip"):
        registry.expand(["my-broken-chip@*"])


def test_entry_points_are_among_the_known(entry_points):
    assert "did you mean 'my-chip'? known: numpy, torch, tensorflow, modal, my-broken-chip, my-chip," in refusal(
        "my-chp"
    )


def test_entry_points_are_found(entry_points, monkeypatch):
    monkeypatch.setattr(devices, "importable", lambda name: False)  # no framework is probed here
    found = {backend.name: backend for backend in devices.found()}
    kinds = dict.fromkeys(registry.BUILT_IN, "built-in")
    kinds |= dict.fromkeys(["modal", "my-chip", "my-broken-chip"], "entry point")
    assert {name: backend.kind for name, backend in found.items()} == kinds
    assert {mode: row.what for mode, row in found["modal"].modes.items()} == {
        "plain": "one at a time",
        "graph": "all at once",
        "fused": "fused",
    }
    assert [(device.name, device.available) for device in found["modal"].devices] == [("one", None), ("two", None)]
    assert "Missing" in found["my-broken-chip"].why_not


# ---- laziness

LAZY = """
import json, sys
import convspec.adapters
light = sorted({"torch", "tensorflow", "convspec.adapters.registry"} & set(sys.modules))
from convspec.adapters import registry
import convspec.adapters.torch_backend, convspec.adapters.tensorflow_backend
for text in ["torch:cuda", "tensorflow", "numpy", "x.py:Y"]:
    registry.parse(text)
registry.load("numpy")
print(json.dumps([light, sorted({"torch", "tensorflow", "ml_dtypes"} & set(sys.modules))]))
"""


def test_nothing_is_imported_before_it_is_asked_for():
    answer = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    light, loaded = json.loads(answer.stdout)
    assert light == []
    assert set(loaded) <= {"ml_dtypes"}  # the reference knows bfloat16 where it is installed
