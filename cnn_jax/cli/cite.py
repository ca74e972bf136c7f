"""cnn-jax cite: a finished run, sweep, study or comparison as a citation."""

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
    """Turns a finished run, sweep, study or comparison into a citation; refuses what deserves none, with the reason.

    For example: cnn-jax cite SWEEP --format latex
    """

    runs: Positional[tuple[Path, ...]]
    """The folder of a run, a sweep or a study; of two runs or sweeps the second is compared with the first."""
    metric: str = "test.accuracy"
    """A split and a metric, e.g. test.loss."""
    margin: float | None = None
    """Of a comparison: a difference that does not matter."""
    format: Literal["text", "markdown", "latex", "bibtex"] = "text"
    """Of the citation."""


def command(arguments: Sequence[str]) -> None:
    parsed = common.parse(Cite, arguments, "cnn-jax cite")
    check_metric(parsed.metric)
    if not 1 <= len(parsed.runs) <= 2:
        raise RequestError(f"cite takes one folder, or two to compare, not {len(parsed.runs)}")

    from cnn_jax.report import cite, statements

    with waiting("verifying", show=not parsed.quiet):
        if len(parsed.runs) == 2:
            citation = statements.comparison(parsed.runs, parsed.format, parsed.metric, parsed.margin)
        else:
            citation = cite.cite(parsed.runs[0], parsed.format, parsed.metric)
    print(citation, end="")
