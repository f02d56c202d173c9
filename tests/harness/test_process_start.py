"""Starting a worker: backends that do not load, other interpreters, and workers in no need of convspec."""

import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from convspec.adapters.backend import BackendError, BackendImportError, UnknownBackend
from convspec.harness.process import frames, protocol, worker
from convspec.harness.process.layouts import LAYOUTS
from convspec.harness.process.protocol import Request
from convspec.harness.process.remote import RemoteBackend

X = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)


def ask(backend, op, x=X):
    return backend.call(Request(op, (x,), ("C",), {}))


BAD = {
    "raises": ("import nothing_of_that_name", BackendImportError, "No module named 'nothing_of_that_name'"),
    "syntax": ("def", BackendImportError, "SyntaxError"),
    "exits": ("import sys; sys.exit(4)", BackendImportError, "SystemExit"),
    "dies": ("import os; os._exit(5)", BackendImportError, "exited with status 5 by itself"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", BackendImportError, "killed by SIGSEGV"),
    "interrupts": ("raise KeyboardInterrupt", BackendImportError, "KeyboardInterrupt"),
    "no object": ("x = 1", BackendImportError, "'B'"),
    "no method": ("class B: pass", BackendImportError, "none of a backend's methods"),
    "init": ("class B:\n def __init__(self): raise OSError('no\\nlicence')", BackendImportError, "no licence"),
    "contract": ("class B:\n contract = {'x': 1}\n def conv2d(self): 0", BackendError, "unknown key 'x'"),
    "contract's name": (
        "class B:\n contract = {'tf32': 3}\n def conv2d(self): 0",
        BackendError,
        "bad.py:B: contract: tf32 is 3; it must be",
    ),
    "a contract made": (
        "from convspec.adapters import Contract\nclass B:\n def __init__(self): Contract(accumulate='x')",
        BackendError,
        "bad.py:B: contract: accumulate is 'x'; it must be",
    ),
    "dtypes no list": (
        "class B:\n dtypes = 5\n def conv2d(self): 0",
        BackendError,
        "B: dtypes is 5; it must be a list of names, as",
    ),
    "dtypes a text": (
        "class B:\n dtypes = 'float32'\n def conv2d(self): 0",
        BackendError,
        "B: dtypes is 'float32'; it must be a list",
    ),
    "sleeps": ("import time; time.sleep(60)", BackendImportError, "not ready within 1 s"),
    "last words": (
        "import os; os.write(2, b'oh no'); os.abort()",
        BackendImportError,
        "killed by SIGABRT; it wrote: oh no",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_backends_that_do_not_load(tmp_path, case):
    code, kind, message = BAD[case]
    (tmp_path / "bad.py").write_text(code)
    backend = RemoteBackend(f"{tmp_path}/bad.py:B", start_timeout=1.0 if case == "sleeps" else 60.0)
    with pytest.raises(kind) as caught:
        backend.hello  # noqa: B018 -- it starts the worker
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind):
        backend.call(Request("conv2d"))
    backend.close()


def test_unknown_names_keep_their_class():
    with RemoteBackend("tensorfow") as backend, pytest.raises(UnknownBackend, match="did you mean 'tensorflow'"):
        backend.hello  # noqa: B018


def test_an_interpreter_that_is_not_there():
    with (
        RemoteBackend("numpy", python="/no/such/python") as backend,
        pytest.raises(BackendImportError, match="No such file"),
    ):
        backend.hello  # noqa: B018


def test_a_relative_path_is_relative_to_the_callers_directory(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise RuntimeError('this is not the json you want')")
    (tmp_path / "near.py").write_text("class B:\n    def conv2d(self, x):\n        return x + 1\n")
    monkeypatch.chdir(tmp_path)
    for text in ("near.py:B", "./near.py:B", "near:B"):
        with RemoteBackend(text) as backend:
            assert backend.hello["methods"] == ["conv2d"]


def test_another_interpreter_is_told_where_convspec_is(tmp_path):
    # -I and an empty search path but NumPy's: convspec itself is not to be found there by the usual means.
    python = tmp_path / "python"
    packages = str(Path(np.__file__).parents[1])
    python.write_text(
        f'#!/bin/sh\nshift\nexec "{sys.executable}" -S -c "import sys; sys.path.append({packages!r}); '
        'import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name=\'__main__\')" "$@"\n'
    )
    python.chmod(0o755)
    (tmp_path / "b.py").write_text("class B:\n    def conv2d(self, x):\n        return x + 1\n")
    with RemoteBackend(f"{tmp_path}/b.py:B", python=str(python)) as backend:
        np.testing.assert_array_equal(ask(backend, "conv2d").arrays[0], X + 1)


def test_without_ml_dtypes_bfloat16_is_unsupported(tmp_path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    (tmp_path / "b.py").write_text(
        "import sys; sys.modules['ml_dtypes'] = None\nclass B:\n def conv2d(self, x): return x + 1\n"
    )
    with RemoteBackend(f"{tmp_path}/b.py:B") as backend:
        answer = ask(backend, "conv2d", x=np.ones(3, bfloat16))
        assert answer.status == "unsupported"
        assert answer.error == "bfloat16 needs ml_dtypes, which this interpreter does not have"
        assert ask(backend, "conv2d").status == "ok"


FOREIGN = '''
"""A worker written from PROTOCOL.md alone: it imports nothing of convspec, and no NumPy."""
import json, struct, sys

def send(header, body=b""):
    text = json.dumps(header).encode()
    sys.stdout.buffer.write(b"CVS1" + struct.pack("<IQ", len(text), len(body)) + text + body)
    sys.stdout.buffer.flush()

send({"kind": "hello", "protocol": 1, "name": "foreign", "versions": {}, "methods": ["max_pool"]})
while prefix := sys.stdin.buffer.read(16):
    header_size, body_size = struct.unpack("<IQ", prefix[4:])
    call = json.loads(sys.stdin.buffer.read(header_size))
    body = sys.stdin.buffer.read(body_size)
    if call["op"] != "max_pool":
        send({"kind": "answer", "serial": call["serial"], "status": "missing"})
        continue
    (entry,) = call["arrays"]
    n, h, w, c = entry["shape"]
    x = struct.unpack(f"<{n * h * w * c}f", body[: 4 * n * h * w * c])
    (kh, kw), (sh, sw) = (call["options"][name]["tuple"] for name in ("ksize", "strides"))
    oh, ow = (h - kh) // sh + 1, (w - kw) // sw + 1
    y = [max(x[((b * h + i * sh + p) * w + j * sw + q) * c + k] for p in range(kh) for q in range(kw))
         for b in range(n) for i in range(oh) for j in range(ow) for k in range(c)]
    data = struct.pack(f"<{len(y)}f", *y)
    answer = {"kind": "answer", "serial": call["serial"], "status": "ok"}
    send({**answer, "arrays": [{"dtype": "float32", "shape": [n, oh, ow, c]}]}, data + bytes(-len(data) % 8))
'''


def test_a_worker_written_from_the_document_alone(tmp_path):
    (tmp_path / "foreign.py").write_text(FOREIGN)
    x = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    options = {"ksize": (2, 3), "strides": (2, 1), "padding": "VALID", "dilations": (1, 1)}
    with RemoteBackend("foreign", command=(sys.executable, str(tmp_path / "foreign.py"))) as backend:
        assert backend.hello["missing"] == ["conv2d", "conv2d_vjp", "max_pool_vjp"]
        assert (backend.hello["contract"], backend.hello["dtypes"]) == ({}, None)
        answer = backend.call(Request("max_pool", (x,), ("F",), options))
        np.testing.assert_array_equal(answer.arrays[0], np.stack([x[:, 1:4:2, 2 + j] for j in range(2)], 2))
        assert backend.call(Request("conv2d", (x, x), ("C", "C"), {})).status == "missing"
        assert backend.restarts == 0


def test_the_document_lists_what_the_code_has():
    text = Path(protocol.__file__).with_name("PROTOCOL.md").read_text()
    for name in (*frames.DTYPES, *LAYOUTS, *protocol.STATUSES, *worker.RESULTS):
        assert f"`{name}`" in text or name in ("int16", "int32", "uint16", "uint32"), name
    documented = set(re.findall(r"^\| `(\w+)` \| M", text, re.M))
    assert {one.name for one in dataclasses.fields(protocol.Answer)} - {"arrays"} <= documented
    assert f"version {protocol.VERSION}" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("free", "processes", "given"),
    [(8, None, 6), (64, None, 8), (64, "8", 6), (64, "2", 8), (16, "8", 4), (4, "8", 3), (64, "many", 8)],
)
def test_the_memory_of_a_worker_is_its_part_of_what_is_free(monkeypatch, free, processes, given):
    """GiB; the files that say what is free are those of Linux."""
    text = {"/proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {free << 20} kB\n"}

    def read_text(path, *_, **__):
        if str(path) not in text:
            raise FileNotFoundError(path)
        return text[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    if processes is None:
        monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    else:
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", processes)
    assert RemoteBackend("numpy").memory == given << 30
    assert RemoteBackend("numpy", memory=5).memory == 5
