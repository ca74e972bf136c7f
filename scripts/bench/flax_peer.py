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
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        for filters in self.filters:
            x = nn.Conv(filters, (self.kernel, self.kernel), padding="SAME", dtype=self.dtype)(x)
            x = nn.relu(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(x))
        return nn.Dense(works.CLASSES, dtype=self.dtype)(x)


class Normed(nn.Module):
    """Works D and X."""

    convolutions: tuple[tuple[int, int, int, int], ...]
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        for size, filters, stride, groups in self.convolutions:
            convolution = nn.Conv(
                filters, (size, size), strides=stride, padding=size // 2, use_bias=False, dtype=self.dtype,
                feature_group_count=groups,
            )  # fmt: skip
            x = nn.relu(_norm(self.dtype)(convolution(x)))
        return nn.Dense(works.CLASSES, dtype=self.dtype)(x.mean((1, 2)))


def _conv(filters, size, stride, dtype):
    return nn.Conv(filters, (size, size), strides=stride, padding=size // 2, use_bias=False, dtype=dtype)


def _norm(dtype):
    return nn.BatchNorm(use_running_average=False, momentum=0.9, dtype=dtype)


class Block(nn.Module):
    """Two convolutions; where the shape changes, the shortcut is option A, strided and zero-padded in channels, or with
    `project` option B, a 1x1 convolution with a batch norm."""

    filters: int
    stride: int
    project: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        y = nn.relu(_norm(self.dtype)(_conv(self.filters, 3, self.stride, self.dtype)(x)))
        y = _norm(self.dtype)(_conv(self.filters, 3, 1, self.dtype)(y))
        if self.stride > 1 and self.project:
            x = _norm(self.dtype)(_conv(self.filters, 1, self.stride, self.dtype)(x))
        elif self.stride > 1:
            missing = self.filters - x.shape[-1]
            x = x[:, :: self.stride, :: self.stride]
            x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """he2016deep, 4.2, with n = 3 (work R); wider and with option B for CIFAR (work R18)."""

    widths: tuple[int, ...]
    blocks: int
    project: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        x = nn.relu(_norm(self.dtype)(_conv(self.widths[0], 3, 1, self.dtype)(x)))
        for stage, width in enumerate(self.widths):
            for block in range(self.blocks):
                x = Block(width, 2 if stage and not block else 1, self.project, self.dtype)(x)
        return nn.Dense(works.CLASSES, dtype=self.dtype)(x.mean((1, 2)))


class WideBlock(nn.Module):
    """Batch norm and ReLU before each of two convolutions; the first of a stage projects."""

    filters: int
    stride: int
    first: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        y = nn.relu(_norm(self.dtype)(x))
        z = _conv(self.filters, 3, self.stride, self.dtype)(y)
        z = _conv(self.filters, 3, 1, self.dtype)(nn.relu(_norm(self.dtype)(z)))
        return z + (_conv(self.filters, 1, self.stride, self.dtype)(y) if self.first else x)


class WideResNet(nn.Module):
    """zagoruyko2016wide, table 1, with depth 16 and factor 4 (work W)."""

    dtype: Any = None

    @nn.compact
    def __call__(self, x):
        x = _conv(16, 3, 1, self.dtype)(x)
        for stage, width in enumerate((64, 128, 256)):
            for block in range(2):
                x = WideBlock(width, 2 if stage and not block else 1, not block, self.dtype)(x)
        x = nn.relu(_norm(self.dtype)(x))
        return nn.Dense(works.CLASSES, dtype=self.dtype)(x.mean((1, 2)))


class TrainState(train_state.TrainState):
    batch_stats: Any


def network_of(work: Work, dtype: Any = None) -> nn.Module:
    zoo = {
        "resnet20": lambda: ResNet((16, 32, 64), 3, False, dtype),
        "cifar_resnet18": lambda: ResNet((64, 128, 256, 512), 2, True, dtype),
        "wrn16_4": lambda: WideResNet(dtype),
    }
    if work.zoo:
        return zoo[work.zoo]()
    return Normed(work.normed, dtype) if work.normed else Stack(work.kernel, work.filters, work.hidden, dtype)


def initial_state(work: Work, seed: int = 0, dtype: Any = None) -> TrainState:
    """Random weights, batch norm statistics if any, SGD with momentum."""
    network = network_of(work, dtype)
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
    loss = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).mean()
    return loss, updated.get("batch_stats", {})


def step(state: TrainState, batch: tuple[jax.Array, jax.Array]) -> tuple[TrainState, jax.Array]:
    """One step on (images, labels): the new state and the mean loss."""
    (loss, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params, state, *batch)
    return state.apply_gradients(grads=grads, batch_stats=batch_stats), loss


def build(job: Job) -> Runner:
    if job.precision == "float32":  # without TF32 on a GPU; on a CPU this changes nothing
        jax.config.update("jax_default_matmul_precision", "highest")
    data = jax.device_put(works.normalised_batches(job.work, job.batch_size))
    state = initial_state(job.work, dtype=jnp.bfloat16 if job.precision == "bfloat16" else None)
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
