"""From names to backends: each way in, and each way of not having one in a single line."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from registered import refusal

from convspec.adapters import BackendImportError, DeviceUnavailable, UnknownBackend, registry

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
