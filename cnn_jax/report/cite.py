"""Citations of results: as a sentence, a table row or bibliography entries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.errors import RunError
from cnn_jax.metrics import metric_of
from cnn_jax.references import SOFTWARE, keys_in, references
from cnn_jax.report import page, statements, tables
from cnn_jax.report.deviations import deviations
from cnn_jax.report.sweep import failures
from cnn_jax.runs.manifest import digest
from cnn_jax.runs.outcome import Outcome, outcome_of, over_seeds
from cnn_jax.training.rules import OPTIMIZERS
from cnn_jax.training.schedule import SCHEDULES
from cnn_jax.zoo import NETWORKS


def cite(path: Path, form: str, score: str = "test.accuracy") -> str:
    """Cites a result.

    Args:
        path: folder of a finished run, sweep or study.
        form: 'text', 'markdown', 'latex' or 'bibtex'.
        score: one of `metrics.scores()`; for a study its verdict is cited instead.

    Raises:
        RunError: the result must not be cited, with the reasons.
    """
    if (path / "verdict.json").is_file():
        return statements.verdict(path, form)
    return FORMS[form](Citation(outcome_of(path), score))


class Citation:
    """A score and everything that a reader needs to know about it, as text."""

    def __init__(self, outcome: Outcome, score: str):
        self.outcome, self.score = outcome, score
        self.metric = metric_of(score)
        values = list(outcome.by_seed(score).values())
        value, interval = over_seeds(values, self.metric)
        if value is None:
            raise RunError(f"{outcome.folder.path} cannot be cited: its median seed diverged")
        self.value = self.metric.text(value)
        self.interval = tables.interval_text(interval, self.metric) if len(values) > 1 else None
        self.start = outcome.record.provenance
        self.deviations = deviations(outcome.config, outcome.data)

    @property
    def score_name(self) -> str:
        """The score in words, such as 'test accuracy'."""
        return self.score.replace(".", " ").replace("_", "-" if "top" in self.score else " ")

    @property
    def network(self) -> str:
        """The network as named in the config."""
        network, filters = self.outcome.config.network, self.outcome.config.filters
        name = network if isinstance(network, str) else "a network in JSON"
        return name if filters is None else f"{name} with {filters} first filters"

    @property
    def network_keys(self) -> list[str]:
        """Keys of the publications of a registered network."""
        name = self.outcome.config.network
        return keys_in(NETWORKS[name].source) if isinstance(name, str) and name in NETWORKS else []

    @property
    def data(self) -> str:
        """The name of the data; also its checksum if the name is not in the catalogue."""
        data = self.outcome.data
        return data.name if data.name in CATALOGUE else f"{data.name} (sha256 {data.sha256[:12]})"

    @property
    def n(self) -> str:
        return f"n = {self.outcome.n}{failures(self.outcome.seeds)}"

    @property
    def commit(self) -> str:
        """The commit of this software, and whether it had uncommitted changes."""
        repository = self.start.repository
        assert repository is not None  # a result without it is not cited
        return repository.commit[:12] + (" with changes (kept beside it)" if repository.diff else "")

    @property
    def code(self) -> str:
        """The script and the modules that are not in this repository at its commit, with their checksums; else
        empty."""
        repository = self.start.repository
        assert repository is not None
        foreign = [
            f"{source.path} (sha256 {source.sha256[:12]}, kept beside it)"
            for source in (self.start.script, *self.start.modules)
            if source is not None and source.commit != repository.commit
        ]
        return f", with {', '.join(foreign)}" if foreign else ""

    def row(self) -> dict[str, str]:
        """The cells of a table row by heading."""
        return {
            "network": self.network,
            "parameters": f"{self.outcome.parameters:,}",
            "data": self.data,
            "protocol": "; ".join(self.deviations) or "as given",
            self.score_name: self.value,
            "interval": self.interval or "none: one run",
            "n": self.n,
            "device": device(self.start.device),
            "commit": f"{self.commit}{self.code}",
            "date": self.start.started[:10],
        }


def text(citation: Citation) -> str:
    """The result in one sentence, and the command that reproduces it."""
    outcome, start = citation.outcome, citation.start
    uncertainty = "one run, n = 1: no interval over seeds"
    if citation.interval is not None:
        uncertainty = f"median of n = {outcome.n} seeds{failures(outcome.seeds)}, {citation.interval}"
    keys = "".join(f"{key}; " for key in citation.network_keys)
    protocol = f" ({'; '.join(citation.deviations)})" if citation.deviations else ""
    return (
        f"{citation.network} ({keys}{outcome.parameters:,} parameters), trained for "
        f"{page.count(outcome.config.epochs, 'epoch')} on "
        f"{citation.data}{protocol}, has a {citation.score_name} of {citation.value} ({uncertainty}; "
        f"{outcome.test_images:,} test images), measured on {device(start.device)} with cnn_jax "
        f"{start.versions['cnn_jax']} at commit {citation.commit}{citation.code} and jax {start.versions['jax']} on "
        f"{start.started[:10]}.\n"
        f"To run it again: {start.command}\n"
    )


def markdown(citation: Citation) -> str:
    """A table with one row; its number is a reference that `check` can follow."""
    row, path = citation.row(), citation.outcome.folder.path
    link = tables.link(citation.value, f"run:{path.as_posix()}@{digest(path)}#{citation.score}")
    return tables.markdown(pd.DataFrame([row | {citation.score_name: link}]))


def latex(citation: Citation) -> str:
    """A booktabs tabular with one row that fits a column of a paper, with a \\cite of the network, the data and this
    software; the protocol, the interval and the device are in a note below it."""
    row = {name: tables.escape_latex(cell) for name, cell in citation.row().items()}
    keys = [*citation.network_keys, *filter(None, [_key_of_data(citation.outcome)]), SOFTWARE]
    short = ("network", "data", citation.score_name, "n")
    note = [f"{name}: {row[name]}" for name in ("protocol", "interval", "parameters", "device", "commit", "date")]
    lines = [
        r"\begin{tabular}{@{}p{0.42\linewidth}lrp{0.2\linewidth}@{}}",
        r"\toprule",
        " & ".join(map(tables.escape_latex, short)) + r" \\",
        r"\midrule",
        " & ".join([rf"{row['network']}~\cite{{{','.join(keys)}}}", *(row[name] for name in short[1:])]) + r" \\",
        r"\bottomrule",
        rf"\multicolumn{{4}}{{@{{}}p{{\linewidth}}@{{}}}}{{\footnotesize {'; '.join(note)}.}}",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def bibtex(citation: Citation) -> str:
    """This software at its commit and the publications, if any, of the data set, the network, the optimizer and the
    schedule."""
    entries, outcome = references(), citation.outcome
    assert citation.start.repository is not None
    commit = citation.start.repository.commit
    texts = [entries[SOFTWARE].bibtex.removesuffix("\n}") + f",\n  note = {{commit {commit}}}\n}}"]
    if bibtex := outcome.data.source.get("bibtex"):
        texts.append(bibtex)
    elif key := _key_of_data(outcome):
        texts.append(entries[key].bibtex)
    optimizer, schedule = outcome.config.optimizer, outcome.config.schedule
    keys: list[str | None] = list(citation.network_keys)
    keys += [OPTIMIZERS[optimizer].source] if optimizer in OPTIMIZERS else []
    keys += [SCHEDULES[schedule].source] if schedule in SCHEDULES else []
    for key in keys:
        if key and not any(f"{{{key}," in text for text in texts):
            texts.append(entries[key].bibtex)
    return "\n\n".join(texts) + "\n"


FORMS: dict[str, Callable[[Citation], str]] = {"text": text, "markdown": markdown, "latex": latex, "bibtex": bibtex}


def _key_of_data(outcome: Outcome) -> str | None:
    name = outcome.data.name
    return CATALOGUE[name].citation if name in CATALOGUE else None


def device(device: dict[str, Any]) -> str:
    """The device's kind and count, or the processor's name for a CPU."""
    if device["backend"] == "cpu":
        return f"CPU, {device['cpu']}"
    return f"{device['count']} x {device['kind']}"
