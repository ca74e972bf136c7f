"""Worker: stock Flax Linen and optax, written as their users write it, without cnn_jax."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training import train_state

from bench import worker, works
from bench.worker import Job, Runner
from bench.works import Work


class Stack(nn.Module):
    """Works L, M and C."""

    kernel: int
    filters: tuple[int, ...]
    hidden: int = 256

    @nn.compact
    def __call__(self, x):
        for filters in self.filters:
            x = nn.Conv(filters, (self.kernel, self.kernel), padding="SAME")(x)
            x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))
        x = nn.relu(nn.Dense(self.hidden)(x))
        return nn.Dense(works.CLASSES)(x)


class Block(nn.Module):
    """Two convolutions with an option A shortcut: strided and zero-padded in channels."""

    filters: int
    stride: int

    @nn.compact
    def __call__(self, x):
        conv = functools.partial(nn.Conv, self.filters, (3, 3), padding=1, use_bias=False)
        norm = functools.partial(nn.BatchNorm, use_running_average=False, momentum=0.9)
        y = conv(strides=self.stride)(x)
        y = nn.relu(norm()(y))
        y = norm()(conv()(y))
        if self.stride > 1:
            missing = self.filters - x.shape[-1]
            x = x[:, :: self.stride, :: self.stride]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))
        return nn.relu(x + y)


class ResNet20(nn.Module):
    """he2016deep, 4.2, with n = 3. Work R."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), padding=1, use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False, momentum=0.9)(x))
        for stage in range(3):
            for block in range(3):
                x = Block(16 * 2**stage, stride=2 if stage and not block else 1)(x)
        return nn.Dense(works.CLASSES)(x.mean((1, 2)))


class TrainState(train_state.TrainState):
    batch_stats: Any


def network_of(work: Work) -> nn.Module:
    return ResNet20() if work.zoo else Stack(work.kernel, work.filters, work.hidden)


def initial_state(work: Work, seed: int = 0) -> TrainState:
    """Random weights, batch norm statistics if any, SGD with momentum."""
    network = network_of(work)
    variables = network.init(jax.random.key(seed), jnp.zeros((1, *work.shape)))
    return TrainState.create(
        apply_fn=network.apply,
        params=variables["params"],
        tx=optax.sgd(works.LEARNING_RATE, momentum=works.MOMENTUM),
        batch_stats=variables.get("batch_stats", {}),
    )


def mean_loss(params, state: TrainState, images, labels):
    """The mean loss of a batch and the new batch norm statistics."""
    variables = {"params": params, "batch_stats": state.batch_stats}
    logits, updated = state.apply_fn(variables, images, mutable=["batch_stats"])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, updated.get("batch_stats", {})


def step(state: TrainState, batch: tuple[jax.Array, jax.Array]) -> tuple[TrainState, jax.Array]:
    """One step on (images, labels): the new state and the mean loss."""
    (loss, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params, state, *batch)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats), loss


def build(job: Job) -> Runner:
    # No TF32 on a GPU, as in every contender; on a CPU this changes nothing.
    jax.config.update("jax_default_matmul_precision", "highest")
    data = jax.device_put(works.normalised_batches(job.work, job.batch_size))
    state = initial_state(job.work)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    if job.mode == "trials":
        return Runner(parameters, by_trials(job, data), dict)
    return Runner(parameters, {"step": by_steps, "epoch": by_epochs}[job.mode](state, data), dict)


def by_steps(state, data):
    """One dispatch for each step."""
    train_step = jax.jit(step, donate_argnums=0)
    batches = list(zip(*map(list, data), strict=True))
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal state, done
        for _ in range(steps):
            state, loss = train_step(state, batches[done % len(batches)])
            done += 1
        jax.block_until_ready(state)
        return steps, float(loss)

    return run


def by_epochs(state, data):
    """One dispatch for each pass over the batches, a `lax.scan` over steps."""

    @functools.partial(jax.jit, donate_argnums=0)
    def train_epoch(state, data):
        return jax.lax.scan(step, state, data)

    def run(steps: int) -> tuple[int, float]:
        nonlocal state
        epochs = -(-steps // works.BATCHES)
        for _ in range(epochs):
            state, losses = train_epoch(state, data)
        jax.block_until_ready(state)
        return epochs * works.BATCHES, float(losses[-1])

    return run


def by_trials(job, data):
    """`job.trials` networks at once: the step under `jax.vmap`, all on the same batch."""
    states = [initial_state(job.work, seed) for seed in range(job.trials)]
    fields = ("step", "params", "opt_state", "batch_stats")
    values = [{field: getattr(state, field) for field in fields} for state in states]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(list(map(jnp.asarray, leaves))), *values)
    state = states[0].replace(**stacked)
    train_step = jax.jit(jax.vmap(step, in_axes=(0, None)), donate_argnums=0)
    batches = list(zip(*map(list, data), strict=True))
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal state, done
        for _ in range(steps):
            state, losses = train_step(state, batches[done % len(batches)])
            done += 1
        jax.block_until_ready(state)
        return steps, float(losses[0])

    return run


if __name__ == "__main__":
    worker.main(build)
