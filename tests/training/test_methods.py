"""Methods around the gradient: sharpness-aware minimisation, lookahead, averaged weights, recomputed blocks; and that
modern networks train."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax import randomness
from cnn_jax.losses import cross_entropy
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training.config import Config
from cnn_jax.training.optimizer import optimizer_of
from cnn_jax.training.state import Examples, Program, hparams_of, initial_state
from cnn_jax.training.step import Steps, batches, normalise, pixels, train_steps
from cnn_jax.zoo import modern

NETWORK = Network((8, 8, 1), parse("conv3-4:same relu max2 dense-10"))


def some_examples(n=32, shape=(8, 8, 1)):
    """Images that are brighter the higher their class, so that something can be learned."""
    random = np.random.RandomState(0)
    labels = random.randint(0, 10, n)
    images = random.randint(0, 40, (n, *shape)) + 20 * labels[:, None, None, None]
    moments = jnp.full(shape[-1], 0.5), jnp.full(shape[-1], 0.3)
    return Examples(jnp.asarray(images, jnp.uint8), jnp.asarray(labels, jnp.int32), *moments)


def trained(config, network, examples, steps):
    """The state after some steps over all examples at once."""
    program = Program.of(config, network, 1)
    n = len(examples.labels)
    every = batches(np.tile(np.arange(n), steps), n, 1)
    rates = np.full(steps, config.learning_rate, np.float32)
    state = initial_state(config, program)
    key = randomness.run_key(config.seed)
    return train_steps(program, state, Steps(examples, every, rates), 0, steps, hparams_of(config), key)


def mean_loss(network, params, examples):
    images = normalise(pixels(examples, jnp.arange(len(examples.labels))), examples.mean, examples.std, "float32")
    return cross_entropy(network.apply({"params": params, "batch_stats": {}}, images), examples.labels).mean()


def test_a_step_of_sam_takes_the_gradient_further_up():
    """w - rate · ∇L(w + radius · ∇L(w) / |∇L(w)|): Foret et al. 2021, equations 2 and 3."""
    config = Config(learning_rate=0.1, momentum=0.0, sam=0.3, batch_size=32)
    examples = some_examples()
    params = initial_state(config, Program.of(config, NETWORK, 1)).params
    gradient = jax.grad(lambda p: mean_loss(NETWORK, p, examples))
    first = gradient(params)
    above = jax.tree.map(lambda p, g: p + 0.3 * g / optax.tree.norm(first), params, first)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient(above))
    found = trained(config, NETWORK, examples, 1).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)
    plain = trained(dataclasses.replace(config, sam=0.0), NETWORK, examples, 1).params
    assert np.abs(plain["conv1"]["kernel"] - found["conv1"]["kernel"]).max() > 1e-3


def test_lookahead_goes_half_the_way_back_every_period():
    """By hand, for three periods of two steps: Zhang et al. 2019, algorithm 1."""
    config = Config(
        optimizer="lookahead", optimizer_args={"period": 2, "slow_rate": 0.5}, momentum=0.0, learning_rate=0.1
    )
    transformation = optimizer_of(config)[0](0.1, hparams_of(config))
    params = {"layer": {"kernel": jnp.array([[1.0, -2.0]])}}
    state, slow, fast = transformation.init(params), np.array([[1.0, -2.0]]), np.array([[1.0, -2.0]])
    for step in range(1, 7):
        gradient = np.cos(step + fast)
        updates, state = transformation.update({"layer": {"kernel": jnp.asarray(gradient, jnp.float32)}}, state, params)
        params = optax.apply_updates(params, updates)
        fast = fast - 0.1 * gradient
        if step % 2 == 0:
            slow = slow + 0.5 * (fast - slow)
            fast = slow
        np.testing.assert_allclose(params["layer"]["kernel"], fast, rtol=1e-5)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_schedule_free_weights_are_evaluated_at_their_average(name):
    """They are what optax's own function makes of the state, not the weights that the gradient is taken at."""
    config = Config(optimizer=f"optax.contrib.{name}", learning_rate=0.05, batch_size=32)
    examples = some_examples()
    state = trained(config, NETWORK, examples, 30)
    averaged = optax.contrib.schedule_free_eval_params(state.opt_state, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.ema, averaged)
    assert np.abs(state.ema["conv1"]["kernel"] - state.params["conv1"]["kernel"]).max() > 1e-4
    untrained = initial_state(config, Program.of(config, NETWORK, 1)).params
    assert mean_loss(NETWORK, state.ema, examples) < 0.8 * mean_loss(NETWORK, untrained, examples)


def test_recomputed_blocks_change_what_is_kept_and_nothing_else():
    """Gradients, batch statistics and dropout masks are the same; the forward pass keeps less for the backward pass."""
    block = "res( conv3-8:same:nobias bn relu drop0.2 conv3-8:same:nobias bn droppath0.2 ) relu"
    network = Network((8, 8, 3), parse(f"conv3-8:same {' '.join([block] * 6)} gap dense-10"))
    variables = network.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (16, 8, 8, 3))

    def loss(params, remat):
        given = {**variables, "params": params}
        logits, stats = network.apply_train(given, images, key=jax.random.key(2), remat=remat)
        return jnp.square(logits).sum(), stats

    results, kept = [], []
    for remat in (False, True):
        results.append(jax.jit(jax.grad(lambda p, r=remat: loss(p, r), has_aux=True))(variables["params"]))
        pullback = jax.eval_shape(
            lambda p, r=remat: jax.vjp(lambda p: loss(p, r), p, has_aux=True)[1], variables["params"]
        )
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(pullback)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *results)
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ConvNeXt-T", "MobileNet-v2", "EfficientNet-B0"])
def test_modern_networks_learn_on_small_images(name, monkeypatch):
    """With few blocks and 8 first filters, on 16x16 images, for 100 steps: finite, with a mean loss below 0.7 of
    chance."""
    from cnn_jax.variants import with_filters

    monkeypatch.setitem(modern.CONVNEXT, "tiny", ((1, 1, 2, 1), 96))
    for table in ("MOBILENET_V2", "EFFICIENTNET_B0"):
        monkeypatch.setattr(modern, table, getattr(modern, table)[:3])
    layers = {
        "ConvNeXt-T": lambda: modern.convnext("tiny", 10, patch=1),
        "MobileNet-v2": lambda: modern.mobilenet_v2(10, stem_stride=1),
        "EfficientNet-B0": lambda: modern.efficientnet_b0(10, stem_stride=1),
    }[name]()
    network = Network((16, 16, 3), with_filters(layers, 8))
    config = Config(optimizer="adamw", learning_rate=2e-3, batch_size=32)
    state = trained(config, network, some_examples(32, (16, 16, 3)), 100)
    assert int(state.diverged_step) == -1, name
    losses = float(state.totals.sums["loss"]) / float(state.totals.examples)
    assert losses < 0.7 * np.log(10), name
