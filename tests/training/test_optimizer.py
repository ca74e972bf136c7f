"""Optimizers against the papers' equations in NumPy, schedules against theirs, and what is said of a schedule."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_jax.errors import RequestError
from cnn_jax.references import references
from cnn_jax.training.config import Config
from cnn_jax.training.optimizer import optax_optimizers, optimizer_of
from cnn_jax.training.rules import OPTIMIZERS
from cnn_jax.training.schedule import SCHEDULES, check_schedule, learning_rates
from cnn_jax.training.state import hparams_of

STEPS, RATE = 6, 0.1
VARIANTS = list(itertools.product(("sgd", "signsgd", "adam", "adamw"), (False, True), (0.0, 0.4), (None, 0.7)))
START = {"kernel": np.linspace(-2, 2, 40).reshape(8, 5), "bias": np.linspace(-1, 1, 5)}


def gradient(params, step, cos=np.cos):
    """Of both signs, with every other step large enough to be clipped."""
    size = 5.0 if step % 2 else 0.3
    return {name: size * cos(2 * step + 3 * value) for name, value in params.items()}


def by_the_papers(name, nesterov, momentum, decay, clip_norm):
    """The parameters after STEPS steps, in float64.

    Sutskever et al. 2013, equations 1 and 2; Kingma & Ba 2015, algorithm 1; Dozat 2016, algorithm 8, with a constant
    momentum; Loshchilov & Hutter 2019, algorithm 2; Bernstein et al. 2018, algorithm 2.
    """
    params = {key: value.copy() for key, value in START.items()}
    v = {key: np.zeros_like(value) for key, value in params.items()}
    m, second = ({key: np.zeros_like(value) for key, value in params.items()} for _ in range(2))
    for t in range(1, STEPS + 1):
        g = gradient(params, t)
        if clip_norm is not None:
            length = np.sqrt(sum((value**2).sum() for value in g.values()))
            g = {key: value * min(1.0, clip_norm / length) for key, value in g.items()}
        if name != "adamw":
            g["kernel"] = g["kernel"] + decay * params["kernel"]
        for key, value in g.items():
            if name in ("sgd", "signsgd"):
                v[key] = momentum * v[key] + value
                update = value + momentum * v[key] if nesterov else v[key]
                update = np.sign(update) if name == "signsgd" else update
            else:
                m[key] = momentum * m[key] + (1 - momentum) * value
                second[key] = 0.999 * second[key] + 0.001 * value**2
                first = m[key] / (1 - momentum**t)
                if nesterov:
                    first = momentum * m[key] / (1 - momentum ** (t + 1)) + (1 - momentum) * value / (1 - momentum**t)
                update = first / (np.sqrt(second[key] / (1 - 0.999**t)) + 1e-8)
                if name == "adamw" and key == "kernel":
                    update = update + decay * params[key]
            params[key] = params[key] - RATE * update
    return params


@pytest.mark.parametrize(("name", "nesterov", "decay", "clip_norm"), VARIANTS)
def test_every_optimizer_is_the_papers_equations(name, nesterov, decay, clip_norm):
    config = Config(
        optimizer=name, nesterov=nesterov, momentum=0.8, weight_decay=decay, clip_norm=clip_norm, learning_rate=RATE
    )
    params = {key: jnp.asarray(value, jnp.float32) for key, value in START.items()}
    transformation = optimizer_of(config)[0](RATE, hparams_of(config))
    state = transformation.init(params)
    for step in range(1, STEPS + 1):
        g = {key: jnp.asarray(value, jnp.float32) for key, value in gradient(params, step).items()}
        updates, state = transformation.update(g, state, params)
        params = optax.apply_updates(params, updates)
    expected = by_the_papers(name, nesterov, 0.8, decay, clip_norm)
    for key, value in params.items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-5)


def test_the_equations_tell_the_options_apart():
    """No two of the variants above are the same on this problem, so that the test above can fail."""
    ends = {v: by_the_papers(v[0], v[1], 0.8, *v[2:])["kernel"] for v in VARIANTS if v[0] != "adamw" or v[2] > 0}
    for (one, a), (other, b) in itertools.combinations(ends.items(), 2):
        assert np.abs(a - b).max() > 1e-3, (one, other)


def step_factor(epochs, factor, per_epoch):
    """By counting, one step after the other, as a person would."""

    def at(t):
        return factor ** sum(t >= round(epoch * per_epoch) for epoch in epochs)

    return at


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, lambda t: 1.0),
        ({"schedule": "cosine"}, lambda t: 0.5 * (1 + np.cos(np.pi * t / 40))),
        ({"schedule": "step", "decay_epochs": (2.0, 3.0)}, lambda t: 0.1 ** ((t >= 20) + (t >= 30.0))),
        ({"schedule": "step", "decay_epochs": (2.0, 2.04)}, lambda t: 0.01 if t >= 20 else 1.0),
        ({"schedule": "step", "decay_epochs": (2.0, 2.0), "decay_factor": 0.5}, lambda t: 0.25 if t >= 20 else 1.0),
        ({"warmup_epochs": 1.0}, lambda t: min(1.0, (t + 1) / 10)),
        (
            {"warmup_epochs": 1.0, "schedule": "step", "decay_epochs": (2.0, 3.0)},
            lambda t: (t + 1) / 10 if t < 10 else 0.1 ** ((t >= 20) + (t >= 30.0)),
        ),
        (
            {"warmup_epochs": 1.0, "schedule": "cosine"},
            lambda t: (t + 1) / 10 if t < 10 else 0.5 * (1 + np.cos(np.pi * (t - 10) / 30)),
        ),
        ({"warmup_epochs": 4.0, "schedule": "cosine"}, lambda t: (t + 1) / 40),
        ({"warmup_epochs": 0.1}, lambda t: 1.0),
    ],
)
def test_schedules(fields, expected):
    rates = learning_rates(Config(epochs=4, learning_rate=0.3, **fields), 10, np.arange(40))
    np.testing.assert_allclose(rates, [0.3 * expected(t) for t in range(40)], rtol=1e-5, atol=1e-7)


@settings(max_examples=100, deadline=None)
@given(
    per_epoch=st.integers(1, 30),
    epochs=st.integers(2, 12),
    shares=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5),
    factor=st.sampled_from((0.1, 0.5, 2.0)),
    warmup=st.sampled_from((0.0, 0.3, 1.0)),
)
def test_no_decay_is_lost_however_milestones_round(per_epoch, epochs, shares, factor, warmup):
    """The rate of every step after the warm-up is the product over the milestones before it."""
    decays = tuple(sorted(share * epochs for share in shares))
    config = Config(
        epochs=epochs, schedule="step", decay_epochs=decays, decay_factor=factor, warmup_epochs=warmup * decays[0]
    )
    rates = learning_rates(config, per_epoch, np.arange(epochs * per_epoch))
    risen = round(config.warmup_epochs * per_epoch)
    expected = [
        config.learning_rate * step_factor(decays, factor, per_epoch)(t) for t in range(risen, epochs * per_epoch)
    ]
    np.testing.assert_allclose(rates[risen:], expected, rtol=1e-6)
    lost = sum("never acts: it rounds to the end" in note for note in check_schedule(config, per_epoch))
    assert np.isclose(rates[-1], config.learning_rate * factor ** (len(decays) - lost)) or risen == len(rates)


def test_a_run_of_any_length_has_a_schedule():
    """Only the rates that are asked for are computed."""
    config = Config(epochs=10**9, schedule="cosine", learning_rate=0.3)
    rates = learning_rates(config, 10**4, np.array([0, 5 * 10**12, 10**13 - 1]))
    np.testing.assert_allclose(rates, [0.3, 0.15, 0.0], rtol=1e-6, atol=1e-12)
    assert check_schedule(config, 10**4) == []


@pytest.mark.parametrize("steps", [4, 5, 7, 10, 100])
def test_one_cycle_is_optaxs(steps):
    rates = learning_rates(Config(epochs=1, learning_rate=0.2, schedule="onecycle"), steps, np.arange(steps))
    expected = [optax.linear_onecycle_schedule(steps, 0.2)(t) for t in range(steps)]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert rates.max() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("fields", "steps_per_epoch", "message"),
    [
        ({"schedule": "onecycle", "epochs": 1}, 3, r"cannot rise and fall in a run of 3 steps \(3 per epoch\)"),
        (
            {"schedule": "step", "decay_epochs": (1, 2), "decay_factor": 1e30, "epochs": 4}, 5,
            "the learning rate is not finite from step 10 on, of 20 steps",
        ),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_be_is_refused(fields, steps_per_epoch, message):
    with pytest.raises(RequestError, match=message):
        check_schedule(Config(**fields), steps_per_epoch)


@pytest.mark.parametrize(
    ("fields", "steps_per_epoch", "notes"),
    [
        ({}, 1, []),
        ({"schedule": "step", "decay_epochs": (2, 3), "epochs": 4}, 10, []),
        ({"schedule": "onecycle"}, 10, []),
        ({"warmup_epochs": 1.0, "schedule": "cosine"}, 10, []),
        ({"schedule": "onecycle", "epochs": 1}, 4, []),
        ({"schedule": "cosine", "epochs": 1}, 2, []),
        ({"warmup_epochs": 0.2}, 10, []),
        ({"warmup_epochs": 0.1}, 10, ["warmup_epochs = 0.1 never acts: it is 1 of 100 steps (10 per epoch)"]),
        (
            {"schedule": "cosine", "warmup_epochs": 10.0}, 5,
            ["schedule 'cosine' never acts: it has 0 of 50 steps (5 per epoch)"],
        ),
        (
            {"schedule": "step", "decay_epochs": (0.01, 9.8, 9.99), "decay_factor": 0.5}, 5,
            ["the decay after epoch 0.01 acts from the first step on: it rounds to the start of 50 steps (5 per epoch)",
             "the decay after epoch 9.8 acts on the last step alone, of 50 steps (5 per epoch)",
             "the decay after epoch 9.99 never acts: it rounds to the end of 50 steps (5 per epoch)"],
        ),
        (
            {"schedule": "step", "decay_epochs": (9.98, 9.99), "decay_factor": 1e30}, 5,
            [f"the decay after epoch {epoch} never acts: it rounds to the end of 50 steps (5 per epoch)"
             for epoch in (9.98, 9.99)],
        ),
        (
            {"schedule": "step", "decay_epochs": (1.0, 2.0), "decay_factor": 1e-30, "epochs": 4}, 5,
            ["from step 10 on nothing is learned: the learning rate is 0 in float32"],
        ),
    ],
)  # fmt: skip
def test_what_never_acts_is_said(fields, steps_per_epoch, notes):
    assert check_schedule(Config(**fields), steps_per_epoch) == notes


def test_every_optimizer_has_its_source():
    sources = [part.source for part in (*OPTIMIZERS.values(), *SCHEDULES.values())]
    assert {source for source in sources if source} <= references().keys()
    assert all(part.source for part in OPTIMIZERS.values())


@pytest.mark.filterwarnings("ignore:Specifying a key")
@pytest.mark.parametrize("name", [name for name in optax_optimizers() if name not in ("lbfgs", "optimistic_adam")])
def test_every_optimizer_of_optax_takes_its_own_steps(name):
    """By name, the rate and the numbers traced, against the same transformation made by hand with Python's floats."""
    config = Config(optimizer=f"optax.{name}", learning_rate=RATE, momentum=0.9)
    own, hparams = optimizer_of(config)[0], hparams_of(config)
    params = {"layer": {key: jnp.asarray(value, jnp.float32) for key, value in START.items()}}

    @jax.jit
    def steps(rate, params):
        transformation = own(rate, hparams)
        state = transformation.init(params)
        for step in range(3):
            g = {"layer": gradient(params["layer"], step, jnp.cos)}
            updates, state = transformation.update(g, state, params, value=jnp.float32(1.0), grad=g)
            params = optax.apply_updates(params, updates)
        return params

    expected, reference = params, optax.with_extra_args_support(getattr(optax, name)(RATE))
    state = reference.init(params)
    for step in range(3):
        g = {"layer": gradient(expected["layer"], step, jnp.cos)}
        updates, state = reference.update(g, state, expected, value=jnp.float32(1.0), grad=g)
        expected = optax.apply_updates(expected, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), steps(RATE, params), expected)


def test_numbers_of_an_optimizer_are_traced_so_that_they_share_a_program():
    one = optimizer_of(Config(optimizer="optax.lion", optimizer_args={"b1": 0.9, "b2": 0.99}))
    other = optimizer_of(Config(optimizer="optax.lion", optimizer_args={"b1": 0.95, "b2": 0.98}))
    assert one[0] == other[0]
    assert (one[1], other[1]) == ({"b1": 0.9, "b2": 0.99}, {"b1": 0.95, "b2": 0.98})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"optimizer": "lion"},
            "optimizer 'lion' is unknown.* there are sgd, signsgd, adam, adamw, muon, .* those of optax",
        ),
        ({"optimizer": "optax.lio"}, "'optax.lio' is not in optax: try optax.lion"),
        ({"optimizer": "optax.lbfgs"}, "cannot be used with .*value_fn"),
        ({"optimizer": "optax.lion", "optimizer_args": {"b3": 1.0}}, "has no argument 'b3'; it has b1, b2"),
        ({"optimizer": "optax.lion", "momentum": 0.5}, "momentum = 0.5 is not for optax.lion: it has no momentum"),
        ({"optimizer": "optax.sgd", "momentum": 0.5}, "for optax.sgd: give optimizer_args momentum="),
        ({"optimizer": "optax.sgd", "optimizer_args": {"learning_rate": 1.0}}, "a field of its own"),
        ({"schedule": "optax.cosine"}, "'optax.cosine' is not in optax: there are optax.constant_schedule"),
        ({"schedule": "lineal"}, "schedule 'lineal' is unknown.* there are constant, step"),
    ],
)
def test_an_optimizer_or_schedule_that_cannot_be_is_refused(fields, message):
    with pytest.raises(RequestError, match=message):
        Config(**fields)


@pytest.mark.parametrize(
    ("name", "arguments", "reference"),
    [
        ("cosine_decay_schedule", {}, optax.cosine_decay_schedule(0.3, 40)),
        ("cosine_decay_schedule", {"alpha": 0.1, "decay_steps": 20}, optax.cosine_decay_schedule(0.3, 20, 0.1)),
        ("linear_schedule", {"end_value": 0.5}, optax.linear_schedule(0.3, 0.15, 40)),
        ("exponential_decay", {"decay_rate": 0.5, "transition_steps": 10}, optax.exponential_decay(0.3, 10, 0.5)),
    ],
)
def test_schedules_of_optax_are_factors_of_the_learning_rate(name, arguments, reference):
    config = Config(epochs=4, learning_rate=0.3, schedule=f"optax.{name}", schedule_args=arguments)
    rates = learning_rates(config, 10, np.arange(40))
    np.testing.assert_allclose(rates, [reference(t) for t in range(40)], rtol=1e-5)
