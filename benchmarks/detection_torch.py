"""PyTorch's OpInfo as a peer: its samples and error inputs of conv2d and max_pool2d, with torch as oracle.

Every sample in every floating type that both take, forward and by autograd, compared with `torch.testing.assert_close`
at its default tolerances. PyTorch's own test classes do more with a sample (inputs that are not contiguous, other
devices): that is not counted. May import what `detection_peers` may, and torch; OpInfo needs `pip install expecttest`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import torch
from detection_peers import Array, Asked, Peer, first_line, named, to_hwio, to_nhwc

import convspec

FLOATS = ("float32", "float64", "float16", "bfloat16")


@cache
def torch_opinfo() -> Peer:
    """OpInfo's samples of the two operations, torch being right."""
    from torch.testing._internal.common_methods_invocations import op_db

    torch.manual_seed(0)
    torch.set_num_threads(1)
    cases: list[Asked] = []
    skipped = Counter[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for info in op_db:
            if info.name in ("nn.functional.conv2d", "nn.functional.max_pool2d"):
                cases += _samples(info, skipped)
                cases += _errors(info, skipped)
    title = "PyTorch OpInfo, its samples and error inputs alone, torch as oracle"
    return Peer(title, tuple(cases), _torch_close, skipped)


def _samples(info: Any, skipped: Counter[str]) -> Iterator[Asked]:
    convert = _torch_conv if info.name.endswith("conv2d") else _torch_pool
    for dtype in FLOATS:
        for sample in info.sample_inputs("cpu", getattr(torch, dtype), requires_grad=True):
            if sample.kwargs.get("ceil_mode"):
                skipped["samples with ceil_mode"] += 1
            else:
                yield from convert(f"{info.name} {dtype}", info, sample)


def _errors(info: Any, skipped: Counter[str]) -> Iterator[Asked]:
    for invalid in info.error_inputs("cpu"):
        asked = _torch_error(info.name, invalid.sample_input)
        if asked is None:
            skipped["error inputs that are valid here"] += 1
        else:
            yield asked


def _torch_conv(label: str, info: Any, sample: Any) -> Iterator[Asked]:
    w, bias = (*sample.args, None)[:2]
    x, w = sample.input.detach().requires_grad_(), w.detach().requires_grad_()
    arrays, options = (image(x), filters(w)), _torch_options(sample)
    plain = info(x, w, None, **sample.kwargs)
    y = plain if bias is None else info(x, w, bias, **sample.kwargs)
    kept = None if bias is None else from_torch(bias)
    yield Asked(f"{label} forward", "conv2d", arrays, options, (image(y),), kept, (image(plain),))
    dy = torch.randn_like(plain)
    dx, dw = torch.autograd.grad(plain, (x, w), dy)
    yield Asked(f"{label} gradient", "conv2d_vjp", (*arrays, image(dy)), options, (image(dx), filters(dw)))


def _torch_pool(label: str, info: Any, sample: Any) -> Iterator[Asked]:
    x = sample.input.detach().requires_grad_()
    result = info(x, **sample.kwargs)
    y, index = result if sample.kwargs.get("return_indices") else (result, None)
    arrays, options = (image(x),), _torch_options(sample)
    if index is None:
        yield Asked(f"{label} forward", "max_pool", arrays, options, (image(y),))
    else:  # torch counts within one channel, the protocol over rows, columns and channels
        channels = arrays[0].shape[3]
        flat = image(index) * channels + np.arange(channels)
        yield Asked(f"{label} forward", "max_pool_with_argmax", arrays, options, (image(y), flat))
    dy = torch.randn_like(y)
    (dx,) = torch.autograd.grad(y, x, dy)
    yield Asked(f"{label} gradient", "max_pool_vjp", (*arrays, image(dy)), options, (image(dx),))


def _torch_options(sample: Any) -> dict[str, Any]:
    given = sample.kwargs
    padding = given.get("padding", 0)
    if not isinstance(padding, str):
        padding = named(tuple((p, p) for p in pair(padding)))
    options = {"padding": padding.upper() if isinstance(padding, str) else padding}
    options["dilations"] = pair(given.get("dilation", 1))
    if "kernel_size" not in given:
        return options | {"strides": pair(given.get("stride", 1)), "groups": given.get("groups", 1)}
    kernel, stride = given["kernel_size"], given.get("stride")
    return options | {"ksize": pair(kernel), "strides": pair(kernel if stride is None else stride)}


def _torch_error(name: str, sample: Any) -> Asked | None:
    """A call that has to be refused; None where it is only torch that refuses it."""
    conv = name.endswith("conv2d")
    x = image(sample.input)
    arrays = (x, filters(sample.args[0])) if conv else (x,)
    asked = Asked(f"{name} error", "conv2d" if conv else "max_pool", arrays, _torch_options(sample), None)
    try:
        getattr(convspec, asked.op)(*arrays, **asked.options)
    except (TypeError, ValueError):
        return asked
    return None


def _torch_close(got: Array, want: Array) -> str | None:
    if got.dtype == want.dtype and np.array_equal(got, want):  # nearly always: spares the tensors
        return None
    try:
        torch.testing.assert_close(to_torch(got), to_torch(want))
    except (AssertionError, TypeError) as error:  # TypeError: a type that torch does not have
        return first_line(error)
    return None


def from_torch(tensor: Any) -> Array:
    """The tensor as an array; bfloat16 through its bits."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
    return np.asarray(tensor.numpy())


def to_torch(array: Array) -> Any:
    """The array as a tensor."""
    array = np.array(array, order="C")
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def image(tensor: Any) -> Array:
    """A tensor of images, or of one, in NHWC."""
    return to_nhwc(from_torch(tensor if tensor.ndim == 4 else tensor[None]))


def filters(tensor: Any) -> Array:
    """A tensor of filters in HWIO."""
    return to_hwio(from_torch(tensor))


def pair(value: Any) -> tuple[int, int]:
    """An int, or one or two of them, as a pair."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return (values * 2)[:2] if len(values) == 1 else values
