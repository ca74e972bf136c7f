"""The training step against independent computations: optax, one device against eight, parts against the whole."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax import metrics, randomness
from cnn_jax.errors import RequestError
from cnn_jax.losses import cross_entropy, l2
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training import augment, epoch, fit
from cnn_jax.training.config import Config
from cnn_jax.training.devices import replicate
from cnn_jax.training.state import Examples, Program, hparams_of, initial_state
from cnn_jax.training.step import Steps, batches, epoch_order, pixels, train_steps

NETWORK = Network((8, 8, 1), parse("conv3-4:same relu max2 dense-10"))


def some_examples(n=64, dtype=jnp.float32, shape=(8, 8, 1)):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, *shape), np.uint8)
    labels = random.integers(0, 10, n).astype(np.int32)
    channels = shape[-1]
    return Examples(
        jnp.asarray(images), jnp.asarray(labels), jnp.full(channels, 0.5, dtype), jnp.full(channels, 0.3, dtype)
    )


def run_steps(config, network, steps, *, devices=1, n=64, dtype="float32"):
    """The losses of the first steps, and the last state."""
    program = dataclasses.replace(Program.of(config, network, devices), dtype=dtype)
    examples = replicate(some_examples(n, jnp.dtype(dtype)), devices)
    state = initial_state(config, program)
    if dtype == "float64":
        state = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, state)
    state = replicate(state, devices)
    numbers = hparams_of(config), randomness.run_key(config.seed)
    losses, before = [], metrics.zero()
    for done in range(steps):
        epoch, i = divmod(done, -(-n // config.batch_size))
        every = batches(epoch_order(0, epoch, n), config.batch_size, devices * config.accumulate)
        rates = np.full(len(every.mask), config.learning_rate, np.float32)
        state = train_steps(program, state, Steps(examples, every, rates), i, i + 1, *numbers)
        totals = jax.device_get(state.totals)
        loss = totals.sums["loss"] - before.sums["loss"]
        losses.append(float(loss) / float(totals.examples - before.examples))
        before = totals
    return np.array(losses), jax.device_get(state)


def close(a, b, tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), a, b)


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (Config(momentum=0.9), optax.sgd(0.1, 0.9)),
        (Config(momentum=0.9, nesterov=True), optax.sgd(0.1, 0.9, nesterov=True)),
        (Config(momentum=0.0), optax.sgd(0.1)),
        (Config(optimizer="adam"), optax.adam(0.1)),
        (
            Config(optimizer="adamw", weight_decay=0.02),
            optax.adamw(
                0.1,
                weight_decay=0.02,
                mask=lambda params: {layer: {n: n == "kernel" for n in params[layer]} for layer in params},
            ),
        ),
        (Config(clip_norm=0.05), optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(0.1, 0.9))),
    ],
)
def test_a_step_is_optaxs_own(config, reference):
    """The same updates as an optimizer that owns its learning rate, with the gradient written out here."""
    config = dataclasses.replace(config, learning_rate=0.1, batch_size=16)
    examples = some_examples()
    params = initial_state(config, Program.of(config, NETWORK, 1)).params
    state = reference.init(params)
    for start in range(0, 64, 16):
        at = epoch_order(0, 0, 64)[start : start + 16]

        def loss(params, at=at):
            images = (examples.images[at] / 255.0 - 0.5) / 0.3
            return cross_entropy(NETWORK.apply({"params": params}, images), examples.labels[at]).mean()

        updates, state = reference.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    _, found = run_steps(config, NETWORK, 4)
    close(found.params, params, 2e-5)


def test_weight_decay_is_the_gradient_of_l2_on_kernels():
    """sgd with weight_decay w steps along the gradient of loss + w/2 · sum of kernel²."""
    config = Config(learning_rate=0.1, batch_size=64, momentum=0.0, weight_decay=0.3)
    start = initial_state(config, Program.of(config, NETWORK, 1)).params
    _, without = run_steps(dataclasses.replace(config, weight_decay=0.0), NETWORK, 1)
    _, found = run_steps(config, NETWORK, 1)
    for layer, values in found.params.items():
        decay = -0.1 * np.asarray(jax.grad(lambda params: 0.3 * l2(params))(start)[layer]["kernel"])
        np.testing.assert_allclose(values["kernel"] - without.params[layer]["kernel"], decay, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(values["bias"], without.params[layer]["bias"])


def test_the_update_goes_against_the_gradient():
    """Where the guide has the sign wrong: a small step along -gradient lowers the loss of the same batch."""
    losses, _ = run_steps(Config(learning_rate=0.02, batch_size=64, momentum=0.0), NETWORK, 3)
    assert losses[0] > losses[1] > losses[2]


BN_NETWORK = Network((8, 8, 1), parse("conv3-4:same bn relu max2 res( conv3-4:same bn ) gap dense-10"))


def test_eight_devices_take_the_steps_of_one():
    """The first ten steps at a small learning rate, uneven batches and batch norm included, to 1e-5 in the loss."""
    config = Config(learning_rate=0.01, batch_size=24)
    one, _ = run_steps(config, BN_NETWORK, 10)
    eight, _ = run_steps(config, BN_NETWORK, 10, devices=8)
    np.testing.assert_allclose(eight, one, rtol=1e-5)


def test_eight_devices_take_the_steps_of_one_in_float64():
    """100 steps to 1e-10: what is left in float32 is rounding. A smooth network, so that no decision flips."""
    with jax.enable_x64(True):
        network = Network((8, 8, 1), parse("conv3-4:same bn tanh avg2 res( conv3-4:same bn ) gap dense-10"))
        config = Config(learning_rate=0.05, batch_size=24)
        one, state = run_steps(config, network, 100, dtype="float64")
        eight, states = run_steps(config, network, 100, devices=8, dtype="float64")
    np.testing.assert_allclose(eight, one, rtol=1e-10)
    close(states.params, state.params, 1e-9)
    close(states.batch_stats, state.batch_stats, 1e-9)


def test_accumulated_parts_are_the_whole_batch():
    for size in (32, 24):  # 24 leaves a last batch of 16: masked slots in the last parts
        whole, state = run_steps(Config(batch_size=size, learning_rate=0.05), NETWORK, 6)
        parts, states = run_steps(Config(batch_size=size, learning_rate=0.05, accumulate=4), NETWORK, 6)
        np.testing.assert_allclose(parts, whole, rtol=1e-5)
        close(states.params, state.params, 1e-5)


def test_every_example_stands_in_one_slot():
    made = batches(np.arange(50, 103), 16, 3)
    assert made.positions.shape == made.mask.shape == made.partners.shape == (4, 18)
    np.testing.assert_array_equal(made.positions[made.mask > 0], np.arange(50, 103))
    assert made.mask.sum() == 53


def test_the_order_is_a_function_of_seed_and_epoch():
    np.testing.assert_array_equal(epoch_order(3, 7, 100), epoch_order(3, 7, 100))
    assert sorted(epoch_order(3, 7, 100)) == list(range(100))
    orders = {tuple(epoch_order(seed, epoch, 100)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert epoch_order(0, 0, 10).tolist() == [5, 4, 8, 0, 6, 9, 3, 2, 7, 1]  # pinned: results depend on it


def test_evaluation_scores_every_example_once():
    """On a split that no batch size divides, by a program of one and of eight devices."""
    examples = some_examples(61)
    for devices in (1, 8):
        program = Program.of(Config(), NETWORK, devices)
        state = replicate(initial_state(Config(), program), devices)
        scored = fit.evaluate(program, state, replicate(examples, devices), batch_size=16)
        logits = NETWORK.apply({"params": state.params}, (pixels(examples, np.arange(61)) - 0.5) / 0.3)
        assert int(scored.examples) == 61
        assert int(scored.correct) == int((logits.argmax(-1) == examples.labels).sum())
        assert scored.loss == pytest.approx(float(cross_entropy(logits, examples.labels).mean()), rel=1e-5)


def test_numbers_do_not_recompile_and_shapes_do():
    config = Config(batch_size=12)  # of no other test
    program = Program.of(config, NETWORK, 1)
    before = train_steps._cache_size()
    for change in (
        {},
        {"learning_rate": 1.0},
        {"momentum": 0.5, "weight_decay": 0.1},
        {"seed": 5},
        {"init_scale": 2.0},
    ):
        changed = dataclasses.replace(config, **change)
        assert Program.of(changed, NETWORK, 1) == program
        run_steps(changed, NETWORK, 1)
    assert train_steps._cache_size() - before == 1
    other = dataclasses.replace(config, optimizer="adam")
    run_steps(other, NETWORK, 1)
    assert train_steps._cache_size() - before == 2


def test_ema_is_the_average_of_the_weights():
    config = Config(batch_size=16, ema=0.5, learning_rate=0.1)
    average = initial_state(config, Program.of(config, NETWORK, 1)).params
    for steps in range(1, 5):
        _, state = run_steps(config, NETWORK, steps)
        decay = min(0.5, steps / (9 + steps))
        average = jax.tree.map(lambda e, p, d=decay: d * e + (1 - d) * p, average, state.params)
    close(state.ema, average, 1e-5)


def test_the_average_is_what_is_evaluated():
    """And the current weights where there is none: two numbers that differ."""
    examples = some_examples(61)
    scores = {}
    for ema in (0.0, 0.9):
        config = Config(batch_size=16, ema=ema, learning_rate=0.2)
        program = Program.of(config, NETWORK, 1)
        _, state = run_steps(config, NETWORK, 6)
        scored = fit.evaluate(program, state, examples, batch_size=16)
        images = (pixels(examples, np.arange(61)) - 0.5) / 0.3
        logits = NETWORK.apply({"params": state.ema if ema else state.params}, images)
        assert scored.loss == pytest.approx(float(cross_entropy(logits, examples.labels).mean()), rel=1e-5)
        scores[ema] = scored.loss
    assert abs(scores[0.0] - scores[0.9]) > 0.1 / 61


def test_bfloat16_computes_in_bfloat16_with_float32_parameters():
    full, _ = run_steps(Config(batch_size=16), NETWORK, 8)
    half, state = run_steps(Config(batch_size=16), NETWORK, 8, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
    assert (half != full).any()
    np.testing.assert_allclose(half, full, rtol=0.05)


def test_divergence_is_seen_at_its_step():
    config = Config(batch_size=16, learning_rate=1e30)
    _, state = run_steps(config, NETWORK, 6)
    assert 1 <= int(state.diverged_step) <= 3
    _, state = run_steps(Config(batch_size=16), NETWORK, 6)
    assert int(state.diverged_step) == -1


def test_augmentations_do_what_they_say():
    images = jax.random.uniform(jax.random.key(0), (200, 6, 6, 2))
    keys = jax.random.split(jax.random.key(1), 200)
    flipped = np.asarray(augment.augment(augment.parse("flip"), keys, images, keys, 0))
    same = (flipped == images).all((1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert (same | mirrored).all()
    assert 70 < same.sum() < 130
    cropped = np.asarray(augment.augment(augment.parse("crop2"), keys, images, keys, 0))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    offsets = set()
    for i in range(200):
        fits = [(y, x) for y in range(5) for x in range(5) if (padded[i, y : y + 6, x : x + 6] == cropped[i]).all()]
        assert fits
        offsets.add(fits[0])
    assert len(offsets) == 25
    cut = np.asarray(augment.augment(augment.parse("cutout3"), keys, images, keys, 0))
    hidden = (cut != images).any(-1)
    assert hidden.sum((1, 2)).max() == 9
    assert (hidden.sum((1, 2)) >= 4).all()
    mean = np.asarray(images.mean((1, 2), keepdims=True))
    np.testing.assert_array_equal(cut, np.where(hidden[..., None], mean, images))


@pytest.mark.slow
def test_an_augmentation_does_not_depend_on_the_number_of_devices():
    config = Config(learning_rate=0.01, batch_size=20, augment="flip crop1 mixup0.4")  # padded on 8 devices
    one, _ = run_steps(config, NETWORK, 5)
    eight, _ = run_steps(config, NETWORK, 5, devices=8)
    np.testing.assert_allclose(eight, one, rtol=1e-5)


def test_mixup_trains_on_a_mix():
    """A linear network on the guide's loss: the update is that of mixed images and mixed losses, written out here."""
    network = Network((8, 8, 1), parse("dense-10"))
    config = Config(batch_size=16, learning_rate=0.1, momentum=0.0, augment="mixup0.7")
    program = Program.of(config, network, 1)
    examples, start = some_examples(), initial_state(config, program).params
    at = epoch_order(0, 0, 64)[:16]
    key = randomness.run_key(config.seed)
    weights = [jax.random.beta(randomness.mixing(key, 0, slot), 0.7, 0.7) for slot in range(16)]
    kept, other = jnp.stack(weights), np.roll(at, -1)

    def loss(params):
        mixed = kept[:, None, None, None] * pixels(examples, at)
        mixed = (mixed + (1 - kept[:, None, None, None]) * pixels(examples, other) - 0.5) / 0.3
        logits = network.apply({"params": params}, mixed)
        first, second = (cross_entropy(logits, examples.labels[index]) for index in (at, other))
        return (kept * first + (1 - kept) * second).mean()

    _, state = run_steps(config, network, 1)
    close(state.params, jax.tree.map(lambda p, g: p - 0.1 * g, start, jax.grad(loss)(start)), 1e-5)


@pytest.mark.slow
def test_parts_of_padding_alone_leave_batch_norm_alone():
    """A last batch of 16 in 8 parts of 6 slots: most parts hold no example."""
    losses, state = run_steps(Config(batch_size=48, learning_rate=0.01, accumulate=8), BN_NETWORK, 4)
    assert np.isfinite(losses).all()
    assert int(state.diverged_step) == -1
    assert (state.batch_stats["bn1"]["variance"] > 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crop8", "crop8 can leave nothing of a 8x8 image: at most crop7"),
        ("cutout9", "cutout9 is larger than a 8x8 image: at most cutout8"),
    ],
)
def test_an_augmentation_that_does_not_fit_the_images_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        Program.of(Config(augment=text), NETWORK, 1)
    Program.of(Config(augment="crop7 cutout8"), NETWORK, 1)


DENSE_NORM = Network((8, 8, 1), parse("conv3-4:same bn relu max2 dense-6 bn relu dense-10"))


@pytest.mark.parametrize(
    ("fields", "devices", "examples"),
    [({"batch_size": 1}, 1, 64), ({"batch_size": 8, "accumulate": 8}, 1, 64), ({"batch_size": 4}, 1, 1)],
)
def test_a_batch_norm_of_one_value_is_refused(fields, devices, examples):
    config = Config(**fields)
    program = Program.of(config, DENSE_NORM, devices)
    with pytest.raises(RequestError, match=r"bn2 normalises one value per example, and a batch of .* nothing"):
        epoch.check_batch_norm(config, program, examples)
    assert epoch.check_batch_norm(config, Program.of(config, BN_NETWORK, devices), examples) == []


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "devices", "examples", "alone"),
    [(16, 1, 1, 65, True), (16, 1, 1, 64, False), (16, 1, 1, 66, False), (16, 4, 1, 69, True), (16, 4, 1, 70, False),
     (16, 1, 8, 65, True), (16, 1, 8, 66, False)],
)  # fmt: skip
def test_a_last_batch_of_one_value_is_said(batch_size, accumulate, devices, examples, alone):
    config = Config(batch_size=batch_size, accumulate=accumulate)
    notes = epoch.check_batch_norm(config, Program.of(config, DENSE_NORM, devices), examples)
    assert len(notes) == alone
    assert all(f"the last of {examples} examples, leaves it one value" in note for note in notes)


def test_a_batch_norm_of_one_value_teaches_nothing_before_it():
    """What the refusal says, measured: the kernels before it stay as they are, the bias behind it moves."""
    config = Config(batch_size=1, momentum=0.0, learning_rate=0.1)
    network = Network((8, 8, 1), parse("conv3-4:same bn relu max2 dense-6 bn dense-10"))
    start = initial_state(config, Program.of(config, network, 1)).params
    _, state = run_steps(config, network, 3, n=3)
    np.testing.assert_array_equal(state.params["dense1"]["kernel"], start["dense1"]["kernel"])
    assert (state.params["bn2"]["bias"] != start["bn2"]["bias"]).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [("rotate", "augmentation 'rotate' is unknown"), ("crop0", "pad must be a whole number above 0")],
)
def test_an_unknown_augmentation_is_refused(text, message):
    with pytest.raises(RequestError, match=message):
        augment.parse(text)


def test_fit_yields_the_same_events_from_a_saved_state():
    """Stopping after any event and going on from a copy of its state changes nothing that comes later."""
    config = Config(batch_size=16, epochs=3, learning_rate=0.05)
    program = Program.of(config, NETWORK, 1)
    examples = some_examples()
    whole = [
        (event.evaluation, jax.device_get(event.state) if event.step == 6 else None)
        for (event,) in fit.fit([config], program, examples, examples, initial_state(config, program), {6})
    ]
    middle = next(state for _, state in whole if state is not None)
    events = fit.fit([config], program, examples, examples, replicate(middle, 1))
    rest = [event.evaluation for (event,) in events if event.evaluation]
    assert rest == [evaluation for evaluation, _ in whole if evaluation][1:]
