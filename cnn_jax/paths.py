"""Where the package keeps files that it can regenerate."""

import os
from pathlib import Path


def cache_root() -> Path:
    """$CNN_JAX_CACHE, or `cnn_jax` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    if own := os.environ.get("CNN_JAX_CACHE"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "cnn_jax"
