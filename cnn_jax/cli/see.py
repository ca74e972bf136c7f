"""cnn-jax see: writes a page about what a trained network has learned."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax import compilations, runtime
from cnn_jax.cli import common
from cnn_jax.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class See(common.Common):
    """Inspects a trained network: writes a page with its units, attributions with sanity checks, and more.

    For example: cnn-jax see RUN --images photo.png --layers conv1
    """

    run: Positional[Path]
    """A run's folder, or a sweep's (its best run is used); with --network, a weights file."""
    images: tuple[Path, ...] = ()
    """JPEG or PNG files to explain."""
    count: int = 16
    """Number of validation images to explain."""
    layers: tuple[str, ...] = ()
    """Layers whose units to show."""
    units: tuple[int, ...] = ()
    """Units to show in each of these layers."""
    seed: int = 0
    """Seed of all randomness on the page."""
    data_dir: str | None = None
    """Folder of the run's data (default: as in the run)."""
    network: str | None = None
    """Name or text of the network, if RUN is a weights file (npz, safetensors)."""
    sections: tuple[str, ...] = ()
    """Sections of the page (default: all): live, explanations, units, receptive-fields, tuning, loss-surfaces,
    mistakes, figures."""
    quick: bool = False
    """Only the sections that take seconds: live, mistakes."""
    rank: bool = False
    """Instead of the page, rank all explanations by how far they may be trusted; of a sweep, over the seeds of its
    chosen cell."""
    out: Path | None = None
    """The folder to write (default: RUN/insight)."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(See, arguments, "cnn-jax see")

    if not parsed.rank:
        from cnn_jax.report import saving

        saving.start()  # while this process imports
    runtime.compile_quickly()
    compilations.enable()
    from cnn_jax import api
    from cnn_jax.report.inspect.inspection import QUICK, SECTIONS, Request

    sections = parsed.sections or (QUICK if parsed.quick else SECTIONS)
    request = Request(parsed.images, parsed.count, parsed.layers, parsed.units, parsed.seed, sections)
    words = ["scripts/run", "-m", "cnn_jax", *sys.argv[1:]]
    if parsed.rank:
        if parsed.network is not None:
            raise RequestError("--rank needs a run: a weights file has no validation images")
        print(api.rank(
            parsed.run, parsed.out, seed=parsed.seed, data_dir=parsed.data_dir, command=shlex.join(words),
            show=not parsed.quiet,
        ), end="")  # fmt: skip
        return
    page = api.see(
        parsed.run, request, parsed.out, network=parsed.network, data_dir=parsed.data_dir, command=shlex.join(words),
        show=not parsed.quiet,
    )  # fmt: skip
    print(page)
