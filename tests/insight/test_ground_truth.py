"""A benchmark of explanations where the cause is known: the class of an image is a small pattern at a random place, and
another pattern, which says nothing, lies elsewhere. A network that solves it must have looked at the first."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax.insight import attribution, judging, ranking
from cnn_jax.losses import cross_entropy
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.statistics import paired_t

SIDE, PATTERN = 14, 4
TELLING = ("gradient x input", "integrated gradients", "occlusion", "DeepLIFT", "relevance propagation")
BAR = np.zeros((PATTERN, PATTERN))
BAR[1:3] = 2.0
CROSS = np.maximum(np.eye(PATTERN), np.eye(PATTERN)[::-1]) * 2.0


def pictures(n, seed):
    """Images (n, 14, 14, 1), labels, and masks (n, 14, 14) of the pattern that decides and of the one that does not."""
    random = np.random.default_rng(seed)
    images = random.normal(0, 0.3, (n, SIDE, SIDE, 1)).astype(np.float32)
    labels = random.integers(0, 2, n)
    masks = np.zeros((2, n, SIDE, SIDE), bool)
    for i in range(n):
        columns = random.permutation([0, SIDE // 2]) + random.integers(0, SIDE // 2 - PATTERN + 1, 2)
        rows = random.integers(0, SIDE - PATTERN + 1, 2)
        for which, pattern in enumerate((BAR if labels[i] else BAR.T, CROSS)):
            place = np.s_[rows[which] : rows[which] + PATTERN, columns[which] : columns[which] + PATTERN]
            images[i, ..., 0][place] += pattern
            masks[which, i][place] = True
    return jnp.asarray(images), labels, masks


@pytest.fixture(scope="module")
def solved():
    network = Network((SIDE, SIDE, 1), parse("conv5-8:same relu max2 conv3-16:same relu gap dense-2"))
    images, labels, _ = pictures(2000, 0)
    variables = network.init(jax.random.key(0))
    adam = optax.adam(5e-3)

    @jax.jit
    def step(variables, state, at):
        def loss(params):
            return cross_entropy(network({**variables, "params": params}, images[at]), jnp.asarray(labels)[at]).mean()

        updates, state = adam.update(jax.grad(loss)(variables["params"]), state)
        return {**variables, "params": optax.apply_updates(variables["params"], updates)}, state

    state = adam.init(variables["params"])
    for i in range(300):
        variables, state = step(variables, state, jax.random.randint(jax.random.key(i), (64,), 0, 2000))
    held, classes, _ = pictures(500, 1)
    assert (np.asarray(network(variables, held).argmax(1)) == classes).mean() > 0.98
    return network, variables


def test_telling_methods_find_the_cause_and_not_the_distractor(solved):
    """Each puts more positive relevance on the cause than on the distractor, and points at the cause in most images."""
    network, variables = solved
    images, labels, (cause, distractor) = pictures(64, 2)
    methods, refused = ranking.candidates(network, variables, images[:1], jax.random.key(0))
    assert refused == []
    pointed = {}
    for name in TELLING:
        maps = judging.relevances(methods[name], network, variables, images, jnp.asarray(labels))
        on = [judging.relevance_mass(maps, mask) for mask in (cause, distractor)]
        assert paired_t(on[0].tolist(), on[1].tolist()).low > 0, name
        pointed[name] = judging.pointing_game(maps, cause).mean()
        assert pointed[name] > 0.6, (name, pointed)
    chance = cause.mean()
    assert chance < 0.1


def test_what_does_not_know_the_network_does_not_find_the_cause(solved):
    """Brightness alone, and the gradient of random weights, are no better for the cause than for the distractor."""
    network, _ = solved
    images, labels, (cause, distractor) = pictures(64, 2)
    random = network.init(jax.random.key(9))
    for maps in (
        np.abs(np.asarray(images, float)).sum(-1),
        judging.relevances(attribution.gradient_times_input, network, random, images, jnp.asarray(labels)),
    ):
        on = [judging.relevance_mass(maps, mask) for mask in (cause, distractor)]
        assert paired_t(on[0].tolist(), on[1].tolist()).low <= 0
        assert judging.pointing_game(maps, cause).mean() < 0.6
