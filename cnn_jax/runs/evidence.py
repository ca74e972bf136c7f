"""The archived files of a finished sweep or study: those of its manifest, plus summaries and figures."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from cnn_jax.runs import manifest
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import outcome_of, verdict_of

SHOWN = ("summary.md", "summary.csv", "summary.tex", "*.png")


def keep(source: Path, target: Path) -> None:
    """Replaces `target` by a copy of the evidence in `source`, a sweep or study, without checkpoints: the manifests,
    the files they list, tables and figures. Raises RunError if `source` cannot be cited; `target` then stays."""
    folder = Folder(source)
    if folder.has("verdict.json"):
        verdict_of(source)
    else:
        outcome_of(source)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part in _parts(folder):
        for name in files(part):
            copy = partial / part.path.relative_to(source) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part.file(name), copy)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def files(folder: Folder) -> list[str]:
    """The sorted names of the files to archive from a finished folder."""
    shown = (path.name for pattern in SHOWN for path in folder.path.glob(pattern))
    return sorted({manifest.NAME, *manifest.read(folder), *shown})


def _parts(folder: Folder) -> Iterator[Folder]:
    """The folder itself and, for a study, the folders of its sweeps, as listed in its manifest."""
    yield folder
    for name in manifest.read(folder):
        if name.endswith(f"/{manifest.NAME}"):
            yield Folder(folder.file(name).parent)
