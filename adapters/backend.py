"""What a backend must offer, and how it says no.

A third party needs this file alone: ``from convspec.adapters import Backend, Contract, Unsupported``.
It may import NumPy (for the types) and nothing of ours, and no framework ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = [
    "LAYERS",
    "METHODS",
    "Array",
    "Backend",
    "BackendError",
    "BackendImportError",
    "Contract",
    "DeviceUnavailable",
    "NotInstalled",
    "Padding",
    "Pair",
    "UnknownBackend",
    "Unsupported",
    "check_layers",
    "missing_methods",
    "present",
]

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]

#: All that a backend has to implement; any of them may be absent, and then counts as unsupported.
METHODS = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp")

#: The kinds of layer of a net, and how many parameters each has: weights and a bias, or none.
LAYERS = {"conv2d": 2, "max_pool": 0, "relu": 0, "leaky_relu": 0, "dense": 2}


class Unsupported(Exception):  # noqa: N818 - an answer, not an error
    """Raised by a backend that does not offer what it was asked for: ``raise Unsupported("why")``.

    The case then stays in the denominator as *unsupported*. Any other exception on valid input is a failure.
    """


class BackendError(Exception):
    """A backend could not be had at all; the message is one line, fit to be shown as it is."""


class UnknownBackend(BackendError):  # noqa: N818
    """No backend, device or mode of that name; the message lists those known and the closest one."""


class BackendImportError(BackendError):
    """The backend's code could not be imported or created; the message ends in its own error."""


class NotInstalled(BackendImportError):  # noqa: N818
    """The package that the backend is an adapter of is not installed; the message says how to install it."""


class DeviceUnavailable(BackendError):  # noqa: N818
    """The device that was asked for is not there; the message says what is missing and how that was detected."""


class Backend(Protocol):
    """Anything with these four methods: NumPy arrays in and out, NHWC images, HWIO filters.

    Every keyword is always given, pairs as tuples of two ints. ``padding`` is ``"SAME"``, ``"VALID"``, ``"SAME_LOWER"``
    or ``((top, bottom), (left, right))``. Results have the dtype of the inputs (float64, float32, float16 or
    ``ml_dtypes.bfloat16``; integers too for pooling).

    Five things are optional: ``bias`` (shape ``(cout,)``) as an explicit keyword parameter of ``conv2d``; a method
    ``max_pool_with_argmax`` with the arguments of ``max_pool``, which returns ``(y, argmax)``; methods ``block(x, w,
    bias, ...)``, which returns ``y``, and ``block_vjp(x, w, bias, dy, ...)``, which returns ``(dx, dw, dbias)``, with
    the arguments of ``conv2d`` and ``pool``, None or ``(ksize, strides, padding)``: convolution, bias, ReLU and pooling
    in one, as a compiler fuses them; methods ``loss_and_gradients`` and ``train`` (below); and the attributes
    ``contract`` (a :class:`Contract` or a dict), ``version``, ``device`` and ``dtypes`` (names of those it takes).

    The two methods train a whole net as its framework does, by its own layers, derivatives and optimizer. ``net`` is a
    tuple of pairs (kind, options): ``conv2d`` (``filters``, ``ksize``, ``strides``, ``padding``), ``max_pool``
    (``ksize``, ``strides``, ``padding``), ``relu``, ``leaky_relu`` (``slope``) and ``dense`` (``outputs``; it flattens
    images row by row, the channel fastest). The last layer gives logits; the loss is the mean of their cross-entropy,
    that of the softmax. ``images`` are ``(n, h, w, channels)``, float32 or float64, the ``labels`` int64 ``(n,)``, the
    parameters, in the type of the images, weights and bias of each ``conv2d`` (``(kh, kw, cin, cout)``, ``(cout,)``)
    and each ``dense`` (``(features, outputs)``, ``(outputs,)``) in order.

    ``loss_and_gradients(images, labels, *parameters, net)`` returns a tuple of arrays: the loss, shape ``()``; what
    each layer gives; the gradient of the loss with respect to each of these; that with respect to each parameter.

    ``train(images, labels, *parameters, *velocities, net, batch, rate, momentum)``, a velocity for each parameter and
    in its shape, takes ``batch`` images after ``batch`` images, in order, each for one step of gradient descent:
    ``velocity = momentum * velocity + gradient; parameter = parameter - rate * velocity``. It returns a tuple of new
    arrays: the loss before each step, shape ``(steps,)``, then the parameters and the velocities after the last.

    Examples
    --------
    >>> class Refuses:
    ...     name = "refuses"
    ...     def max_pool(self, x, *, ksize, strides, padding, dilations):
    ...         raise Unsupported("pooling is not done here")
    >>> missing_methods(Refuses())
    ('conv2d', 'conv2d_vjp', 'max_pool_vjp')
    """

    name: str

    def conv2d(self, x: Array, w: Array, *, strides: Pair, padding: Padding, dilations: Pair, groups: int) -> Array:
        """Correlate ``x (N, H, W, Cin)`` with ``w (kh, kw, Cin / groups, Cout)``: ``y (N, oh, ow, Cout)``."""
        ...

    def conv2d_vjp(
        self, x: Array, w: Array, dy: Array, *, strides: Pair, padding: Padding, dilations: Pair, groups: int
    ) -> tuple[Array, Array]:
        """Pull ``dy``, of the shape of ``y``, back through :meth:`conv2d`: ``(dx, dw)``, shaped as ``x`` and ``w``."""
        ...

    def max_pool(self, x: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair) -> Array:
        """Take the maximum over each window of ``x (N, H, W, C)``: ``y (N, oh, ow, C)``."""
        ...

    def max_pool_vjp(
        self, x: Array, dy: Array, *, ksize: Pair, strides: Pair, padding: Padding, dilations: Pair
    ) -> Array:
        """Send ``dy``, of the shape of ``y``, to the first maximum of each window: ``dx``, shaped as ``x``."""
        ...


def present(backend: str, device: str, devices: Iterable[tuple[str, bool, str]]) -> str:
    """Say how a device that is there was detected.

    Parameters
    ----------
    backend, device
        Their names.
    devices
        Those that the adapter knows: name, whether it is there, and how that was detected.

    Raises
    ------
    DeviceUnavailable
        It is not there.

    Examples
    --------
    >>> present("torch", "cpu", [("cpu", True, "torch 2.13.0")])
    'torch 2.13.0'
    """
    available, how = {name: rest for name, *rest in devices}[device]
    if not available:
        raise DeviceUnavailable(f"{backend}:{device}: no {device.upper()} device: {how}")
    return str(how)


def missing_methods(backend: object) -> tuple[str, ...]:
    """Name the methods of :data:`METHODS` that ``backend`` (an object or a class) does not have.

    Examples
    --------
    >>> missing_methods(object())
    ('conv2d', 'conv2d_vjp', 'max_pool', 'max_pool_vjp')
    """
    return tuple(method for method in METHODS if not callable(getattr(backend, method, None)))


def check_layers(net: Iterable[tuple[str, Mapping[str, Any]]], arrays: Sequence[Array], each: int = 1) -> None:
    """Refuse a net that has a layer of an unknown kind, or whose parameters are not as many as those that are given.

    Parameters
    ----------
    net
        Pairs (kind, options).
    arrays
        The parameters, or with ``each=2`` the parameters and their velocities.
    each
        Arrays for each parameter.

    Raises
    ------
    ValueError
        It is such a net; the message says which layer, or how many arrays are expected.

    Examples
    --------
    >>> check_layers((("relu", {}), ("dropout", {})), [])
    Traceback (most recent call last):
    ValueError: layer 1 of the net is of kind 'dropout'; known: conv2d, max_pool, relu, leaky_relu, dense
    """
    expected = 0
    for number, (kind, _) in enumerate(net):
        if kind not in LAYERS:
            raise ValueError(f"layer {number} of the net is of kind {kind!r}; known: {', '.join(LAYERS)}")
        expected += LAYERS[kind] * each
    if len(arrays) != expected:
        what = "parameters" if each == 1 else "parameters and velocities"
        raise ValueError(f"{len(arrays)} {what}, expected {expected} for this net: weights and bias of each layer")


@dataclass(frozen=True)
class Contract:
    """What a backend says about its own arithmetic; the bounds of the oracle follow from it.

    Parameters
    ----------
    accumulate
        The type in which sums are kept: ``"float64"``, ``"float32"``, ``"float16"`` or ``"bfloat16"``. None: as the
        specification asks, the type of the inputs, or float32 where they are narrower.
    tf32
        float32 inputs are rounded to 11 significant bits (TF32) before they are multiplied.
    flush_subnormals
        Subnormal inputs and results are replaced by zero.
    algorithm
        ``"direct"`` (sums of products in any order), ``"winograd"`` or ``"fft"``.

    Examples
    --------
    >>> Contract(tf32=True).algorithm
    'direct'
    """

    accumulate: str | None = None
    tf32: bool = False
    flush_subnormals: bool = False
    algorithm: str = "direct"

    def __post_init__(self) -> None:
        self._check("accumulate", (None, "float64", "float32", "float16", "bfloat16"))
        self._check("tf32", (False, True))
        self._check("flush_subnormals", (False, True))
        self._check("algorithm", ("direct", "winograd", "fft"))

    def _check(self, field: str, allowed: tuple[object, ...]) -> None:
        value = getattr(self, field)
        # A bool has to be one: 1 == True would let "accumulate=1" and "tf32=1" look alike in a report.
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
            choices = ", ".join(repr(choice) for choice in allowed)
            raise BackendError(f"contract: {field} is {value!r}; it must be one of {choices}")

    @classmethod
    def of(cls, backend: object) -> Contract:
        """Read the contract that ``backend`` declares: its attribute ``contract``, a Contract or a dict; or none.

        Raises
        ------
        BackendError
            The attribute is something else, has an unknown key, or a value that is not known.

        Examples
        --------
        >>> Contract.of(object())
        Contract(accumulate=None, tf32=False, flush_subnormals=False, algorithm='direct')
        >>> class Declared:
        ...     contract = {"tf32": True}
        >>> Contract.of(Declared()).tf32
        True
        """
        declared = getattr(backend, "contract", None)
        if declared is None:
            return cls()
        if isinstance(declared, cls):
            return declared
        if not isinstance(declared, Mapping):
            kind = type(declared).__name__
            raise BackendError(f"contract: it is a {kind}; it must be a convspec.adapters.Contract or a dict")
        known = [field.name for field in fields(cls)]
        unknown = [key for key in declared if key not in known]
        if unknown:
            raise BackendError(f"contract: unknown key {unknown[0]!r}; known: {', '.join(known)}")
        return cls(**declared)
