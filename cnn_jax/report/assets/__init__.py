"""Scripts and styles of the pages."""

from pathlib import Path


def text(name: str) -> str:
    """The content of a file of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
