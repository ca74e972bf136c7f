"""Directions and schedules. An optimizer here gives the direction d of an update; the step is params -= lr · d, with
the learning rate an argument of the step, so that another rate is another number and not another program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from cnn_jax.training.config import Config

SOURCES = {
    "sgd": "sutskever2013importance", "signsgd": "bernstein2018signsgd", "adam": "kingma2015adam",
    "adamw": "loshchilov2019decoupled",
}  # fmt: skip
SCHEDULES = {"cosine": "loshchilov2017sgdr", "onecycle": "smith2018super"}


def make_direction(
    name: str, nesterov: bool, clip: bool, momentum: ArrayLike, weight_decay: ArrayLike, clip_norm: ArrayLike
) -> optax.GradientTransformation:
    """The chain gradient -> direction. The first three arguments shape the program, the others may be traced.

    SGD: sutskever2013importance (v = momentum · v + g); signSGD: bernstein2018signsgd, algorithm 2 (the sign of v);
    Adam: kingma2015adam (second-moment decay 0.999, epsilon 1e-8); AdamW: loshchilov2019decoupled. Weight decay spares
    biases and norms.
    """
    decay = optax.add_decayed_weights(weight_decay, mask=kernels)
    parts = [optax.clip_by_global_norm(clip_norm)] if clip else []
    if name in ("sgd", "signsgd"):
        parts += [decay, optax.trace(momentum, nesterov)]
        parts += [optax.stateless(lambda v, _: jax.tree.map(jnp.sign, v))] * (name == "signsgd")
    elif name == "adam":
        parts += [decay, optax.scale_by_adam(momentum, nesterov=nesterov)]
    else:
        parts += [optax.scale_by_adam(momentum, nesterov=nesterov), decay]
    return optax.chain(*parts)


def kernels(params):
    """A tree of booleans: True for kernels, False for biases and for the scales and offsets of norms."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def learning_rates(config: Config, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of every step of the run, float32 (epochs · steps_per_epoch,)."""
    decay_steps = tuple(round(epoch * steps_per_epoch) for epoch in config.decay_epochs)
    warmup_steps = round(config.warmup_epochs * steps_per_epoch)
    total = config.epochs * steps_per_epoch
    factors = _factors(config.schedule, warmup_steps, decay_steps, config.decay_factor, total)
    return np.float32(config.learning_rate) * factors


@functools.lru_cache(maxsize=256)
def _factors(
    schedule: str, warmup_steps: int, decay_steps: tuple[int, ...], decay_factor: float, total: int
) -> np.ndarray:
    rest = max(total - warmup_steps, 1)
    after: optax.Schedule
    if schedule == "cosine":  # loshchilov2017sgdr, without restarts
        after = optax.cosine_decay_schedule(1.0, rest)
    elif schedule == "onecycle":  # smith2018super
        after = optax.linear_onecycle_schedule(rest, 1.0)
    elif schedule == "step":
        after = optax.piecewise_constant_schedule(1.0, {step - warmup_steps: decay_factor for step in decay_steps})
    else:
        after = optax.constant_schedule(1.0)
    if warmup_steps:
        rise = optax.linear_schedule(0.0, 1.0, warmup_steps)
        after = optax.join_schedules([lambda step: rise(step + 1), after], [warmup_steps])
    return np.asarray(jax.vmap(lambda step: jnp.asarray(after(step), jnp.float32))(jnp.arange(total)))
