"""A comparison of two results, and the verdict of a study, as citations: the same forms as those of one result."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cnn_jax.errors import RunError
from cnn_jax.metrics import metric_of
from cnn_jax.references import SOFTWARE, references
from cnn_jax.report import tables
from cnn_jax.report.compare import comparisons
from cnn_jax.runs.manifest import digest
from cnn_jax.runs.outcome import outcome_of, verdict_of
from cnn_jax.runs.schema import Provenance
from cnn_jax.runs.verdict import Finding


def comparison(paths: Sequence[Path], form: str, score: str, margin: float | None = None) -> str:
    """The second result against the first. RunError with the reasons where one of them deserves no citation."""
    first, second = (outcome_of(path) for path in paths)
    (compared,) = comparisons(paths, score, margin)
    finished, test, unit = compared.test.finished, compared.test, metric_of(score).difference_unit
    if finished is None:
        raise RunError(f"{paths[1]} and {paths[0]} share fewer than 2 seeds that finished: there is nothing to cite")
    seen = (
        f", 80 % power from {compared.detectable:.2g}"
        if compared.verdict in ("not distinguishable", "undecided")
        else ""
    )
    row = {
        "comparison": f"{paths[1]} minus {paths[0]}",
        f"mean difference in {score.replace('.', ' ')}, {unit}": f"{finished.difference:+.3g}",
        "95 % t interval, paired by seed": f"{finished.low:+.3g} – {finished.high:+.3g}",
        "n": f"n = {finished.n}",
        "p": "none" if compared.p is None else f"{compared.p:.2g}",
        "verdict": compared.verdict + seen,
        "diverged": f"{test.failed_a} of {test.n_a} and {test.failed_b} of {test.n_b}",
        "commits": ", ".join(dict.fromkeys(_commit(one.record.provenance) for one in (second, first))),
    }
    said = [
        f"{paths[1]} differs from {paths[0]} by {finished.difference:+.3g} {unit} of {score.replace('.', ' ')} (mean "
        f"over n = {finished.n} seeds, paired, 95 % t interval {finished.low:+.3g} – {finished.high:+.3g}): "
        f"{compared.verdict}{seen}",
        f"{row['diverged']} runs diverged",
    ]
    return _in_form(form, row, ". ".join(said) + ".\n")


def verdict(path: Path, form: str) -> str:
    """What a study found. RunError where it deserves no citation: damaged, not by its rule, quick, code not kept."""
    found = verdict_of(path)
    effect = effect_text(found.finding)
    row = {
        "claim": found.claim,
        "verdict": found.finding.answer,
        "effect": f"{found.finding.statistic}: {effect}",
        "data": found.dataset,
        "rule": found.rule,
        "commit": _commit(found.provenance),
        "date": found.finished[:10],
    }
    text = (
        f"{found.question} {found.finding.answer.capitalize()}: {found.finding.statistic}: {effect}, "
        f"on {found.dataset}. Rule: {found.rule}. cnn_jax {found.provenance.versions['cnn_jax']} at commit "
        f"{_commit(found.provenance)}.\nTo run it again: {found.provenance.command}\n"
    )
    if form == "markdown" and found.finding.effect is not None:
        number = f"{found.finding.effect:+.3g}"
        link = f"[{number}](run:{path.as_posix()}@{digest(path)}#effect)"
        return tables.markdown(pd.DataFrame([row])).replace(number, link, 1)
    return _in_form(form, row, text)


def effect_text(finding: Finding) -> str:
    """The effect with its unit, interval, n and failures."""
    if finding.effect is None:
        text = "nothing to compare, since no seed finished in both"
    elif finding.low is None or finding.high is None:
        text = f"{finding.effect:.4g} {finding.unit}".strip()
    else:
        text = (
            f"{f'{finding.effect:+.3g} {finding.unit}'.strip()} ({finding.interval} {finding.low:+.3g} to "
            f"{finding.high:+.3g}, n = {finding.n})"
        )
    failures = finding.failures
    if failures is not None and failures.a + failures.b:
        counts = f"{failures.a} and {failures.b} of {failures.n} runs diverged"
        text += f"; {counts} (Fisher's exact test, p = {failures.p:.2g})"
    if failures is not None and finding.at_chance is not None and any(finding.at_chance):
        text += f"; {finding.at_chance[0]} and {finding.at_chance[1]} of {failures.n} at chance"
    return text


def _in_form(form: str, row: dict[str, str], text: str) -> str:
    if form == "text":
        return text
    if form == "markdown":
        return tables.markdown(pd.DataFrame([row]))
    if form == "latex":
        return tables.latex(pd.DataFrame([row]))
    return references()[SOFTWARE].bibtex + "\n"


def _commit(start: Provenance) -> str:
    return "no commit" if start.repository is None else start.repository.commit[:12]
