"""convspec: what 2-D convolution and max pooling mean, computed in NumPy.

The front door. Nothing is defined here: names are handed on from `convspec.reference`, and importing it imports NumPy
alone. The specification is `convspec.spec`; the command `convspec check` judges other implementations.
"""

from convspec.reference.conv2d import conv2d, conv2d_vjp
from convspec.reference.explain import Explanation, explain_conv2d, explain_max_pool
from convspec.reference.max_pool import max_pool, max_pool_vjp, max_pool_with_argmax

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
