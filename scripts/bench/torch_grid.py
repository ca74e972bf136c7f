"""Trains trials of a grid in PyTorch, one after another as its users do, and prints the seconds of each."""

import dataclasses
import time

import numpy as np
import torch
import torch.nn.functional as F

from bench import grid, works
from bench.torch_peer import stack, use_all_cores

TENSORS: dict[int, torch.Tensor] = {}


def tensor(array: np.ndarray) -> torch.Tensor:
    """Images as (n, channels, height, width), made once."""
    if id(array) not in TENSORS:
        made = torch.from_numpy(array)
        TENSORS[id(array)] = made.permute(0, 3, 1, 2).contiguous() if made.ndim == 4 else made.long()
    return TENSORS[id(array)]


def train(job: grid.Job, data: grid.Data, width: int, learning_rate: float, seed: int) -> float:
    """One trial: its validation accuracy."""
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
    right = 0
    with torch.no_grad():
        several = zip(
            tensor(data.validation_images).split(job.batch_size),
            tensor(data.validation_labels).split(job.batch_size),
            strict=True,
        )
        for images, labels in several:
            right += int((model(images).argmax(-1) == labels).sum())
    return right / len(data.validation_labels)


if __name__ == "__main__":
    grid.main(train, time.perf_counter())
