"""Labelled images as uint8 arrays in three splits: `load(name or path)` returns a `Dataset`, `open_stream(name)` the
same data set with a train split that stays on disk.

Light to import: TFDS and Pillow are imported only to decode, and are not needed once the arrays are cached.
"""

from cnn_jax.data.crops import RandomCrops
from cnn_jax.data.dataset import Dataset
from cnn_jax.data.load import load
from cnn_jax.data.split import OnDisk, Split
from cnn_jax.data.stream import Streamed, open_stream

__all__ = ["Dataset", "OnDisk", "RandomCrops", "Split", "Streamed", "load", "open_stream"]
