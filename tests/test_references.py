"""Sources live in one file: what the code names is there, and what is there is named."""

import tokenize
from pathlib import Path

import pytest

from cnn_jax.references import KEY, SOFTWARE, keys_in, references

ROOT = Path(__file__).resolve().parent.parent


def words(path):
    """The strings and comments of a Python file; the whole text of another."""
    if path.suffix != ".py":
        return path.read_text()
    with path.open("rb") as file:
        kinds = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
        return "\n".join(token.string for token in tokenize.tokenize(file.readline) if token.type in kinds)


def sources():
    folders = (ROOT / "cnn_jax", ROOT / "experiments", ROOT / "scripts")
    return [p for folder in folders for p in folder.rglob("*") if p.suffix in (".py", ".cc", ".h", ".toml")]


def test_the_keys_that_the_code_uses_are_those_of_the_file():
    used = {key for path in sources() for key in KEY.findall(words(path))}
    assert used - set(references()) == set(), "named but missing"
    assert set(references()) - used - {SOFTWARE} == set(), "there but never named"


def test_every_entry_is_whole():
    text = (ROOT / "cnn_jax" / "references.bib").read_text()
    assert len(references()) == text.count("\n@") + 1
    for key, entry in references().items():
        assert {"title", "author", "year"} <= set(entry.fields), key
        assert key == SOFTWARE or KEY.fullmatch(key), key
        assert entry.bibtex.count("{") == entry.bibtex.count("}"), key
        assert key == SOFTWARE or entry.fields["year"] in key, key


@pytest.mark.parametrize(
    ("key", "short"),
    [
        ("he2016deep", "He et al. 2016"),
        ("kingma2015adam", "Kingma & Ba 2015"),
        ("krizhevsky2012cuda", "Krizhevsky 2012"),
        ("student1908probable", "Student 1908"),
        ("hubel1962receptive", "Hubel & Wiesel 1962"),
    ],
)
def test_a_key_as_names_and_year(key, short):
    assert references()[key].short == short
    assert keys_in(f"{key}; {key}, nobody2016nothing") == [key]
