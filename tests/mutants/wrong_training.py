"""Backends that train wrong, each by one fault that an accuracy does not see; and right ones that look unusual.

Faults of convolution and pooling are the catalogue's, with their four methods inside the reference's net; faults of
gradients and optimizers are in a native net. Named on the command line as ``tests/mutants/wrong_training.py:NAME``.
"""

import numpy as np

from convspec.adapters.numpy_backend import NumpyBackend
from convspec.harness.oracle.readings import known
from convspec.reference import training
from convspec.reference.training import Pass

_KNOWN = known()
OddPixelFirst = _KNOWN["OddPixelFirst"]
PaddingZero = _KNOWN["PaddingZero"]
TiesToLast = _KNOWN["TiesToLast"]
TiesToAll = _KNOWN["TiesToAll"]
TrueConvolution = _KNOWN["TrueConvolution"]
LastTapDropped = _KNOWN["LastTapDropped"]
Tf32Inputs = _KNOWN["Tf32Inputs"]
Bfloat16Inputs = _KNOWN["Bfloat16Inputs"]


class _Native(NumpyBackend):
    """The reference's own net, with one decision changed."""

    def spoilt(self, one):
        return one

    def rule(self, w, v, g, rate, momentum):
        v = momentum * v + g
        return w - rate * v, v

    def loss_and_gradients(self, images, labels, *parameters, net):
        one = Pass.of(net, training.loss_and_gradients(images, labels, *parameters, net=net))
        return self.spoilt(one).flat()

    def train(self, images, labels, *state, net, batch, rate, momentum):
        half, losses = len(state) // 2, []
        w, v = list(state[:half]), list(state[half:])
        rate, momentum = w[0].dtype.type(rate), w[0].dtype.type(momentum)
        for start in range(0, len(images), batch):
            cut = slice(start, start + batch)
            one = Pass.of(net, self.loss_and_gradients(images[cut], labels[cut], *w, net=net))
            losses.append(one.loss)
            moved = [self.rule(*of, rate, momentum) for of in zip(w, v, one.gradients, strict=True)]
            w, v = [a for a, _ in moved], [b for _, b in moved]
        return (np.array(losses, images.dtype), *w, *v)


class DividedByOneLess(_Native):
    what = "the gradient is divided by N - 1"

    def spoilt(self, one):
        n = len(one.outputs[0])
        factor = one.outputs[0].dtype.type(n / (n - 1))
        return one._replace(
            gradients=tuple(g * factor for g in one.gradients),
            output_gradients=tuple(g * factor for g in one.output_gradients),
        )


class NoBiasGradient(_Native):
    what = "the biases get no gradient"

    def spoilt(self, one):
        return one._replace(gradients=tuple(g * (g.ndim > 1) for g in one.gradients))


class Nesterov(_Native):
    what = "Nesterov's momentum, not the classical"

    def rule(self, w, v, g, rate, momentum):
        v = momentum * v + g
        return w - rate * (g + momentum * v), v


class Dampened(_Native):
    what = "dampened momentum (dampening 0.5)"

    def rule(self, w, v, g, rate, momentum):
        v = momentum * v + g * w.dtype.type(0.5)
        return w - rate * v, v


class StaleVelocity(_Native):
    """Right at every step that is looked at: from the fifth call on the velocity is that of the call before."""

    what = ""
    calls, kept = 0, None

    def train(self, images, labels, *state, **options):
        self.calls += 1
        half = len(state) // 2
        if len(images) > options["batch"] and self.kept is not None:
            state = (*state[:half], *self.kept)
        losses, *after = super().train(images, labels, *state, **options)
        self.kept = after[half:] if self.kept is None else self.kept
        return (losses, *after)


class OtherOrder(_Native):
    """Right: the batch is taken in reverse, so that all sums are in another order."""

    spared = "the batch in reverse"

    def loss_and_gradients(self, images, labels, *parameters, net):
        one = Pass.of(net, training.loss_and_gradients(images[::-1].copy(), labels[::-1].copy(), *parameters, net=net))
        back = one._replace(
            outputs=tuple(a[::-1].copy() for a in one.outputs),
            output_gradients=tuple(a[::-1].copy() for a in one.output_gradients),
        )
        return back.flat()


class InFloat64(_Native):
    """Right: everything in float64, rounded at the end."""

    spared = "in float64, rounded at the end"

    def loss_and_gradients(self, images, labels, *parameters, net):
        wide = [a.astype(np.float64) for a in (images, *parameters)]
        found = training.loss_and_gradients(wide[0], labels, *wide[1:], net=net)
        return tuple(np.asarray(a).astype(images.dtype) for a in found)


class OneUlp(_Native):
    """Right: every gradient is rounded to the next number, up or down, by what it is itself."""

    spared = "each gradient an ulp off"

    def spoilt(self, one):
        def moved(g):
            return np.nextafter(g, np.where(g.view(f"i{g.itemsize}") & 4, np.inf, -np.inf).astype(g.dtype))

        return one._replace(gradients=tuple(moved(g) for g in one.gradients))


#: Name: what its diagnosis has to say, by the net in which it shows.
PLANTED = {
    "OddPixelFirst": "B", "PaddingZero": "B", "TiesToLast": "A", "TiesToAll": "A", "TrueConvolution": "A",
    "LastTapDropped": "A", "Tf32Inputs": "A", "Bfloat16Inputs": "A", "DividedByOneLess": "A", "NoBiasGradient": "A",
    "Nesterov": "A", "Dampened": "A",
}  # fmt: skip
SPARED = ("OtherOrder", "InFloat64", "OneUlp")
SPARED_READINGS = ("Im2col", "ReversedTerms", "Pairwise", "Kahan", "Float64Sums", "NchwInside", "ChunkedRows")


def what(name):
    """What a fault is, in the words that the diagnosis has to find."""
    return _KNOWN[name].zoo.what if name in _KNOWN else globals()[name].what
