"""Published numbers that a note may cite, from the table `published.toml`, each with its place in its publication."""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cnn_jax.report.notes.written import Written

FILE = Path(__file__).resolve().parent.parent.parent / "published.toml"


@dataclass(frozen=True)
class Published:
    """A number in a publication."""

    key: str  # in references.bib
    network: str
    data: str
    measure: str  # accuracy, error, top5_error, parameters or seconds
    value: float
    unit: str  # '%', 's' or '' for a count
    where: str  # in the publication

    @property
    def text(self) -> str:
        what = f"{self.measure.replace('_', ' ')} of {self.network}" + (f" on {self.data}" if self.data else "")
        return f"{self.value:,.10g} {self.unit}".strip() + f" ({what}, {self.where})"

    def is_written(self, written: Written) -> bool:
        return written.value == self.value and written.unit == self.unit


@functools.cache
def published() -> dict[str, list[Published]]:
    """The numbers of each publication, by its key."""
    numbers: dict[str, list[Published]] = {}
    for entry in tomllib.loads(FILE.read_text(encoding="utf-8"))["number"]:
        numbers.setdefault(entry["key"], []).append(Published(**{"unit": "%", "data": ""} | entry))
    return numbers
