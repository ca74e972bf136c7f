"""A config with its data on the device."""

import numpy as np

from cnn_jax.data import Dataset
from cnn_jax.runs import task
from cnn_jax.runs.task import Task
from cnn_jax.training.config import Config


def a_task(seed):
    random = np.random.default_rng(seed)
    images, labels = random.integers(0, 256, (40, 8, 8, 1), np.uint8), np.arange(40) % 2
    return Task.of(Config(network="dense-classes"), Dataset.from_arrays(images, labels), devices=1)


def test_equal_data_lies_on_the_device_once_and_the_longest_unused_makes_room(monkeypatch):
    monkeypatch.setattr(task, "_resident", type(task._resident)())
    first, same, other = a_task(0), a_task(0), a_task(1)
    assert first.dataset is not same.dataset
    assert first.examples("train").images is same.examples("train").images
    assert other.examples("train").images is not first.examples("train").images
    np.testing.assert_array_equal(other.examples("train").images, other.dataset.train.images)
    assert len(task._resident) == 2
    monkeypatch.setattr(task, "MOST_BYTES", 2 * first.examples("train").images.nbytes)
    a_task(2).examples("train")
    kept = [images.tobytes() for images in (np.asarray(one.images) for one in task._resident.values())]
    assert len(kept) == 2
    assert np.asarray(first.dataset.train.images).tobytes() in kept  # used after `other`, which is gone
