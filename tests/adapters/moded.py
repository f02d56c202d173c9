"""What the tests of modes share: attributes, and what the four methods answer."""

import numpy as np

from convspec.adapters import Unsupported, registry

ONES = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
STRIDED = {"strides": (2, 2), "padding": "SAME", "dilations": (1, 1)}
UNEVEN = {"strides": (2, 1), "padding": ((1, 0), (0, 1)), "dilations": (1, 1)}
DILATED = {"strides": (1, 1), "padding": "SAME", "dilations": (2, 1)}


def depthwise(frameworks, keywords, name="float32"):
    """A convolution of four channels, each with two filters of its own."""
    case = frameworks.Convolution(name, keywords)
    case.keywords["groups"] = 4
    case.w, case.bias = case.w.reshape(3, 2, 1, -1)[..., :8], np.zeros(8, case.x.dtype)
    reference = registry.load("numpy")
    case.y = reference.conv2d(case.x, case.w, **case.keywords)
    case.dy = (np.arange(case.y.size) % 3 - 1).reshape(case.y.shape).astype(case.y.dtype)
    case.dx, case.dw = reference.conv2d_vjp(case.x, case.w, case.dy, **case.keywords)
    return case


def answers(frameworks, backend, keywords, groups=1, name="float32"):
    """What the four methods answer, each checked against the reference; the methods that refused, and their words."""
    each = depthwise(frameworks, keywords, name) if groups == 4 else frameworks.Convolution(name, keywords, groups)
    pooling = frameworks.Pooling(name, keywords)
    refused = {}
    for method, case, inputs, want in [
        ("conv2d", each, (each.x, each.w), each.y - each.bias),
        ("conv2d_vjp", each, (each.x, each.w, each.dy), (each.dx, each.dw)),
        ("max_pool", pooling, (pooling.x,), pooling.y),
        ("max_pool_vjp", pooling, (pooling.x, pooling.dy), pooling.dx),
    ]:
        if method == "max_pool_vjp" and backend.mode == "xla":
            continue  # which of several maxima gets the gradient is for the suite to find
        try:
            got = getattr(backend, method)(*inputs, **case.keywords)
        except Unsupported as refusal:
            refused[method] = str(refusal)
            continue
        pairs = zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]
        for one, right in pairs:
            frameworks.same(one, right)
    assert not any("\n" in words for words in refused.values())
    return refused


def convolve(frameworks, backend, keywords=ONES):
    case = frameworks.Convolution("float32", keywords)
    return backend.conv2d(case.x, case.w, **case.keywords)
