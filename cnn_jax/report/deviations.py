"""How a run deviates from training on the whole training split with the data set's defaults."""

from cnn_jax.data.images import size_of
from cnn_jax.runs.schema import Data
from cnn_jax.training.config import Config
from cnn_jax.training.views import VIEWS


def _size(config: Config) -> str:
    height, width, how = size_of(config.image_size, config.resize) or (0, 0, "")
    return f"{height}x{width}" + ("" if how == "squash" else f" ({how})")


def deviations(config: Config, data: Data) -> list[str]:
    """The deviations as clauses for a sentence, a caption or a table; empty if there are none."""
    clauses = []
    train, validation = data.splits["train"], data.splits["validation"]
    available = data.source.get("split", {}).get("available", train)
    if config.train_examples is not None:
        clauses.append(f"{config.train_examples:,} of {available:,} training images")
    if config.image_size is not None:
        clauses.append(f"images resized to {_size(config)}")
    if config.final_fit:
        clauses.append("trained on training and validation images together after the choice")
    elif validation:
        clauses.append(f"{validation:,} of {available + validation:,} training images held out for validation")
    if config.split_seed is None:
        clauses.append("a split of its own for each seed")
    if config.precision != "highest":
        clauses.append(f"products at precision {config.precision}")
    if config.dtype != "float32":
        clauses.append(f"{config.dtype} activations")
    if config.views != "one":
        clauses.append(f"logits averaged over {len(VIEWS[config.views])} views of each test image")
    if config.select == "best":
        clauses.append("weights of the epoch of the best validation accuracy")
    return clauses
