"""The small network that several experiments look into. Each trains its own, so that no two rest on the same runs."""

from typing import Any

from cnn_jax.runs.outcome import Outcome
from cnn_jax.study import Study

CLASSIC: dict[str, Any] = {
    "network": "conv5-8:same relu max2 conv5-16:same relu max2 conv3-32:same relu max2 dense-64 relu dense-10",
    "train_examples": 12000,
    "epochs": 12,
    "batch_size": 64,
}
RATE = 0.02


def classic(study: Study, **fields: Any) -> Outcome:
    """Trains it with every seed of the study. The weights before training are kept, those after it are the final ones;
    with `keep_all` those of every epoch."""
    return study.sweep("networks", {"learning_rate": (RATE,)}, **(CLASSIC | {"keep_all": True} | fields))
