"""cnn_jax: a functional codebase for research on convolutional networks in JAX.

The names below are the public API; each is imported on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Callback": "cnn_jax.runs.callbacks:Callback",
    "Config": "cnn_jax.training.config:Config",
    "Dataset": "cnn_jax.data:Dataset",
    "Grid": "cnn_jax.grids.grid:Grid",
    "Network": "cnn_jax.network:Network",
    "evaluate": "cnn_jax.api:evaluate",
    "insight": "cnn_jax.insight",
    "layers": "cnn_jax.layers",
    "load_data": "cnn_jax.data:load",
    "parse": "cnn_jax.notation:parse",
    "predict": "cnn_jax.api:predict",
    "register": "cnn_jax.register",
    "see": "cnn_jax.api:see",
    "sweep": "cnn_jax.api:sweep",
    "train": "cnn_jax.api:train",
}
__all__ = [
    "Callback", "Config", "Dataset", "Grid", "Network", "evaluate", "insight", "layers", "load_data", "parse",
    "predict", "register", "see", "sweep", "train",
]  # fmt: skip

if TYPE_CHECKING:
    from cnn_jax import insight, layers, register
    from cnn_jax.api import evaluate, predict, see, sweep, train
    from cnn_jax.data import Dataset
    from cnn_jax.data.load import load as load_data
    from cnn_jax.grids.grid import Grid
    from cnn_jax.network import Network
    from cnn_jax.notation import parse
    from cnn_jax.runs.callbacks import Callback
    from cnn_jax.training.config import Config


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'cnn_jax' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    value = importlib.import_module(module)
    value = getattr(value, attribute) if attribute else value
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
