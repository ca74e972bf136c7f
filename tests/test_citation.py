"""CITATION.cff is what the format asks for, and says the same as references.bib and the package."""

import datetime
from pathlib import Path

import yaml

import cnn_jax
from cnn_jax.references import SOFTWARE, references

CITATION = yaml.safe_load((Path(__file__).resolve().parent.parent / "CITATION.cff").read_text())
# Citation File Format 1.2.0, schema.json: the keys that must be there, and those of this file that may.
REQUIRED = {"authors", "cff-version", "message", "title"}
ALLOWED = REQUIRED | {"type", "version", "license", "keywords", "date-released", "abstract", "repository-code"}


def test_it_has_the_keys_of_the_format():
    assert set(CITATION) >= REQUIRED
    assert set(CITATION) <= ALLOWED
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert all(set(author) & {"name", "family-names", "given-names"} for author in CITATION["authors"])
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"])
    if "date-released" in CITATION:
        assert isinstance(CITATION["date-released"], datetime.date)


def test_it_agrees_with_the_package_and_the_references():
    entry = references()[SOFTWARE].fields
    assert CITATION["version"] == cnn_jax.__version__ == entry["version"]
    assert CITATION["title"] == entry["title"].replace("{\\_}", "_")
    assert CITATION["license"] == entry["license"]
    assert CITATION["authors"][0]["name"] == entry["author"].strip("{}").replace("{\\_}", "_")
