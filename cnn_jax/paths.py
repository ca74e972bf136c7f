"""The location of the cache, whose contents can always be regenerated."""

import os
from pathlib import Path


def cache_root() -> Path:
    """$CNN_JAX_CACHE, or `cnn_jax` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    if path := os.environ.get("CNN_JAX_CACHE"):
        return Path(path).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "cnn_jax"
