"""Learning from a teacher, against the formula of Hinton et al. 2015 by hand; runs that have one."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnn_jax import api, randomness
from cnn_jax.errors import RequestError
from cnn_jax.losses import distillation
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training.config import Config
from cnn_jax.training.state import Answers, Examples, Program, Teacher, hparams_of, initial_state
from cnn_jax.training.step import Steps, batches, train_steps

NETWORK = Network((8, 8, 1), parse("conv3-4:same relu max2 dense-10"))
LARGER = Network((8, 8, 1), parse("conv3-8:same bn relu max2 dense-10"))
RUN = Config(network="conv3-4:same bn relu max2 dense-10", epochs=2, devices=1, train_examples=256)


def test_the_divergence_is_the_one_of_the_softened_outputs():
    random = np.random.RandomState(0)
    ours, theirs = random.normal(0, 3, (2, 5, 7))
    soft = [np.exp(each / 2.5) / np.exp(each / 2.5).sum(1, keepdims=True) for each in (ours, theirs)]
    expected = 2.5**2 * (soft[1] * np.log(soft[1] / soft[0])).sum(1)
    np.testing.assert_allclose(distillation(jnp.asarray(ours), jnp.asarray(theirs), 2.5), expected, rtol=1e-4)
    # For high temperatures the gradient is that of half the squared distance of centred logits (2.1).
    gradient = jax.grad(lambda z: distillation(z, jnp.asarray(theirs), 1e3).sum())(jnp.asarray(ours))
    centred = [each - each.mean(1, keepdims=True) for each in (ours, theirs)]
    np.testing.assert_allclose(gradient, (centred[0] - centred[1]) / 7, rtol=0.05, atol=0.02)


def one_step(config, teacher_variables, network):
    random = np.random.RandomState(1)
    answers = Answers(teacher_variables, jnp.full(1, 0.4), jnp.full(1, 0.2))
    images, labels = random.randint(0, 256, (32, 8, 8, 1)), random.randint(0, 10, 32)
    examples = Examples(
        jnp.asarray(images, jnp.uint8), jnp.asarray(labels), jnp.full(1, 0.5), jnp.full(1, 0.3), answers
    )
    program = Program.of(config, NETWORK, 1, teacher=Teacher("a run", network))
    state = initial_state(config, program)
    steps = Steps(examples, batches(np.arange(32), 32, 1), np.full(1, config.learning_rate, np.float32))
    before = jax.tree.map(jnp.array, state)
    key = randomness.run_key(config.seed)
    return before, train_steps(program, state, steps, 0, 1, hparams_of(config), key), images, labels


def test_a_step_follows_labels_and_teacher_in_their_shares():
    """The teacher sees the same images, normalised as it was trained, with its running statistics."""
    config = Config(
        learning_rate=0.1, momentum=0.0, teacher="a run", teacher_weight=0.7, temperature=3.0, batch_size=32
    )
    variables = LARGER.init(jax.random.key(5))
    before, after, images, labels = one_step(config, variables, LARGER)
    answers = LARGER.apply(variables, jnp.asarray((images / 255 - 0.4) / 0.2, jnp.float32))

    def loss(params):
        logits = NETWORK.apply(
            {"params": params, "batch_stats": {}}, jnp.asarray((images / 255 - 0.5) / 0.3, jnp.float32)
        )
        soft = jax.nn.softmax(answers / 3.0)
        gap = (soft * (jnp.log(soft) - jax.nn.log_softmax(logits / 3.0))).sum(1)
        hard = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(labels))
        return (0.3 * hard + 0.7 * 9.0 * gap).mean()

    expected = jax.tree.map(lambda p, g: p - 0.1 * g, before.params, jax.grad(loss)(before.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), after.params, expected)


def test_a_network_has_nothing_to_learn_from_itself():
    config = Config(learning_rate=0.1, momentum=0.0, teacher="a run", teacher_weight=1.0, batch_size=32)
    program = Program.of(config, NETWORK, 1)
    own = jax.tree.map(lambda x: x, initial_state(config, program).params)
    # the moments of its own images, so that the inputs are equal too
    random = np.random.RandomState(1)
    images = jnp.asarray(random.randint(0, 256, (32, 8, 8, 1)), jnp.uint8)
    moments = jnp.full(1, 0.5), jnp.full(1, 0.3)
    examples = Examples(
        images, jnp.zeros(32, jnp.int32), *moments, Answers({"params": own, "batch_stats": {}}, *moments)
    )
    program = Program.of(config, NETWORK, 1, teacher=Teacher("itself", NETWORK))
    steps = Steps(examples, batches(np.arange(32), 32, 1), np.full(1, 0.1, np.float32))
    state = train_steps(
        program, initial_state(config, program), steps, 0, 1, hparams_of(config), randomness.run_key(config.seed)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, own)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return api.train(RUN, tmp_path_factory.mktemp("distillation") / "teacher", show=False).path


def test_a_student_of_a_run_is_recorded_resumed_bit_for_bit_and_evaluated_without_it(teacher, tmp_path):
    theirs = tmp_path / "teacher"
    shutil.copytree(teacher, theirs)
    config = dataclasses.replace(RUN, network="conv3-2:same relu max2 dense-10", teacher=str(theirs), epochs=2)
    whole = api.train(config, tmp_path / "whole", show=False)
    half = dataclasses.replace(config, epochs=1)
    api.train(half, tmp_path / "parts", show=False)
    parts = api.train(config, tmp_path / "parts", show=False, resume=True)
    assert parts.result.validation == whole.result.validation
    assert len(json.loads((whole.path / "record.json").read_text())["teacher_sha256"]) == 64
    alone = dataclasses.replace(config, teacher=None)
    assert api.train(alone, tmp_path / "alone", show=False).result.validation != whole.result.validation
    shutil.rmtree(theirs)
    assert api.evaluate(whole.path).evaluation == whole.result.test


def test_another_teacher_in_its_place_is_refused(teacher, tmp_path):
    theirs = tmp_path / "teacher"
    shutil.copytree(teacher, theirs)
    config = dataclasses.replace(RUN, teacher=str(theirs), epochs=1)
    api.train(config, tmp_path / "run", show=False)
    shutil.rmtree(theirs)
    api.train(dataclasses.replace(RUN, seed=1), theirs, show=False)
    with pytest.raises(RequestError, match=r"its teacher .* has changed"):
        api.train(dataclasses.replace(config, epochs=2), tmp_path / "run", show=False, resume=True)


def test_what_cannot_teach_is_refused(teacher, tmp_path):
    for fields, message in (
        ({"teacher": str(tmp_path / "nothing")}, "nothing"),
        ({"teacher": str(teacher), "image_size": 12}, r"is for images \(8, 8, 1\), the data have \(12, 12, 1\)"),
    ):
        with pytest.raises(RequestError, match=message):
            api.train(dataclasses.replace(RUN, **fields), tmp_path / "run", show=False)
    for fields, message in (
        ({"temperature": 2.0}, "never acts without a teacher"),
        ({"teacher": "run", "teacher_weight": 0.0}, "in \\(0, 1\\]"),
    ):
        with pytest.raises(RequestError, match=message):
            Config(**fields)
