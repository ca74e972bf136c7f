"""cnn-jax export: writes the weights of a trained network to a file for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from cnn_jax.cli import common


@dataclass(frozen=True, kw_only=True)
class Export(common.Common):
    """Writes the weights of a trained network to a file for other programs.

    For example: cnn-jax export RUN --format safetensors
    """

    run: Positional[Path]
    """A run's folder, or a sweep's (its best run is used)."""
    format: Literal["npz", "safetensors"] = "npz"
    """Format of the file."""
    out: Path | None = None
    """The file (default: RUN/weights.FORMAT)."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Export, arguments, "cnn-jax export")

    from cnn_jax.runs.model import TrainedModel

    model = TrainedModel.load(parsed.run)
    assert model.folder is not None
    path = parsed.out or model.folder.file(f"weights.{parsed.format}")
    model.export(path, parsed.format)
    print(path)
