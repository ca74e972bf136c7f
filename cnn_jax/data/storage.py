"""Files below a folder or inside a zip, listed and read without trusting them: nothing is unpacked, nothing written."""

import hashlib
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from cnn_jax.data.archives import sha256
from cnn_jax.errors import DataError

MAX_FILE_BYTES = 100 << 20  # of one encoded image
MAX_RATIO = 200  # declared size of all members to the size of the zip; compressed images have about 1
MAX_DEPTH = 4  # folder/split/class/file; deeper is not a layout, or a link in a circle


@dataclass
class Listing:
    """Visible files and folders, as paths with forward slashes, and the entries that are hidden."""

    files: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def hides(self, path: str) -> bool:
        """Whether a part of the path is what file managers leave behind; the entry up to that part is then noted."""
        parts = path.split("/")
        for count, part in enumerate(parts, 1):
            if part.startswith(".") or part in ("Thumbs.db", "desktop.ini", "__MACOSX"):
                self.hidden.add("/".join(parts[:count]))
                return True
        return False


class Folder:
    """A folder on disk. Symbolic links are followed where they stay inside it; any other is an error."""

    def __init__(self, path: Path):
        self.path = path.resolve()
        self.archives: dict[str, str] = {}
        self.listing = Listing()
        self._scan(self.path, 1)
        self.listing.files.sort()
        self.key = "folder-" + listing_key(self.path, (self.path / name for name in self.listing.files))

    def _scan(self, folder: Path, depth: int) -> None:
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read: {error.strerror}") from error
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(self.path).as_posix()
            if self.listing.hides(name):
                continue
            if entry.is_symlink() and not path.resolve().is_relative_to(self.path):
                raise DataError(f"{path}: a link that leads out of {self.path}: put the file itself there")
            if entry.is_dir():
                self.listing.folders.add(name)
                if depth >= MAX_DEPTH:
                    raise DataError(f"{path}: folders this deep are no layout: <class>/* or <split>/<class>/*")
                self._scan(path, depth + 1)
            elif entry.is_file():
                self.listing.files.append(name)
            else:
                raise DataError(f"{path}: neither a file nor a folder, or a link to nothing")

    def read(self, name: str) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise DataError(f"{self.path / name}: cannot be read: {error.strerror}") from error
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"{self.path / name}: more than {MAX_FILE_BYTES >> 20} MiB, the limit for one image")
        return data


class Zip:
    """A zip, known by its sha256. Members are read into memory one by one, never more than they declare."""

    def __init__(self, path: Path):
        self.path = path.resolve()
        digest = sha256(self.path)
        self.archives = {self.path.name: digest}
        self.key = f"zip-{digest[:32]}"

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{self.path}: not a whole zip archive ({error})") from error

    @cached_property
    def listing(self) -> Listing:
        """Every member is checked here; asked for only where the arrays are not cached."""
        members = self._zip.infolist()
        for member in members:
            self._check(member)
        name, times = Counter(m.filename for m in members).most_common(1)[0] if members else ("", 0)
        if times > 1:
            raise DataError(f"{self.path}: {name} is in this zip {times} times")
        if sum(m.file_size for m in members) > MAX_RATIO * self.path.stat().st_size:
            raise DataError(f"{self.path}: unpacks to more than {MAX_RATIO} times its size: taken for a zip bomb")
        listing = Listing()
        for member in members:
            name = member.filename.rstrip("/")
            if listing.hides(name):
                continue
            if not member.is_dir():
                listing.files.append(name)
            listing.folders.update(str(parent) for parent in PurePosixPath(name).parents if parent.name)
            if member.is_dir():
                listing.folders.add(name)
        listing.files.sort()
        return listing

    def _check(self, member: zipfile.ZipInfo) -> None:
        name, mode = member.filename, member.external_attr >> 16
        parts = name.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in name or ":" in parts[0]:
            raise DataError(f"{self.path}: unsafe member name {name!r}: it must be a plain relative path")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{self.path}: member {name} is a link or a device: only files and folders are read")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others inflate without bounds
            raise DataError(f"{self.path}: member {name} is neither stored nor deflated: pack it again the usual way")
        if member.flag_bits & 1:
            raise DataError(f"{self.path}: member {name} is encrypted: give a zip without a password")
        if member.file_size > MAX_FILE_BYTES:
            raise DataError(
                f"{self.path}: member {name} has more than {MAX_FILE_BYTES >> 20} MiB: the limit for one image"
            )

    def read(self, name: str) -> bytes:
        try:
            with self._zip.open(name) as file:
                return file.read(self._zip.getinfo(name).file_size + 1)  # inflates no more than that; checks the CRC
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{self.path}: member {name} cannot be unpacked: {error}") from error


def listing_key(root: Path, files: Iterable[Path]) -> str:
    """Changes whenever a file below root is added, removed, renamed or written to, even if its size and time stay.

    From path, size, time of modification and time of inode change, which no program can set back.
    """
    digest = hashlib.sha256(os.fsencode(root))
    for path in files:
        status = path.stat()
        digest.update(os.fsencode(path) + f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return digest.hexdigest()[:32]
