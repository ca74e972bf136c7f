"""Trains the trials of a grid in stock Flax, one after another as its users do, and prints the seconds of each."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bench import grid, works
from bench.flax_peer import TrainState, mean_loss, network_of


def train(job: grid.Job, data: grid.Data, width: int, learning_rate: float, seed: int) -> float:
    """Trains one trial; returns its validation accuracy."""
    network = network_of(works.widened(works.GRID, width))
    params = network.init(jax.random.key(seed), jnp.zeros((1, *data.images.shape[1:])))["params"]
    optimizer = optax.sgd(learning_rate, momentum=works.MOMENTUM)
    state = TrainState.create(apply_fn=network.apply, params=params, tx=optimizer, batch_stats={})
    for epoch in range(job.epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(data.labels))
        for start in range(0, len(order), job.batch_size):
            part = order[start : start + job.batch_size]
            state = step(state, data.images[part], data.labels[part])
    n_correct = 0
    for start in range(0, len(data.validation_labels), job.batch_size):
        images, labels = (x[start : start + job.batch_size] for x in (data.validation_images, data.validation_labels))
        n_correct += int(correct(state, images, labels))
    return n_correct / len(data.validation_labels)


@jax.jit
def step(state, images, labels):
    (_, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params, state, images, labels)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats)


@jax.jit
def correct(state, images, labels):
    return (state.apply_fn({"params": state.params}, images).argmax(-1) == labels).sum()


if __name__ == "__main__":
    grid.main(train, time.perf_counter())
