"""The training step: forward pass, loss, backward pass and update as pure functions in one jitted program."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from cnn_jax import metrics, ops, randomness
from cnn_jax.losses import distillation
from cnn_jax.metrics import Totals
from cnn_jax.network import Network
from cnn_jax.training.augment import augment
from cnn_jax.training.devices import mesh
from cnn_jax.training.state import Answers, Examples, Program, TrainState
from cnn_jax.training.trials import for_each
from cnn_jax.training.views import VIEWS

HParams = dict[str, Any]  # traced numbers, see `state.hparams_of`


class Batch(NamedTuple):
    """The examples of a step, by slot; many batches have a leading axis of steps."""

    positions: Array  # int32 (b,), of the examples in the split
    mask: Array  # float32 (b,), 1 for an example, 0 for padding
    partners: Array  # int32 (b,), the slot whose example mixup mixes in
    partner_positions: Array  # int32 (b,), of that example in the split

    def at(self, step: ArrayLike) -> "Batch":
        """The batch of one step."""
        return Batch(*(x[..., step, :] for x in self))


class Steps(NamedTuple):
    """The inputs of consecutive steps, on the device."""

    examples: Examples
    batches: Batch  # (…, steps, slots)
    learning_rates: Array  # float32 (…, steps)
    epoch: ArrayLike = 0  # int32 (), the number of the epoch, from 0


class Moment(NamedTuple):
    """The source of randomness of a step: the key of the run, the number of steps done, and that of the epoch."""

    key: Array
    step: Array
    epoch: ArrayLike


class _Slots(NamedTuple):
    """A batch with the data of each slot; split over devices and over accumulated parts."""

    positions: Array
    mask: Array
    slot: Array  # index of the slot in the whole batch, for its random keys
    partner: Array  # position of the example that mixup mixes in
    partner_slot: Array


def normalise(images: Array, mean: ArrayLike, std: ArrayLike, dtype: str) -> Array:
    """Normalises images of 0 … 1 to zero mean and unit variance over the training split, per channel, in `dtype`."""
    return ((images - jnp.asarray(mean)[None, None, None]) / jnp.asarray(std)[None, None, None]).astype(dtype)


def pixels(examples: Examples, positions: Array) -> Array:
    """The images at `positions` as float32 in 0 … 1."""
    return examples.images[positions].astype(jnp.float32) / 255.0


def forward(
    program: Program,
    variables: Any,
    examples: Examples,
    images: Array,
    mask: Array,
    hparams: HParams,
    moment: Moment,
    number: int,
) -> tuple[Array, Any]:
    """The logits of part `number` of a batch in training, for images of 0 … 1, and the new batch statistics."""
    axis_name, (key, step, _) = program.axis_name, moment
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    return program.network.apply_train(
        variables,
        normalise(images, examples.mean, examples.std, program.dtype),
        key=randomness.dropout(key, step, number, device),
        dropout_rate=hparams["dropout"] if program.dropout else None,
        mask=mask,
        axis_name=axis_name,
        remat=program.remat,
        feedback_key=randomness.feedback_weights(key) if program.feedback else None,
        contained=(program.contained, hparams["contained"]) if program.contained else None,
    )


def _gradient(
    program: Program,
    params: Any,
    batch_stats: Any,
    examples: Examples,
    slots: _Slots,
    hparams: HParams,
    moment: Moment,
) -> tuple[Any, tuple[Totals, Any]]:
    """The gradient of the mean loss over the batch, the metric totals and the new batch statistics. With several
    devices this runs on each device with its part of the slots, and the results are summed."""
    axis_name = program.axis_name
    mix = next((augmentation for augmentation in program.augmentations if augmentation.mixes), None)

    def total(tree: Any) -> Any:
        return tree if axis_name is None else jax.lax.psum(tree, axis_name)

    count = jnp.maximum(total(slots.mask.sum()), 1.0)

    key, step, epoch = moment

    def augmented(positions: Array, slot: Array) -> Array:
        keys = jax.vmap(functools.partial(randomness.augmentation, key, step))(slot)
        example_keys = jax.vmap(functools.partial(randomness.example, key))(positions)
        return augment(program.augmentations, keys, pixels(examples, positions), example_keys, epoch)

    def mean_loss(params: Any, batch_stats: Any, part: _Slots, number: int) -> tuple[Array, tuple[Totals, Any]]:
        """The contribution of part `number` of the slots to the mean loss, with (metric totals, batch statistics)."""
        labels = examples.labels[part.positions]
        images = augmented(part.positions, part.slot)
        if mix is not None:
            mix_keys = jax.vmap(functools.partial(randomness.mixing, key, step))(part.slot)
            images, share = jax.vmap(mix)(mix_keys, images, augmented(part.partner, part.partner_slot))
        variables = {"params": params, "batch_stats": batch_stats}
        logits, batch_stats = forward(program, variables, examples, images, part.mask, hparams, moment, number)
        losses = program.loss(logits, labels, hparams["label_smoothing"])
        if mix is not None:
            other_losses = program.loss(logits, examples.labels[part.partner], hparams["label_smoothing"])
            losses = share * losses + (1.0 - share) * other_losses
        if program.teacher is not None:
            weight = hparams["teacher_weight"]
            answers = _answers(program, program.teacher.network, examples.teacher, images)
            losses = (1.0 - weight) * losses + weight * distillation(logits, answers, hparams["temperature"])
        loss = jnp.where(part.mask > 0, losses, 0.0).sum() / count
        return loss, (metrics.totals(program.loss(logits, labels), logits, labels, part.mask), batch_stats)

    grads, totals = jax.tree.map(jnp.zeros_like, params), metrics.zero()
    parts = jax.tree.map(lambda x: jnp.split(x, program.accumulate), slots)
    for i in range(program.accumulate):
        part = _Slots(*(field[i] for field in parts))
        part_grads, (part_totals, batch_stats) = jax.grad(mean_loss, has_aux=True)(params, batch_stats, part, i)
        grads, totals = (
            (jax.tree.map(jnp.add, grads, part_grads), totals + part_totals) if i else (part_grads, part_totals)
        )
    return total(grads), (total(totals), batch_stats)


def _answers(program: Program, network: Network, teacher: Answers, images: Array) -> Array:
    """The logits of the teacher for images of 0 … 1."""
    return network.apply(teacher.variables, normalise(images, teacher.mean, teacher.std, program.dtype))


def train_step(
    program: Program,
    examples: Examples,
    state: TrainState,
    batch: Batch,
    learning_rate: Array,
    hparams: HParams,
    key: Array,
    epoch: ArrayLike = 0,
) -> TrainState:
    """One step: gradient, update, new parameters.

    `key` is the key of the run. All randomness derives from it and the number of the step, so that a resumed run draws
    the same numbers as an uninterrupted one.
    """
    numbers = jnp.arange(batch.positions.size)
    slots = _Slots(batch.positions, batch.mask, numbers, batch.partner_positions, batch.partners)
    where = Examples(P("batch"), P("batch"), P(), P(), P()) if program.streamed else P()  # type: ignore[arg-type]
    gradient = on_devices(program, _gradient, (P(), P(), where, P("batch"), P(), P()), (P(), (P(), P())))
    moment = Moment(key, state.step, epoch)
    with jax.default_matmul_precision(program.precision), ops.using(program.implementation):
        grads, (totals, batch_stats) = gradient(state.params, state.batch_stats, examples, slots, hparams, moment)
        if program.sam:  # foret2021sharpness, equation 3; metrics and batch statistics are those of the weights
            up = hparams["sam"] / jnp.maximum(optax.tree.norm(grads), 1e-12)
            above = jax.tree.map(lambda p, g: p + up * g, state.params, grads)
            grads, _ = gradient(above, state.batch_stats, examples, slots, hparams, moment)
    if program.noise:
        grads = _with_noise(grads, hparams["gradient_noise"] / (1.0 + state.step) ** 0.55, moment)
    mean_loss = totals.sums["loss"] / jnp.maximum(totals.examples, 1)
    updates, opt_state = program.optimizer(learning_rate, hparams).update(
        grads, state.opt_state, state.params, value=mean_loss, grad=grads
    )
    params = optax.apply_updates(state.params, updates)
    finite = functools.reduce(jnp.logical_and, (jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)))
    bad = ~(finite & jnp.isfinite(totals.sums["loss"]))
    ema = state.ema
    if program.optimizer.averages:
        ema = program.optimizer.averaged(opt_state, params)
    elif program.ema:  # the decay rises from 0.1; otherwise the random initial weights would dominate for long
        decay = jnp.minimum(hparams["ema"], (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda e, p: decay * e + (1.0 - decay) * p, ema, params)
    return TrainState(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=ema,
        totals=state.totals + totals,
        diverged_step=jnp.where((state.diverged_step < 0) & bad, state.step + 1, state.diverged_step),
    )


def _with_noise(grads: Any, variance: Array, moment: Moment) -> Any:
    """Adds normal noise of this variance to every element of the gradient (neelakantan2015adding, 3)."""
    leaves, tree = jax.tree.flatten(grads)
    noise = [
        jax.random.normal(randomness.gradient_noise(moment.key, moment.step, i), leaf.shape, leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, [g + jnp.sqrt(variance) * z for g, z in zip(leaves, noise, strict=True)])


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_steps(
    program: Program,
    state: TrainState,
    steps: Steps,
    first: ArrayLike,
    last: ArrayLike,
    hparams: HParams,
    key: Array,
) -> TrainState:
    """The state after steps `first` up to, excluding, `last` of `steps`. `state` is donated.

    Any number of steps is one dispatch of the same compiled program. If the program has a transform, then state,
    batches, learning rates, hparams and key have a leading axis of trials.
    """

    def step(i: Array, state: TrainState) -> TrainState:
        one = functools.partial(train_step, program, steps.examples, epoch=steps.epoch)
        return for_each(program.transform, one)(state, steps.batches.at(i), steps.learning_rates[..., i], hparams, key)

    return jax.lax.fori_loop(first, last, step, state)


def evaluate_step(program: Program, params: Any, batch_stats: Any, examples: Examples, batch: Batch) -> Totals:
    """The metric totals of one batch, with the network in inference mode."""

    def score(program: Program, params: Any, batch_stats: Any, examples: Examples, batch: Batch) -> Totals:
        labels = examples.labels[batch.positions]
        images = normalise(pixels(examples, batch.positions), examples.mean, examples.std, program.dtype)
        variables = {"params": params, "batch_stats": batch_stats}
        views = [weight * program.network.apply(variables, view(images)) for weight, view in VIEWS[program.views]]
        logits = functools.reduce(jnp.add, views)
        totals = metrics.totals(program.loss(logits, labels), logits, labels, batch.mask)
        return totals if program.axis_name is None else jax.lax.psum(totals, program.axis_name)

    with jax.default_matmul_precision(program.precision), ops.using(program.implementation):
        return on_devices(program, score, (P(), P(), P(), P("batch")), P())(params, batch_stats, examples, batch)


@functools.partial(jax.jit, static_argnums=0)
def evaluate_steps(
    program: Program,
    state: TrainState,
    examples: Examples,
    batches: Batch,
    first: ArrayLike,
    last: ArrayLike,
    totals: Totals,
) -> Totals:
    """`totals` plus the metric totals of batches `first` up to, excluding, `last`, with the averaged weights if the
    program keeps them. If the program has a transform, state and totals have a leading axis of trials."""
    params = state.ema if program.ema else state.params

    def step(i: Array, totals: Totals) -> Totals:
        def score(params: Any, batch_stats: Any) -> Totals:
            return evaluate_step(program, params, batch_stats, examples, batches.at(i))

        return totals + for_each(program.transform, score)(params, state.batch_stats)

    return jax.lax.fori_loop(first, last, step, totals)


def on_devices(program: Program, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    """`function(program, …)`, run on every device of the program with its shard of the arguments."""
    local = functools.partial(function, program)
    if program.devices == 1:
        return local
    across = mesh(program.devices, program.hosts)
    return jax.shard_map(local, mesh=across, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def batches(index: np.ndarray, batch_size: int, multiple: int) -> Batch:
    """Cuts `index` into batches of `batch_size` examples: arrays of shape (steps, slots). The number of slots is
    `batch_size` rounded up to a multiple of `multiple`; unused slots are masked. Every position of `index` is in
    exactly one unmasked slot."""
    slots = -(-batch_size // multiple) * multiple
    steps = -(-len(index) // batch_size)
    positions, partners = np.zeros((2, steps, slots), np.int32)
    mask = np.zeros((steps, slots), np.float32)
    for step in range(steps):
        part = index[step * batch_size : (step + 1) * batch_size]
        positions[step] = np.resize(part, slots)
        mask[step, : len(part)] = 1.0
        partners[step] = (np.arange(slots) + 1) % len(part)
    return Batch(positions, mask, partners, np.take_along_axis(positions, partners, 1))  # type: ignore[arg-type]


def epoch_order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """The order of the examples in an epoch; it depends only on the seed and the epoch."""
    return randomness.order(seed, epoch).permutation(examples)
