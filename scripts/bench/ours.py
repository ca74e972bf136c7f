"""Worker: cnn_jax, the compiled training steps that `fit` takes. The images lie on the device as uint8; gathering and
normalising a batch are a part of the step. Environment variables choose between variants, see contenders.py."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from bench import worker, works
from bench.worker import Built, Job
from cnn_jax import runtime
from cnn_jax.grids import engine, plan
from cnn_jax.runs.provenance import device, versions
from cnn_jax.training.config import Config
from cnn_jax.training.epoch import Epoch
from cnn_jax.training.fit import initial_states
from cnn_jax.training.state import Examples, Program, TrainState, initial_state
from cnn_jax.training.step import replicate
from cnn_jax.zoo import build as build_network

Run = Callable[[int], tuple[int, float]]  # see worker.Built


def build(job: Job) -> Built:
    """The step of a config as any user has it, on one device or, in a variant devices=N, on several."""
    runtime.tune()
    devices = int(job.variant.removeprefix("devices=")) if job.variant.startswith("devices=") else 1
    config = Config(
        network=job.work.text,
        batch_size=job.batch_size,
        learning_rate=works.LEARNING_RATE,
        momentum=works.MOMENTUM,
        devices=devices,
    )
    network = build_network(config.network, job.work.shape, works.CLASSES)
    program = Program.of(config, network)
    if job.mode == "trials":
        return build_trials(job, config, program)
    images, labels = works.examples(job.work, job.batch_size)
    examples: Examples = replicate(devices, Examples(images, labels, *works.moments(images)))  # type: ignore[arg-type]
    state: TrainState = replicate(devices, initial_state(config, program))
    epoch = Epoch([config], program, None, examples, 0)
    run = {"step": ours_step, "epoch": ours_epoch}[job.mode](epoch, state)
    facts = {"implementation": program.implementation}
    return Built(network.parameters, run, lambda: {**facts, "versions": versions(), "device": device()})


def mean_loss(state: TrainState) -> float:
    """Of the epoch so far, on the host; of several networks at once the first one's."""
    total, examples = (np.ravel(part)[0] for part in (state.totals.sums["loss"], state.totals.examples))
    return float(total / examples)


def ours_step(epoch: Epoch, state: TrainState) -> Run:
    """One dispatch for each step; the only wait is for the last of the steps that were asked for."""
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal state, done
        for _ in range(steps):
            at = done % epoch.steps
            state = epoch.run(state, at, at + 1)
            done += 1
        return steps, mean_loss(state)

    return run


def ours_epoch(epoch: Epoch, state: TrainState) -> Run:
    """One dispatch for each pass over the batches. (In `fit` a dispatch has as many steps as take about 0.2 s.)"""

    def run(steps: int) -> tuple[int, float]:
        nonlocal state
        epochs = -(-steps // epoch.steps)
        for _ in range(epochs):
            state = epoch.run(state, 0, epoch.steps)
        return epochs * epoch.steps, mean_loss(state)

    return run


def build_trials(job: Job, config: Config, program: Program) -> Built:
    """So many trials of a sweep, each with a seed and a learning rate of its own, run as `sweep.plan` says."""
    configs = [
        dataclasses.replace(config, seed=i, learning_rate=works.LEARNING_RATE * 1.01**i, epochs=1000)
        for i in range(job.trials)
    ]
    images, labels = works.examples(job.work, job.batch_size)
    examples: Examples = replicate(1, Examples(images, labels, *works.moments(images)))  # type: ignore[arg-type]
    way = plan.choose(job.variant, tuple(range(job.trials)), configs, program, examples, examples)  # type: ignore[arg-type]
    units = [[configs[i] for i in unit] for unit in way.units()]
    epochs = [Epoch(unit, program, way.together, examples, 0) for unit in units]
    states = [initial_states(unit, program, way.together) for unit in units]

    def run(steps: int) -> tuple[int, float]:
        passes = -(-steps // epochs[0].steps)

        def work(unit: int) -> None:
            for _ in range(passes):
                states[unit] = jax.block_until_ready(epochs[unit].run(states[unit], 0, epochs[unit].steps))

        engine.run(range(len(units)), work, plan.devices_of(way.workers))
        return passes * epochs[0].steps, mean_loss(states[0])

    facts = {"implementation": program.implementation, "plan": way.to_json()}
    return Built(program.network.parameters, run, lambda: {**facts, "versions": versions(), "device": device()})


if __name__ == "__main__":
    worker.main(build)
