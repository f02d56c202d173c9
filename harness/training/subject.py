"""A backend that trains: by its own `loss_and_gradients` and `train`, or with its four methods in the reference's net.

May import the reference and `process`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convspec.harness.process.protocol import Request
from convspec.reference import network, training
from convspec.reference.arguments import Array
from convspec.reference.training import Net, Pass

NATIVE = ("loss_and_gradients", "train")


class Lost(Exception):  # noqa: N818 - an answer, not an error of ours
    """The backend gave no answer that could be compared: `kind` is unsupported, exception, crash, hang or type."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Subject:
    """What the checks ask, however the backend does it.

    Parameters
    ----------
    backend : RemoteBackend or LocalBackend
        It is asked through its `call`.

    Examples
    --------
    >>> from convspec.adapters import registry
    >>> from convspec.harness.process.local import LocalBackend
    >>> net = training.NETS["B"]
    >>> images, labels = np.zeros((2, 28, 28, 1), np.float32), np.array([0, 9])
    >>> Subject(LocalBackend(registry.load("numpy"))).passed(net, images, labels, training.initial(net, 0)).loss.dtype
    dtype('float32')
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        methods = backend.hello["methods"]
        self.native = all(name in methods for name in NATIVE)
        self.conv2d = self._operation("conv2d")
        self.conv2d_vjp = self._operation("conv2d_vjp")
        self.max_pool = self._operation("max_pool")
        self.max_pool_vjp = self._operation("max_pool_vjp")

    def ask(self, op: str, *arrays: Array, **options: Any) -> tuple[Array, ...]:
        """Make one call.

        Raises
        ------
        Lost
            No arrays came back.
        """
        answer = self._backend.call(Request(op, arrays, ("C",) * len(arrays), options))
        if answer.status == "ok" and answer.what is None:
            found: tuple[Array, ...] = answer.arrays
            return found
        if answer.status == "ok":
            raise Lost("type", f"{op} returned {answer.what}, expected arrays")
        kind = {"missing": "unsupported", "error": "exception"}.get(answer.status, answer.status)
        raise Lost(kind, f"{op}: {answer.error}")

    def passed(self, net: Net, images: Array, labels: Array, parameters: list[Array]) -> Pass:
        """One pass forward and back."""
        if not self.native:
            return training.one_pass(net, images, labels, parameters, self)
        arrays = self.ask("loss_and_gradients", images, labels, *parameters, net=net)
        try:
            return Pass.of(net, arrays)
        except ValueError as error:
            raise Lost("type", f"loss_and_gradients returned {error}") from None

    def trained(self, net: Net, images: Array, labels: Array, state: list[Array], **descent: Any) -> tuple[Array, ...]:
        """Steps of training: the losses, then the parameters and velocities; see `reference.training.train`."""
        if not self.native:
            return training.train(images, labels, *state, net=net, ops=self, **descent)
        arrays = self.ask("train", images, labels, *state, net=net, **descent)
        if len(arrays) != 1 + len(state):
            raise Lost("type", f"train returned {len(arrays)} arrays, expected {1 + len(state)}")
        for got, given in zip(arrays[1:], state, strict=True):
            if got.shape != given.shape or got.dtype != given.dtype:
                raise Lost("type", f"train returned {got.dtype} {got.shape}, expected {given.dtype} {given.shape}")
        return arrays

    def _operation(self, op: str) -> Any:
        def ask(*arrays: Array, **options: Any) -> Any:
            found = self.ask(op, *arrays, **options)
            return found if op == "conv2d_vjp" else found[0]

        return ask


def one_ulp(parameters: list[Array], seed: int) -> list[Array]:
    """The parameters with each of the first filters moved by one ulp, up or down by lot: a twin."""
    rng = np.random.Generator(np.random.Philox([seed, 1]))
    first = parameters[0]
    towards = np.where(rng.random(first.shape) < 0.5, -np.inf, np.inf).astype(first.dtype)
    return [np.nextafter(first, towards), *parameters[1:]]


def zeros(parameters: list[Array]) -> list[Array]:
    """Velocities to start from."""
    return [np.zeros_like(parameter) for parameter in parameters]


def step(state: list[Array], gradients: tuple[Array, ...], rate: float, momentum: float) -> list[Array]:
    """The reference's update of parameters and velocities."""
    half = len(state) // 2
    parameters, velocities = network.sgd(state[:half], gradients, state[half:], rate=rate, momentum=momentum)
    return [*parameters, *velocities]
