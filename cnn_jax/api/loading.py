"""The data of a config."""

import dataclasses
import functools
from typing import Any

import numpy as np

from cnn_jax.data import Dataset, Split, load, open_stream
from cnn_jax.errors import RequestError
from cnn_jax.training.config import Config


def with_data_dir(config: Config, data_dir: str | None) -> Config:
    """The config with its data in another folder, if one is given."""
    return config if data_dir is None else dataclasses.replace(config, data_dir=data_dir)


@functools.lru_cache(maxsize=8)
def _load(stream: bool, name: str, **options: Any) -> Dataset:
    return (open_stream if stream else load)(name, **options)


def load_data(config: Config) -> Dataset:
    """The data of a config, loaded or opened as a stream; cached in this process.

    Args:
      config: names the data set and its options.

    Returns:
      The data set; with `final_fit`, the validation images are added to train.

    Raises:
      DataError: the data are missing, damaged or unknown.
      RequestError: impossible options, such as `final_fit` with `stream`.
    """
    dataset = _load(
        config.stream, config.dataset, data_dir=config.data_dir, image_size=config.image_size, resize=config.resize,
        validation=config.validation, train_examples=config.train_examples, split_seed=config.seed_of_split,
        without_test=config.without_test,
    )  # fmt: skip
    return _join_validation(dataset) if config.final_fit else dataset


@functools.lru_cache(maxsize=2)
def _join_validation(dataset: Dataset) -> Dataset:
    """Adds the validation images to train. Raises RequestError for a stream."""
    parts = (dataset.train, dataset.validation)
    if not isinstance(dataset.train, Split):
        raise RequestError("final_fit needs the training images in memory: leave out stream")
    train = Split(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels")))
    return dataclasses.replace(dataset, train=train, source={**dataset.source, "final_fit": True}, known=None)
