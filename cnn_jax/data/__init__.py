"""Labelled images as uint8 arrays with one table of splits: `load(name or path)` gives a `Dataset`;
`open_stream(name)` gives the same with a train split that stays on disk.

Light to import: TFDS and Pillow are imported where bytes are decoded, and neither is needed once arrays are cached.
"""

from cnn_jax.data.dataset import Dataset
from cnn_jax.data.load import load
from cnn_jax.data.split import OnDisk, Split
from cnn_jax.data.stream import Streamed, open_stream

__all__ = ["Dataset", "OnDisk", "Split", "Streamed", "load", "open_stream"]
