"""Does a worker speak the protocol? ``python -m convspec.harness.process.conformance -- node worker.mjs``.

For those who write a worker in another language: before its numbers are judged, each part of ``PROTOCOL.md`` is asked
for by itself, one line a check. Exit status 0: all are right; 1: one is not; 2: the command cannot be started.
The pipes are read and written by `bare`, not by the harness's own near side. May import the standard library, NumPy,
`convspec.adapters.backend`, and `bare`, `frames`, `layouts`, `protocol` and `short`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from convspec.adapters.backend import METHODS, BackendError, Contract

from . import protocol, short
from .bare import Broken, Worker
from .frames import DTYPES, Array, MissingDtypeError, dtype_named, encode
from .layouts import LAYOUTS
from .worker import RESULTS

__all__ = ["Result", "check", "main"]

OPS = tuple(RESULTS)
UNIT: dict[str, Any] = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
FLOATS = ("float32", "float64", "float16", "bfloat16")
LARGE = 1 << 24  # bytes: more than any pipe holds
# Names that an object of some language has by itself, and that are no methods of a backend.
NO_METHODS = ("conv3d", "", "__init__", "constructor", "toString", "__proto__", "conv2d ")
NONSENSE: tuple[dict[str, Any], ...] = (
    {},
    {"strides": None},
    {"strides": True},
    {"strides": "two"},
    {"strides": (1, 1.5)},
    {"strides": (1 << 70, 1)},
    {"strides": (float("nan"), float("inf"))},
    {"strides": ()},
    {"dilations": {"h": 1, "w": 1}},
    {"padding": "ünknown ✗"},
    {"padding": ((0, 0), (0,))},
    {"padding": -3},
    {"no_such_option": [[[[[]]]]]},
)


class Skipped(Exception):  # noqa: N818 -- a result
    """Why a check has nothing to ask."""


class Result(NamedTuple):
    """One line of the report: `state` is ``"ok"``, ``"FAIL"`` or ``"skip"``."""

    state: str
    name: str
    text: str


class Probe:
    """The checks, in order: each method asks one thing, and its docstring is the name on the line."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.hello: dict[str, Any] = {}

    # ---- what is asked with

    def echo(self, x: Array, layout: str = "C") -> tuple[protocol.Answer, Array]:
        """A call whose answer holds what was sent, unchanged: a window, or a filter, of one pixel."""
        methods = self.hello["methods"]
        pool, conv = {"ksize": (1, 1), **UNIT}, {**UNIT, "groups": 1}
        if "max_pool" in methods:
            return self.worker.call("max_pool", (x,), layout, **pool), x
        if "max_pool_vjp" in methods:
            return self.worker.call("max_pool_vjp", (np.ones_like(x), x), layout, **pool), x
        one = np.eye(x.shape[-1] if x.ndim else 1, dtype=np.float32).astype(x.dtype)[None, None]
        if "conv2d" in methods:
            return self.worker.call("conv2d", (x, one), layout, **conv), x
        if "conv2d_vjp" in methods:
            return self.worker.call("conv2d_vjp", (np.ones_like(x), one, x), layout, **conv), x
        raise Skipped("it has none of the four methods")

    def same(self, x: Array, layout: str = "C") -> None:
        """`echo`, and the bytes that came back."""
        answer, sent = self.echo(x, layout)
        if answer.status != "ok" or not answer.arrays:
            raise Broken(f"a call on {_shown(x)} was answered {answer.status}: {answer.error or answer.what}")
        got = answer.arrays[0]
        if got.shape != sent.shape or got.dtype != sent.dtype:
            raise Broken(f"{_shown(x)} came back as {_shown(got)}")
        if got.tobytes() != sent.tobytes():
            raise Broken(f"{_shown(x)} came back with other elements")

    def refused(self, answer: protocol.Answer, what: str, *statuses: str) -> None:
        """The call was refused, with a reason."""
        if answer.status not in statuses:
            raise Broken(f"{what} was answered {answer.status}, expected {' or '.join(statuses)}")
        if not answer.error and answer.status != "missing":
            raise Broken(f"{what} was answered {answer.status} without a reason in `error`")
        self.same(self.floats())  # and it goes on

    def dtype(self) -> np.dtype[Any]:
        """A float type that it has."""
        known = self.hello.get("dtypes") or FLOATS
        return dtype_named(next((name for name in FLOATS if name in known), known[0]))

    def floats(self, shape: tuple[int, ...] = (3, 3, 5, 3)) -> Array:
        """Different elements, all positive and held exactly by every type; an odd number of bytes to fill up."""
        size = int(np.prod(shape))
        return (np.arange(size) % 120 + 1).reshape(shape).astype(self.dtype())

    # ---- the checks

    def greeting(self) -> str:
        """hello: the first frame says who answers"""
        header = self.worker.read().header
        if header["kind"] != "hello" or header.get("protocol") != protocol.VERSION:
            raise Broken(f"expected a hello of protocol {protocol.VERSION}, got {header!r:.120}")
        if "load_error" in header:
            raise Broken(f"it could not load its backend: {header['load_error']!r:.200}")
        kinds: dict[str, type | tuple[type, ...]] = {"name": str, "versions": dict, "methods": list}
        for key, kind in kinds.items():
            if not isinstance(header.get(key), kind):
                raise Broken(f"{key} is {header.get(key)!r:.80}, expected a {kind.__name__}")  # type: ignore[union-attr]
        if not all(isinstance(text, str) for text in header["versions"].values()):
            raise Broken(f"versions holds what is no text: {header['versions']!r:.80}")
        _among("methods", header["methods"], OPS)
        _among("dtypes", header.get("dtypes") or [], DTYPES)
        absent = [name for name in METHODS if name not in header["methods"]]
        if header.get("missing", absent) != absent:
            raise Broken(f"missing is {header['missing']!r:.80}, expected {absent}, for methods has the others")
        if header.get("argmax", False) and "max_pool_with_argmax" not in header["methods"]:
            raise Broken("argmax is true, and methods lacks max_pool_with_argmax")
        _contract(header.get("contract") or {})
        self.hello = header
        return f"{header['name']}, {', '.join(header['methods'])}"

    def first_call(self) -> None:
        """call: arrays come back in C order"""
        self.same(self.floats())

    def dtypes(self) -> str:
        """dtypes: each that it claims goes there and back, bit for bit"""
        claimed, held = self.hello.get("dtypes"), []
        pools = "max_pool" in self.hello["methods"]
        for name in DTYPES if claimed is None else claimed:
            if name not in FLOATS and not pools:
                continue  # a convolution of integers is outside the specification
            with contextlib.suppress(MissingDtypeError):
                x = (np.arange(30).reshape(1, 2, 5, 3) % 120 + 1).astype(dtype_named(name))
                if claimed is not None or self.echo(x)[0].status not in ("unsupported", "error"):
                    self.same(x)
                    held.append(name)
        return ", ".join(held)

    def other_dtypes(self) -> str:
        """dtypes: each that it does not claim is `unsupported`, with a reason"""
        claimed = self.hello.get("dtypes")
        if claimed is None:
            raise Skipped("it does not say which it has")
        others = [name for name in DTYPES if name not in claimed]
        for name in others:
            with contextlib.suppress(MissingDtypeError):
                answer, _ = self.echo(np.ones((1, 2, 5, 3), dtype_named(name)))
                self.refused(answer, f"an image of {name}", "unsupported")
        return ", ".join(others)

    def alignment(self) -> None:
        """frames: the second array starts at a multiple of 8 bytes"""
        if "conv2d" not in self.hello["methods"]:
            raise Skipped("no method of its takes two arrays of different sizes")
        x = self.floats((1, 1, 1, 3))
        w = np.arange(1, 4).reshape(1, 1, 3, 1).astype(x.dtype)
        answer = self.worker.call("conv2d", (x, w), **UNIT, groups=1)
        if answer.status != "ok" or not answer.arrays or float(answer.arrays[0].reshape(-1)[0]) != 14.0:
            raise Broken(f"[1, 2, 3] times [1, 2, 3] was answered {answer.status} {answer.error or answer.arrays}")

    def pieces(self) -> None:
        """frames: one that comes in pieces is read like another"""
        methods = self.hello["methods"]
        if "max_pool" not in methods:
            raise Skipped("it has no max_pool")
        x = self.floats()
        self.worker.serial += 1
        request = protocol.Request("max_pool", (x,), ("C",), {"ksize": (1, 1), **UNIT})
        data = b"".join(protocol.request_frame(request, self.worker.serial))
        for start, stop in ((0, 3), (3, 16), (16, 40), (40, len(data) - 5), (len(data) - 5, len(data))):
            self.worker.write(data[start:stop])
            time.sleep(0.02)
        if self.worker.answer(1).status != "ok":
            raise Broken("the same call, whole, was answered")

    def many_calls(self) -> None:
        """calls: 100 in a row, also with large serial numbers, each answered with its own"""
        self.worker.serial = 1 << 40
        for n in range(100):
            self.same(self.floats((1, 1, n % 7 + 1, 3)))

    def short(self) -> str:
        """Short headers: such a call is answered like one in JSON"""
        if self.hello.get("short") is not True:
            raise Skipped("it does not ask for them")
        if "max_pool" not in self.hello["methods"]:
            raise Skipped("it has no max_pool")
        x = self.floats()
        pool = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1), "ksize": (1, 1)}
        self.worker.serial += 1
        parts = short.call_frame(protocol.Request("max_pool", (x,), ("C",), pool), self.worker.serial)
        if parts is None:
            raise Skipped(f"no short header has room for {x.dtype}")
        self.worker.write(b"".join(parts))
        frame = self.worker.read(may_be_short=True)
        serial = self.worker.serial
        try:
            answer = short.answer_from(frame, serial) if frame.short else protocol.answer_from(frame, serial, 1)
        except protocol.ProtocolError as error:
            raise Broken(str(error)) from None
        if answer.status != "ok" or len(answer.arrays) != 1 or answer.arrays[0].tobytes() != x.tobytes():
            raise Broken(f"{_shown(x)} was answered {answer.status}, not with its elements")
        return "by a short one" if frame.short else "in JSON"

    def large(self) -> str:
        """frames: a body of 16 MiB, larger than a pipe"""
        x = self.floats((1, 512, LARGE // 512 // 8 // self.dtype().itemsize, 8))
        self.same(x)
        return f"{x.nbytes >> 20} MiB each way"

    def layouts(self) -> None:
        """layouts: every name is taken, and changes no answer"""
        for layout in LAYOUTS:
            self.same(self.floats(), layout)

    def empty(self) -> str:
        """arrays: those without an element are read and written"""
        said = []
        for shape in ((0, 3, 3, 2), (1, 0, 3, 2), (2, 3, 3, 0)):
            answer, x = self.echo(np.zeros(shape, self.dtype()))
            if answer.status == "ok" and [a.shape for a in answer.arrays[:1]] != [x.shape]:
                raise Broken(f"shape {list(shape)} came back as {[list(a.shape) for a in answer.arrays]}")
            if answer.status not in ("ok", "unsupported", "error"):
                raise Broken(f"shape {list(shape)} was answered {answer.status}")
            said.append(answer.status)
        self.same(self.floats())
        return ", ".join(said)

    def scalar(self) -> None:
        """arrays: one of rank 0 is read, and refused as an image"""
        answer, _ = self.echo(np.ones((), self.dtype()))
        self.refused(answer, "an image of rank 0", "error", "unsupported")

    def no_array(self) -> None:
        """arrays: a call without any is refused"""
        answer = self.worker.call(self.hello["methods"][0], (), **UNIT)
        self.refused(answer, "a call without arrays", "error", "unsupported")

    def unknown_methods(self) -> str:
        """ops: a name that is no method is `missing`"""
        names = [*NO_METHODS, *(name for name in OPS if name not in self.hello["methods"])]
        for name in names:
            self.refused(self.worker.call(name, (self.floats(),), **UNIT), f"op {name!r}", "missing")
        return f"{len(names)} names"

    def nonsense(self) -> str:
        """options: what no call may have is refused with a reason, and the next call answered"""
        method = self.hello["methods"][0]
        sized = {"ksize": (1, 1)} if method.startswith("max_pool") else {"groups": 1}
        for wrong in NONSENSE:
            options = {**UNIT, **sized, **wrong} if wrong else {}
            x = self.floats((1, 3, 3, 3))
            second = () if method.startswith("max_pool") else (np.ones((1, 1, 3, 3), x.dtype),)
            third = (x,) if method.endswith("_vjp") else ()
            answer = self.worker.call(method, (x, *second, *third), **options)
            self.refused(answer, f"{method} with {wrong or 'no option'}", "error", "unsupported")
        return f"{len(NONSENSE)} calls"

    def end(self) -> None:
        """end: when stdin ends it ends, and stdout holds nothing but answers"""
        self.worker.hang_up()

    def checks(self) -> Iterator[tuple[str, Callable[[], str | None]]]:
        """Each check with its name."""
        arrays = (self.first_call, self.dtypes, self.other_dtypes, self.layouts, self.empty, self.scalar, self.no_array)
        frames = (self.alignment, self.pieces, self.many_calls, self.short, self.large)
        for check in (self.greeting, *arrays, *frames, self.unknown_methods, self.nonsense, self.end):
            yield str(check.__doc__), check


def check(command: Sequence[str], seconds: float = 30.0) -> Iterator[Result]:
    """Ask a worker everything, and yield a line for each check.

    Parameters
    ----------
    command : sequence of str
        What runs the worker.
    seconds : float
        How long an answer may take.

    Raises
    ------
    OSError
        The command cannot be started.

    Examples
    --------
    >>> worker = [sys.executable, "-m", "convspec.harness.process.worker", "numpy"]
    >>> sorted({result.state for result in check(worker)})
    ['ok', 'skip']
    """
    probe = Probe(Worker(command, seconds))
    try:
        for name, ask in probe.checks():
            try:
                yield Result("ok", name, ask() or "")
            except Skipped as why:
                yield Result("skip", name, str(why))
            except Broken as why:
                yield Result("FAIL", name, str(why))
                if not probe.hello:
                    return
                # Its next answers may not belong to their calls: another one goes on.
                probe.worker.end()
                probe.worker = Worker(command, seconds)
                probe.worker.read()
    finally:
        probe.worker.end()
    yield _half_a_frame(command, seconds)


def _half_a_frame(command: Sequence[str], seconds: float) -> Result:
    name = "end: also in the middle of a frame"
    worker = Worker(command, seconds)
    try:
        worker.read()
        worker.write(b"".join(encode({"kind": "call", "serial": 1}))[:-4])
        worker.hang_up()
    except Broken as why:
        return Result("FAIL", name, str(why))
    finally:
        worker.end()
    return Result("ok", name, "")


def _shown(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"


def _among(key: str, names: Any, known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise Broken(f"{key} holds {name!r:.40}; known are {', '.join(known)}")


def _contract(declared: Any) -> None:
    try:
        Contract.of(type("Declares", (), {"contract": declared}))
    except BackendError as error:
        raise Broken(str(error)) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks on the command line's worker, print a line for each, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m convspec.harness.process.conformance",
        description="Ask a worker each part of the protocol by itself (PROTOCOL.md).",
        epilog="Exit status: 0 all checks are right, 1 one is not, 2 the command cannot be started.",
    )
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds an answer may take (30)")
    parser.add_argument("command", nargs="+", help="after --, what runs the worker, e.g. node worker.mjs")
    asked = parser.parse_args(argv)
    failed = 0
    try:
        for state, name, text in check(asked.command, asked.timeout):
            more = f" ({text})" if state == "ok" and text else f": {text}" if text else ""
            print(f"{state:4}  {name}{more}", flush=True)
            failed += state == "FAIL"
    except OSError as error:
        print(f"{asked.command[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 2
    print(f"{failed} checks failed: this is not the protocol yet" if failed else "It speaks the protocol.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
