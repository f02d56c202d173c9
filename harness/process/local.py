"""A backend asked in this process: what the worker does, without the worker.

For code of our own that does not crash, hang or write over memory: the known wrong readings, and tests. May import the
adapters' `Unsupported`, the layouts and the worker.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np

from convspec.adapters.backend import Unsupported

from . import worker
from .layouts import lay
from .protocol import Answer, Request


class LocalBackend:
    """Stands where `RemoteBackend` does.

    >>> from convspec.adapters import registry
    >>> LocalBackend(registry.load("numpy")).hello["missing"]
    []
    """

    def __init__(self, backend: Any, text: str = "local") -> None:
        self.backend, self.text, self.timeout = backend, text, 30.0

    @cached_property
    def hello(self) -> dict[str, Any]:
        """What the backend says of itself; worked out when it is asked for."""
        return worker.hello(self.backend, self.text)

    def call(self, request: Request) -> Answer:
        """Make one call; warnings are left to themselves, as in a worker."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return worker.serve_one(self.backend, request)

    def close(self) -> None:
        """Nothing is to be ended."""


class PureBackend(LocalBackend):
    """A backend that is known to leave its inputs alone and to hand out memory of its own: asked with fewer checks.

    What the worker does around a call costs more than the call itself on the small arrays of a case.

    >>> from convspec.adapters import registry
    >>> PureBackend(registry.load("numpy")).hello["missing"]
    []
    """

    def call(self, request: Request) -> Answer:
        """Make one call, on arrays that the next backend that is asked the same will be given too."""
        method = getattr(self.backend, request.op, None)
        if not callable(method):
            return Answer("missing", error=f"the backend has no method {request.op}")
        inputs, options = list(_laid(request)), request.options
        if request.op == "conv2d" and len(inputs) == 3:
            options = {**options, "bias": inputs.pop()}
        try:
            with np.errstate(all="ignore"):
                result = method(*inputs, **options)
        except Exception as error:
            status = "unsupported" if isinstance(error, Unsupported) else "error"
            return Answer(status, error=f"{type(error).__name__}: {worker.text_of(error)}")
        arrays, what = worker.results(request.op, result)
        return Answer("ok", arrays, None, what)


_last: list[tuple[Request, tuple[Any, ...]]] = []


def _laid(request: Request) -> tuple[Any, ...]:
    """The arrays of a request laid out in memory as it asks; those of the last request are kept."""
    if not (_last and _same(_last[0][0], request)):
        laid = [lay(array, layout).view for array, layout in zip(request.arrays, request.layouts, strict=True)]
        _last[:] = [(request, tuple(laid))]
    return _last[0][1]


def _same(one: Request, other: Request) -> bool:
    """The very same arrays, which nobody has written to since."""
    return (
        one.layouts == other.layouts
        and len(one.arrays) == len(other.arrays)
        and all(a is b for a, b in zip(one.arrays, other.arrays, strict=True))
    )
