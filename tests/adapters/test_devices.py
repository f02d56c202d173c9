"""The list of what is there: devices of frameworks that print, hang, die, or are not installed."""

from importlib import metadata

import pytest

from convspec.adapters import devices, registry
from convspec.adapters.modes import Mode


def test_an_entry_point_of_our_own_whose_framework_is_missing_is_listed_so(monkeypatch):
    monkeypatch.setattr(devices, "importable", lambda name: False)
    for backend in devices.found():
        if backend.kind == "entry point" and backend.name in ("jax", "onnxruntime"):
            expected = f"the package {backend.name} is not installed: pip install 'convspec[{backend.name}]'"
            assert backend.why_not == expected


def test_a_missing_framework_is_listed_with_what_to_install(monkeypatch):
    monkeypatch.setattr(devices, "importable", lambda name: False)
    torch = next(backend for backend in devices.found() if backend.name == "torch")
    assert torch.why_not == "the package torch is not installed: pip install 'convspec[torch]'"
    assert torch.devices == ()


@pytest.fixture
def probed(tmp_path, monkeypatch):
    """A framework of one line, probed as the real ones are."""

    def probe(code, timeout=60.0):
        (tmp_path / "backend_module_probe.py").write_text(f"import sys, time\ndef probe():\n    {code}\n")
        entry = registry.BuiltIn("backend_module_probe", "", ("cpu", "npu"), {"eager": Mode("as it is")}, ("numpy",))
        monkeypatch.setattr(registry, "BUILT_IN", {"json": entry})
        monkeypatch.setattr(metadata, "entry_points", lambda group: ())
        monkeypatch.syspath_prepend(tmp_path)
        return devices.found(timeout)[0]

    return probe


def test_devices_are_found_whatever_the_framework_prints(probed):
    backend = probed("print('hello', end=''); return [('cpu', True, 'it is there'), ('npu', False, 'no driver')]")
    assert backend.devices == (devices.Device("cpu", True, "it is there"), devices.Device("npu", False, "no driver"))
    assert backend.why_not is None
    assert backend.version == metadata.version("numpy")


def test_a_framework_that_does_not_import_says_so(probed):
    assert probed("raise OSError('libexample.so.1')").why_not == "it does not import: OSError: libexample.so.1"


def test_a_framework_that_dies_says_so(probed):
    assert probed("sys.exit(7)").why_not == "it does not import: exit status 7"


def test_a_framework_that_hangs_is_given_up(probed):
    backend = probed("time.sleep(60)", timeout=1.0)
    assert [(device.name, device.available) for device in backend.devices] == [("cpu", None), ("npu", None)]
