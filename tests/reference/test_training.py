"""Nets as data: their gradients against differences of the loss, and the rules of training."""

import numpy as np
import pytest

from convspec.reference import network, training
from convspec.reference.training import NETS, Pass

SMALL = {
    "even pools": (
        ("conv2d", {"filters": 2, "ksize": (3, 3), "strides": (1, 1), "padding": "SAME"}),
        ("relu", {}),
        ("max_pool", {"ksize": (2, 2), "strides": (2, 2), "padding": "SAME"}),
        ("dense", {"outputs": 3}),
    ),
    "uneven pools": (
        ("conv2d", {"filters": 2, "ksize": (4, 4), "strides": (2, 2), "padding": "SAME"}),
        ("max_pool", {"ksize": (3, 3), "strides": (2, 2), "padding": "SAME"}),
        ("leaky_relu", {"slope": 0.25}),
        ("dense", {"outputs": 4}),
        ("relu", {}),
        ("dense", {"outputs": 3}),
    ),
}


def batch(seed, net, image=(9, 7, 2), n=3):
    rng = np.random.default_rng(seed)
    parameters = [p.astype(np.float64) for p in training.initial(net, seed, image)]
    parameters = [p + 0.1 * rng.standard_normal(p.shape) for p in parameters]
    return rng.standard_normal((n, *image)), rng.integers(0, 3, n), parameters


def loss(net, images, labels, parameters):
    return float(training.loss_and_gradients(images, labels, *parameters, net=net)[0])


@pytest.mark.parametrize("net", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_the_loss(net, seed):
    images, labels, parameters = batch(seed, net)
    one = Pass.of(net, training.loss_and_gradients(images, labels, *parameters, net=net))
    rng = np.random.default_rng(seed + 100)
    for number, gradient in enumerate(one.gradients):
        direction = rng.standard_normal(gradient.shape)
        step = 1e-6
        ends = []
        for sign in (-1, 1):
            moved = list(parameters)
            moved[number] = parameters[number] + sign * step * direction
            ends.append(loss(net, images, labels, moved))
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(
            float((gradient * direction).sum()), rel=2e-5, abs=1e-8
        )


@pytest.mark.parametrize("net", SMALL.values(), ids=SMALL)
def test_gradients_of_outputs_are_those_of_what_follows(net):
    images, labels, parameters = batch(0, net)
    one = Pass.of(net, training.loss_and_gradients(images, labels, *parameters, net=net))
    rng = np.random.default_rng(1)
    places = dict(zip(training.weighted(net), range(0, len(parameters), 2), strict=True))
    for number in range(len(net) - 1):
        rest = net[number + 1 :]
        after = [p for layer, at in places.items() if layer > number for p in parameters[at : at + 2]]
        direction = rng.standard_normal(one.outputs[number].shape)
        direction *= one.outputs[number] != 0  # zeros of a ReLU tie in a pool: no difference is a gradient there
        ends = []
        for sign in (-1, 1):
            x = one.outputs[number] + sign * 1e-6 * direction
            ends.append(float(network.cross_entropy(training.forward(rest, x, after)[-1], labels)))
        expected = float((one.output_gradients[number] * direction).sum())
        assert (ends[1] - ends[0]) / 2e-6 == pytest.approx(expected, rel=2e-5, abs=1e-8)


@pytest.mark.parametrize("name", NETS)
def test_four_methods_give_what_the_fast_forms_give(name):
    class Others(training.Own):
        pass

    net, rng = NETS[name], np.random.default_rng(0)
    images, labels = rng.random((4, 28, 28, 1)).astype(np.float32), rng.integers(0, 10, 4)
    parameters = training.initial(net, 0)
    mine = training.loss_and_gradients(images, labels, *parameters, net=net)
    theirs = training.loss_and_gradients(images, labels, *parameters, net=net, ops=Others)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(a).max())


def test_branches_are_taken_from_where_they_are_given():
    net = SMALL["even pools"]
    images, labels, parameters = batch(0, net)
    outputs = training.forward(net, images, parameters)
    other = [a.copy() for a in outputs]
    other[0][:] = -1  # every ReLU on its other side: nothing goes back beyond it
    other[1][:] = 0
    one = training.backward(net, images, labels, parameters, outputs, branches=other)
    assert not one.output_gradients[0].any()
    assert one.gradients[2].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_is_passes_and_updates(dtype):
    net = SMALL["uneven pools"]
    images, labels, parameters = batch(4, net, n=6)
    images, parameters = images.astype(dtype), [p.astype(dtype) for p in parameters]
    velocities = [np.full_like(p, 0.5) for p in parameters]
    losses, *after = training.train(images, labels, *parameters, *velocities, net=net, batch=2, rate=0.1, momentum=0.5)
    assert losses.shape == (3,)
    for n in range(3):
        cut = slice(2 * n, 2 * n + 2)
        one = Pass.of(net, training.loss_and_gradients(images[cut], labels[cut], *parameters, net=net))
        assert losses[n] == one.loss
        parameters, velocities = network.sgd(parameters, one.gradients, velocities, rate=0.1, momentum=0.5)
    for a, b in zip(after, [*parameters, *velocities], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == dtype


def test_the_shapes_of_the_nets():
    assert [p.shape for p in training.initial(NETS["A"], 0)] == [
        (5, 5, 1, 32), (32,), (5, 5, 32, 64), (64,), (3136, 256), (256,), (256, 10), (10,),
    ]  # fmt: skip
    assert training.shapes(NETS["B"], (28, 28, 1)) == [
        (28, 28, 16), (14, 14, 16), (14, 14, 16), (7, 7, 32), (4, 4, 32), (4, 4, 32), (10,),
    ]  # fmt: skip


def test_same_is_uneven_and_pools_pad_in_net_b_alone():
    from convspec.reference import geometry

    def pads(net):
        shape = (28, 28, 1)
        for (kind, options), after in zip(net, training.shapes(net, shape), strict=True):
            if kind in ("conv2d", "max_pool"):
                window = geometry.lay(shape[:2], options["ksize"], options["strides"], "SAME", 1)
                yield kind, window.pads
            shape = after

    assert all(a == b for kind, sides in pads(NETS["A"]) for a, b in sides)
    assert all(sides == ((0, 0), (0, 0)) for kind, sides in pads(NETS["A"]) if kind == "max_pool")
    assert all(a != b for kind, sides in pads(NETS["B"]) for a, b in sides if kind == "conv2d")
    assert any(a != b for kind, sides in pads(NETS["B"]) for a, b in sides if kind == "max_pool")


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match="unknown kind of layer 'dropout'"):
        training.forward((("dropout", {}),), np.zeros((1, 2, 2, 1)), [])
    with pytest.raises(ValueError, match="3 arrays, expected 21"):
        Pass.of(NETS["B"], [np.zeros(1)] * 3)


def test_the_start_is_the_same_everywhere():
    one, two = training.initial(NETS["A"], 7), training.initial(NETS["A"], 7)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], training.initial(NETS["A"], 8)[0])
    assert float(one[4].std()) == pytest.approx(np.sqrt(2 / 3136), rel=0.01)
