"""Finds the archives of a catalogue entry in a folder, which is only read, and verifies their sha256."""

import hashlib
from pathlib import Path

from cnn_jax.data.catalogue import CATALOGUE, Archive, Entry
from cnn_jax.errors import DataError


def sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def find(entry: Entry, data_dir: Path | None) -> dict[str, Path]:
    """Maps upstream file names to paths: DATA_DIR/<dataset>/FILE, else DATA_DIR/FILE. Checks and writes nothing.

    Raises DataError if a file is missing, at once and without network access; the message says what to put where.
    """
    check_folder(data_dir)
    files, missing = {}, []
    for archive in entry.archives:
        places = [data_dir / entry.name / archive.file, data_dir / archive.file] if data_dir else []
        if place := next((place for place in places if place.is_file()), None):
            files[archive.file] = place
        else:
            missing.append(archive)
    if missing:
        where = data_dir or "DIR"
        names = ", ".join(f"{archive.file} (sha256 {archive.sha256[:12]}…)" for archive in missing)
        option = "" if data_dir else ", give --data-dir DIR"
        raise DataError(
            f"{entry.name} is not in the cache (CNN_JAX_CACHE) and nothing is downloaded: "
            f"put {names} into {where}/{entry.name}/ or {where}/{option}"
        )
    return files


def check_folder(data_dir: Path | None) -> None:
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"{data_dir}: the data folder (--data-dir) is not there or is not a folder")


def check(entry: Entry, archive: Archive, path: Path) -> None:
    """Raises DataError unless the file has the published sha256; names the data set it belongs to, if any."""
    digest = sha256(path)
    if digest == archive.sha256:
        return
    for other in CATALOGUE.values():
        for other_archive in other.archives:
            if other_archive.sha256 == digest:
                raise DataError(
                    f"{path}: this is {other_archive.file} of {other.name}, not {archive.file} of {entry.name}"
                )
    raise DataError(
        f"{path}: wrong sha256 {digest[:12]}…, {archive.sha256[:12]}… is right for {archive.file} of {entry.name}: "
        f"damaged, incomplete or another file ({path.stat().st_size} bytes)"
    )
