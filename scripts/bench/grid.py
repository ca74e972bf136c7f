"""Shared by the peers that train a grid: data, trials, timing. Imports no framework."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Data:
    """Normalised float32 images (n, height, width, channels) and int32 labels."""

    images: np.ndarray
    labels: np.ndarray
    validation_images: np.ndarray
    validation_labels: np.ndarray


@dataclass(frozen=True)
class Job:
    """The settings common to all trials."""

    epochs: int
    batch_size: int


Train = Callable[[Job, Data, int, float, int], float]  # job, data, filters, learning rate, seed -> validation accuracy


def main(train: Train, started: float) -> None:
    """`python -m bench.X DATA.npz JOB.json`: trains the trials of the job and prints a JSON object: the seconds and the
    validation accuracy of each, and the seconds from `started` to the first trial."""
    with np.load(sys.argv[1]) as file:
        data = Data(**{name: file[name] for name in file.files})
    with open(sys.argv[2], encoding="utf-8") as file:
        settings = json.load(file)
    job = Job(settings["epochs"], settings["batch_size"])
    before = time.perf_counter() - started
    seconds, accuracies = [], []
    for width, learning_rate, seed in settings["trials"]:
        start = time.perf_counter()
        accuracies.append(train(job, data, width, learning_rate, seed))
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"before": before, "seconds": seconds, "accuracies": accuracies}))
