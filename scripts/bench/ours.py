"""Worker: cnn_jax, the compiled training steps that `fit` takes. The images lie on the device as uint8; gathering and
normalising a batch are a part of the step. Environment variables choose between variants, see contenders.py."""

from collections.abc import Callable

from bench import worker, works
from bench.worker import Built, Job
from cnn_jax import runtime
from cnn_jax.runs.record import device, versions
from cnn_jax.training.config import Config
from cnn_jax.training.epoch import Epoch
from cnn_jax.training.state import Examples, Program, State, initial_state
from cnn_jax.training.step import replicate
from cnn_jax.zoo import build as build_network

Run = Callable[[int], tuple[int, float]]  # see worker.Built


def build(job: Job) -> Built:
    """The step of a config as any user has it, on one device."""
    runtime.tune()
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
    epoch = Epoch([config], program, None, examples, 0)
    run = {"step": ours_step, "epoch": ours_epoch}[job.mode](epoch, state)
    facts = {"implementation": program.implementation}
    return Built(network.parameters, run, lambda: {**facts, "versions": versions(), "device": device()})


def ours_step(epoch: Epoch, state: State) -> Run:
    """One dispatch for each step; the only wait is for the last of the steps that were asked for."""
    done = 0

    def run(steps: int) -> tuple[int, float]:
        nonlocal state, done
        for _ in range(steps):
            at = done % epoch.steps
            state = epoch.run(state, at, at + 1)
            done += 1
        return steps, float(state.sums.mean_loss)

    return run


def ours_epoch(epoch: Epoch, state: State) -> Run:
    """One dispatch for each pass over the batches. (In `fit` a dispatch has as many steps as take about 0.2 s.)"""

    def run(steps: int) -> tuple[int, float]:
        nonlocal state
        epochs = -(-steps // epoch.steps)
        for _ in range(epochs):
            state = epoch.run(state, 0, epoch.steps)
        return epochs * epoch.steps, float(state.sums.mean_loss)

    return run


if __name__ == "__main__":
    worker.main(build)
