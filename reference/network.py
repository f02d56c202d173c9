"""The layers around convolution and pooling in a small image classifier, each with its vector-Jacobian product.

May import NumPy alone, and knows nothing of convolution. Arrays are float64 or float32 and keep their type; labels are
integers. The clauses are in the specification's `network` topic; formulas are written as they are given there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def relu(x: Array) -> Array:
    """max(x, 0), element by element; NaN stays NaN (clause `relu`).

    Parameters
    ----------
    x : ndarray of float64 or float32, any shape

    Returns
    -------
    ndarray
        In the shape and type of x.

    Examples
    --------
    >>> relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    _float("x", x)
    positive: Array = np.maximum(x, x.dtype.type(0))
    return positive


def relu_vjp(x: Array, dy: Array) -> Array:
    """Gradient of sum(dy * relu(x)): dy where x > 0, else 0 (clause `relu-gradient`; the derivative at 0 is 0).

    Parameters
    ----------
    x, dy : ndarray of float64 or float32, the same shape and type

    Returns
    -------
    ndarray
        In the shape and type of x.

    Examples
    --------
    >>> relu_vjp(np.array([-2.0, 0.0, 3.0]), np.array([10.0, 20.0, 30.0]))
    array([ 0.,  0., 30.])
    """
    _gradient(dy, x.shape, _float("x", x))
    return _kept(x > 0, dy)


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """X where x > 0, else slope * x.

    Parameters
    ----------
    x : ndarray of float64 or float32, any shape
    slope : float
        Derivative below zero (and at zero).

    Returns
    -------
    ndarray
        In the shape and type of x.

    Examples
    --------
    >>> leaky_relu(np.array([-2.0, 0.0, 3.0]), 0.5)
    array([-1.,  0.,  3.])
    """
    _float("x", x)
    return np.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_vjp(x: Array, dy: Array, slope: float = 0.01) -> Array:
    """Gradient of sum(dy * leaky_relu(x, slope)).

    Parameters
    ----------
    x, dy : ndarray of float64 or float32, the same shape and type
    slope : float
        As in `leaky_relu`.

    Returns
    -------
    ndarray
        In the shape and type of x.

    Examples
    --------
    >>> leaky_relu_vjp(np.array([-2.0, 0.0, 3.0]), np.array([10.0, 20.0, 30.0]), 0.5)
    array([ 5., 10., 30.])
    """
    _gradient(dy, x.shape, _float("x", x))
    return np.where(x > 0, dy, dy * x.dtype.type(slope))


def dense(x: Array, w: Array, b: Array | None = None) -> Array:
    """Fully connected layer: the flattened items times the weights, plus the bias (clause `dense`).

    Parameters
    ----------
    x : ndarray [n, ...]
        float64 or float32; the axes of an item are flattened in C order (row, column, channel for an image).
    w : ndarray [features, outputs]
    b : ndarray [outputs], optional

    Returns
    -------
    ndarray [n, outputs]
        In the type of x.

    Raises
    ------
    TypeError, ValueError
        Types or shapes that do not fit, by name.

    Examples
    --------
    >>> dense(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0], [2.0, 20.0]]), np.array([100.0, 200.0]))
    array([[105., 250.]])
    """
    items = _items(x, w)
    if b is None:
        return items @ w
    if not isinstance(b, np.ndarray) or b.shape != w.shape[1:]:
        raise ValueError(f"b has shape {np.shape(b)}, expected {w.shape[1:]}: one number an output of w")
    _float("b", b, x.dtype)
    return items @ w + b


def dense_vjp(x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Gradients of sum(dy * dense(x, w, b)) (clause `dense-gradient`).

    Parameters
    ----------
    x, w : ndarray
        As in `dense`.
    dy : ndarray [n, outputs]

    Returns
    -------
    dx, dw, db : ndarray
        In the shapes of x, w and b.

    Examples
    --------
    >>> dx, dw, db = dense_vjp(np.array([[1.0, 2.0]]), np.array([[1.0, 10.0], [2.0, 20.0]]), np.array([[1.0, 1.0]]))
    >>> dx
    array([[11., 22.]])
    """
    items = _items(x, w)
    _gradient(dy, (x.shape[0], w.shape[1]), x.dtype)
    return (dy @ w.T).reshape(x.shape), items.T @ dy, dy.sum(axis=0)


def one_hot(labels: Array, classes: int, dtype: Any = np.float64) -> Array:
    """Rows that are 1 in their label's column and 0 elsewhere (clause `one-hot`).

    Parameters
    ----------
    labels : ndarray [n] of integers from 0 to classes - 1
    classes : int
    dtype : dtype
        Type of the result.

    Returns
    -------
    ndarray [n, classes]

    Raises
    ------
    TypeError, ValueError
        Labels that are not integers, or not classes.

    Examples
    --------
    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    _labels(labels, classes)
    rows = np.zeros((len(labels), classes), dtype)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def softmax(z: Array) -> Array:
    """Each row's exponentials over their sum, stable for large logits (clause `softmax`).

    Parameters
    ----------
    z : ndarray [n, classes] of float64 or float32
        Logits.

    Returns
    -------
    ndarray
        In the shape and type of z.

    Examples
    --------
    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    shifted = np.exp(_logits(z) - z.max(axis=1, keepdims=True))
    quotient: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return quotient


def cross_entropy(z: Array, labels: Array) -> Any:
    """Mean over the batch of minus the logarithm of the softmax at the true class (clause `cross-entropy`).

    Parameters
    ----------
    z : ndarray [n, classes] of float64 or float32
        Logits, n at least 1.
    labels : ndarray [n] of integers from 0 to classes - 1

    Returns
    -------
    scalar
        In the type of z; finite for all finite logits whose differences are.

    Raises
    ------
    TypeError, ValueError
        Labels that are not classes, by name.

    Examples
    --------
    >>> float(cross_entropy(np.array([[0.0, 1000.0]]), np.array([0])))
    1000.0
    """
    _labels(labels, _logits(z).shape[1], len(z))
    shifted = z - z.max(axis=1, keepdims=True)
    return (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(z)), labels]).mean()


def cross_entropy_vjp(z: Array, labels: Array) -> Array:
    """Gradient of `cross_entropy` in the logits: (softmax - one_hot) / n (clause `cross-entropy-gradient`).

    Parameters
    ----------
    z, labels : ndarray
        As in `cross_entropy`.

    Returns
    -------
    ndarray
        In the shape and type of z.

    Examples
    --------
    >>> cross_entropy_vjp(np.array([[0.0, 0.0]]), np.array([0]))
    array([[-0.5,  0.5]])
    """
    _labels(labels, _logits(z).shape[1], len(z))
    mean: Array = (softmax(z) - one_hot(labels, z.shape[1], z.dtype)) / z.dtype.type(len(z))
    return mean


def sgd(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    velocities: Sequence[Array] | None = None,
    *,
    rate: float,
    momentum: float = 0.0,
) -> tuple[list[Array], list[Array]]:
    """One step of stochastic gradient descent with classical momentum (clauses `sgd` and `sgd-momentum`).

    v <- momentum * v + gradient; parameter <- parameter - rate * v.

    Parameters
    ----------
    parameters, gradients : sequences of ndarray
        One gradient a parameter, in its shape and type.
    velocities : sequence of ndarray, optional
        Those that the step before returned; zeros at first.
    rate, momentum : float

    Returns
    -------
    parameters, velocities : lists of ndarray
        New arrays; those given are not changed.

    Raises
    ------
    ValueError
        Lists of different lengths, or a gradient that does not fit its parameter.

    Examples
    --------
    >>> parameters, velocities = sgd([np.array([1.0])], [np.array([0.5])], rate=0.5)
    >>> parameters[0]
    array([0.75])
    """
    given = [np.zeros_like(parameter) for parameter in parameters] if velocities is None else list(velocities)
    for name, arrays in (("gradients", gradients), ("velocities", given)):
        shapes = [array.shape for array in arrays]
        if shapes != [parameter.shape for parameter in parameters]:
            raise ValueError(f"{name} have shapes {shapes}, expected those of the parameters, one for each")
    moved = [v.dtype.type(momentum) * v + g for v, g in zip(given, gradients, strict=True)]
    return [p - p.dtype.type(rate) * v for p, v in zip(parameters, moved, strict=True)], moved


def _kept(keep: Array, dy: Array) -> Array:
    """The elements of dy that are kept, zeros for the others: by bits, as `where` takes three times as long."""
    if dy.flags.c_contiguous:
        bits = np.dtype(f"i{dy.itemsize}")
        kept = np.negative(keep.view(np.int8), dtype=bits)  # all bits, or none
        kept &= dy.view(bits)
        return kept.view(dy.dtype)
    return np.where(keep, dy, dy.dtype.type(0))


def _float(name: str, a: object, dtype: np.dtype[Any] | None = None) -> np.dtype[Any]:
    """The type of an array of float64 or float32 (or of that very type)."""
    if not isinstance(a, np.ndarray) or a.dtype not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise TypeError(f"{name} is {getattr(a, 'dtype', type(a).__name__)}, expected an array of float64 or float32")
    if dtype is not None and a.dtype != dtype:
        raise TypeError(f"{name} has dtype {a.dtype}, expected {dtype} as x; convert it with .astype")
    found: np.dtype[Any] = a.dtype
    return found


def _gradient(dy: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    _float("dy", dy, dtype)
    if dy.shape != shape:
        raise ValueError(f"dy has shape {dy.shape}, expected {shape}, the shape of the result")


def _items(x: Array, w: Array) -> Array:
    """The items of x flattened, if they fit the weights."""
    _float("w", w, _float("x", x))
    if x.ndim < 1 or w.ndim != 2 or prod(x.shape[1:]) != w.shape[0]:
        raise ValueError(f"w has shape {w.shape}, expected [features, outputs] for x of shape {x.shape}")
    return x.reshape(x.shape[0], w.shape[0])


def _logits(z: Array) -> Array:
    _float("z", z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"z has shape {z.shape}, expected [n, classes], both at least 1")
    return z


def _labels(labels: object, classes: int, count: int | None = None) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        raise TypeError(f"labels are {getattr(labels, 'dtype', type(labels).__name__)}, expected an array of integers")
    if labels.ndim != 1 or (count is not None and len(labels) != count):
        raise ValueError(f"labels have shape {labels.shape}, expected [{'n' if count is None else count}]")
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, expected classes from 0 to {classes - 1}")
