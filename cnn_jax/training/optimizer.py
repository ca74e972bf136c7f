"""Directions and schedules. An optimizer here gives the direction d of an update; the step is params -= lr · d, with
the learning rate an argument of the step, so that another rate is another number and not another program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from cnn_jax.errors import RequestError
from cnn_jax.training.config import Config

SOURCES = {
    "sgd": "sutskever2013importance", "signsgd": "bernstein2018signsgd", "adam": "kingma2015adam",
    "adamw": "loshchilov2019decoupled",
}  # fmt: skip
SCHEDULES = {"cosine": "loshchilov2017sgdr", "onecycle": "smith2018super"}
ONE_CYCLE = ((0.3, 1.0), (0.85, 1 / 25), (1.0, 1 / 25e4))  # from 1/25: the factor after which share of the steps


def make_direction(
    name: str, nesterov: bool, clip: bool, momentum: ArrayLike, weight_decay: ArrayLike, clip_norm: ArrayLike
) -> optax.GradientTransformation:
    """The chain gradient -> direction. The first three arguments shape the program, the others may be traced.

    SGD: sutskever2013importance (v = momentum · v + g); signSGD: bernstein2018signsgd, algorithm 2 (the sign of v);
    Adam: kingma2015adam (second-moment decay 0.999, epsilon 1e-8), with `nesterov` dozat2016incorporating; AdamW:
    loshchilov2019decoupled. Clipping comes first, so that it does not see the weight decay. Weight decay spares biases
    and norms.
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


def learning_rates(config: Config, steps_per_epoch: int, steps: np.ndarray) -> np.ndarray:
    """The learning rates of the steps with these numbers, counted from 0 at the start of the run: float32 (steps,).

    `step` multiplies by decay_factor once for every milestone that has been reached, counted from the start of the run,
    warm-up included; cosine and one-cycle fill the steps after the warm-up.
    """
    warmup = warmup_steps(config, steps_per_epoch)
    since, rest = steps - warmup, config.epochs * steps_per_epoch - warmup
    if config.schedule == "cosine":  # loshchilov2017sgdr, without restarts
        factors = 0.5 * (1.0 + np.cos(np.pi * since / max(rest, 1)))
    elif config.schedule == "onecycle":  # smith2018super
        shares, values = zip(*ONE_CYCLE, strict=True)
        factors = np.interp(since, [0, *(int(share * rest) for share in shares)], [1 / 25, *values])
    elif config.schedule == "step":
        reached = np.searchsorted(milestones(config, steps_per_epoch), steps, side="right")
        with np.errstate(over="ignore", under="ignore"):  # `check_schedule` speaks of it
            factors = np.power(config.decay_factor, reached.astype(float))
    else:
        factors = np.ones(len(steps))
    factors = np.where(steps < warmup, (steps + 1) / max(warmup, 1), factors)
    with np.errstate(over="ignore", under="ignore"):
        return (config.learning_rate * factors).astype(np.float32)


def warmup_steps(config: Config, steps_per_epoch: int) -> int:
    """The steps over which the learning rate rises from 0."""
    return round(config.warmup_epochs * steps_per_epoch)


def milestones(config: Config, steps_per_epoch: int) -> list[int]:
    """The numbers of the first steps with a lower learning rate; one that stands twice lowers it twice."""
    return [round(epoch * steps_per_epoch) for epoch in config.decay_epochs]


def check_schedule(config: Config, steps_per_epoch: int) -> list[str]:
    """What of the schedule never acts in a run with so many steps per epoch, a line each. RequestError for a schedule
    that cannot be in so few steps."""
    total, warmup = config.epochs * steps_per_epoch, warmup_steps(config, steps_per_epoch)
    of = f"of {total} steps ({steps_per_epoch} per epoch)"
    if config.schedule == "onecycle" and int(ONE_CYCLE[0][0] * total) < 1:
        raise RequestError(f"schedule 'onecycle' cannot rise and fall in a run {of}: it needs at least 4")
    changes = np.array([step for step in milestones(config, steps_per_epoch) if step < total], int)
    rates = learning_rates(config, steps_per_epoch, changes)
    if not np.isfinite(rates).all():
        raise RequestError(f"the learning rate is not finite from step {changes[~np.isfinite(rates)][0]} on, {of}")
    notes = []
    if config.warmup_epochs and warmup < 2:
        notes.append(f"warmup_epochs = {config.warmup_epochs:g} never acts: it is {warmup} {of}")
    if config.schedule == "cosine" and total - warmup < 2:
        notes.append(f"schedule 'cosine' never acts: it has {total - warmup} {of}")
    for epoch, step in zip(config.decay_epochs, milestones(config, steps_per_epoch), strict=True):
        if step >= total:
            notes.append(f"the decay after epoch {epoch:g} never acts: it rounds to the end {of}")
        elif step == total - 1:
            notes.append(f"the decay after epoch {epoch:g} acts on the last step alone, {of}")
        elif step == 0:
            notes.append(f"the decay after epoch {epoch:g} acts from the first step on: it rounds to the start {of}")
    if (zero := rates < np.finfo(np.float32).tiny).any():
        notes.append(f"from step {changes[zero][0]} on nothing is learned: the learning rate is 0 in float32")
    return notes
