"""Worker: cnn_jax, the compiled training step that `fit` takes. The images lie on the device as uint8; gathering and
normalising a batch are a part of the step. Environment variables choose between variants, see contenders.py."""

from collections.abc import Callable

import jax
import numpy as np

from bench import worker, works
from bench.worker import Built, Job
from cnn_jax.runs.record import device, versions
from cnn_jax.training.config import Config
from cnn_jax.training.state import Examples, Program, State, hyper_of, initial_state, run_key
from cnn_jax.training.step import batches, compiled_train_step, epoch_order, replicate
from cnn_jax.zoo import build as build_network

Run = Callable[[int], tuple[int, float]]  # see worker.Built


def build(job: Job) -> Built:
    """The step of a config as any user has it, on one device."""
    config = Config(
        network=job.work.text,
        batch_size=job.batch_size,
        learning_rate=works.LEARNING_RATE,
        momentum=works.MOMENTUM,
        devices=1,
    )
    network = build_network(config.network, job.work.shape, works.CLASSES)
    program = Program.of(config, network)
    images, labels = works.examples(job.work, job.batch_size)
    examples: Examples = replicate(1, Examples(images, labels, *works.moments(images)))  # type: ignore[arg-type]
    state: State = replicate(1, initial_state(config, program))
    run = {"step": ours_step, "epoch": ours_epoch}[job.mode](config, program, examples, state)
    return Built(network.parameters, run, lambda: {"versions": versions(), "device": device()})


def ours_step(config: Config, program: Program, examples: Examples, state: State) -> Run:
    """One dispatch for each step, as in `fit`; the only wait is for the last of the steps that were asked for."""
    train_step = compiled_train_step(program)
    hyper, key = (replicate(1, tree) for tree in (hyper_of(config), run_key(config)))
    epoch = batches(epoch_order(config.seed, 0, len(examples.labels)), config.batch_size, program.accumulate)
    rate = np.float32(config.learning_rate)
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal state, done
        for _ in range(steps):
            state, loss_sum = train_step(state, examples, epoch[done % len(epoch)], rate, hyper, key)
            done += 1
        jax.block_until_ready(state)
        return steps, float(loss_sum) / config.batch_size

    return run


def ours_epoch(config: Config, program: Program, examples: Examples, state: State) -> Run:
    """Many steps in one dispatch. There is no compiled epoch yet: for now the same as `ours_step`."""
    return ours_step(config, program, examples, state)


if __name__ == "__main__":
    worker.main(build)
