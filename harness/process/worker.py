"""The far side: ``python -m convspec.harness.process.worker BACKEND`` loads a backend and makes the calls asked for.

It runs in interpreters that have only NumPy and a framework. May import the standard library, NumPy,
`convspec.adapters`, `convspec.reference.geometry` and this package.
"""

import inspect
import io
import os
import platform
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from convspec.adapters.backend import METHODS, BackendError, Contract, Unsupported
from convspec.reference import geometry

from . import protocol
from .frames import PREFIX, Array, Bytes, Frame, MissingDtypeError, dtype_name, encode, parse, sizes
from .layouts import Laid, changed, lay, shares
from .protocol import Answer, Request

# How many arrays a method gives back; any other method may give one array or a tuple of them.
RESULTS = {"conv2d": 1, "conv2d_vjp": 2, "max_pool": 1, "max_pool_vjp": 1, "max_pool_with_argmax": 2}
LONGEST_TEXT = 2000
LARGEST_POISON = 1 << 20  # larger blocks come from the system, which hands them out zeroed, or perturbed where asked
POISON_BYTE = 0x7F  # NaN in float16, 3.4e38 in float32 and bfloat16, 1.4e306 in float64, and a large integer


# ------------------------------------------------------------------------------------------------------- the pipes


class Channel:
    """The two pipes to the harness, moved out of the backend's way.

    The protocol came in on fd 0 and goes out on fd 1. Both are duplicated to descriptors that no child inherits; then
    fd 0 reads nothing and fd 1 goes to stderr, so that a backend may print, in Python or C, and may read its stdin.
    """

    def __init__(self) -> None:
        self._in = io.BufferedReader(io.FileIO(os.dup(0), "r"), 1 << 16)
        self._out = os.dup(1)
        self._pid = os.getpid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        for stream in (sys.stdout, sys.stderr):  # to a file: lines that are still in a buffer die with the process
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, errors="backslashreplace")

    @property
    def incoming(self) -> int:
        """The descriptor that the calls come in on."""
        return self._in.fileno()

    def read(self) -> Frame | None:
        """Read one frame; None at the end of the pipe, also in the middle of a frame: the harness is gone."""
        prefix = self._in.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            return None
        header_size, body_size = sizes(prefix)
        header = self._in.read(header_size)
        body: Bytes = np.empty(body_size, np.uint8)
        into = body.data
        while into:
            count = self._in.readinto(into)
            if not count:
                return None
            into = into[count:]
        return None if len(header) < header_size else Frame(parse(header, body_size), body)

    def write(self, parts: Sequence[memoryview]) -> None:
        """Write one frame."""
        if os.getpid() != self._pid:  # a backend forked, and its child came back from the call: one answer is enough
            os._exit(0)
        left = list(parts)
        while left:
            count = os.writev(self._out, left)
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if left:
                left[0] = left[0][count:]


# --------------------------------------------------------------------------------------------------------- a call


def serve_one(backend: object, request: Request) -> Answer:
    """Make one call, whatever comes of it, and say what came.

    Parameters
    ----------
    backend : object
        Any object with some of a backend's methods.
    request : Request
        The arrays C-contiguous; they are laid out here as the request asks.

    Examples
    --------
    >>> from convspec.adapters.registry import load
    >>> x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    >>> options = {"ksize": (2, 2), "strides": (2, 2), "padding": "VALID", "dilations": (1, 1)}
    >>> serve_one(load("numpy"), Request("max_pool", (x,), ("F",), options)).arrays[0].item()
    3.0
    """
    method = None if request.op.startswith("_") else getattr(backend, request.op, None)
    if not callable(method):
        return Answer("missing", error=f"the backend has no method {request.op}")
    laid = [lay(array, layout) for array, layout in zip(request.arrays, request.layouts, strict=True)]
    inputs, options = [one.view for one in laid], dict(request.options)
    if request.op == "conv2d" and len(inputs) == 3:
        if not accepts_bias(backend):
            return Answer("unsupported", error="conv2d of this backend takes no bias")
        options["bias"] = inputs.pop()
    foul_free_memory(request)
    started = time.perf_counter()
    try:
        result: object = method(*inputs, **options)
    except BaseException as error:  # SystemExit and KeyboardInterrupt too: they are the backend's, not ours
        seconds = time.perf_counter() - started
        status, text, where = _raised(error)
        return Answer(status, (), text, None, _mutated(laid), (), where, seconds)
    seconds = time.perf_counter() - started
    mutated = _mutated(laid)
    arrays, what = results(request.op, result)
    aliases = tuple([n for n, one in enumerate(laid) if any(shares(array, one) for array in arrays)])
    reused = HANDED_OUT.overwritten()
    HANDED_OUT.keep(arrays)
    return Answer("ok", arrays, None, what, mutated, aliases, "", seconds, reused)


class HandedOut:
    """The last results as the backend made them, with copies: a buffer that it uses again changes under its caller."""

    MOST, LARGEST = 4, 1 << 16

    def __init__(self) -> None:
        self._kept: deque[tuple[Array, bytes]] = deque(maxlen=self.MOST)

    def keep(self, arrays: Sequence[Array]) -> None:
        """Remember these results; large ones are left out, for the copies cost time."""
        self._kept.extend((array, array.tobytes()) for array in arrays if array.nbytes <= self.LARGEST)

    def overwritten(self) -> bool:
        """Whether an earlier result has changed since it was returned; it is forgotten then."""
        changed = [one for one, copy in self._kept if one.tobytes() != copy]
        if changed:
            self._kept.clear()
        return bool(changed)


HANDED_OUT = HandedOut()


def _mutated(laid: list[Laid]) -> tuple[int, ...]:
    return tuple([n for n, one in enumerate(laid) if changed(one)])


def _raised(error: BaseException) -> tuple[str, str, str]:
    """Status, text and place of what a method raised."""
    if isinstance(error, Unsupported) or any(cls.__name__ == "Unsupported" for cls in type(error).__mro__):
        return "unsupported", text_of(error), ""
    return "error", f"{type(error).__name__}: {text_of(error)}", place(error.__traceback__)


def results(op: str, result: object) -> tuple[tuple[Array, ...], str | None]:
    """Take a result apart: its arrays, or what it is instead.

    Examples
    --------
    >>> results("max_pool", [1.0])
    ((), 'list')
    >>> results("conv2d_vjp", (np.zeros(1), 2.0))
    ((), 'tuple of (ndarray, float)')
    """
    wanted = RESULTS.get(op)
    if type(result) in (tuple, list) and wanted != 1:
        items: tuple[object, ...] = tuple(result)  # type: ignore[arg-type]
        described = ", ".join(_kind(item) or "ndarray" for item in items[:8])
        if wanted not in (None, len(items)) or not items or any(_kind(item) for item in items):
            return (), f"{type(result).__name__} of ({described}{', ...' if len(items) > 8 else ''})"
        return tuple(item for item in items if isinstance(item, np.ndarray)), None
    kind = _kind(result)
    if kind is None and isinstance(result, np.ndarray) and wanted in (None, 1):
        return (result,), None
    return (), kind or "ndarray"


def _kind(value: object) -> str | None:
    """What a value is that is no array of the protocol; None for one that is. Subclasses (masked arrays) are not."""
    if type(value) is not np.ndarray:
        return type(value).__name__
    if dtype_name(value.dtype) is None:
        return f"ndarray of {value.dtype}"
    if value.nbytes > protocol.MAX_RESULT:
        return f"ndarray of {value.dtype} and shape {value.shape}, too large to send"
    return None


def text_of(error: BaseException) -> str:
    """Return an exception's message, shortened and fit for JSON, also where asking for it raises.

    Examples
    --------
    >>> text_of(ValueError("no"))
    'no'
    """
    try:
        text = str(error)
    except BaseException as second:  # a broken __str__ is one more way to misbehave
        text = f"(its message cannot be had: {type(second).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 4] + " ..."


def place(trace: TracebackType | None) -> str:
    """Say where an exception was raised: file, line and function of the innermost frame.

    Examples
    --------
    >>> place(None)
    ''
    """
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}"


def accepts_bias(backend: object) -> bool:
    """Tell whether a backend's ``conv2d`` names a parameter ``bias``.

    Examples
    --------
    >>> accepts_bias(object())
    False
    """
    try:
        return "bias" in inspect.signature(backend.conv2d).parameters  # type: ignore[attr-defined]
    except (AttributeError, TypeError, ValueError):
        return False


# ------------------------------------------------------------------------------------------- uninitialised memory


def foul_free_memory(request: Request) -> None:
    """Leave poison where the allocator will next look for blocks of the sizes of the results.

    A backend that forgets to write some outputs then returns poison, not the right answer that an earlier call left
    there. NumPy keeps up to seven freed blocks of each small size; eight fill that store.
    """
    blocks = []
    for size in _result_sizes(request):
        if 0 < size <= LARGEST_POISON:
            blocks += [np.empty(size, np.uint8) for _ in range(8 if size < 1024 else 2)]
    for block in blocks:
        block.fill(POISON_BYTE)
    del blocks


def _result_sizes(request: Request) -> set[int]:
    """Bytes of each result: a gradient is as large as its input, an output as geometry says."""
    arrays, options = request.arrays, request.options
    if request.op.endswith("_vjp"):
        return {array.nbytes for array in arrays[:-1]}
    try:
        x, pooling = arrays[0], request.op.startswith("max_pool")
        kernel = options["ksize"] if pooling else arrays[1].shape[:2]
        names = ("strides", "padding", "dilations")
        window = geometry.resolve(x.shape[1:3], kernel, **{name: options[name] for name in names})
        depth = x.shape[3] if pooling else arrays[1].shape[3]
    except Exception:  # invalid arguments have no output; then the inputs' sizes have to do
        return {array.nbytes for array in arrays}
    return {x.shape[0] * window.output[0] * window.output[1] * depth * x.itemsize}


# --------------------------------------------------------------------------------------------------- start and end


def hello(backend: Any, text: str) -> dict[str, Any]:
    """Say who answers: the header of the first frame.

    Examples
    --------
    >>> from convspec.adapters.registry import load
    >>> hello(load("numpy"), "numpy")["missing"]
    []
    """
    name = getattr(backend, "name", None)
    version = getattr(backend, "version", None)
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if isinstance(version, dict):
        versions.update({str(key): str(value) for key, value in version.items()})
    elif version is not None:
        versions[str(name or text).partition(":")[0].partition("@")[0]] = str(version)
    contract = Contract.of(backend)
    dtypes, device = getattr(backend, "dtypes", None), getattr(backend, "device", None)
    return {
        "kind": "hello",
        "protocol": protocol.VERSION,
        "name": str(name) if name is not None else text,
        "versions": versions,
        "device": None if device is None else str(device),
        "methods": [name for name in RESULTS if callable(getattr(backend, name, None))],
        "missing": [name for name in METHODS if not callable(getattr(backend, name, None))],
        "contract": {name: getattr(contract, name) for name in contract.__dataclass_fields__},
        "accepts_bias": accepts_bias(backend),
        "argmax": callable(getattr(backend, "max_pool_with_argmax", None)),
        "dtypes": None if dtypes is None else [str(name) for name in dtypes],
    }


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Load the backend that is named, say hello, and answer calls until the harness closes the pipe."""
    text, *parent = sys.argv[1:] if argv is None else argv
    channel = Channel()
    _die_with_the_harness(channel.incoming, int(parent[0]) if parent else 0)
    warnings.simplefilter("default")  # a warning is never an error here, whatever PYTHONWARNINGS said
    backend = None
    try:
        from convspec.adapters.registry import load  # noqa: PLC0415 -- its errors are reported, not raised

        backend = load(text)
        greeting = hello(backend, text)
    except BaseException as error:  # whatever importing it raised, the harness is told
        known = next((cls.__name__ for cls in type(error).__mro__ if issubclass(cls, BackendError)), None)
        message = text_of(error) if known else f"{text}: {type(error).__name__}: {text_of(error)}"
        failure = {"class": known or "BackendImportError", "message": message}
        channel.write(encode({"kind": "hello", "protocol": protocol.VERSION, "load_error": failure}))
        os._exit(1)
    channel.write(encode(greeting))
    while (frame := channel.read()) is not None:
        channel.write(_answer(backend, frame))
    os._exit(0)  # not through atexit: a backend's threads and handlers have no say in when it ends


def _answer(backend: object, frame: Frame) -> list[memoryview]:
    serial = frame.header.get("serial", -1)
    try:
        request = protocol.request_from(frame)
    except MissingDtypeError as error:
        return protocol.answer_frame(Answer("unsupported", error=str(error)), serial)
    return protocol.answer_frame(serve_one(backend, request), serial)


def _die_with_the_harness(pipe: int, parent: int) -> None:
    """Make sure that no worker outlives the harness, also when it is killed in the middle of a call.

    Linux can send a signal when the *thread* that started us ends, which is the right moment only for its main thread;
    the harness says so by passing its process id. Otherwise a thread waits for the pipe to be hung up.
    """
    if parent and sys.platform == "linux":
        import ctypes  # noqa: PLC0415 -- only here

        set_death_signal = 1
        if ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0) == 0:
            if os.getppid() != parent:  # it ended before we asked
                os._exit(0)
            return
    threading.Thread(target=_wait_for_hangup, args=(pipe,), daemon=True).start()


def _wait_for_hangup(pipe: int) -> None:
    import select  # noqa: PLC0415 -- only here

    poll = select.poll()
    poll.register(pipe, 0)  # no event but the hang-up, which is always reported
    poll.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
