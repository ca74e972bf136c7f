"""cnn-jax cite: cites a finished run, sweep, study or comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from cnn_jax.cli import common
from cnn_jax.cli.compare import check_metric
from cnn_jax.errors import RequestError
from cnn_jax.waiting import waiting


@dataclass(frozen=True, kw_only=True)
class Cite(common.Common):
    """Cites a finished run, sweep, study or comparison; refuses, with the reason, a result that must not be cited.

    For example: cnn-jax cite SWEEP --format latex
    """

    runs: Positional[tuple[Path, ...]]
    """The folder of a run, sweep or study; with two runs or sweeps, the second is compared with the first."""
    metric: str = "test.accuracy"
    """A split and a metric, e.g. test.loss."""
    margin: float | None = None
    """In a comparison: the largest difference that does not matter."""
    format: Literal["text", "markdown", "latex", "bibtex"] = "text"
    """Format of the citation."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Cite, arguments, "cnn-jax cite")
    check_metric(parsed.metric)
    if not 1 <= len(parsed.runs) <= 2:
        raise RequestError(f"cite takes one folder, or two to compare, not {len(parsed.runs)}")

    from cnn_jax.report import cite, statements

    with waiting("verifying", show=not parsed.quiet):
        if len(parsed.runs) == 2:
            text = statements.comparison(parsed.runs, parsed.format, parsed.metric, parsed.margin)
        else:
            text = cite.cite(parsed.runs[0], parsed.format, parsed.metric)
    print(text, end="")
