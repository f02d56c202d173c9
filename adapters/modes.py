"""A mode: one decision of an adapter made otherwise, and what may be known of it before its framework is imported.

It may import nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Mode"]


class Mode(NamedTuple):
    """A way of execution that ``name@mode`` chooses.

    Parameters
    ----------
    what
        What it changes, in one line for `convspec list`.
    how
        The class that makes the decision; the adapter asks an object of it.
    devices
        The devices that it is for; none means all of them.
    compiles
        Each new shape or attribute costs a compilation of a tenth of a second or more, so that a run had better ask
        fewer of them. (Tracing a ``tf.function`` takes a tenth of that.)
    slowly
        A compilation takes seconds: one dtype is all that can be waited for.
    lacks
        Says what this machine lacks for it, in a few words, or nothing. It imports no framework.

    Examples
    --------
    >>> Mode("one operation at a time").compiles
    False
    """

    what: str
    how: Any = None
    devices: tuple[str, ...] = ()
    compiles: bool = False
    slowly: bool = False
    lacks: Callable[[], str] = str
