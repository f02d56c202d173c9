"""From names to backends: each way in, and each way of not having one in a single line."""

import json
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from convspec.adapters import BackendError, BackendImportError, DeviceUnavailable, UnknownBackend, registry

SOURCE = """
from __future__ import annotations
import dataclasses
import {sibling}

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
        ("tensorflow:gpu@noonednn", "tensorflow", "gpu", "noonednn"),
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
        ("torsh", "did you mean 'torch'? known: numpy, torch, tensorflow, package.module:NAME, path/to/file.py:NAME"),
        ("TensorFlow", "did you mean 'tensorflow'?"),
        ("tf", "did you mean 'tensorflow'?"),
        ("tf:gpu", "did you mean 'tensorflow'?"),
        ("torsh:cuda", "did you mean 'torch'?"),
        ("zzz", "unknown backend 'zzz'; known: numpy, torch, tensorflow"),
        ("", "unknown backend ''; known: numpy"),
        ("torch:gpu", "torch has no device 'gpu'; known: torch:cpu, torch:cuda, torch:mps"),
        ("torch:", "torch has no device ''; known: torch:cpu"),
        ("torch@compile", "torch has no mode 'compile'; known: torch@eager"),
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
    """Two entry points, one of them broken, as a distribution would declare them."""
    name = f"backend_module_{mine.parent.name.replace('-', '_')}"
    mine.rename(mine.with_name(f"{name}.py"))
    monkeypatch.syspath_prepend(mine.parent)
    points = metadata.EntryPoints(
        metadata.EntryPoint(label, f"{name}:{attribute}", registry.GROUP)
        for label, attribute in [("my-chip", "Mine"), ("my-broken-chip", "Missing")]
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


def test_entry_points_are_among_the_known(entry_points):
    assert "did you mean 'my-chip'? known: numpy, torch, tensorflow, my-broken-chip, my-chip," in refusal("my-chp")


def test_entry_points_are_found(entry_points, monkeypatch):
    monkeypatch.setattr(registry, "_importable", lambda name: False)  # no framework is probed here
    kinds = {backend.name: backend.kind for backend in registry.found()}
    assert kinds == dict.fromkeys(registry.BUILT_IN, "built-in") | dict.fromkeys(
        ["my-chip", "my-broken-chip"], "entry point"
    )


# ---- what is found


def test_a_missing_framework_is_listed_with_what_to_install(monkeypatch):
    monkeypatch.setattr(registry, "_importable", lambda name: False)
    torch = next(backend for backend in registry.found() if backend.name == "torch")
    assert torch.why_not == "the package torch is not installed: pip install 'convspec[torch]'"
    assert torch.devices == ()


@pytest.fixture
def probed(tmp_path, monkeypatch):
    """A framework of one line, probed as the real ones are."""

    def probe(code, timeout=60.0):
        (tmp_path / "backend_module_probe.py").write_text(f"import sys, time\ndef probe():\n    {code}\n")
        entry = registry.BuiltIn("backend_module_probe", "", ("cpu", "npu"), ("eager",), ("numpy",))
        monkeypatch.setattr(registry, "BUILT_IN", {"json": entry})
        monkeypatch.syspath_prepend(tmp_path)
        return registry.found(timeout)[0]

    return probe


def test_devices_are_found_whatever_the_framework_prints(probed):
    backend = probed("print('hello', end=''); return [('cpu', True, 'it is there'), ('npu', False, 'no driver')]")
    assert backend.devices == (registry.Device("cpu", True, "it is there"), registry.Device("npu", False, "no driver"))
    assert backend.why_not is None
    assert backend.version == metadata.version("numpy")


def test_a_framework_that_does_not_import_says_so(probed):
    assert probed("raise OSError('libexample.so.1')").why_not == "it does not import: OSError: libexample.so.1"


def test_a_framework_that_dies_says_so(probed):
    assert probed("sys.exit(7)").why_not == "it does not import: exit status 7"


def test_a_framework_that_hangs_is_given_up(probed):
    backend = probed("time.sleep(60)", timeout=1.0)
    assert [(device.name, device.available) for device in backend.devices] == [("cpu", None), ("npu", None)]


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
