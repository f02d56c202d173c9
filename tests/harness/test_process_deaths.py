"""Backends that take their process with them, hang, or attack the pipe: each a verdict, and nothing is left behind."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from convspec.harness.process.protocol import Request
from convspec.harness.process.remote import RemoteBackend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")

DEADLY = """
import ctypes, os, signal, sys, threading, time
import numpy as np

class Deadly:
    def good(self, x): return x + 1
    conv2d = good
    def pid(self, x): return np.array([os.getpid()])
    def exits(self, x): os.write(2, b"first\\nlast words\\n"); os._exit(3)
    def exits_well(self, x): os._exit(0)
    def aborts(self, x): os.abort()
    def segfaults(self, x): return ctypes.string_at(0)
    def divides(self, x): os.kill(os.getpid(), signal.SIGFPE); time.sleep(9)
    def writes_wild(self, x): ctypes.memset(x.ctypes.data - (1 << 40), 1, 1 << 20); return x
    def sleeps(self, x): time.sleep(60)
    def spins_in_c(self, x): ctypes.PyDLL(None).sleep(60)  # holds the interpreter's lock
    def ignores_signals(self, x):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        time.sleep(60)
    def stops_itself(self, x): os.kill(os.getpid(), signal.SIGSTOP)
    def dies_later(self, x):
        threading.Timer(0.1, lambda: ctypes.string_at(0)).start()
        return x + 1
    def dies_later_and_leaves_a_child(self, x):
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        def die():
            print("its last words"); os.kill(os.getpid(), signal.SIGSEGV)
        threading.Timer(0.1, die).start()
        return x + 1
    def leaves_children(self, x):
        for _ in range(2):
            if os.fork() == 0:
                time.sleep(60); os._exit(0)
        os._exit(4)
    def children_at_work(self, x):
        if os.fork() == 0:
            time.sleep(60); os._exit(0)
        return x + 1
    def shouts_and_sleeps(self, x):
        while True: os.write(2, b"shout " * 100_000)
    def eats_memory(self, x):
        kept = []
        while True: kept.append(np.ones(1 << 20)); time.sleep(0.002)
    def _pipes(self):
        links = {n: f"/proc/self/fd/{n}" for n in range(3, 64)}
        return [n for n, link in links.items() if os.path.exists(link) and "pipe" in os.readlink(link)]
    def _write_to_pipes(self, data):
        for n in self._pipes():
            try: os.write(n, data)
            except OSError: pass
    def writes_garbage(self, x): self._write_to_pipes(b"garbage " * 8); return x + 1
    def writes_half_a_frame(self, x):
        self._write_to_pipes(b"CVS1" + bytes([50, 0, 0, 0]) + bytes(8) + b"{"); time.sleep(60)
    def writes_absurd_lengths(self, x): self._write_to_pipes(b"CVS1" + b"\\xff" * 12); time.sleep(60)
    def answers_itself(self, x):
        text = b'{"kind":"answer","serial":-1,"status":"ok","arrays":[]}'
        self._write_to_pipes(b"CVS1" + len(text).to_bytes(4, "little") + bytes(8) + text); return x + 1
    def closes_everything(self, x): os.closerange(0, 64); return x + 1
    def closes_and_sleeps(self, x): os.closerange(0, 64); time.sleep(60)
"""
X = np.ones((1, 2, 2, 1), np.float32)


def own(place):
    """Another mark, for the tests that count processes."""
    text, env, _ = place
    mark = f"CONVSPEC_TEST_{uuid.uuid4().hex}"
    return text, {**env, mark: "1"}, mark


def ask(backend, op, x=X):
    return backend.call(Request(op, (x,), ("C",), {}))


def marked(mark):
    """The processes that carry a mark in their environment, zombies included."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def gone(mark, but=0):
    """Wait until no more than so many of them are left: what was killed takes a moment to disappear."""
    deadline = time.monotonic() + 3
    while len(marked(mark)) > but and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(marked(mark)) <= but


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A backend, and a mark for its processes; temporary files are made in a folder that must stay empty."""
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "deadly.py").write_text(DEADLY)
    temporary = folder / "temporary"
    temporary.mkdir()
    mark = f"CONVSPEC_TEST_{uuid.uuid4().hex}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        yield f"{folder}/deadly.py:Deadly", {mark: "1", "TMPDIR": str(temporary)}, mark
    assert gone(mark), "a process was left behind"
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope="module")
def impatient(place):
    """One worker after the other, for all the deaths; each test leaves a fresh one."""
    text, env, _ = place
    with RemoteBackend(text, env=env, timeout=0.7) as backend:
        assert ask(backend, "good").status == "ok"
        yield backend


DEATHS = {
    "exits": ("crash", "exited with status 3 by itself; it wrote: last words"),
    "exits_well": ("crash", "exited with status 0 by itself"),
    "aborts": ("crash", "killed by SIGABRT"),
    "segfaults": ("crash", "killed by SIGSEGV"),
    "divides": ("crash", "killed by SIGFPE"),
    "writes_wild": ("crash", "killed by SIGSEGV"),
    "sleeps": ("hang", "no answer within 0.7 s"),
    "spins_in_c": ("hang", "no answer within 0.7 s"),
    "ignores_signals": ("hang", "no answer within 0.7 s"),
    "stops_itself": ("hang", "no answer within 0.7 s"),
    "leaves_children": ("crash", "exited with status 4 by itself"),
    "shouts_and_sleeps": ("hang", "no answer within 0.7 s; it wrote: "),
    "writes_garbage": (
        "crash",
        "wrote something that is not an answer: not a frame: it starts with b'garbage garbage '",
    ),
    "writes_half_a_frame": ("hang", "no answer within 0.7 s"),
    "writes_absurd_lengths": ("crash", "absurd lengths"),
    "answers_itself": ("crash", "not the answer to call"),
    "closes_everything": ("crash", "exited with status 1"),  # or 120, where Python minds that stderr is gone
    "closes_and_sleeps": ("crash", "closed its end of the pipe and went on running"),
}


@pytest.mark.parametrize("op", DEATHS)
def test_a_death_is_a_verdict_and_the_next_call_works(impatient, place, op):
    status, error = DEATHS[op]
    restarts = impatient.restarts
    started = time.monotonic()
    answer = ask(impatient, op)
    assert time.monotonic() - started < 5
    assert answer.status == status
    assert error in answer.error
    assert answer.arrays == ()
    after = ask(impatient, "good")
    assert after.status == "ok"
    np.testing.assert_array_equal(after.arrays[0], X + 1)
    assert impatient.restarts == restarts + 1
    assert gone(place[2], but=1), "the dead worker left a child behind"


def test_the_tail_of_stderr_is_kept(place):
    text, env, _ = place
    with RemoteBackend(text, env=env) as backend:
        assert ask(backend, "exits").stderr == "first\nlast words"
        assert ask(backend, "aborts").stderr == ""  # not what an earlier process wrote


def test_large_requests_to_a_worker_that_does_not_read(place):
    text, env, _ = place
    big = np.ones((1, 3_000_000, 1, 1), np.float32)
    with RemoteBackend(text, env=env, timeout=1.0) as backend:
        pid = int(ask(backend, "pid").arrays[0].item())
        os.kill(pid, signal.SIGSTOP)
        answer = ask(backend, "good", big)
        assert (answer.status, answer.error) == ("hang", "no answer within 1 s")
        assert ask(backend, "good", big).error is None


def test_a_death_between_two_calls_is_told_as_such(place):
    text, env, _ = place
    with RemoteBackend(text, env=env) as backend:
        assert ask(backend, "dies_later").status == "ok"
        time.sleep(0.6)
        answer = ask(backend, "good")
        assert answer.status == "crash"
        assert answer.error == "killed by SIGSEGV after it had answered dies_later"
        assert ask(backend, "good").status == "ok"
        # A child holds the pipe open, so that the next call can be written, and is never read.
        assert ask(backend, "dies_later_and_leaves_a_child").status == "ok"
        time.sleep(0.6)
        died = "killed by SIGSEGV after it had answered dies_later_and_leaves_a_child; it wrote: its last words"
        assert ask(backend, "good").error == died
        assert ask(backend, "good").status == "ok"


def test_a_backend_that_eats_memory_is_stopped(place):
    text, env, _ = place
    with RemoteBackend(text, env=env, memory=300 << 20) as backend:
        answer = ask(backend, "eats_memory")
        assert answer.status == "crash"
        assert answer.error.startswith("killed because it used ")
        assert ask(backend, "good").status == "ok"


def test_children_of_a_worker_end_with_it(place):
    text, env, mark = own(place)
    backend = RemoteBackend(text, env=env)
    assert ask(backend, "children_at_work").status == "ok"
    assert len(marked(mark)) == 2
    backend.close()
    assert gone(mark)


def test_standby_is_ready_before_it_is_needed(place):
    text, env, mark = own(place)
    started = time.monotonic()
    with RemoteBackend(text, env=env, standby=True) as backend:
        ask(backend, "good")
        cold = time.monotonic() - started
        assert len(marked(mark)) == 1  # none before the first death
        ask(backend, "exits")
        ask(backend, "good")
        time.sleep(0.5 + 2 * cold)
        assert len(marked(mark)) == 2
        ask(backend, "aborts")
        started = time.monotonic()
        assert ask(backend, "good").status == "ok"
        assert time.monotonic() - started < cold / 2
        for _ in range(3):  # quicker than a spare can start
            assert ask(backend, "exits").status == "crash"
            assert ask(backend, "good").status == "ok"
        assert backend.restarts == 5


def test_a_worker_that_cannot_be_started_again_is_a_crash(place, tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY)
    with RemoteBackend(f"{tmp_path}/deadly.py:Deadly", env=place[1]) as backend:
        ask(backend, "exits")
        (tmp_path / "deadly.py").write_text("syntax error")
        answer = ask(backend, "good")
        assert answer.status == "crash"
        assert answer.error.startswith("the worker could not be started again: ")
        (tmp_path / "deadly.py").write_text(DEADLY)
        assert ask(backend, "good").status == "ok"


def test_closed_and_used_again(place):
    text, env, mark = own(place)
    backend = RemoteBackend(text, env=env)
    backend.close()
    assert ask(backend, "good").status == "ok"
    backend.close()
    backend.close()
    assert gone(mark)
    assert ask(backend, "good").status == "ok"
    backend.close()


def test_forgotten_backends_are_collected(place):
    text, env, mark = own(place)
    backend = RemoteBackend(text, env=env)
    ask(backend, "good")
    assert len(marked(mark)) == 1
    del backend
    gc.collect()
    assert gone(mark)


def test_no_file_descriptor_is_lost(place):
    text, env, _ = place
    before = len(list(Path("/proc/self/fd").iterdir()))
    with RemoteBackend(text, env=env, timeout=0.5) as backend:
        for op in ("good", "exits", "good", "sleeps", "writes_garbage"):
            ask(backend, op)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_interrupted_in_a_call(place):
    text, env, mark = own(place)
    with RemoteBackend(text, env=env) as backend:
        first = ask(backend, "pid").arrays[0].item()
        timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            ask(backend, "sleeps")
        timer.join()
        assert gone(mark)
        second = ask(backend, "pid")
        assert second.status == "ok"
        assert second.arrays[0].item() != first


PARENT = """
import os, sys, threading
import numpy as np
from convspec.harness.process.remote import RemoteBackend
from convspec.harness.process.protocol import Request
backend = RemoteBackend(sys.argv[1])
request = lambda op: Request(op, (np.ones(3),), ("C",), {})
backend.call(request("good"))
print("ready", flush=True)
if sys.argv[2] == "exit":
    sys.exit()
if sys.argv[2] == "thread":
    other = RemoteBackend(sys.argv[1])
    thread = threading.Thread(target=lambda: other.call(request("good")))
    thread.start(); thread.join()
    assert other.call(request("good")).status == "ok", "it died with the thread that started it"
    print("ready", flush=True)
    threading.Thread(target=lambda: other.call(request("sleeps"))).start()
backend.call(request(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("how", "op"),
    [("exit", "good"), ("kill", "sleeps"), ("kill", "spins_in_c"), ("interrupt", "sleeps"), ("thread", "sleeps")],
)
def test_no_worker_outlives_the_harness(place, how, op):
    text, env, mark = own(place)
    command = [sys.executable, "-c", PARENT, text, how, op]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env}) as parent:
        for _ in range(2 if how == "thread" else 1):
            assert parent.stdout.readline() == b"ready\n"
        if how == "exit":
            assert parent.wait(10) == 0
        else:
            time.sleep(0.3)
            assert len(marked(mark)) == (3 if how == "thread" else 2)
            parent.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGKILL)
            parent.wait(10)
        assert gone(mark)
