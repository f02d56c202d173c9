"""Measure what it costs to ask a backend in a process of its own: small calls, large arrays, and a death.

    python benchmarks/worker.py [ROUNDS] [--frameworks torch,tensorflow] [--markdown FILE]

Everything is measured in one run, in turns: a call through the worker, the same call of the same backend in this
process, the bare copies, and a `multiprocessing` pipe that pickles the same arrays there and back. Minima say what it
costs, medians what else the machine had to do. Linux, where large arrays are shared.
"""

import argparse
import contextlib
import ctypes
import datetime
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from convspec.adapters import registry
from convspec.harness.process.protocol import Request
from convspec.harness.process.remote import FOUL_MEMORY, RemoteBackend

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
CASES = 40
LARGE = (1, 4, 16, 64, 256)  # MiB in, and as many out
CLEAN = {
    "MALLOC_PERTURB_": None,
    "GLIBC_TUNABLES": FOUL_MEMORY["GLIBC_TUNABLES"].replace("glibc.malloc.perturb=128", "glibc.malloc.perturb=0"),
}
MMAP_THRESHOLD = -3  # of mallopt
POOL = {"ksize": (1, 1), "strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
COPIES = """
class Copies:
    def max_pool(self, x, **options): return x.copy()
"""
DIES = """
import os
from convspec.adapters import registry
class Dies:
    def __init__(self): self.right = registry.load({name!r})
    def conv2d(self, x, w, *, groups, **options):
        if groups == 99: os.abort()
        return self.right.conv2d(x, w, groups=groups, **options)
"""


def always_fresh():
    """Have this process get large blocks from the system each time: malloc would hand out one again of up to 32 MiB."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 17)


def taken(call):
    """Seconds of one call, with the end of what it returned."""
    start = time.perf_counter()
    result = call()
    del result
    return time.perf_counter() - start


def in_turns(rivals, rounds):
    """Minimum and median seconds of each, called one after the other."""
    found = {name: [] for name in rivals}
    for call in rivals.values():
        call()
    for _ in range(rounds):
        for name, call in rivals.items():
            found[name].append(taken(call))
    return {name: (min(times), float(np.median(times))) for name, times in found.items()}


def echo(pipe, text):
    """The other end of a `multiprocessing` pipe: a backend, by pickle."""
    backend = registry.load(text)
    while (asked := pipe.recv()) is not None:
        op, arrays, options = asked
        pipe.send(getattr(backend, op)(*arrays, **options))


class Pickled:
    """What one would write first: a process, a pipe, pickle."""

    def __init__(self, text):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=echo, args=(other, text), daemon=True)
        self.process.start()

    def call(self, op, arrays, options):
        self.pipe.send((op, arrays, options))
        return self.pipe.recv()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pipe.send(None)
        self.process.join()


@contextlib.contextmanager
def written(backend):
    """The path of a file with a backend."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backend.py"
        path.write_text(backend, encoding="utf-8")
        yield path


def cases():
    """Calls as a check makes them: small, and each unlike the one before."""
    random = np.random.default_rng(0)
    for n in range(CASES):
        height, width, depth, filters = random.integers(3, 10, 4)
        x = random.standard_normal((1, height, width, depth)).astype(np.float32)
        w = random.standard_normal((*random.integers(1, 4, 2), depth, filters)).astype(np.float32)
        options = {"strides": (1 + n % 2, 1 + n % 3), "padding": ("SAME", "VALID")[n % 2], "dilations": (1, 1)}
        yield x, w, {**options, "groups": 1}


def small(worker, pickled, rounds):
    """Seconds of a small call: (minimum, median) over the rounds of the mean over all cases."""
    backend, asked = registry.load("numpy"), list(cases())
    rivals = {
        "worker": lambda x, w, o: worker.call(Request("conv2d", (x, w), ("C", "C"), o)),
        "in process": lambda x, w, o: backend.conv2d(x, w, **o),
        "pickle": lambda x, w, o: pickled.call("conv2d", (x, w), o),
    }
    found = {name: [] for name in rivals}
    for _ in range(rounds):
        times = dict.fromkeys(rivals, 0.0)
        for case in asked:
            for name, call in rivals.items():
                times[name] += taken(lambda call=call, case=case: call(*case))
        for name, seconds in times.items():
            found[name].append(seconds / CASES)
    return {name: (min(times), float(np.median(times))) for name, times in found.items()}


def large(text, worker, clean, pickled, size, rounds):
    """Seconds of a backend that copies its input of so many MiB, by a worker with fouled memory and by one without it,
    and of the copies alone.
    """
    backend = registry.load(text)
    x = np.random.default_rng(0).random((1, size << 8, 1 << 4, 1 << 6), np.float32)
    warm = [np.zeros_like(x), np.zeros_like(x)]
    request = Request("max_pool", (x,), ("C",), POOL)

    def fresh():
        both = [np.empty_like(x), np.empty_like(x)]
        for one in both:
            np.copyto(one, x)
        return both

    answer = worker.call(request)
    assert (answer.status, answer.mutated) == ("ok", ()), answer.error
    np.testing.assert_array_equal(answer.arrays[0], x)
    del answer
    rivals = {
        "worker": lambda: worker.call(request),
        "clean worker": lambda: clean.call(request),
        "in process": lambda: backend.max_pool(x, **POOL),
        "copies, fresh": fresh,
        "copies, warm": lambda: [np.copyto(one, x) for one in warm],
        "pickle": lambda: pickled.call("max_pool", (x,), POOL),
    }
    return in_turns(rivals, rounds)


def restarts(name, rounds):
    """Seconds from the call after a death to its answer, without and with a spare; and the import alone, in turns."""
    x, w = np.ones((1, 3, 3, 1), np.float32), np.ones((1, 1, 1, 1), np.float32)
    options = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
    found = {"import": [], "restart": [], "with a spare": []}
    importing = [sys.executable, "-c", f"import {name}"]
    with written(DIES.format(name=name)) as path:
        plain = RemoteBackend(f"{path}:Dies")
        spare = RemoteBackend(f"{path}:Dies", standby=True)
        with plain, spare:
            for one in (plain, spare):
                ask(one, x, w, options, 99)
                ask(one, x, w, options, 1)  # the first death makes the spare
            for n in range(rounds):
                time.sleep(1 + 1.5 * found["import"][-1] if n else 10)  # no spare is being started meanwhile
                found["import"].append(taken(lambda: subprocess.run(importing, check=True, capture_output=True)))
                for kind, one in (("restart", plain), ("with a spare", spare)):
                    assert ask(one, x, w, options, 99).status == "crash"
                    found[kind].append(taken(lambda one=one: ask(one, x, w, options, 1)))
    return {kind: (min(times), float(np.median(times))) for kind, times in found.items()}


def ask(backend, x, w, options, groups):
    """One call, of a backend that dies of 99 groups."""
    return backend.call(Request("conv2d", (x, w), ("C", "C"), {**options, "groups": groups}))


def judged(rounds, frameworks):
    """Rows (what, figure to reach, minimum, median, reached) and lines with all that was measured."""
    rows, lines = [], []

    def row(what, text, values, limit, shown):
        rows.append((what, text, *map(shown, values), "yes" if values[0] < limit else "NO"))

    def line(what, seconds, unit, scale):
        told = ", ".join(f"{name} {scale * least:.4g} / {scale * half:.4g}" for name, (least, half) in seconds.items())
        lines.append(f"{what}, {unit}: {told}")

    with Pickled("numpy") as pickled, RemoteBackend("numpy") as worker:
        worker.hello  # noqa: B018 -- it starts the worker
        seconds = small(worker, pickled, 20 * rounds)
        line("a small call", seconds, "us", 1e6)
        added = [1e6 * (a - b) for a, b in zip(seconds["worker"], seconds["in process"], strict=True)]
        row("a small call: the worker adds", "< 150 us", added, 150, lambda v: f"{v:.0f} us")
    with written(COPIES) as path, contextlib.ExitStack() as stack:
        text = f"{path}:Copies"
        rivals = [
            stack.enter_context(one) for one in (RemoteBackend(text), RemoteBackend(text, env=CLEAN), Pickled(text))
        ]
        for size in LARGE:
            seconds = large(text, *rivals, size, max(5, min(12 * rounds, 60 * rounds // size)))
            line(f"{size} MiB in and out", seconds, "ms", 1e3)
            for which, kind in (("worker", "fresh"), ("worker", "warm"), ("clean worker", "fresh")):
                added = [a - b for a, b in zip(seconds[which], seconds["in process"], strict=True)]
                ratios = [a / b for a, b in zip(added, seconds[f"copies, {kind}"], strict=True)]
                what = f"{size} MiB in and out: the {which} adds / {kind} copies"
                row(what, "< 1" if kind == "fresh" and size >= 16 else "", ratios, 1, lambda v: f"{v:.2f}")
    for name in frameworks:
        seconds = restarts(name, 3)
        line(f"a restart of {name}", seconds, "s", 1.0)
        for kind in ("restart", "with a spare"):
            beyond = [a - b for a, b in zip(seconds[kind], seconds["import"], strict=True)]
            row(f"{name}, {kind}: beyond its import", "< 1 s", beyond, 1, lambda v: f"{v:.2f} s")
    return rows, lines


def machine():
    """The class of the machine, nothing more."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"


def main():
    """Measure, print, and write the record where asked."""
    if any(os.environ.get(name) != "1" for name in THREADS):  # read by NumPy when it starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | THREADS)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=12)
    parser.add_argument("--frameworks", default="numpy,torch,tensorflow")
    parser.add_argument("--markdown", metavar="FILE")
    given = parser.parse_args()
    always_fresh()
    before = os.getloadavg()[0]
    rows, lines = judged(given.rounds, given.frameworks.split(","))
    text = "\n".join(
        [
            "# Cost of the worker process",
            "",
            f"{datetime.datetime.now(tz=datetime.UTC).date()}; {machine()}, load {before:.1f} before and"
            f" {os.getloadavg()[0]:.1f} after; Python {platform.python_version()}, NumPy {np.__version__}.",
            "Rerun: `python benchmarks/worker.py --markdown benchmarks/worker.md`.",
            "",
            "| what | to reach | minimum | median | reached |",
            "|---|---|---|---|---|",
            *("| " + " | ".join(r if r[1] else (*r[:-1], "")) + " |" for r in rows),
            "",
            "What the worker adds is a call through it less the same call of the same backend in this process;",
            "*reached* goes by the minima. All three that answer small calls take turns, so none has its code in the",
            "processor's caches, as in a check. Large: a backend that copies its input, as its one allocation; the",
            "copies are `np.copyto` of as many bytes as go in and come out, to memory new from the system (fresh) or",
            "used before (warm); the call in this process has new memory too. The worker's memory is fouled when it",
            "is taken and when it is given back, which is part of what is added: a pass more over memory. glibc keeps",
            "blocks of up to 32 MiB for the next call, but gets larger ones from the system each time, so that",
            "filling them costs most at 64 MiB. A *clean* worker does without, which no check does: it shows what the",
            "transport takes.",
            "Minimum / median of each:",
            "",
            *(f"- {line}" for line in lines),
            "",
        ]
    )
    print(text)
    if given.markdown:
        Path(given.markdown).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
