"""In what a run differs from training with the whole training split and the data set's defaults."""

from cnn_jax.runs.schema import Data
from cnn_jax.training.config import Config


def deviations(config: Config, data: Data) -> list[str]:
    """Clauses for a sentence, a caption or a row of a table; none where a run deviates in nothing."""
    clauses = []
    used, split = data.splits["train"], data.source.get("split", {})
    available = split.get("available")
    if config.train_examples is not None:
        of = f" of {available:,}" if available else ""
        clauses.append(f"{config.train_examples:,}{of} training images")
    if config.image_size is not None:
        clauses.append(f"images resized to {config.image_size}x{config.image_size}")
    if config.final_fit:
        clauses.append("trained on training and validation images together after the choice")
    elif data.splits["validation"]:
        held = data.splits["validation"]
        clauses.append(f"{held:,} of {used + held:,} training images held out for validation")
    if config.select == "best":
        clauses.append("weights of the epoch of the best validation accuracy")
    return clauses
