"""cnn-jax compare: compares runs or sweeps seed by seed, or the cells of one sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from cnn_jax.cli import common
from cnn_jax.errors import RequestError, quote
from cnn_jax.metrics import scores
from cnn_jax.waiting import waiting


@dataclass(frozen=True, kw_only=True)
class Compare(common.Common):
    """Compares runs or sweeps seed by seed, or the cells of one sweep; with --detect, says how many seeds
    would detect a difference.

    For example: cnn-jax compare SWEEP_A SWEEP_B --margin 0.5
    """

    runs: Positional[tuple[Path, ...]]
    """Folders of runs or sweeps; the first is the reference."""
    metric: str = "test.accuracy"
    """A split and a metric, e.g. validation.loss."""
    detect: float | None = None
    """A true difference (percentage points, or units of the loss) to be detected."""
    margin: float | None = None
    """The largest difference (in the same units) that does not matter: tests equivalence."""


def check_metric(metric: str) -> None:
    if metric not in scores():
        raise RequestError(f"--metric {quote(metric)} is unknown; there are {', '.join(scores())}")


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Compare, arguments, "cnn-jax compare")
    check_metric(parsed.metric)
    for name in ("detect", "margin"):
        value = getattr(parsed, name)
        if value is not None and not 0 < value < float("inf"):
            raise RequestError(f"--{name} {value:g} must be a positive difference")

    from cnn_jax.report.compare import compare

    with waiting("comparing", show=not parsed.quiet):
        text = compare(parsed.runs, parsed.metric, detect=parsed.detect, margin=parsed.margin)
    print(text, end="")
