"""Backends of others: in files, in modules, and as entry points."""

import sys
from importlib import metadata

import pytest
from registered import refusal

from convspec.adapters import BackendImportError, DeviceUnavailable, UnknownBackend, devices, registry

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


def test_an_object_of_a_module_that_an_entry_point_is_called_like(entry_points, monkeypatch):
    name = registry.entry_points()["my-chip"].module
    point = metadata.EntryPoint(name, f"{name}:Mine", registry.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: metadata.EntryPoints([point]))
    assert registry.parse(f"{name}:ready").kind == "entry point"
    assert registry.load(f"{name}:ready").name == "ready"
    assert registry.load(name).name == "from the file beside"
    assert refusal(f"{name}:cuda", UnknownBackend).endswith("has no device 'cuda'; it has none to choose")


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
