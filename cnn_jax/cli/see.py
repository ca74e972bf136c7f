"""cnn-jax see: a page about what a trained network has learned."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax.cli import common


@dataclass(frozen=True, kw_only=True)
class See(common.Common):
    """Looks inside a trained network: a page with its units, explanations of images and their own checks, and more.

    For example: cnn-jax see RUN --images photo.png --layers conv1
    """

    run: Positional[Path]
    """A run's folder, or a sweep's (its best run is used); or a file of weights with --network."""
    images: tuple[Path, ...] = ()
    """JPEG or PNG files to explain."""
    count: int = 16
    """Validation images to explain."""
    layers: tuple[str, ...] = ()
    """Layers whose units are shown."""
    units: tuple[int, ...] = ()
    """Units of each of these layers."""
    seed: int = 0
    """Of everything random here."""
    data_dir: str | None = None
    """Where the run's data is (default: where it was)."""
    network: str | None = None
    """Look at the weights in a file (npz, safetensors) of this network instead."""
    out: Path | None = None
    """The folder to write (default: RUN/insight)."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(See, arguments, "cnn-jax see")

    from cnn_jax import api
    from cnn_jax.report.inspect import Request

    request = Request(parsed.images, parsed.count, parsed.layers, parsed.units, parsed.seed)
    words = ["scripts/run", "-m", "cnn_jax", *sys.argv[1:]]
    page = api.see(
        parsed.run, request, parsed.out, network=parsed.network, data_dir=parsed.data_dir, command=shlex.join(words),
        show=not parsed.quiet,
    )  # fmt: skip
    print(page)
