"""Probes, concept vectors, dissection, similarity and influence: against loops, formulas in another form, and where the
truth is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from initial import variables_of

from cnn_jax.insight import concepts, influence, similarity
from cnn_jax.insight.functions import WithActivations
from cnn_jax.losses import cross_entropy
from cnn_jax.network import Network
from cnn_jax.notation import parse

KEY = jax.random.key(7)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 60)])
def test_a_probe_is_ridge_regression_on_the_examples_left_out(n, d):
    """Least squares on rows extended by the penalty, for more examples than features and for fewer."""
    random = np.random.default_rng(n)
    features, labels = random.normal(size=(n, d)), random.integers(0, 3, n)
    features = (features - features.mean(0)) / features.std(0)
    right = []
    for fold in (0, 1):
        asked = np.arange(n) % 2 == fold
        x, mean = features[~asked], features[~asked].mean(0)
        y = np.eye(3)[labels[~asked]]
        strength = concepts.PENALTY * np.square(x - mean).sum() / min(x.shape)
        rows = np.concatenate([x - mean, np.sqrt(strength) * np.eye(d)])
        weights = np.linalg.lstsq(rows, np.concatenate([y - y.mean(0), np.zeros((d, 3))]), rcond=None)[0]
        named = ((features[asked] - mean) @ weights + y.mean(0)).argmax(1)
        right += zip(np.flatnonzero(asked), named == labels[asked], strict=True)
    assert concepts.probe(features, labels).tolist() == [hit for _, hit in sorted(right)]


def test_a_probe_finds_what_is_linear_and_nothing_in_noise():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    features = random.normal(size=(200, 2, 5)) + 4 * labels[:, None, None]
    assert concepts.probe(features, labels).mean() == 1.0
    assert 0.3 < concepts.probe(random.normal(size=(200, 10)), random.integers(0, 2, 200)).mean() < 0.7


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20), n=st.integers(2, 30))
def test_average_precision_by_a_loop(seed, n):
    random = np.random.default_rng(seed)
    scores, positive = random.permutation(n).astype(float), random.random(n) < 0.5
    positive[0] = True
    ranked = sorted(range(n), key=lambda i: -scores[i])
    at = [np.mean([positive[j] for j in ranked[: k + 1]]) for k, i in enumerate(ranked) if positive[i]]
    assert concepts.average_precision(scores[:, None], positive)[0] == pytest.approx(np.mean(at))


def test_a_concept_that_the_output_rests_on_is_found_and_one_of_noise_is_not():
    """The first output is the brightness of a corner, the second minus that."""

    def inner(params, images, shifts):
        hidden = jnp.tanh(images.reshape(len(images), -1)) + shifts.get("hidden", 0)
        corner = hidden.reshape(len(images), 6, 6)[:, :2, :2].mean((1, 2))
        return {"hidden": hidden, "outputs": jnp.stack([corner, -corner], 1)}

    random = np.random.default_rng(0)
    draw = lambda n: jnp.asarray(random.normal(size=(n, 6, 6, 1)), jnp.float32)  # noqa: E731
    others, function, images = [draw(60) for _ in range(12)], WithActivations(inner), draw(20)
    concept = draw(60).at[:, :2, :2].add(1.5)
    of = lambda concept, target: concepts.concept_test(  # noqa: E731
        function, None, images, jnp.full(20, target), "hidden", concept, others
    )
    for target, score in ((0, 1.0), (1, 0.0)):
        found = of(concept, target)
        assert found.score == score
        assert found.p < 0.05
        assert found.accuracy > 0.8
    nothing = of(draw(60), 0)
    assert nothing.p > 0.05
    assert 0.3 < nothing.accuracy < 0.7


def test_dissection_finds_the_unit_that_is_a_mask():
    made = concepts.made_concepts(16, 16, 3, KEY, count=4)
    names = list(made.masks)
    assert made.images.shape == (4 * len(names), 16, 16, 3)
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    for number in range(len(made.images)):
        assert [name for name in names if made.masks[name][number].any()] == [names[number % len(names)]]
    noise = np.random.default_rng(0).random(made.masks["disc"].shape)
    maps = np.stack([made.masks["red"] + 0.1 * noise, noise], -1)
    share = made.masks["red"].mean()
    found = concepts.dissect(jnp.asarray(maps), made.masks, share)
    assert found["red"][0] > 0.99
    assert max(found, key=lambda name: found[name][0]) == "red"
    active = noise > np.quantile(noise, 1 - share)
    disc = made.masks["disc"]
    assert found["disc"][1] == pytest.approx((active & disc).sum() / (active | disc).sum(), abs=1e-3)
    red = made.images[made.masks["red"]]
    np.testing.assert_allclose(red, np.broadcast_to([1.0, 0.0, 0.0], red.shape))
    grey = concepts.made_concepts(12, 10, 1, KEY, count=1)
    assert "red" not in grey.masks
    assert np.ptp(grey.images[grey.masks["white"]]) == 0


def by_traces(a, b):
    """The unbiased estimate of the independence criterion (song2012feature, equation 5)."""
    n = len(a)
    k, m = (x @ x.T * (1 - np.eye(n)) for x in (a, b))
    one = np.ones(n)
    parts = np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    return parts / (n * (n - 3))


def test_alignment_is_that_of_the_traces_and_does_not_see_rotations():
    random = np.random.default_rng(2)
    a, noise = random.normal(size=(30, 5)), random.normal(size=(30, 8))
    b = np.concatenate([a[:, :3], noise], axis=1)
    expected = by_traces(a, b) / np.sqrt(by_traces(a, a) * by_traces(b, b))
    assert similarity.cka(a, b) == pytest.approx(expected)
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    assert similarity.cka(a, 3 * a @ rotation + 1) == pytest.approx(1)
    many = [similarity.cka(random.normal(size=(20, 50)), random.normal(size=(20, 50))) for _ in range(40)]
    assert abs(np.mean(many)) < 3 * np.std(many) / np.sqrt(40)
    assert np.isnan(similarity.cka(np.ones((5, 2)), a[:5]))
    table = similarity.between_layers({"x": a, "y": noise}, {"x": a})
    np.testing.assert_allclose(table, [[1], [similarity.cka(noise, a)]])
    with pytest.raises(ValueError, match="fewer than the 4"):
        similarity.cka(a[:3], a[:3])


def test_influence_is_the_product_of_gradients():
    network = Network((6, 6, 1), parse("conv3-3 relu gap dense-3"))
    checkpoints = [(rate, variables_of(network, i)) for i, rate in enumerate((0.1, 0.05))]
    random = np.random.default_rng(0)
    images, labels = jnp.asarray(random.normal(size=(7, 6, 6, 1)), jnp.float32), jnp.asarray(random.integers(0, 3, 7))
    found = influence.tracin(network, checkpoints, images, labels, images[:2], labels[:2], cross_entropy)

    def flat_gradient(variables, i):
        gradient = jax.grad(lambda v: cross_entropy(network(v, images[i : i + 1]), labels[i : i + 1]).sum())(variables)
        return np.concatenate([np.ravel(g) for g in jax.tree.leaves(gradient)])

    expected = sum(
        rate * np.array([[flat_gradient(v, i) @ flat_gradient(v, j) for j in range(7)] for i in range(2)])
        for rate, v in checkpoints
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert (found.argmax(1) == [0, 1]).mean() >= 0.5  # an image teaches itself most


def test_nearest_neighbours_by_angle():
    random = np.random.default_rng(1)
    known = random.normal(size=(20, 2, 3))
    order, cosines = influence.nearest(known, 5 * known[:4], 3)
    assert order[:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(cosines[:, 0], 1)
    flat = known.reshape(20, -1)
    angles = [np.arccos(flat[0] @ x / np.linalg.norm(flat[0]) / np.linalg.norm(x) * (1 - 1e-12)) for x in flat]
    assert order[0].tolist() == np.argsort(angles)[:3].tolist()


def test_welchs_test_is_scipys():
    from scipy import stats

    a, b = [0.1, 0.4, 0.35, 0.8], [0.5, 0.9, 0.7]
    assert concepts._welch(a, b) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert (concepts._welch([1.0, 1.0], [0.5, 0.5]), concepts._welch([1.0, 1.0], [1.0, 1.0])) == (0.0, 1.0)
