"""Ten steps of one run over the devices of all processes: ten_steps.py OUT DTYPE memory|stream. Writes OUT-INDEX.npz:
the losses, the parameters, and the positions that this process has read, epoch by epoch."""

import dataclasses
import sys
from types import SimpleNamespace

from cnn_jax import runtime

runtime.join_processes()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from cnn_jax import metrics  # noqa: E402
from cnn_jax.data import Split  # noqa: E402
from cnn_jax.network import Network  # noqa: E402
from cnn_jax.notation import parse  # noqa: E402
from cnn_jax.training.config import Config  # noqa: E402
from cnn_jax.training.epoch import StreamedExamples, steps_of_epoch  # noqa: E402
from cnn_jax.training.fit import evaluate, initial_states, traced_numbers  # noqa: E402
from cnn_jax.training.state import Examples, Program  # noqa: E402
from cnn_jax.training.step import train_steps  # noqa: E402

EXAMPLES, STEPS = 100, 10


def run(out, dtype, source):
    config = Config(batch_size=16, augment="flip crop1 mixup0.4", learning_rate=0.05, stream=source == "stream")
    network = Network((8, 8, 1), parse("conv3-4 bn relu max2 dense-10"))
    program = dataclasses.replace(Program.of(config, network, hosts=jax.process_count()), dtype=dtype)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (EXAMPLES, 8, 8, 1), np.uint8)
    labels = random.integers(0, 10, EXAMPLES).astype(np.int32)
    moments = np.full(1, 0.5, dtype), np.full(1, 0.3, dtype)
    reads = []

    def chunks(positions, size, crops):
        reads.append(np.asarray(positions))
        for start in range(0, len(positions), size):
            part = positions[start : start + size]
            yield Split(images[part], labels[part])

    stream = SimpleNamespace(labels=labels, image_shape=(8, 8, 1), chunks=chunks)
    held = program.replicate(Examples(images, labels, *moments))
    train = StreamedExamples(stream, *moments) if config.stream else held
    state = initial_states([config], program)
    if dtype == "float64":
        state = jax.tree.map(lambda x: x.astype("float64") if x.dtype == "float32" else x, state)
    losses, before, number = [], metrics.zero(), 0
    while len(losses) < STEPS:
        for numbers, steps in steps_of_epoch([config], program, train, number, len(losses)):
            for i in range(min(len(numbers), STEPS - len(losses))):
                state = train_steps(program, state, steps, i, i + 1, *traced_numbers([config], program))
                totals = jax.device_get(state.totals)
                losses.append((totals.sums["loss"] - before.sums["loss"]) / (totals.examples - before.examples))
                before = totals
        number += 1
    score = {"score": evaluate(program, state, held, config.batch_size).loss} if dtype == "float32" else {}
    params = {f"param {i}": leaf for i, leaf in enumerate(jax.tree.leaves(jax.device_get(state.params)))}
    epochs = {f"read {i}": positions for i, positions in enumerate(reads)}
    np.savez(f"{out}-{jax.process_index()}.npz", losses=losses, **score, **params, **epochs)


run(*sys.argv[1:])
runtime.leave_processes(0)
