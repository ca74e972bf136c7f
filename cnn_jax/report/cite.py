"""A result as a citation: a sentence, a row of a table, the entries of a bibliography."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.references import SOFTWARE, keys_in, references
from cnn_jax.report import tables
from cnn_jax.runs.outcome import Outcome, digest, outcome_of
from cnn_jax.statistics import Interval, median_interval
from cnn_jax.training.optimizer import SCHEDULES, SOURCES
from cnn_jax.zoo import ZOO


def cite(path: Path, form: str) -> str:
    """The test accuracy of a finished run or sweep as 'text', 'markdown', 'latex' or 'bibtex'. RunError with the
    reasons for a result that does not deserve it."""
    return FORMS[form](outcome_of(path))


def text(outcome: Outcome) -> str:
    """Two sentences: what was found, and how to find it again."""
    row = _row(outcome)
    found, n = _accuracy(outcome), outcome.n
    died = int(outcome.seeds["diverged"].sum())
    counted = f", of which {died} diverged and count as 0" if died else ""
    spread = "one run, n = 1: no interval over seeds"
    if n > 1:
        spread = f"median of n = {n} seeds{counted}, {row['interval']}"
    network = " ".join(_keys_of_network(outcome))
    cited = f" ({network}; {row['parameters']} parameters)" if network else f" ({row['parameters']} parameters)"
    return (
        f"{row['network']}{cited}, trained for {outcome.config.epochs} epochs on {row['data']}, has a test accuracy of "
        f"{found:.2f} % ({spread}; {outcome.scored:,} test images), measured on {row['device']} with cnn_jax "
        f"{outcome.record['versions']['cnn_jax']} at commit {row['commit']} and jax "
        f"{outcome.record['versions']['jax']} on {row['date']}.\nTo run it again: {outcome.record['command']}\n"
    )


def markdown(outcome: Outcome) -> str:
    """A table of one row; its accuracy is a reference that `check` can follow."""
    row = _row(outcome)
    path = outcome.folder.path
    row["test accuracy"] = tables.link(row["test accuracy"], f"run:{path.as_posix()}@{digest(path)}#test.accuracy")
    row["n"] = f"n = {row['n']}"
    return tables.markdown(pd.DataFrame([row]))


def latex(outcome: Outcome) -> str:
    """A booktabs tabular of one row."""
    return tables.latex(pd.DataFrame([_row(outcome)]))


def bibtex(outcome: Outcome) -> str:
    """This software at its commit, the data set, the network, the optimizer and the schedule, as far as they have a
    publication."""
    found = references()
    commit = outcome.record["git"]["commit"]
    software = found[SOFTWARE].bibtex.removesuffix("\n}") + f",\n  note = {{commit {commit}}}\n}}"
    entries = [software]
    source = outcome.data["source"]
    if source.get("bibtex"):
        entries.append(source["bibtex"])
    elif outcome.data["name"] in CATALOGUE:
        entries.append(found[CATALOGUE[outcome.data["name"]].citation].bibtex)
    used = [*_keys_of_network(outcome), SOURCES[outcome.config.optimizer], SCHEDULES.get(outcome.config.schedule)]
    for key in used:
        if key and not any(f"{{{key}," in entry for entry in entries):
            entries.append(found[key].bibtex)
    return "\n\n".join(entries) + "\n"


FORMS: dict[str, Callable[[Outcome], str]] = {"text": text, "markdown": markdown, "latex": latex, "bibtex": bibtex}


def _accuracy(outcome: Outcome) -> float:
    """The median over the seeds, in percent."""
    return 100 * float(outcome.seeds["test_accuracy"].median())


def _row(outcome: Outcome) -> dict[str, Any]:
    """What a reader needs beside the number, as text."""
    record, n = outcome.record, outcome.n
    values = list(outcome.by_seed("test.accuracy").values())
    return {
        "network": _network(outcome),
        "parameters": f"{outcome.parameters:,}",
        "data": outcome.data["name"],
        "test accuracy": f"{_accuracy(outcome):.2f} %",
        "interval": _in_words(median_interval(values)) if n > 1 else "none: one run",
        "n": str(n),
        "device": device(record["device"]),
        "commit": _commit(record["git"]),
        "date": record["started"][:10],
    }


def _commit(git: dict) -> str:
    changed = git["dirty"] and git.get("modified", True)
    return git["commit"][:12] + (" with changes (kept beside it)" if changed else "")


def _in_words(interval: Interval) -> str:
    return f"{interval.kind} {100 * interval.low:.2f} – {100 * interval.high:.2f} %"


def _network(outcome: Outcome) -> str:
    name = outcome.config.network
    written = name if isinstance(name, str) else "a network in JSON"
    return written if outcome.config.filters is None else f"{written} with {outcome.config.filters} first filters"


def _keys_of_network(outcome: Outcome) -> list[str]:
    name = outcome.config.network
    return keys_in(ZOO[name].source) if isinstance(name, str) and name in ZOO else []


def device(device: dict) -> str:
    """The chip and how many, and the host's processor where that is the chip."""
    if device["backend"] == "cpu":
        return f"CPU, {device['cpu']}"
    return f"{device['count']} x {device['kind']}"
