"""Labelled images as uint8 arrays with one table of splits: `load(name or path)` gives a `Dataset`.

Light to import: TFDS and Pillow are imported where bytes are decoded, and neither is needed once arrays are cached.
"""

from cnn_jax.data.dataset import Dataset, Split
from cnn_jax.data.load import load

__all__ = ["Dataset", "Split", "load"]
