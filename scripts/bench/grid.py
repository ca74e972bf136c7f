"""What the peers' trainers of a grid share: the data, the trials, the clock. Imports no framework."""

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
    """What every trial has in common."""

    epochs: int
    batch_size: int


Train = Callable[[Job, Data, int, float, int], float]  # job, data, filters, learning rate, seed -> validation accuracy


def main(train: Train, started: float) -> None:
    """`python -m bench.X DATA.npz JOB.json`: trains the trials of the job and prints a JSON object: seconds and
    validation accuracy of each, the seconds that the process took beside them."""
    with np.load(sys.argv[1]) as file:
        data = Data(**{name: file[name] for name in file.files})
    with open(sys.argv[2], encoding="utf-8") as file:
        asked = json.load(file)
    job = Job(asked["epochs"], asked["batch_size"])
    before = time.perf_counter() - started
    seconds, accuracies = [], []
    for width, learning_rate, seed in asked["trials"]:
        begun = time.perf_counter()
        accuracies.append(train(job, data, width, learning_rate, seed))
        seconds.append(time.perf_counter() - begun)
    print(json.dumps({"before": before, "seconds": seconds, "accuracies": accuracies}))
