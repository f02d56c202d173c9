"""convspec: what 2-D convolution and max pooling mean, computed in NumPy.

The front door. Nothing is defined here: names are handed on from `convspec.reference`, and importing it imports NumPy
alone. The specification is `convspec.spec`; the command `convspec check` judges other implementations.
"""

from typing import TYPE_CHECKING, Any

from convspec.reference.conv2d import conv2d, conv2d_vjp
from convspec.reference.max_pool import max_pool, max_pool_vjp, max_pool_with_argmax

if TYPE_CHECKING:
    from convspec.reference.explain import Explanation, explain_conv2d, explain_max_pool

__version__ = "0.1.0"

__all__ = [
    "Explanation",
    "conv2d",
    "conv2d_vjp",
    "explain_conv2d",
    "explain_max_pool",
    "max_pool",
    "max_pool_vjp",
    "max_pool_with_argmax",
]


def __getattr__(name: str) -> Any:
    """Hand on what explains, when it is asked for: each worker imports this file, and only computes."""
    if name not in ("Explanation", "explain_conv2d", "explain_max_pool"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from convspec.reference import explain  # noqa: PLC0415 - ten milliseconds

    return getattr(explain, name)
