"""Backends that train wrong, each by one fault that an accuracy does not see; and right ones that look unusual.

Faults of convolution and pooling are four methods inside the reference's net, and have the catalogue's names; faults of
gradients and optimizers are in a native net. Named on the command line as ``tests/mutants/wrong_training.py:NAME``.
"""

import ml_dtypes
import numpy as np

from convspec.adapters.numpy_backend import NumpyBackend
from convspec.harness.oracle.readings import known, spared
from convspec.reference import geometry, training
from convspec.reference.training import Pass

_KNOWN = known()
_reverse = (slice(None), slice(None, None, -1), slice(None, None, -1))


class Fast(training.Own):
    """The reference's fast forms as a backend of four methods; each fault below changes what goes in or comes out.

    The catalogue has the same faults in a form that takes the formulas apart, which trains a hundred times as long.
    """

    name = "fast"


class OddPixelFirst(Fast):
    def conv2d(self, x, w, *, padding, **rest):
        return super().conv2d(x, w, padding="SAME_LOWER" if padding == "SAME" else padding, **rest)

    def conv2d_vjp(self, x, w, dy, *, padding, **rest):
        return super().conv2d_vjp(x, w, dy, padding="SAME_LOWER" if padding == "SAME" else padding, **rest)

    def max_pool(self, x, *, padding, **rest):
        return super().max_pool(x, padding="SAME_LOWER" if padding == "SAME" else padding, **rest)

    def max_pool_vjp(self, x, dy, *, padding, **rest):
        return super().max_pool_vjp(x, dy, padding="SAME_LOWER" if padding == "SAME" else padding, **rest)


def _window(x, ksize, strides, padding, dilations):
    return geometry.lay(x.shape[1:3], ksize, strides, padding, dilations)


class PaddingZero(Fast):
    """Forward alone, as the catalogue has it: the gradient of a window goes to its first element on the image."""

    def max_pool(self, x, *, ksize, strides, padding, dilations):
        padded = np.pad(x, ((0, 0), *_window(x, ksize, strides, padding, dilations).pads, (0, 0)))
        return super().max_pool(padded, ksize=ksize, strides=strides, padding="VALID", dilations=dilations)


class TiesToLast(Fast):
    def max_pool_vjp(self, x, dy, *, ksize, strides, padding, dilations):
        window = _window(x, ksize, strides, padding, dilations)
        pads = []
        for size, k, s, n, (before, _) in zip(
            x.shape[1:3], ksize, strides, window.output, window.pads, strict=True
        ):  # the last window has to end where the first began
            pads.append(((n - 1) * s + k - before - size, before))
        if min(pads[0][0], pads[1][0]) < 0:
            cut = [size + min(0, first) for size, (first, _) in zip(x.shape[1:3], pads, strict=True)]
            dx = np.zeros_like(x)
            dx[:, : cut[0], : cut[1]] = self.max_pool_vjp(
                x[:, : cut[0], : cut[1]], dy, ksize=ksize, strides=strides, padding=padding, dilations=dilations
            )
            return dx
        dx = super().max_pool_vjp(
            x[_reverse].copy(), dy[_reverse].copy(), ksize=ksize, strides=strides, padding=tuple(pads),
            dilations=dilations,
        )  # fmt: skip
        return dx[_reverse].copy()


class TiesToAll(Fast):
    def max_pool_vjp(self, x, dy, *, ksize, strides, padding, dilations):
        pads = _window(x, ksize, strides, padding, dilations).pads
        padded = np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-np.inf)
        y = super().max_pool(x, ksize=ksize, strides=strides, padding=padding, dilations=dilations)
        dx = np.zeros_like(padded)
        for i in range(ksize[0]):
            for j in range(ksize[1]):
                cut = (slice(None), slice(i, i + (y.shape[1] - 1) * strides[0] + 1, strides[0]),
                       slice(j, j + (y.shape[2] - 1) * strides[1] + 1, strides[1]))  # fmt: skip
                dx[cut] += np.where(padded[cut] == y, dy, 0)
        (top, _), (left, _) = pads
        return dx[:, top : top + x.shape[1], left : left + x.shape[2]].copy()


class _OfFilters(Fast):
    """Convolutions of other numbers; the gradient of the filters goes back by the same way."""

    def change(self, a, of):
        return a

    def back(self, dw):
        return dw

    def conv2d(self, x, w, **rest):
        return super().conv2d(self.change(x, "x"), self.change(w, "w"), **rest)

    def conv2d_vjp(self, x, w, dy, **rest):
        dx, dw = super().conv2d_vjp(self.change(x, "x"), self.change(w, "w"), self.change(dy, "dy"), **rest)
        return dx, self.back(dw)


class TrueConvolution(_OfFilters):
    def change(self, a, of):
        return a[::-1, ::-1].copy() if of == "w" else a

    def back(self, dw):
        return dw[::-1, ::-1].copy()


class LastTapDropped(Fast):
    """Forward alone, as the catalogue has it."""

    def conv2d(self, x, w, **rest):
        w = w.copy()
        w[-1, -1] = 0
        return super().conv2d(x, w, **rest)


class Tf32Inputs(_OfFilters):
    def change(self, a, of):
        bits = a.view(np.uint32)
        return ((bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


class Bfloat16Inputs(_OfFilters):
    def change(self, a, of):
        return a.astype(ml_dtypes.bfloat16).astype(np.float32)


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


def __getattr__(name):
    """A right backend of the catalogue, by its name."""
    if name in SPARED_READINGS:
        return spared()[name]
    raise AttributeError(name)
