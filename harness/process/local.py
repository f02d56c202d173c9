"""A backend asked in this process: what the worker does, without the worker.

For code of our own that does not crash, hang or write over memory: the known wrong readings, and tests. May import the
worker.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import numpy as np

from . import worker
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
