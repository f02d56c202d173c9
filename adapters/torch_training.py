"""A net trained by PyTorch alone: its functional layers, its autograd, its ``torch.optim.SGD``.

Parameters stay torch tensors from the first step to the last. Filters are kept as torch has them, ``(cout, cin, kh,
kw)``, and dense weights as ``torch.nn.Linear`` does, ``(outputs, features)``; images are flattened with the channel
fastest, as the specification has it. Pads, layouts and devices are the adapter's to decide, and its mode's.

``torch@compile`` compiles the net and its loss as one to train; to tell the gradient of each output, which nobody can
ask of what is inside a compiled graph, it compiles the layers one by one.

It may import `backend`; torch is that of the adapter that asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .backend import Array, check_layers

__all__ = ["loss_and_gradients", "train"]

Tensor = Any  # torch is not there to be asked for its types
Adapter = Any  # a TorchBackend, which imports this file


def loss_and_gradients(
    adapter: Adapter, images: Array, labels: Array, parameters: Sequence[Array], net: Any
) -> tuple[Array, ...]:
    """Run a net forward, and ``torch.autograd.grad`` of its loss for all outputs and parameters at once.

    Parameters
    ----------
    adapter : TorchBackend
    images, labels, parameters, net
        As `Backend` has them.

    Raises
    ------
    ValueError
        The net has a layer of an unknown kind, or other parameters.
    Unsupported
        The mode, or torch on this device, does not offer a layer.
    """
    check_layers(net, parameters)
    with adapter._answer():
        leaves = [adapter._leaf(_held(adapter, parameter)) for parameter in parameters]
        # A leaf, so that outputs before the first weights have gradients too; its own is not asked for.
        outputs = _forward(adapter, adapter._leaf(adapter._nchw(images)), leaves, net)
        loss = adapter._torch.nn.functional.cross_entropy(outputs[-1], adapter._tensor(labels))
        found = adapter._torch.autograd.grad(loss, (*outputs, *leaves))
        shown = [_shown(adapter, tensor) for tensor in (*outputs, *found[: len(net)])]
        return (adapter._array(loss), *shown, *(_given_back(adapter, tensor) for tensor in found[len(net) :]))


def train(
    adapter: Adapter,
    images: Array,
    labels: Array,
    state: Sequence[Array],
    net: Any,
    *,
    batch: int,
    rate: float,
    momentum: float,
) -> tuple[Array, ...]:
    """Let ``torch.optim.SGD`` make a step for each batch, from the velocities given as its momentum buffers.

    Parameters
    ----------
    adapter : TorchBackend
    images, labels, state, net, batch, rate, momentum
        As `Backend` has them; the state is the parameters, then the velocities.

    Raises
    ------
    ValueError, Unsupported
        As in `loss_and_gradients`; torch refuses a negative rate or momentum by a ValueError too.
    """
    check_layers(net, state, each=2)
    with adapter._answer():
        held = [_held(adapter, array) for array in state]
        leaves, velocities = [adapter._leaf(p) for p in held[: len(held) // 2]], held[len(held) // 2 :]
        optimizer = adapter._torch.optim.SGD(leaves, lr=rate, momentum=momentum)
        for leaf, velocity in zip(leaves, velocities, strict=True) if momentum else ():
            optimizer.state[leaf]["momentum_buffer"] = velocity
        x, told, losses = adapter._nchw(images), adapter._tensor(labels), []
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            optimizer.zero_grad()
            loss = adapter._mode.run(_loss, x[part], told[part], *leaves, adapter=adapter, net=net)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if momentum:
                velocities = [optimizer.state[leaf]["momentum_buffer"] for leaf in leaves]
            else:  # torch keeps none then: they are the gradients
                velocities = [leaf.grad for leaf in leaves]
        after = [_given_back(adapter, tensor) for tensor in (*leaves, *velocities)]
        return (np.array([float(loss) for loss in losses], images.dtype), *after)


def _loss(x: Tensor, labels: Tensor, *parameters: Tensor, adapter: Adapter, net: Any) -> Tensor:
    return adapter._torch.nn.functional.cross_entropy(_forward(adapter, x, parameters, net)[-1], labels)


def _forward(adapter: Adapter, x: Tensor, parameters: Sequence[Tensor], net: Any) -> list[Tensor]:
    functional, rest, outputs = adapter._torch.nn.functional, iter(parameters), []
    for kind, options in net:
        if kind == "conv2d":
            w, b = next(rest), next(rest)
            x = adapter._conv2d(x, w, b, options["strides"], options["padding"], dilation=(1, 1), groups=1)
        elif kind == "max_pool":
            x = adapter._pool(x, options["ksize"], options["strides"], options["padding"], (1, 1))
        elif kind == "dense":
            items = x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x
            x = functional.linear(items, next(rest), next(rest))
        elif kind == "relu":
            x = functional.relu(x)
        else:
            x = functional.leaky_relu(x, options["slope"])
        outputs.append(x)
    return outputs


def _held(adapter: Adapter, parameter: Array) -> Tensor:
    """A parameter, or what has its shape, as torch keeps it: a copy."""
    return adapter._oihw(parameter) if parameter.ndim == 4 else adapter._tensor(parameter.T)


def _given_back(adapter: Adapter, tensor: Tensor) -> Array:
    """Undo `_held`."""
    array: Array = adapter._array(tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.t())
    return array


def _shown(adapter: Adapter, tensor: Tensor) -> Array:
    """What a layer gives, or its gradient, with the channels last."""
    array: Array = adapter._image(tensor) if tensor.ndim == 4 else adapter._array(tensor)
    return array
