"""Hook of MkDocs: pages and pictures of the site that lie outside of docs/ in the repository."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"guide.md": ROOT / "experiments" / "guide" / "README.md", "results.md": ROOT / "results" / "README.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages and every picture of results/, under the path that it has in the repository."""
    for name, path in PAGES.items():
        files.append(File.generated(config, name, content=moved(path.read_text(encoding="utf-8"), path.parent)))
    for picture in sorted((ROOT / "results").rglob("*.png")):
        files.append(File(picture.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, use_directory_urls=False))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page of docs/ with its links out of docs/ as `moved` has them."""
    return markdown if page.file.src_uri in PAGES else moved(markdown, ROOT / "docs")


def moved(markdown: str, folder: Path) -> str:
    """Text from a page in `folder` with links that hold on the site: to its pages and its pictures. A link to any other
    file of the repository becomes its text."""

    def link(match: re.Match[str]) -> str:
        picture, text, target, anchor = match.groups()
        path = (folder / target).resolve()
        if path.is_relative_to(ROOT / "docs"):
            return f"{picture}[{text}]({path.relative_to(ROOT / 'docs').as_posix()}{anchor or ''})"
        name = next((name for name, page in PAGES.items() if page == path or page.parent == path), None)
        if name is None and path.suffix == ".png" and path.is_file():
            name = path.relative_to(ROOT).as_posix()
        return text if name is None else f"{picture}[{text}]({name}{anchor or ''})"

    return LINK.sub(link, markdown)
