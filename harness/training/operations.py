"""Op lockstep: each convolution and pool of a net, on what the net itself feeds it, held to the oracle's bounds.

May import the reference, the cases and the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.oracle.bounds import compare
from convspec.harness.oracle.truth import truths
from convspec.reference.arguments import Array
from convspec.reference.training import Net, Pass

from .subject import Subject

#: Images of a batch that are looked at: each element is judged by itself, so that more would only be more of the same.
IMAGES = 8


def wrong_operation(
    subject: Subject, net: Net, images: Array, parameters: Sequence[Array], one: Pass, contract: Contract
) -> str:
    """What the first operation does wrong on the inputs and gradients of this pass, in one line; empty if nothing.

    Parameters
    ----------
    subject : Subject
    net, images, parameters
        As in `reference.training.forward`.
    one : Pass
        The reference's pass over the images.
    contract : Contract
        What the backend declares.
    """
    inputs, place = [images, *one.outputs], 0
    for number, (kind, options) in enumerate(net):
        w = None
        if kind in ("conv2d", "dense"):
            w, place = parameters[place], place + 2
        if kind not in ("conv2d", "max_pool"):
            continue
        x, dy = inputs[number][:IMAGES], one.output_gradients[number][:IMAGES]
        data = {"x": x, "dy": dy} | ({} if w is None else {"w": w})
        common = {"strides": options["strides"], "padding": options["padding"]}
        for op in (kind, f"{kind}_vjp"):
            case = Case(op, x.shape, options["ksize"], filters=0 if w is None else w.shape[3], **common)
            arrays = [data[name] for name in ("x", "w", "dy") if name in data and (name != "dy" or op != kind)]
            got = subject.ask(op, *arrays, **case.options)
            for truth, result in zip(truths(case, data), got, strict=True):
                if result.shape != truth.value.shape or result.dtype != np.float32:
                    return f"layer {number}, {op}: {result.dtype} {result.shape}, expected float32 {truth.value.shape}"
                found = compare(result, truth, "float32", contract)
                if found:
                    return f"layer {number}, {op}, {truth.name}{list(found.index)}: {found.in_bounds}"
    return ""


def wrong_activation(net: Net, got: Pass) -> str:
    """Whether the backend's own ReLU is one, to the bit, on what it gave it itself."""
    for number, (kind, options) in enumerate(net):
        if kind not in ("relu", "leaky_relu") or number == 0:
            continue
        x, y = got.outputs[number - 1], got.outputs[number]
        slope = x.dtype.type(options.get("slope", 0))
        right = np.where(x > 0, x, x * slope)
        if x.shape != y.shape or not np.array_equal(y, right):
            return f"layer {number}, {kind}: not {kind} of its input"
    return ""
