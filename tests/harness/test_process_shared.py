"""Large arrays past the pipes: the same checks hold, nothing is left behind, and who cannot share does without."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convspec.harness.process import child, layouts, shared
from convspec.harness.process.frames import ProtocolError
from convspec.harness.process.protocol import Request
from convspec.harness.process.remote import RemoteBackend

pytestmark = pytest.mark.skipif(shared.Segment.create() is None, reason="no memfd here")

BACKEND = """
import ctypes, os, time
import numpy as np

class B:
    kept = ()
    def conv2d(self, x): return x + 1
    def sums(self, *xs): return np.array([x.sum(dtype=np.float64) for x in xs])
    def place(self, x): return np.array([x.ctypes.data % 4096, x.flags.writeable])
    def maps(self, x): return np.array(["memfd:convspec" in open("/proc/self/maps").read()])
    def writes_last(self, x): x.reshape(-1)[-1] = -1; return x[..., :1] + 1
    def writes_the_same(self, x): x[...] = x + 0; return x + 1
    def writes_at(self, x, *, byte): ctypes.memset(x.ctypes.data + byte, 3, 1); return x + 1
    def writes_second(self, x, y, *, byte): return self.writes_at(y, byte=byte)
    def reads_at(self, x, *, byte): return np.frombuffer(ctypes.string_at(x.ctypes.data + byte, 8), np.uint8).copy()
    def alias(self, x): return x
    def alias_of_part(self, x): return x[..., :1]
    def keeps(self, x): self.kept = (*self.kept, x[:, 5:]); return x + 1
    def was_kept(self, x): return np.array([float(x[0, 0, 0, 0]) for x in self.kept])
    def keeps_address(self, x): self.address = x.ctypes.data; return x + 1
    def uses_address(self, x): return np.frombuffer(ctypes.string_at(self.address, 8), np.uint8).copy()
    def raises(self, x): raise ValueError(x.sum())
    def reuses(self, x): self.y = getattr(self, "y", x + 0); self.y += 1; return self.y
    def turned(self, x): return (x + 1).T
    def later(self, x):
        import threading
        y = x + 1
        threading.Thread(target=lambda: (time.sleep(0.05), y.fill(-7))).start()
        return y
    def closes(self, x): os.closerange(3, 4096); return x + 1
    def pair(self, x, y): return x + 1, y - 1
"""
UNTOLD = """
import gc
from convspec.harness.process import shared
shared.written = lambda *_: False
for one in gc.get_objects():
    if isinstance(one, shared.Mapping): one._tells = False
"""
X = np.arange(200_000, dtype=np.float32).reshape(1, 200, 200, 5)


def ask(backend, op, *arrays, layout="C", **options):
    arrays = arrays or (X,)
    return backend.call(Request(op, arrays, (layout,) * len(arrays), options))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("shared") / "b.py"
    path.write_text(BACKEND)
    return f"{path}:B"


@pytest.fixture(scope="module")
def backend(text):
    with RemoteBackend(text) as made:
        made.hello  # noqa: B018 -- it starts the worker
        yield made


def test_large_arrays_go_there_and_back_in_memory(backend):
    assert "shared" not in backend.hello
    assert ask(backend, "place").arrays[0].tolist() == [shared.BEFORE, 1]
    assert ask(backend, "place", layout="readonly").arrays[0].tolist() == [shared.BEFORE, 0]
    for n in range(3):
        answer = ask(backend, "conv2d", X + n)
        assert (answer.mutated, answer.aliases) == ((), ())
        np.testing.assert_array_equal(answer.arrays[0], X + n + 1)


def test_arrays_of_all_sizes_together(backend):
    arrays = [np.full(size, n + 1, np.float32) for n, size in enumerate((70_000, 1, 500_000, 1000, 65_536))]
    assert ask(backend, "sums", *arrays).arrays[0].tolist() == [a.sum(dtype=np.float64) for a in arrays]
    y, z = ask(backend, "pair", X, X[:, :1]).arrays
    np.testing.assert_array_equal(y, X + 1)
    np.testing.assert_array_equal(z, X[:, :1] - 1)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_every_layout(backend, layout):
    answer = ask(backend, "conv2d", layout=layout)
    assert (answer.mutated, answer.aliases) == ((), ())
    np.testing.assert_array_equal(answer.arrays[0], X + 1)
    assert ask(backend, "alias", layout=layout).aliases == (0,)


@pytest.mark.parametrize("dtype", ["float16", "bool", "int64", "bfloat16"])
def test_other_dtypes(backend, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = (np.arange(400_000) % 100).astype(dtype)
    (got,) = ask(backend, "alias", x[::-1]).arrays
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, x[::-1])


@pytest.mark.parametrize("tells", [True, False])
def test_one_changed_byte_is_seen_and_the_next_call_gets_what_was_sent(text, tmp_path, tells):
    if not tells:  # a system that does not say which pages were written to
        path = tmp_path / "b.py"
        path.write_text(UNTOLD + BACKEND)
        text = f"{path}:B"
    with RemoteBackend(text) as backend:
        for byte in (0, X.nbytes - 1, -1, -shared.BEFORE, X.nbytes, X.nbytes + 2000):  # the array, and around it
            assert ask(backend, "writes_at", byte=byte).mutated == (0,), byte
            answer = ask(backend, "conv2d")
            assert answer.mutated == ()
            np.testing.assert_array_equal(answer.arrays[0], X + 1)
        assert ask(backend, "writes_last").mutated == (0,)
        assert ask(backend, "writes_the_same").mutated == ()
        assert X[-1, -1, -1, -1] == X.size - 1


def test_only_the_array_that_was_changed_is_told(backend):
    for byte in (0, X.nbytes - 1, X.nbytes):
        answer = backend.call(Request("writes_second", (X, X), ("C", "C"), {"byte": byte}))
        assert (answer.status, answer.mutated) == ("ok", (1,))


def test_reading_too_far_meets_poison(backend):
    for byte in (-8, X.nbytes, X.nbytes + 4000):
        assert ask(backend, "reads_at", byte=byte).arrays[0].tolist() == [0x7F] * 8


@pytest.mark.parametrize("op", ["alias", "alias_of_part"])
def test_an_alias_is_told_and_sharing_goes_on(backend, op):
    answer = ask(backend, op)
    assert answer.aliases == (0,)
    np.testing.assert_array_equal(answer.arrays[0], X if op == "alias" else X[..., :1])
    assert ask(backend, "place").arrays[0].tolist() == [shared.BEFORE, 1]


def test_an_input_that_is_kept_does_not_change_under_its_keeper(backend):
    backend.close()  # one that has kept nothing yet
    ask(backend, "keeps", X + 1)
    for n in range(3):
        ask(backend, "keeps", X + 10 * n)
        np.testing.assert_array_equal(ask(backend, "conv2d", X - n).arrays[0], X - n + 1)
    first = X[0, 5, 0, 0]
    assert ask(backend, "was_kept").arrays[0].tolist() == [first + 1, first, first + 10, first + 20]
    assert ask(backend, "writes_last").mutated == (0,)
    backend.close()


def test_an_exception_keeps_nothing(backend):
    assert ask(backend, "raises").status == "error"
    assert ask(backend, "place").arrays[0].tolist() == [shared.BEFORE, 1]


def test_whoever_uses_an_input_after_the_call_dies_of_it(backend):
    ask(backend, "keeps_address")
    assert ask(backend, "uses_address", X[:, :1]).error == "killed by SIGSEGV"
    assert ask(backend, "conv2d").status == "ok"


def test_a_result_that_changes_later_was_copied(backend):
    answer = ask(backend, "later")
    time.sleep(0.2)
    np.testing.assert_array_equal(answer.arrays[0], X + 1)
    first = ask(backend, "reuses").arrays[0]
    second = ask(backend, "reuses").arrays[0]
    np.testing.assert_array_equal(first, X + 1)
    np.testing.assert_array_equal(second, X + 2)


def test_a_result_in_another_order(backend):
    np.testing.assert_array_equal(ask(backend, "turned").arrays[0], (X + 1).T)


def test_a_backend_that_closes_descriptors_dies_as_before(backend):
    assert ask(backend, "closes").status == "crash"
    np.testing.assert_array_equal(ask(backend, "conv2d").arrays[0], X + 1)


def test_results_that_are_still_in_use_are_not_written_over(backend):
    kept = [ask(backend, "conv2d", X + n).arrays[0][:, ::2] for n in range(4)]
    for n, one in enumerate(kept):
        np.testing.assert_array_equal(one, (X + n + 1)[:, ::2])


@pytest.mark.parametrize("without", ["memfd", "reading", "both"])
def test_without_it_the_pipes_do(text, monkeypatch, without):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    if without != "reading":
        monkeypatch.setattr(shared.Segment, "__init__", refused)
    if without != "memfd":
        monkeypatch.setattr(child, "fetch", refused)
    with RemoteBackend(text) as backend:
        for layout in ("C", "offset"):
            np.testing.assert_array_equal(ask(backend, "conv2d", layout=layout).arrays[0], X + 1)
        assert bool(ask(backend, "maps").arrays[0][0]) == (without == "reading")
        assert ask(backend, "writes_last").mutated == (0,)


FORGED = """
import json, os, struct, sys
import numpy as np
def send(header):
    text = json.dumps(header).encode()
    os.write(1, b"CVS1" + struct.pack("<IQ", len(text), 0) + text)
here = np.frombuffer(os.pread(int(os.environ["CONVSPEC_SHARED"]), 16, 0), np.uint8)
token, pid, address = here.tobytes().hex(), os.getpid(), here.ctypes.data
hello = {"kind": "hello", "protocol": 1, "name": "forged", "versions": {}, "methods": ["conv2d"]}
send({**hello, "shared": eval(sys.argv[1])})
while prefix := sys.stdin.buffer.read(16):
    header, size = struct.unpack("<IQ", prefix[4:])
    call = json.loads(sys.stdin.buffer.read(header)); sys.stdin.buffer.read(size)
    answer = {"kind": "answer", "serial": call["serial"], "status": "ok", "what": f"{size} {call.get('by_address')}"}
    send({**answer, "arrays": [{"dtype": "float32", "shape": [99], "at": int(sys.argv[2])}] if sys.argv[2] else []})
"""


@pytest.mark.parametrize(
    ("told", "body", "by_address"),
    [
        ("None", X.nbytes, None),
        ("'yes'", X.nbytes, None),
        ("{'token': 'ab'}", X.nbytes, None),
        ("{'token': token}", 0, None),
        ("{'token': token, 'pid': 1 << 70, 'address': True}", 0, None),
        ("{'token': token, 'pid': pid, 'address': 8}", 0, None),
        ("{'token': 7, 'pid': pid, 'address': address}", X.nbytes, True),
        ("{'token': token, 'pid': pid, 'address': address}", 0, True),
    ],
)
def test_a_hello_is_believed_as_far_as_it_is_proved(tmp_path, told, body, by_address):
    (tmp_path / "forged.py").write_text(FORGED)
    with RemoteBackend("forged", command=(sys.executable, str(tmp_path / "forged.py"), told, "")) as backend:
        assert ask(backend, "conv2d").what == f"{body} {by_address}"


@pytest.mark.parametrize(("told", "at"), [("{}", "4096"), ("{'pid': pid, 'address': address}", "64")])
def test_an_address_that_is_none_is_no_answer(tmp_path, told, at):
    (tmp_path / "forged.py").write_text(FORGED)
    with RemoteBackend("forged", command=(sys.executable, str(tmp_path / "forged.py"), told, at)) as backend:
        answer = ask(backend, "conv2d")
        assert (answer.status, answer.arrays) == ("crash", ())
        assert "wrote something that is not an answer" in answer.error


def test_a_place_outside_the_segment_is_refused():
    segment = shared.Segment.create()
    mapping = shared.Mapping(os.dup(segment.fd))
    for at, size in ((0, 8), (4096, 8), (shared.LARGEST, 1 << 20), (4112, 1 << 40)):
        with pytest.raises(ProtocolError, match="of a segment of"):
            mapping.lend(at, size)
    (at,) = segment.place([X])
    np.testing.assert_array_equal(mapping.lend(at, X.nbytes).view(np.float32), X.reshape(-1))
    segment.close()


def test_what_is_too_large_for_the_segment_travels(text, monkeypatch):
    monkeypatch.setattr(shared, "LARGEST", 3 << 20)
    segment = shared.Segment()
    assert [at is None for at in segment.place([X, np.zeros(1 << 19), X])] == [False, True, False]
    segment.close()
    with RemoteBackend(text) as backend:
        arrays = [np.full(1 << 18, n, np.float32) for n in range(4)]
        assert ask(backend, "sums", *arrays).arrays[0].tolist() == [n * 2.0**18 for n in range(4)]


def test_memory_of_an_uncommonly_large_call_is_given_back(text, monkeypatch):
    monkeypatch.setattr(shared, "KEPT", 2 << 20)
    blocks = []
    place = shared.Segment.place

    def watched(segment, arrays):
        places = place(segment, arrays)
        blocks.append(os.fstat(segment.fd).st_blocks * 512)
        return places

    monkeypatch.setattr(shared.Segment, "place", watched)
    large = np.full(1 << 20, 3, np.float64)
    with RemoteBackend(text) as backend:
        for x in (X, large, X, large, X):
            np.testing.assert_array_equal(ask(backend, "conv2d", x).arrays[0], x + 1)
            assert ask(backend, "writes_last", x.reshape(1, -1)).mutated == (0,)
    assert max(blocks[2:4]) > large.nbytes
    assert max(blocks[4:6]) <= (2 << 20) + shared.PAGE


HARNESS = """
import sys, time
import numpy as np
from convspec.harness.process.remote import RemoteBackend
from convspec.harness.process.protocol import Request
backend = RemoteBackend(sys.argv[1])
x = np.ones((1, 1000, 1000, 1), np.float32)
answer = backend.call(Request("conv2d", (x,), ("C",), {}))
print("memfd:convspec" in open("/proc/self/maps").read(), int(answer.arrays[0].sum()), flush=True)
time.sleep(60)
"""


def holders():
    """Processes that have a segment."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and "memfd:convspec" in (folder / "maps").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_nothing_is_left_when_the_harness_is_killed(text, tmp_path):
    known = set(holders())
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", HARNESS, text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as parent:
        assert parent.stdout.readline() == "True 2000000\n"
        assert parent.pid in set(holders()) - known
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
    deadline = time.monotonic() + 5
    while parent.pid in holders() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert parent.pid not in holders()
    assert list(tmp_path.iterdir()) == []
