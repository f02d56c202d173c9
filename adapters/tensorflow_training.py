"""A net trained by TensorFlow alone: ``tf.nn``, ``GradientTape`` and ``keras.optimizers.SGD``.

Parameters stay variables from the first step to the last. Everything is eager, as the mode of that name is, unless the
mode compiles: then the pass, and the step of training, is one ``tf.function`` with the mode's options. How a
convolution and a pooling are asked for is the mode's to decide too.

Keras keeps ``-rate * velocity``, where its rate is the float32 nearest to the one given, whatever the parameters' type.

It may import `backend`; TensorFlow is that of the adapter that asks, and Keras is imported to train.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Array, Unsupported, check_layers

__all__ = ["loss_and_gradients", "train"]

Tensor = Any  # TensorFlow is not there to be asked for its types
Adapter = Any  # a TensorflowBackend, which imports this file


def loss_and_gradients(
    adapter: Adapter, images: Array, labels: Array, parameters: Sequence[Array], net: Any
) -> tuple[Array, ...]:
    """Run a net forward, and one ``GradientTape.gradient`` of its loss for all outputs and parameters.

    Parameters
    ----------
    adapter : TensorflowBackend
    images, labels, parameters, net
        As `Backend` has them.

    Raises
    ------
    ValueError
        The net has a layer of an unknown kind, or other parameters.
    Unsupported
        The mode, or TensorFlow on this device, does not offer a layer.
    """
    check_layers(net, parameters)
    mode = adapter._mode
    with adapter._answer(_hardest(net)):
        tensors = mode.tensor(images), mode.tensor(labels), *(mode.source(parameter) for parameter in parameters)
        found = mode.run(_pass, *tensors, adapter=adapter, net=_hashable(net))
        return tuple(np.asarray(tensor.numpy()) for tensor in found)  # of a scalar it makes no array


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
    """Let ``keras.optimizers.SGD`` make a step for each batch, from the velocities given as its slots.

    Parameters
    ----------
    adapter : TensorflowBackend
    images, labels, state, net, batch, rate, momentum
        As `Backend` has them; the state is the parameters, then the velocities.

    Raises
    ------
    ValueError, Unsupported
        As in `loss_and_gradients`. A rate of 0 with a momentum is unsupported: Keras would forget the velocities.
        Keras refuses a momentum above 1 by a ValueError too.
    """
    check_layers(net, state, each=2)
    if momentum and not np.float32(rate):
        raise Unsupported("keras.optimizers.SGD keeps -rate * velocity, which at a rate of 0 is no velocity")
    keras, mode = _keras(), adapter._mode
    given, velocities = state[: len(state) // 2], list(state[len(state) // 2 :])
    with adapter._answer(_hardest(net)):
        variables = [keras.Variable(np.array(array), dtype=array.dtype.name) for array in given]
        optimizer = keras.optimizers.SGD(learning_rate=rate, momentum=momentum)
        optimizer.build(variables)
        slots = optimizer.momentums if momentum else []  # without a momentum Keras keeps none
        for slot, velocity in zip(slots, velocities, strict=bool(momentum)):
            slot.assign(-velocity * velocity.dtype.type(np.float32(rate)))
        step = _compiled(adapter, _step(adapter, net, variables, optimizer))
        losses: list[Array] = []
        gradients: list[Tensor] = []
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            loss, gradients = step(mode.tensor(images[part]), mode.tensor(labels[part]))
            losses.append(loss)
        if momentum:
            moved = [slot.value.numpy() for slot in slots]
            velocities = [-m / m.dtype.type(np.float32(rate)) for m in moved]
        else:
            velocities = [tensor.numpy() for tensor in gradients] or [np.array(v) for v in velocities]
        after = [variable.value.numpy() for variable in variables]
        return (np.array([float(loss) for loss in losses], images.dtype), *after, *velocities)


def _step(adapter: Adapter, net: Any, variables: list[Any], optimizer: Any) -> Callable[[Tensor, Tensor], Any]:
    values = [variable.value for variable in variables]

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
        with adapter._tf.GradientTape() as tape:  # which watches variables by itself
            loss = _loss(adapter, _forward(adapter, images, values, net)[-1], labels)
        gradients = tape.gradient(loss, values)
        optimizer.apply(gradients, variables)
        return loss, [] if optimizer.momentum else gradients

    return step


def _compiled(adapter: Adapter, function: Callable[..., Any]) -> Callable[..., Any]:
    # Not by the mode's own `run`, which would hold on to the variables of trainings that are over.
    options = getattr(adapter._mode, "options", None)
    compiled: Callable[..., Any] = function if options is None else adapter._tf.function(function, **options)
    return compiled


def _pass(images: Tensor, labels: Tensor, *parameters: Tensor, adapter: Adapter, net: Any) -> tuple[Tensor, ...]:
    with adapter._tape(*parameters) as tape:
        # Watched each, so that outputs before the first weights have gradients too.
        outputs = _forward(adapter, images, parameters, [(kind, dict(options)) for kind, options in net], tape.watch)
        loss = _loss(adapter, outputs[-1], labels)
    return (loss, *outputs, *tape.gradient(loss, [*outputs, *parameters]))


def _loss(adapter: Adapter, logits: Tensor, labels: Tensor) -> Tensor:
    tf = adapter._tf
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _forward(
    adapter: Adapter, x: Tensor, parameters: Sequence[Tensor], net: Any, watch: Callable[[Tensor], None] | None = None
) -> list[Tensor]:
    tf, mode, rest, outputs = adapter._tf, adapter._mode, iter(parameters), []
    for kind, options in net:
        if kind == "conv2d":
            x = mode.conv2d(x, _fitting(next(rest), x), next(rest), options["strides"], options["padding"], (1, 1), 1)
        elif kind == "max_pool":
            x = mode.max_pool(x, options["ksize"], options["strides"], options["padding"], (1, 1))
        elif kind == "dense":
            w = next(rest)
            items = tf.reshape(x, (-1, w.shape[0])) if len(x.shape) == 4 else x
            x = tf.nn.bias_add(tf.matmul(items, w), next(rest))
        elif kind == "relu":
            x = tf.nn.relu(x)
        else:
            x = tf.nn.leaky_relu(x, options["slope"])
        if watch is not None:
            watch(x)
        outputs.append(x)
    return outputs


def _fitting(w: Tensor, x: Tensor) -> Tensor:
    # tf.nn.conv2d would take filters of fewer channels for a convolution in groups.
    if w.shape[2] != x.shape[3]:
        raise ValueError(f"filters {tuple(w.shape)} do not fit images {tuple(x.shape)}: the channels are not as many")
    return w


def _hardest(net: Any) -> str:
    """The method by whose name a mode says that it does not offer what the net needs."""
    return "max_pool_vjp" if any(kind == "max_pool" for kind, _ in net) else "conv2d_vjp"


def _hashable(net: Any) -> tuple[Any, ...]:
    """The net as what a function is compiled for, and looked up by."""
    return tuple((kind, tuple(options.items())) for kind, options in net)


def _keras() -> Any:
    keras = importlib.import_module("keras")
    if not keras.__version__.startswith("3.") or keras.backend.backend() != "tensorflow":
        found = f"Keras {keras.__version__} on {keras.backend.backend()}"
        raise Unsupported(f"training needs the optimizer of Keras 3 on TensorFlow, and this is {found}")
    return keras
