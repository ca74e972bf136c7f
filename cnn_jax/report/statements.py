"""Citations of a comparison of two results and of the verdict of a study, in the forms of `cite`."""

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
    """The second result against the first. Raises RunError with the reasons if one of them must not be cited."""
    first, second = (outcome_of(path) for path in paths)
    (compared,) = comparisons(paths, score, margin)
    finished, test, unit = compared.test.finished, compared.test, metric_of(score).difference_unit
    if finished is None:
        raise RunError(f"{paths[1]} and {paths[0]} share fewer than 2 seeds that finished: there is nothing to cite")
    power = (
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
        "verdict": compared.verdict + power,
        "diverged": f"{test.failed_a} of {test.n_a} and {test.failed_b} of {test.n_b}",
        "commits": ", ".join(dict.fromkeys(_commit(outcome.record.provenance) for outcome in (second, first))),
    }
    sentences = [
        f"{paths[1]} differs from {paths[0]} by {finished.difference:+.3g} {unit} of {score.replace('.', ' ')} (mean "
        f"over n = {finished.n} seeds, paired, 95 % t interval {finished.low:+.3g} – {finished.high:+.3g}): "
        f"{compared.verdict}{power}",
        f"{row['diverged']} runs diverged",
    ]
    return _in_form(form, row, ". ".join(sentences) + ".\n")


def verdict(path: Path, form: str) -> str:
    """The verdict of a study. Raises RunError if it must not be cited: it is damaged, not by its rule or from a quick
    run, or its code was not saved."""
    study = verdict_of(path)
    finding = study.finding
    effect = effect_text(finding)
    row = {
        "claim": study.claim,
        "verdict": finding.answer,
        "effect": f"{finding.statistic}: {effect}",
        "data": study.dataset,
        "standing": study.standing + (f" ({'; '.join(study.objections)})" if study.objections else ""),
        "rule": study.rule,
        "commit": _commit(study.provenance),
        "date": study.finished[:10],
    }
    text = (
        f"{study.question} {finding.answer.capitalize()}: {finding.statistic}: {effect}, "
        f"on {study.dataset} ({row['standing']}). Rule: {study.rule}. cnn_jax {study.provenance.versions['cnn_jax']} "
        f"at commit {_commit(study.provenance)}.\nTo run it again: {study.provenance.command}\n"
    )
    if form == "markdown" and finding.effect is not None:
        number = f"{finding.effect:+.3g}"
        link = f"[{number}](run:{path.as_posix()}@{digest(path)}#effect)"
        return tables.markdown(pd.DataFrame([row])).replace(number, link, 1)
    return _in_form(form, row, text)


def effect_text(finding: Finding) -> str:
    """The effect of a finding with its unit, interval, n and failures."""
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
