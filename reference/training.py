"""Small image classifiers as plain data: a forward pass, a backward pass whose branches can be given, and training.

May import NumPy and this folder. A net is a tuple of layers, a layer a pair (kind, options): nothing but text, numbers,
tuples and dicts, so that it can be sent anywhere. Kinds are `conv2d` (filters, ksize, strides, padding), `max_pool`
(ksize, strides, padding), `relu`, `leaky_relu` (slope) and `dense` (outputs); `conv2d` and `dense` have weights and a
bias. Behind the last layer come softmax and the mean cross-entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import conv2d as convolution
from . import geometry, network
from . import max_pool as pooling
from .arguments import Array
from .geometry import Window

Layer = tuple[str, Mapping[str, Any]]
Net = tuple[Layer, ...]

_POOL_2 = ("max_pool", {"ksize": (2, 2), "strides": (2, 2), "padding": "SAME"})
_POOL_3 = ("max_pool", {"ksize": (3, 3), "strides": (2, 2), "padding": "SAME"})


def _conv(filters: int, ksize: int, strides: int = 1) -> Layer:
    options = {"filters": filters, "ksize": (ksize, ksize), "strides": (strides, strides), "padding": "SAME"}
    return "conv2d", options


#: A is the source notes' net, in which SAME is even on both sides and no pool pads. In B the odd pixel of SAME and the
#: padding of the pools matter, and the activation comes after the pool, so that padding which wins would show.
NETS: dict[str, Net] = {
    "A": (
        _conv(32, 5),
        ("relu", {}),
        _POOL_2,
        _conv(64, 5),
        ("relu", {}),
        _POOL_2,
        ("dense", {"outputs": 256}),
        ("relu", {}),
        ("dense", {"outputs": 10}),
    ),
    "B": (
        _conv(16, 4),
        _POOL_3,
        ("leaky_relu", {"slope": 0.25}),
        _conv(32, 3, 2),
        _POOL_3,
        ("leaky_relu", {"slope": 0.25}),
        ("dense", {"outputs": 10}),
    ),
}


class Operations(Protocol):
    """What computes convolutions and pools: the four methods of a backend."""

    conv2d: Callable[..., Array]
    conv2d_vjp: Callable[..., tuple[Array, Array]]
    max_pool: Callable[..., Array]
    max_pool_vjp: Callable[..., Array]


class Own:
    """The fast forms of this library; the gradient of the images, which nobody asks for, is left out."""

    conv2d = staticmethod(convolution.conv2d)
    conv2d_vjp = staticmethod(convolution.conv2d_vjp)
    max_pool = staticmethod(pooling.max_pool)
    max_pool_vjp = staticmethod(pooling.max_pool_vjp)


class Pass(NamedTuple):
    """What a net made of a batch.

    Attributes
    ----------
    loss : scalar
        Mean cross-entropy.
    outputs : tuple of ndarray
        What each layer gave; the last are the logits.
    output_gradients : tuple of ndarray
        The gradient of the loss with respect to each of them.
    gradients : tuple of ndarray
        The gradient with respect to each parameter: weights and bias of each layer that has them.
    """

    loss: Any
    outputs: tuple[Array, ...]
    output_gradients: tuple[Array, ...]
    gradients: tuple[Array, ...]

    def flat(self) -> tuple[Array, ...]:
        """Everything in one tuple, as a backend's `loss_and_gradients` returns it."""
        return (np.asarray(self.loss), *self.outputs, *self.output_gradients, *self.gradients)

    @classmethod
    def of(cls, net: Net, arrays: Sequence[Array]) -> Pass:
        """Undo `flat`.

        Raises
        ------
        ValueError
            The number of arrays is not that of the net.
        """
        layers = len(net)
        expected = 1 + 2 * layers + 2 * len(list(weighted(net)))
        if len(arrays) != expected:
            raise ValueError(
                f"{len(arrays)} arrays, expected {expected}: the loss, {layers} outputs, their gradients, "
                f"and those of {expected - 1 - 2 * layers} parameters"
            )
        loss, rest = arrays[0], tuple(arrays[1:])
        return cls(loss, rest[:layers], rest[layers : 2 * layers], rest[2 * layers :])


def weighted(net: Net) -> Iterator[int]:
    """Indices of the layers that have parameters."""
    return (number for number, (kind, _) in enumerate(net) if kind in ("conv2d", "dense"))


def places(net: Net) -> dict[int, int]:
    """Where the weights of each layer that has some are among the parameters; its bias follows.

    Examples
    --------
    >>> places(NETS["B"])
    {0: 0, 3: 2, 6: 4}
    """
    return {layer: 2 * number for number, layer in enumerate(weighted(net))}


def window(layer: Layer, image: tuple[int, ...]) -> Window:
    """The windows of a convolution or a pool over images [.., h, w, channels]."""
    _, options = layer
    return geometry.lay((image[-3], image[-2]), options["ksize"], options["strides"], options["padding"], 1)


def parameter_names(net: Net) -> list[str]:
    """Names of the parameters, in their order.

    Examples
    --------
    >>> parameter_names(NETS["B"])[:2]
    ['0 conv2d weights', '0 conv2d bias']
    """
    return [f"{number} {net[number][0]} {part}" for number in weighted(net) for part in ("weights", "bias")]


def shapes(net: Net, image: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """Shapes of what each layer gives for one image [h, w, channels].

    Examples
    --------
    >>> shapes(NETS["A"], (28, 28, 1))[5:7]
    [(7, 7, 64), (256,)]
    """
    found: list[tuple[int, ...]] = []
    shape: tuple[int, ...] = image
    for kind, options in net:
        if kind == "dense":
            shape = (options["outputs"],)
        elif kind in ("conv2d", "max_pool"):
            shape = (*window((kind, options), shape).output, options.get("filters", shape[-1]))
        found.append(shape)
    return found


def parameter_shapes(net: Net, image: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """Shapes of the parameters: filters HWIO, dense weights [features, outputs], a bias each."""
    given = [image, *shapes(net, image)]
    found: list[tuple[int, ...]] = []
    for number in weighted(net):
        kind, options = net[number]
        if kind == "conv2d":
            found += [(*options["ksize"], given[number][-1], options["filters"]), (options["filters"],)]
        else:
            found += [(prod(given[number]), options["outputs"]), (options["outputs"],)]
    return found


def initial(net: Net, seed: int, image: tuple[int, int, int] = (28, 28, 1)) -> list[Array]:
    """Parameters to start from: normal weights of variance 2 / fan-in (He et al. 2015), biases of zero; float32.

    Examples
    --------
    >>> [p.shape for p in initial(NETS["B"], 0)][:2]
    [(4, 4, 1, 16), (16,)]
    """
    rng = np.random.Generator(np.random.Philox(seed))
    found = []
    for shape in parameter_shapes(net, image):
        if len(shape) == 1:
            found.append(np.zeros(shape, np.float32))
        else:
            scale = np.sqrt(2 / prod(shape[:-1]))
            found.append((rng.standard_normal(shape) * scale).astype(np.float32))
    return found


def forward(net: Net, images: Array, parameters: Sequence[Array], ops: Operations = Own) -> list[Array]:
    """Return what each layer gives; the last are the logits.

    Parameters
    ----------
    net : Net
    images : ndarray [n, h, w, channels]
        float64 or float32, as all parameters.
    parameters : sequence of ndarray
        As `initial` gives them.
    ops : Operations
        What computes convolutions and pools.
    """
    outputs, x, rest = [], images, iter(parameters)
    for kind, options in net:
        if kind == "conv2d":
            w, b = next(rest), next(rest)
            own = {"bias": b} if ops is Own else {}
            x = ops.conv2d(x, w, **_window(options), groups=1, **own)
            x = x if own else x + b
        elif kind == "max_pool":
            x = ops.max_pool(x, ksize=options["ksize"], **_window(options))
        elif kind == "dense":
            x = network.dense(x, next(rest), next(rest))
        elif kind == "relu":
            x = network.relu(x)
        elif kind == "leaky_relu":
            x = network.leaky_relu(x, options["slope"])
        else:
            raise ValueError(f"unknown kind of layer {kind!r}; known: conv2d, max_pool, relu, leaky_relu, dense")
        outputs.append(x)
    return outputs


def backward(
    net: Net,
    images: Array,
    labels: Array,
    parameters: Sequence[Array],
    outputs: Sequence[Array],
    ops: Operations = Own,
    branches: Sequence[Array] | None = None,
) -> Pass:
    """Return the loss and all gradients.

    Parameters
    ----------
    net, images, parameters, ops
        As in `forward`.
    labels : ndarray [n] of integers
    outputs : sequence of ndarray
        What `forward` gave.
    branches : sequence of ndarray, optional
        Another implementation's outputs. Which side of a ReLU and which maximum of a window an element is on is read
        from these; all arithmetic is done on `outputs`.
    """
    taken = [images, *(outputs if branches is None else branches)]
    inputs = [images, *outputs]
    dy = network.cross_entropy_vjp(outputs[-1], labels)
    by_output: list[Array] = []
    by_parameter: list[Array] = []
    at = places(net)
    for number in reversed(range(len(net))):
        kind, options = net[number]
        by_output.append(dy)
        if kind == "conv2d":
            w = parameters[at[number]]
            by_parameter += [dy.sum((0, 1, 2))]
            if number == 0 and ops is Own:  # nobody asks for the gradient of the images
                by_parameter += [convolution.filter_gradient(images, w.shape, dy, window(net[0], images.shape))]
            else:
                dx, dw = ops.conv2d_vjp(inputs[number], w, dy, **_window(options), groups=1)
                by_parameter += [dw]
                dy = dx
        elif kind == "max_pool":
            dy = ops.max_pool_vjp(taken[number], dy, ksize=options["ksize"], **_window(options))
        elif kind == "dense":
            dy, dw, db = network.dense_vjp(inputs[number], parameters[at[number]], dy)
            by_parameter += [db, dw]
        elif kind == "relu":
            dy = network.relu_vjp(taken[number], dy)
        else:
            dy = network.leaky_relu_vjp(taken[number], dy, options["slope"])
    loss = network.cross_entropy(outputs[-1], labels)
    return Pass(loss, tuple(outputs), tuple(reversed(by_output)), tuple(reversed(by_parameter)))


def one_pass(net: Net, images: Array, labels: Array, parameters: Sequence[Array], ops: Operations = Own) -> Pass:
    """Forward and back: see `forward` and `backward`."""
    return backward(net, images, labels, parameters, forward(net, images, parameters, ops), ops)


def loss_and_gradients(
    images: Array, labels: Array, *parameters: Array, net: Net, ops: Operations = Own
) -> tuple[Array, ...]:
    """One pass forward and back: the loss, the outputs, their gradients and those of the parameters (`Pass.flat`).

    Examples
    --------
    >>> images, labels = np.zeros((2, 28, 28, 1), np.float32), np.array([0, 9])
    >>> round(float(loss_and_gradients(images, labels, *initial(NETS["B"], 0), net=NETS["B"])[0]), 4)
    2.3026
    """
    return one_pass(net, images, labels, parameters, ops).flat()


def train(
    images: Array,
    labels: Array,
    *state: Array,
    net: Net,
    batch: int,
    rate: float,
    momentum: float,
    ops: Operations = Own,
) -> tuple[Array, ...]:
    """Steps of stochastic gradient descent with classical momentum, a batch after the other, in order.

    Parameters
    ----------
    images, labels : ndarray
        A multiple of `batch` of them.
    state : ndarrays
        The parameters, then a velocity for each.
    net, ops
        As in `forward`.
    batch, rate, momentum
        Of the descent.

    Returns
    -------
    tuple of ndarray
        The loss before each step, then the parameters and the velocities after the last.
    """
    parameters, velocities = list(state[: len(state) // 2]), list(state[len(state) // 2 :])
    losses = []
    for start in range(0, len(images), batch):
        part, told = images[start : start + batch], labels[start : start + batch]
        one = one_pass(net, part, told, parameters, ops)
        losses.append(one.loss)
        parameters, velocities = network.sgd(parameters, one.gradients, velocities, rate=rate, momentum=momentum)
    return (np.array(losses, images.dtype), *parameters, *velocities)


def _window(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"strides": options["strides"], "padding": options["padding"], "dilations": (1, 1)}
