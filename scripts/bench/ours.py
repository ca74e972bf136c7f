"""Worker: cnn_jax, with the compiled training step of `fit`. The images are on the device as uint8; gathering and
normalising a batch are part of the step. Environment variables choose between variants, see contenders.py."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from bench import worker, works
from bench.worker import Job, Runner
from cnn_jax import runtime
from cnn_jax.grids import engine, plan
from cnn_jax.ops.native import library
from cnn_jax.runs.provenance import device, versions
from cnn_jax.training.config import Config
from cnn_jax.training.devices import replicate
from cnn_jax.training.epoch import steps_of_epoch
from cnn_jax.training.fit import initial_states, traced_numbers
from cnn_jax.training.state import Examples, Program, TrainState
from cnn_jax.training.step import train_steps
from cnn_jax.zoo import build as build_network

Run = Callable[[int], tuple[int, float]]  # see worker.Runner


def build(job: Job) -> Runner:
    """The training step of a config as users run it, on one device or, for the variant devices=N, on several."""
    runtime.tune()
    devices = int(job.variant.removeprefix("devices=")) if job.variant.startswith("devices=") else 1
    config = Config(
        network=job.work.text,
        batch_size=job.batch_size,
        learning_rate=works.LEARNING_RATE,
        momentum=works.MOMENTUM,
        devices=devices,
        dtype="bfloat16" if job.precision == "bfloat16" else "float32",
        precision="highest" if job.precision == "float32" else "default",
    )
    network = build_network(config.network, job.work.shape, works.CLASSES)
    program = Program.of(config, network)
    if job.mode == "trials":
        return build_trials(job, config, program)
    images, labels = works.examples(job.work, job.batch_size)
    examples: Examples = replicate(Examples(images, labels, *works.moments(images)), devices)  # type: ignore[arg-type]
    run = {"step": ours_step, "epoch": ours_epoch}[job.mode](Epoch([config], program, examples))
    facts = {"implementation": program.implementation, "vectors": library.vectors()}
    return Runner(network.parameters, run, lambda: {**facts, "versions": versions(), "device": device()})


class Epoch:
    """The first epoch of some trials, which can be repeated."""

    def __init__(self, configs: list[Config], program: Program, examples: Examples):
        self.program, self.numbers = program, traced_numbers(configs, program)
        ((numbers, self._steps),) = steps_of_epoch(configs, program, examples, 0, 0)
        self.steps = len(numbers)
        self.state = initial_states(configs, program)

    def run(self, first: int, last: int) -> None:
        self.state = train_steps(self.program, self.state, self._steps, first, last, *self.numbers)


def mean_loss(state: TrainState) -> float:
    """The mean loss of the epoch so far, on the host; for several networks, of the first."""
    total, examples = (np.ravel(part)[0] for part in (state.totals.sums["loss"], state.totals.examples))
    return float(total / examples)


def ours_step(epoch: Epoch) -> Run:
    """One dispatch for each step; waits only for the last step."""
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal done
        for _ in range(steps):
            at = done % epoch.steps
            epoch.run(at, at + 1)
            done += 1
        return steps, mean_loss(epoch.state)

    return run


def ours_epoch(epoch: Epoch) -> Run:
    """One dispatch for each pass over the batches. (In `fit` a dispatch has the steps of about 0.2 s.)"""

    def run(steps: int) -> tuple[int, float]:
        epochs = -(-steps // epoch.steps)
        for _ in range(epochs):
            epoch.run(0, epoch.steps)
        return epochs * epoch.steps, mean_loss(epoch.state)

    return run


def build_trials(job: Job, config: Config, program: Program) -> Runner:
    """`job.trials` trials of a sweep, each with its own seed and learning rate, run in the mode of the variant."""
    configs = [
        dataclasses.replace(config, seed=i, learning_rate=works.LEARNING_RATE * 1.01**i, epochs=1000)
        for i in range(job.trials)
    ]
    images, labels = works.examples(job.work, job.batch_size)
    examples: Examples = replicate(Examples(images, labels, *works.moments(images)), 1)  # type: ignore[arg-type]
    way = plan.choose(job.variant, tuple(range(job.trials)), configs, program, examples, examples)  # type: ignore[arg-type]
    batched = dataclasses.replace(program, transform=way.transform)
    epochs = [Epoch([configs[i] for i in unit], batched, examples) for unit in way.batches()]

    def run(steps: int) -> tuple[int, float]:
        passes = -(-steps // epochs[0].steps)

        def work(epoch: Epoch) -> None:
            for _ in range(passes):
                epoch.run(0, epoch.steps)
                jax.block_until_ready(epoch.state)

        engine.run(epochs, work, plan.devices_of(way.workers))
        return passes * epochs[0].steps, mean_loss(epochs[0].state)

    facts = {"implementation": program.implementation, "plan": way.to_json()}
    return Runner(program.network.parameters, run, lambda: {**facts, "versions": versions(), "device": device()})


if __name__ == "__main__":
    worker.main(build)
