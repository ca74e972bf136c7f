"""Trains the trials of a grid in PyTorch, one after another as its users do, and prints the seconds of each."""

import dataclasses
import time

import numpy as np
import torch
import torch.nn.functional as F

from bench import grid, works
from bench.torch_peer import stack, use_all_cores

TENSORS: dict[int, torch.Tensor] = {}


def tensor(array: np.ndarray) -> torch.Tensor:
    """Converts images to (n, channels, height, width) and labels to int64; cached."""
    if id(array) not in TENSORS:
        values = torch.from_numpy(array)
        TENSORS[id(array)] = values.permute(0, 3, 1, 2).contiguous() if values.ndim == 4 else values.long()
    return TENSORS[id(array)]


def train(job: grid.Job, data: grid.Data, width: int, learning_rate: float, seed: int) -> float:
    """Trains one trial; returns its validation accuracy."""
    use_all_cores()
    torch.manual_seed(seed)
    height, columns, channels = data.images.shape[1:]
    model = stack(dataclasses.replace(works.widened(works.GRID, width), shape=(height, columns, channels)))
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=works.MOMENTUM)
    images, labels = tensor(data.images), tensor(data.labels)
    for _ in range(job.epochs):
        for part in torch.randperm(len(labels)).split(job.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(model(images[part]), labels[part]).backward()
            optimizer.step()
    n_correct = 0
    with torch.no_grad():
        batches = zip(
            tensor(data.validation_images).split(job.batch_size),
            tensor(data.validation_labels).split(job.batch_size),
            strict=True,
        )
        for images, labels in batches:
            n_correct += int((model(images).argmax(-1) == labels).sum())
    return n_correct / len(data.validation_labels)


if __name__ == "__main__":
    grid.main(train, time.perf_counter())
