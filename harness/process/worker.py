"""The far side: ``python -m convspec.harness.process.worker BACKEND`` loads a backend and makes the calls asked for.

It runs in interpreters that have only NumPy and a framework. May import the standard library, NumPy,
`convspec.adapters` and this package.
"""

import inspect
import os
import platform
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from convspec.adapters.backend import METHODS, BackendError, Contract, Unsupported

from . import protocol, short
from .channel import Channel
from .frames import Array, Frame, MissingDtypeError, dtype_name, encode, utf8
from .layouts import Laid, changed, lay, shares
from .memory import HandedOut, foul_free_memory
from .protocol import Answer, Request
from .shared import LEAST, Mapping

# How many arrays a method gives back; None, as of any other method: one array or a tuple of them.
RESULTS: dict[str, int | None] = {"conv2d": 1, "conv2d_vjp": 2, "max_pool": 1, "max_pool_vjp": 1}
RESULTS |= {"max_pool_with_argmax": 2, "block": 1, "block_vjp": 3, "loss_and_gradients": None, "train": None}
LONGEST_TEXT = 2000
# Where packages are installed says nothing of a backend and much of a machine, and results files are published.
INSTALLED = re.compile(r"[^\s\"'=]*[/\\](?:site|dist)-packages[/\\]")
OURS = str(Path(__file__).resolve().parents[2]) + os.sep
HANDED_OUT = HandedOut()


# --------------------------------------------------------------------------------------------------------- a call


def serve_one(backend: object, request: Request, mapping: Mapping | None = None) -> Answer:
    """Make one call, whatever comes of it, and say what came.

    Parameters
    ----------
    backend : object
        Any object with some of a backend's methods.
    request : Request
        The arrays C-contiguous; they are laid out here as the request asks.
    mapping : Mapping or None
        Where large arrays of the request may lie, which are then handed on as they are.

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
    laid = [
        lay(array, layout) if mapping is None else mapping.laid(array, layout) or lay(array, layout)
        for array, layout in zip(request.arrays, request.layouts, strict=True)
    ]
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
    aliases = tuple(dict.fromkeys([n for n, one in enumerate(laid) for array in arrays if shares(array, one)]))
    reused = HANDED_OUT.used_again(arrays)
    if aliases:  # told already; the input's memory is not to be held on to
        arrays = tuple([array.copy() for array in arrays])
    else:
        HANDED_OUT.keep(arrays)
    return Answer("ok", arrays, None, what, mutated, aliases, "", seconds, reused)


def _mutated(laid: list[Laid]) -> tuple[int, ...]:
    return tuple([n for n, one in enumerate(laid) if changed(one)])


def _raised(error: BaseException) -> tuple[str, str, str]:
    """Status, text and place of what a method raised."""
    if isinstance(error, Unsupported) or any(cls.__name__ == "Unsupported" for cls in type(error).__mro__):
        return "unsupported", from_package(text_of(error)), ""
    text = f"{type(error).__name__}: {text_of(error)}"
    return "error", from_package(text), from_package(place(error.__traceback__))


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
        return tuple(np.asarray(item) for item in items if isinstance(item, np.ndarray)), None
    kind = _kind(result)
    if kind is None and isinstance(result, np.ndarray) and wanted in (None, 1):
        return (np.asarray(result),), None
    return (), kind or "ndarray"


def _kind(value: object) -> str | None:
    """What a value is that is no array of the protocol; None for one that is.

    So is a subclass, as a plain view of its memory; but not a masked array, which says more than its memory does.
    """
    if type(value) is not np.ndarray:
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            return type(value).__name__
        value = np.asarray(value)
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
    text = utf8(text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 4] + " ..."


def from_package(text: str) -> str:
    """Return a text that names the files of installed packages from the package on, as they are on any machine.

    Examples
    --------
    >>> from_package("/opt/new/lib/python3.11/site-packages/torch/autograd/__init__.py:171 in _make_grads")
    'torch/autograd/__init__.py:171 in _make_grads'
    """
    return INSTALLED.sub("", text).replace(OURS, "convspec" + os.sep)


def place(trace: TracebackType | None) -> str:
    """Say where an exception was raised: file, line and function of the innermost frame.

    A file in the folder for temporary ones is named without it, as what a compiler wrote is another's tomorrow.

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
    file = code.co_filename
    if file.startswith(_temporary()):
        file = Path(file).name
    return f"{file}:{trace.tb_lineno} in {code.co_name}"


@cache
def _temporary() -> tuple[str, ...]:
    """The folder for temporary files, where there is one."""
    import tempfile  # noqa: PLC0415 -- it looks for the folder by writing to it, which a start can do without

    try:
        return (tempfile.gettempdir() + os.sep,)
    except OSError:
        return ()


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
        versions.update({_text(key): _text(value) for key, value in version.items()})
    elif version is not None:
        versions[_text(name or text).partition(":")[0].partition("@")[0]] = _text(version)
    contract = Contract.of(backend)
    dtypes, device = getattr(backend, "dtypes", None), getattr(backend, "device", None)
    return {
        "kind": "hello",
        "protocol": protocol.VERSION,
        "name": _text(text if name is None else name),
        "versions": versions,
        "device": None if device is None else _text(device),
        "methods": [name for name in RESULTS if callable(getattr(backend, name, None))],
        "missing": [name for name in METHODS if not callable(getattr(backend, name, None))],
        "contract": {name: getattr(contract, name) for name in contract.__dataclass_fields__},
        "accepts_bias": accepts_bias(backend),
        "argmax": callable(getattr(backend, "max_pool_with_argmax", None)),
        "dtypes": None if dtypes is None else [_text(name) for name in _listed(dtypes, text)],
    }


def _listed(dtypes: object, text: str) -> Iterable[object]:
    # A text is as iterable as a list, and would be taken for the names of its letters.
    if isinstance(dtypes, str | bytes) or not isinstance(dtypes, Iterable):
        raise BackendError(f"{text}: dtypes is {dtypes!r:.100}; it must be a list of names, as ['float32', 'float64']")
    return dtypes


def _text(value: object) -> str:
    return utf8(str(value))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Load the backend that is named, say hello, and answer calls until the harness closes the pipe."""
    text, *parent = sys.argv[1:] if argv is None else argv
    channel, mapping = Channel(), Mapping.inherited()
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
        if message.startswith("contract: "):  # a Contract does not know whose it is
            message = f"{text}: {message}"
        failure = {"class": known or "BackendImportError", "message": message}
        channel.write(encode({"kind": "hello", "protocol": protocol.VERSION, "load_error": failure}))
        os._exit(1)
    greeting["short"] = True
    channel.write(encode(greeting if mapping is None else {**greeting, "shared": mapping.told()}))
    lend = None if mapping is None else mapping.lend
    while (frame := channel.read(lend)) is not None:
        channel.write(_answer(backend, frame, mapping))
    os._exit(0)  # not through atexit: a backend's threads and handlers have no say in when it ends


def _answer(backend: object, frame: Frame, mapping: Mapping | None) -> list[memoryview]:
    if mapping is not None:
        mapping.withdraw()
    if frame.short:
        serial, by_address, request = short.call_from(frame)
        answer = serve_one(backend, request)
        if (parts := short.answer_frame(answer, serial)) is not None:
            return parts
    else:
        serial, by_address = frame.header.get("serial", -1), frame.header.get("by_address") is True
        try:
            answer = serve_one(backend, protocol.request_from(frame), mapping)
        except MissingDtypeError as error:
            answer = Answer("unsupported", error=str(error))
    if mapping is None:
        return protocol.answer_frame(answer, serial)
    places: Sequence[int | None] = ()
    if by_address and any([array.nbytes >= LEAST for array in answer.arrays]):  # noqa: C419 -- quicker
        arrays, places = mapping.offer(answer.arrays)
        answer = replace(answer, arrays=tuple(arrays))
    return protocol.answer_frame(answer, serial, places, kept=not mapping.take_back())


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
