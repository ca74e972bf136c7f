"""Published numbers: what a note may cite. One table, `published.toml`, each with its place in its publication."""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.report.notes.written import Written

FILE = Path(__file__).resolve().parent.parent.parent / "published.toml"


@dataclass(frozen=True)
class Published:
    """`value` in `unit` ('%', 's' or '': a count) of a `measure` (accuracy, error, top5_error, parameters, seconds)
    that the publication `key` states for a network and a data set."""

    key: str
    network: str
    data: str
    measure: str
    value: float
    unit: str
    where: str

    @property
    def text(self) -> str:
        what = f"{self.measure.replace('_', ' ')} of {self.network}" + (f" on {self.data}" if self.data else "")
        return f"{self.value:,.10g} {self.unit}".strip() + f" ({what}, {self.where})"

    def is_written(self, written: Written) -> bool:
        return written.value == self.value and written.unit == self.unit


@functools.cache
def published() -> dict[str, list[Published]]:
    """Every number by the key of its publication."""
    numbers: dict[str, list[Published]] = {}
    for entry in tomllib.loads(FILE.read_text(encoding="utf-8"))["number"]:
        numbers.setdefault(entry["key"], []).append(Published(**{"unit": "%", "data": ""} | entry))
    return numbers
