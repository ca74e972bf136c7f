"""Worker: whole trainings of a config with cnn_jax, by the functions of `fit`, with a dispatch for each epoch.

    python -m bench.training_ours CONFIG PRECISION

Answers each line `train SEED` with the seconds and the test accuracy. All training images are used, those of the
validation split too.
"""

import dataclasses
import sys
import time
from typing import Any

import jax
import numpy as np

from bench.worker import serve_lines
from cnn_jax import runtime
from cnn_jax.api.loading import load_data
from cnn_jax.cli.common import read_json
from cnn_jax.data import Dataset, Split
from cnn_jax.runs.provenance import device, versions
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config
from cnn_jax.training.epoch import steps_of_epoch
from cnn_jax.training.fit import traced_numbers
from cnn_jax.training.step import train_steps


def config_of(path: str, precision: str) -> Config:
    config = Config.from_json(read_json(path))
    half = precision == "bfloat16"
    return dataclasses.replace(
        config, dtype="bfloat16" if half else "float32", precision="highest" if precision == "float32" else "default"
    )


def with_all_images(data: Dataset) -> Dataset:
    """The data, with the validation images among those for training."""
    assert isinstance(data.train, Split)
    parts = (data.train, data.validation)
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    return dataclasses.replace(data, train=dataclasses.replace(data.train, images=images, labels=labels))


def train(task: Task, seed: int) -> float:
    """Trains and returns the accuracy on the test split."""
    config = dataclasses.replace(task.config, seed=seed)
    task = dataclasses.replace(task, config=config)
    state, examples = task.initial_state(), task.train
    numbers = traced_numbers([config], task.program)
    for epoch in range(config.epochs):
        for steps, inputs in steps_of_epoch([config], task.program, examples, epoch, epoch * task.steps_per_epoch):
            state = train_steps(task.program, state, inputs, 0, len(steps), *numbers)
    accuracy = task.score(state, "test").accuracy
    assert accuracy is not None
    return accuracy


def main(path: str, precision: str) -> None:
    runtime.tune()
    task: Task

    def ready() -> dict[str, Any]:
        nonlocal task
        config = config_of(path, precision)
        data = load_data(config)
        task = Task.of(config, with_all_images(data))
        jax.block_until_ready((task.train.labels, task.examples("test").labels))
        started = time.perf_counter()
        train(task, 10**6)
        return {"compile_seconds": time.perf_counter() - started, "device": device(), "versions": versions()}

    def reply(line: str) -> dict[str, Any]:
        started = time.perf_counter()
        accuracy = train(task, int(line.split()[1]))
        return {"seconds": time.perf_counter() - started, "accuracy": accuracy}

    serve_lines(ready, reply)


if __name__ == "__main__":
    main(*sys.argv[1:])
