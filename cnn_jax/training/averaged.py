"""The statistics of batch norm of averaged weights, which the running statistics of training are not."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from cnn_jax import ops
from cnn_jax.layers import BatchNorm
from cnn_jax.training.state import Examples, Program, TrainState
from cnn_jax.training.step import Batch, HParams, Moment, forward, on_devices, pixels
from cnn_jax.training.trials import for_each


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def with_fresh_statistics(
    program: Program,
    state: TrainState,
    examples: Examples,
    batches: Batch,
    count: ArrayLike,
    hparams: HParams,
    key: Array,
) -> TrainState:
    """The state with the statistics of batch norm that the averaged weights have over `batches`, of which the first
    `count` are counted, by their examples (izmailov2018averaging, 3.2). Training does not use these statistics."""

    def fresh(state: TrainState, hparams: HParams, key: Array) -> TrainState:
        def add(i: Array, sums: Any) -> Any:
            batch, moment = batches.at(i), Moment(key, state.step, 0)
            found = of_batch(state.ema, state.batch_stats, examples, batch, hparams, moment)
            return jax.tree.map(lambda total, one: total + batch.mask.sum() * one, sums, found)

        norms = {name: state.batch_stats[name] for name in _momenta(program)}
        sums = jax.lax.fori_loop(0, count, add, jax.tree.map(jnp.zeros_like, norms))
        means = jax.tree.map(lambda total: total / batches.mask.sum(), sums)
        return state._replace(batch_stats={**state.batch_stats, **means})

    of_batch = on_devices(program, _batch_statistics, (P(), P(), P(), P("batch"), P(), P()), P())
    with jax.default_matmul_precision(program.precision), ops.using(program.implementation):
        return for_each(program.transform, fresh)(state, hparams, key)


def _momenta(program: Program) -> dict[str, float]:
    """The momentum of each batch norm, by name."""
    parts = [part for node in program.network.walk() for part in node.parts]
    return {part.name: part.layer.momentum for part in parts if isinstance(part.layer, BatchNorm)}


def _batch_statistics(
    program: Program,
    params: Any,
    batch_stats: Any,
    examples: Examples,
    batch: Batch,
    hparams: HParams,
    moment: Moment,
) -> dict[str, Any]:
    """The statistics of a batch in each batch norm. A running statistic of 0 becomes 1 - momentum times that of the
    batch."""
    momenta = _momenta(program)
    zeros = {name: jax.tree.map(jnp.zeros_like, batch_stats[name]) for name in momenta}
    images = pixels(examples, batch.positions)
    variables = {"params": params, "batch_stats": {**batch_stats, **zeros}}
    _, found = forward(program, variables, examples, images, batch.mask, hparams, moment, 0)
    return {name: jax.tree.map(lambda x, m=m: x / (1.0 - m), found[name]) for name, m in momenta.items()}
