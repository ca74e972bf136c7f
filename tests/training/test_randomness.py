"""No two draws of a run share a key or a generator."""

import ast
import functools
import itertools
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import Literal

import cnn_jax
from cnn_jax import randomness
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.training.config import Config
from cnn_jax.training.state import Examples, Program, hparams_of, initial_state
from cnn_jax.training.step import batches, train_step

seeds = st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3, unique=True)
steps = st.lists(st.integers(0, 2**31 - 1), min_size=3, max_size=3, unique=True)


@functools.cache
def folded(function):
    """A function of keys, compiled once: (keys of runs, numbers …) -> the words of the keys."""
    return jax.jit(jax.vmap(lambda *numbers: jax.random.key_data(function(*numbers))))


@settings(max_examples=25, deadline=None)
@given(seeds=seeds, steps=steps)
def test_no_two_keys_of_runs_are_the_same(seeds, steps):
    """Over seeds, steps, parts, devices, slots and arrays, the runs' own keys among them."""
    few = range(4)
    used = [tuple(np.asarray(jax.random.key_data(randomness.run_key(seed))).tolist()) for seed in seeds]
    for function, axes in (
        (randomness.initial_weights, ()),
        (randomness.feedback_weights, ()),
        (randomness.dropout, (steps, few, few)),
        (randomness.augmentation, (steps, range(16))),
        (randomness.example, (range(16),)),
        (randomness.mixing, (steps, range(16))),
        (randomness.gradient_noise, (steps, range(8))),
    ):
        numbers = list(itertools.product(seeds, *axes))
        runs = jax.vmap(randomness.run_key)(np.array([row[0] for row in numbers], np.uint32))
        rest = [np.array(column, np.uint32) for column in list(zip(*numbers, strict=True))[1:]]
        used += map(tuple, np.asarray(folded(function)(runs, *rest)).tolist())
    assert len(set(used)) == len(used)


@settings(max_examples=50, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True), epochs=st.integers(2, 5))
def test_no_two_generators_are_the_same(seeds, epochs):
    """A split's seed may equal a run's; the small seeds and epochs are those that everybody takes."""
    states = []
    for seed in {*seeds, *range(12)}:
        generators = [randomness.split(seed), randomness.second_cut(seed), randomness.subset(seed)]
        generators += [randomness.order(seed, epoch) for epoch in range(epochs)]
        states += [one.bit_generator.state["state"]["state"] for one in generators]
    assert len(set(states)) == len(states)


def test_the_streams_and_the_table_are_one():
    """Every stream has a number of its own, and every function that draws has its row in the table."""
    assert len({int(one) for one in randomness.Stream}) == len(list(randomness.Stream))
    tree = ast.parse(Path(randomness.__file__).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    assert all(f"| `{name}` |" in randomness.__doc__ for name in functions - {"run_key"})


# What draws outside of a run's training: figures about a trained network, weights that are then replaced, shapes.
ELSEWHERE = {
    "insight/fields.py", "report/inspect/inspection.py", "report/inspect/ranking.py", "report/plots.py",
    "runs/model.py",
    "layers/base.py", "layers/wrapped.py", "training/augment.py", "training/groups.py",
}  # fmt: skip
SOURCES = (
    "jax.random.key(",
    "jax.random.PRNGKey(",
    "default_rng(",
    "np.random.Generator(",
    "np.random.seed(",
    "PCG64(",
)


def test_keys_and_generators_are_made_in_one_place():
    root = Path(cnn_jax.__file__).parent
    users = {str(path.relative_to(root)) for path in root.rglob("*.py") for word in SOURCES if word in path.read_text()}
    assert users - {"randomness.py"} == ELSEWHERE


@pytest.mark.parametrize("function", [randomness.order, lambda seed, _: randomness.split(seed)])
def test_a_generator_gives_the_same_numbers_again(function):
    np.testing.assert_array_equal(function(3, 7).permutation(50), function(3, 7).permutation(50))


CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
DRAWS, DERIVES = ("random_bits", "random_gamma"), ("random_fold_in", "random_split")


def uses_of_keys(closed, arguments, uses):
    """The outputs of a traced function, as functions that compute them; notes the (kind, key) of every use of keys.

    What no key depends on is never computed.
    """
    values = dict(zip(closed.jaxpr.constvars, map(constant, closed.consts), strict=True))
    values |= dict(zip(closed.jaxpr.invars, arguments, strict=True))

    def of(variable):
        return constant(variable.val) if isinstance(variable, Literal) else values[variable]

    for equation in closed.jaxpr.eqns:
        given, name = list(map(of, equation.invars)), equation.primitive.name
        if name in CALLS:
            outputs = uses_of_keys(equation.params.get("jaxpr") or equation.params["call_jaxpr"], given, uses)
        else:
            if name in DRAWS + DERIVES:
                uses.append((name, given[0]))
            results = functools.cache(functools.partial(results_of, equation, given))
            outputs = [
                functools.partial(lambda i, results: results()[i], i, results) for i in range(len(equation.outvars))
            ]
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return list(map(of, closed.jaxpr.outvars))


def constant(value):
    return lambda: value


def results_of(equation, given):
    results = equation.primitive.bind(*(value() for value in given), **equation.params)
    return results if equation.primitive.multiple_results else [results]


@pytest.mark.parametrize(
    ("steps", "fields"),
    [
        (2, {"accumulate": 2, "augment": "flip crop2 cutout3", "gradient_noise": 0.1, "dropout": 0.3}),
        (2, {"augment": "mixup0.5", "gradient_noise": 0.1}),
        (1, {"backward": "feedback_alignment", "gradient_noise": 0.1}),  # whose weights are the same in all steps
    ],
)
def test_in_whole_steps_every_key_is_drawn_from_once(steps, fields):
    """Traced operation by operation: a key is drawn from once, or split once, or only folded into."""
    network = Network((8, 8, 1), parse("drop0.5 dense-3 relu drop0.5 dense-10"))
    config = Config(batch_size=8, **fields)
    program = Program.of(config, network, 1)
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (8, 8, 8, 1), np.uint8), random.integers(0, 10, 8).astype(np.int32)
    examples = Examples(*map(jnp.asarray, (images, labels, np.zeros(1, np.float32), np.ones(1, np.float32))))
    batch = batches(np.arange(8), 8, config.accumulate).at(0)
    start = initial_state(config, program)

    def train(seed):
        key, state = randomness.run_key(seed), start
        weights = network.init(randomness.initial_weights(key))
        for _ in range(steps):
            state = train_step(program, examples, state, batch, jnp.float32(0.1), hparams_of(config), key)
        return weights, state

    found = []
    uses_of_keys(jax.make_jaxpr(train)(jnp.uint32(0)), [constant(jnp.uint32(0))], found)
    uses = {kind: Counter() for kind in DRAWS + DERIVES}
    for kind, key in found:
        uses[kind].update(map(tuple, np.asarray(jax.random.key_data(key())).reshape(-1, 2).tolist()))
    drawn, split = uses["random_bits"] + uses["random_gamma"], uses["random_split"]
    assert drawn.total() > 6
    assert drawn.most_common(1)[0][1] == 1
    assert drawn.keys() & split.keys() == set()
    assert (drawn.keys() | split.keys()) & uses["random_fold_in"].keys() == set()
