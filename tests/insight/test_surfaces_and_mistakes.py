"""Loss surfaces, mistakes, and the checks that explanations have to pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from initial import variables_of
from scipy import ndimage, stats

from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, checks, landscape, mistakes
from cnn_jax.losses import LOSSES
from cnn_jax.network import Network
from cnn_jax.notation import parse

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def small():
    network = Network((6, 6, 1), parse("conv3-4 bn relu max2 dense-3"))
    variables = variables_of(network)
    images = jax.random.normal(KEY, (12, 6, 6, 1))
    return network, variables, images, jnp.arange(12) % 3


def loss_of(network, variables, images, labels, name="cross_entropy"):
    logits = np.asarray(network.apply(variables, images), float)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if name == "squared_error":
        return float(0.5 * np.square(np.eye(3)[labels] - probabilities).sum(1).mean())
    return float(-np.log(probabilities[np.arange(12), labels]).mean())


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_along_the_gradient_is_that_of_the_step(small, name):
    network, variables, images, labels = small
    rates = jnp.array([0.0, 0.05, 1.0])
    found = landscape.along_gradient(network, LOSSES[name], variables, images, labels, rates)
    slope = jax.grad(lambda p: landscape.mean_loss(network, LOSSES[name], {**variables, "params": p}, images, labels))(
        variables["params"]
    )
    for rate, loss in zip(rates, found, strict=True):
        moved = jax.tree.map(lambda w, g, rate=rate: w - rate * g, variables["params"], slope)
        expected = loss_of(network, {**variables, "params": moved}, images, labels, name)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert found[1] < found[0]


def test_a_plane_passes_through_the_weights_and_its_directions_are_normalised(small):
    network, variables, images, labels = small
    first, second = (landscape.random_direction(variables, jax.random.key(i)) for i in (0, 1))
    for name in ("conv1", "dense1"):
        for direction in (first, second):
            axes = tuple(range(variables["params"][name]["kernel"].ndim - 1))
            lengths = [
                np.sqrt(np.square(np.asarray(tree[name]["kernel"])).sum(axes))
                for tree in (direction, variables["params"])
            ]
            np.testing.assert_allclose(*lengths, rtol=1e-4)
            assert (direction[name].get("bias", jnp.zeros(1)) == 0).all()
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(first["bn1"]))
    xs, ys = jnp.array([-1.0, 0.0]), jnp.array([0.0, 0.5, 1.0])
    found = landscape.on_plane(network, LOSSES["cross_entropy"], variables, first, second, images, labels, xs, ys)
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found[0, 1], loss_of(network, variables, images, labels), rtol=1e-5)
    moved = jax.tree.map(lambda w, a, b: w - a + 0.5 * b, variables["params"], first, second)
    expected = loss_of(network, {**variables, "params": moved}, images, labels)
    np.testing.assert_allclose(found[1, 0], expected, rtol=1e-4)


def test_a_trajectory_on_a_plane_is_found_again(small):
    _, variables, _, _ = small
    params = variables["params"]
    directions = [landscape.random_direction(variables, jax.random.key(i)) for i in (0, 1)]
    places = np.array([[3.0, 1.0], [2.0, -1.0], [1.0, 0.5], [0.5, 0.0], [0.0, 0.0]])
    way = [jax.tree.map(lambda w, a, b, p=p: w + p[0] * a + p[1] * b, params, *directions) for p in places]
    found = landscape.trajectory(way)
    assert sum(found.shares) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found.places[-1], 0, atol=1e-5)
    for i, one in enumerate(way):  # weights at the coordinates that were found are the weights
        x, y = found.places[i]
        again = jax.tree.map(lambda w, a, b, x=x, y=y: w + x * a + y * b, params, found.first, found.second)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
    with pytest.raises(RequestError, match="2 checkpoints span no plane"):
        landscape.trajectory(way[:2])


def test_confusion_and_accuracy_by_class():
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.3, 0.3, 0.4], [0.1, 0.2, 0.7]])
    labels = np.array([0, 1, 1, 1, 0])
    counts = mistakes.confusion(probabilities, labels)
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    found = mistakes.accuracy_by_class(counts)
    assert [(right, n) for right, n, _ in found] == [(1, 2), (1, 3), (0, 0)]
    assert found[2][2] is None
    assert found[0][2].low < 0.5 < found[0][2].high
    assert mistakes.surest_mistakes(probabilities, labels).tolist() == [4, 2, 3]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20), n=st.integers(1, 200), classes=st.integers(2, 6), bins=st.integers(1, 20))
def test_the_calibration_error_is_a_loop_over_bins(seed, n, classes, bins):
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), n)
    labels = random.integers(0, classes, n)
    error, confidence = 0.0, probabilities.max(1)
    for i in range(bins):
        inside = (confidence > i / bins) & (confidence <= (i + 1) / bins)
        if inside.any():
            right = (probabilities.argmax(1) == labels)[inside].mean()
            error += inside.mean() * abs(right - confidence[inside].mean())
    found = mistakes.calibration(probabilities, labels, bins)
    assert found.error == pytest.approx(error, abs=1e-9)
    assert found.counts.sum() == n


def test_layers_are_drawn_anew_from_the_top_down(small):
    network, variables, _, _ = small
    fresh, layers = network.init(jax.random.key(1)), checks.layers_of(network)
    steps = list(checks.randomised(variables, fresh, layers))
    assert [name for name, _ in steps] == ["dense1", "bn1", "conv1"]
    first = steps[0][1]["params"]
    assert (first["dense1"]["kernel"] != variables["params"]["dense1"]["kernel"]).all()
    np.testing.assert_array_equal(first["conv1"]["kernel"], variables["params"]["conv1"]["kernel"])
    jax.tree.map(np.testing.assert_array_equal, steps[-1][1], fresh)
    for name, alone in checks.randomised(variables, fresh, layers, independent=True):
        for collection, of_layers in alone.items():
            for layer, arrays in of_layers.items():
                source = fresh if layer == name else variables
                jax.tree.map(np.testing.assert_array_equal, arrays, source[collection][layer])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_the_rank_correlation_is_spearmans(seed):
    random = np.random.default_rng(seed)
    a, b = random.integers(-3, 4, (2, 3, 5, 4)).astype(float)  # with ties
    found = checks.rank_correlation(a, b)
    for x, y, value in zip(a, b, found, strict=True):
        assert value == pytest.approx(stats.spearmanr(np.abs(x).ravel(), np.abs(y).ravel()).statistic, abs=1e-9)
    assert checks.rank_correlation(a, np.zeros_like(a)).tolist() == [0, 0, 0]


def test_the_blur_is_a_gaussian():
    images = np.asarray(jax.random.normal(KEY, (2, 9, 7, 3)))
    expected = ndimage.gaussian_filter(images, (0, 1.2, 1.2, 0), mode="nearest", radius=(0, 4, 4, 0))
    np.testing.assert_allclose(checks.blurred(jnp.asarray(images), 1.2), expected, atol=1e-5)


@pytest.mark.parametrize("insert", [False, True])
def test_deletion_and_insertion_by_a_loop(small, insert):
    """Insertion starts from the image under a Gaussian, SciPy's here; deletion ends in the mean image, which is 0."""
    network, variables, images, labels = small
    blurred = ndimage.gaussian_filter1d(np.asarray(images, float), checks.BLUR, 1, mode="nearest", truncate=3.2)
    blurred = ndimage.gaussian_filter1d(blurred, checks.BLUR, 2, mode="nearest", truncate=3.2)
    hidden = blurred if insert else np.zeros_like(images)
    order = checks.ranks(np.random.default_rng(0).normal(size=(12, 6, 6)))
    assert sorted(order[0].ravel().tolist()) == list(range(36))
    curve, counts = [], [round(36 * i / checks.STEPS) for i in range(checks.STEPS + 1)]
    for count in counts:
        passed = order[..., None] < count
        shown = np.where(passed, images, hidden) if insert else np.where(passed, hidden, images)
        logits = np.asarray(network.apply(variables, jnp.asarray(shown, jnp.float32)), float)
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        curve.append(chances[np.arange(12), labels])
    expected = np.trapezoid(curve, np.array(counts) / 36, axis=0)
    found = checks.area(network, variables, images, labels, jnp.asarray(order), insert)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_method_that_ignores_the_network_fails_and_one_that_knows_it_passes():
    """A linear network: gradient times input is exact, the same picture for every image is no explanation."""
    network = Network((6, 6, 1), parse("dense-3"))
    variables = {
        "params": {"dense1": {"kernel": jax.random.normal(KEY, (36, 3)), "bias": jnp.zeros(3)}},
        "batch_stats": {},
    }
    images = jax.random.normal(jax.random.key(1), (32, 6, 6, 1))
    classes = network.apply(variables, images).argmax(1)
    methods = {
        "gradient x input": attribution.gradient_times_input,
        "a picture": lambda network, variables, images, classes: jnp.broadcast_to(images[:1], images.shape),
    }
    good, bad = checks.examine(network, variables, images, classes, methods, jax.random.key(2))
    assert good.depends_on_weights
    assert good.faithful == (True, True)
    assert good.cascade[-1] == ("all", good.correlation)
    assert (good.draws, good.independent) == (1, ())
    assert "depends on the weights" in good.words()
    assert bad.correlation == pytest.approx(1)
    assert not bad.depends_on_weights
    assert "FAILS the randomisation check" in bad.words()
    assert "NOT better than a random order" in bad.words()
    (alone,) = checks.examine(
        network, variables, images[:1], classes[:1], {"gradient x input": attribution.gradient_times_input},
        jax.random.key(2),
    )  # fmt: skip
    assert (alone.n, alone.span, alone.faithful) == (1, (-1.0, 1.0), (False, False))
    assert "which one image cannot compare with a random order" in alone.words()


def test_checks_of_any_function_with_several_draws():
    """A plain function of a tree of arrays, whose weights are shuffled; its layers are found by the names in it."""
    random = np.random.default_rng(0)
    params = {"first": {"w": jnp.asarray(random.normal(size=(36, 8)), jnp.float32)},
              "last": [jnp.asarray(random.normal(size=(8, 3)), jnp.float32)]}  # fmt: skip

    def function(params, images):
        return jnp.tanh(images.reshape(len(images), -1) @ params["first"]["w"]) @ params["last"][0]

    images = jax.random.normal(jax.random.key(1), (16, 6, 6, 1))
    classes = function(params, images).argmax(1)
    method = {"gradient x input": attribution.gradient_times_input}
    (found,) = checks.examine(
        function, params, images, classes, method, KEY, layers=("first", "last"), draws=3, independent=True
    )
    assert [name for name, _ in found.cascade] == ["last", "all"]
    assert [name for name, _ in found.independent] == ["last", "first"]
    assert found.cascade[0] == found.independent[0]  # the first layer that is randomised is alone
    maps = [np.asarray(attribution.gradient_times_input(function, params, images, classes)).sum(-1)]
    for key in jax.random.split(jax.random.split(KEY)[0], 3):
        fresh = checks.shuffled(params, key)
        np.testing.assert_array_equal(np.sort(fresh["last"][0].ravel()), np.sort(params["last"][0].ravel()))
        maps.append(np.asarray(attribution.gradient_times_input(function, fresh, images, classes)).sum(-1))
    by_hand = np.mean(
        [stats.spearmanr(abs(maps[0][i]).ravel(), abs(m[i]).ravel())[0] for m in maps[1:] for i in range(16)]
    )
    assert found.correlation == pytest.approx(by_hand, abs=1e-6)


def test_data_randomisation_compares_with_a_network_that_has_memorised():
    network = Network((6, 6, 1), parse("dense-3"))
    one, other = (network.init(jax.random.key(seed)) for seed in (0, 1))
    images, classes = jax.random.normal(KEY, (4, 6, 6, 1)), jnp.zeros(4, jnp.int32)
    given = ("gradient", attribution.gradient, network, one)
    same = checks.data_randomisation(*given, one, images, classes)
    np.testing.assert_allclose(same, 1.0)
    different = checks.data_randomisation(*given, other, images, classes)
    weights = [abs(np.asarray(v["params"]["dense1"]["kernel"])[:, 0]) for v in (one, other)]
    np.testing.assert_allclose(different, stats.spearmanr(*weights).statistic, atol=1e-6)
