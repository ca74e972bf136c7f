"""The publications that the code is based on: `references.bib`, whose keys are used in docstrings and records."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("references.bib")
SOFTWARE = "cnn_jax"  # the entry of this software
KEY = re.compile(r"\b[a-z]+(?:19|20)\d\d[a-z]+\b")

_ENTRY = re.compile(r"@(\w+)\{([^,\s]+),\n(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},?$", re.MULTILINE)
_ACCENTS = {r"{\'e}": "é", r"{\_}": "_"}


@dataclass(frozen=True)
class Reference:
    """An entry of the file: its key, its raw fields, and its text."""

    key: str
    fields: Mapping[str, str]
    bibtex: str

    @property
    def short(self) -> str:
        """Names and year for running text: Student 1908, Kingma & Ba 2015, He et al. 2016."""
        names = [name.split(",")[0] for name in self._plain("author").split(" and ")]
        joined = names[0] if len(names) == 1 else " & ".join(names) if len(names) == 2 else f"{names[0]} et al."
        return f"{joined} {self.fields['year']}"

    def _plain(self, field: str) -> str:
        text = self.fields[field]
        for code, letter in _ACCENTS.items():
            text = text.replace(code, letter)
        return text.replace("{", "").replace("}", "")


@functools.cache
def references() -> dict[str, Reference]:
    """All entries by key."""
    text = FILE.read_text(encoding="utf-8")
    return {match[2]: Reference(match[2], dict(_FIELD.findall(match[3])), match[0]) for match in _ENTRY.finditer(text)}


def keys_in(text: str) -> list[str]:
    """The keys that occur in a text, in order, without repetition."""
    return list(dict.fromkeys(key for key in KEY.findall(text) if key in references()))
