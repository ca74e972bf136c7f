"""Lists and reads files in an untrusted folder or zip: nothing is unpacked to disk, nothing is written."""

import errno
import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from cnn_jax.data.archives import sha256
from cnn_jax.errors import DataError, reason

MAX_FILE_BYTES = 100 << 20  # of one encoded image
MAX_RATIO = 200  # declared size of all members / size of the zip; about 1 for compressed images
MAX_DEPTH = 4  # folder/split/class/file; anything deeper is another layout or a circular link
HEAD = 8  # bytes that distinguish PNG and JPEG from other files
LEFT_BEHIND = ("thumbs.db", "desktop.ini", "__macosx")  # by file managers, like names that begin with a dot
UTF8_NAME = 0x800  # flag of a zip member whose name is UTF-8


@dataclass
class Listing:
    """Visible files and folders, as paths with forward slashes, and hidden entries."""

    files: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def hides(self, path: str) -> bool:
        """True if a part of the path is hidden or left by a file manager; adds the path up to that part to `hidden`."""
        parts = path.split("/")
        for count, part in enumerate(parts, 1):
            if part.startswith(".") or part.lower() in LEFT_BEHIND:
                self.hidden.add("/".join(parts[:count]))
                return True
        return False


class Folder:
    """A folder on disk. Symbolic links are followed inside it; a link that leads out raises DataError."""

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
            raise DataError(f"{folder} cannot be read: {error.strerror}") from error
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(self.path).as_posix()
            if self.listing.hides(name):
                continue
            try:
                leads_out = entry.is_symlink() and not path.resolve().is_relative_to(self.path)
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except (OSError, RuntimeError) as error:  # a link to itself
                raise DataError(f"{path} cannot be read: {reason(error)}") from error
            if leads_out:
                raise DataError(f"{path}: a link that leads out of {self.path}: put the file itself there")
            if is_folder:
                self.listing.folders.add(name)
                if depth >= MAX_DEPTH:
                    raise DataError(f"{path}: folders this deep are no layout: <class>/* or <split>/<class>/*")
                self._scan(path, depth + 1)
            elif is_file:
                self.listing.files.append(name)
            else:
                raise DataError(f"{path}: neither a file nor a folder, or a link to nothing")

    def read(self, name: str) -> bytes:
        return read_file(self.path / name)

    def head(self, name: str) -> bytes:
        """The first bytes of a file."""
        return _read(self.path / name, HEAD)


class Zip:
    """A zip file, identified by its sha256. Members are read into memory one at a time, up to their declared size."""

    def __init__(self, path: Path):
        self.path = path.resolve()
        digest = sha256(self.path)
        self.archives = {self.path.name: digest}
        self.key = f"zip-{digest[:32]}"

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:  # damaged files raise many types
            raise DataError(f"{self.path}: not a whole zip archive ({reason(error)})") from error

    @cached_property
    def _members(self) -> list[tuple[str, zipfile.ZipInfo]]:
        return [(_name_of(member), member) for member in self._zip.infolist()]

    @cached_property
    def listing(self) -> Listing:
        """The checked members; computed only if the arrays are not cached."""
        for name, member in self._members:
            self._check(name, member)
        name, times = Counter(name for name, _ in self._members).most_common(1)[0] if self._members else ("", 0)
        if times > 1:
            raise DataError(f"{self.path}: {name} is in this zip {times} times")
        if sum(member.file_size for _, member in self._members) > MAX_RATIO * self.path.stat().st_size:
            raise DataError(f"{self.path}: unpacks to more than {MAX_RATIO} times its size: taken for a zip bomb")
        listing = Listing()
        for path, member in self._members:
            name = path.rstrip("/")
            if listing.hides(name):
                continue
            if not member.is_dir():
                listing.files.append(name)
            listing.folders.update(str(parent) for parent in PurePosixPath(name).parents if parent.name)
            if member.is_dir():
                listing.folders.add(name)
        listing.files.sort()
        return listing

    def _check(self, name: str, member: zipfile.ZipInfo) -> None:
        mode = member.external_attr >> 16
        parts = name.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts) or "\\" in name or ":" in parts[0]:
            raise DataError(f"{self.path}: unsafe member name {name!r}: it must be a plain relative path")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{self.path}: member {name} is a link or a device: only files and folders are read")
        # Other methods inflate without bounds.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{self.path}: member {name} is neither stored nor deflated: pack it again the usual way")
        if member.flag_bits & 1:
            raise DataError(f"{self.path}: member {name} is encrypted: give a zip without a password")
        if member.file_size > MAX_FILE_BYTES:
            raise DataError(
                f"{self.path}: member {name} has more than {MAX_FILE_BYTES >> 20} MiB: the limit for one image"
            )

    def read(self, name: str) -> bytes:
        return self._unpack(name, self._by_name[name].file_size + 1)  # inflates no more than this; checks the CRC

    def head(self, name: str) -> bytes:
        """The first bytes of a member."""
        return self._unpack(name, HEAD)

    @cached_property
    def _by_name(self) -> dict[str, zipfile.ZipInfo]:
        return dict(self._members)

    def _unpack(self, name: str, limit: int) -> bytes:
        try:
            with self._zip.open(self._by_name[name]) as file:
                return file.read(limit)
        except Exception as error:  # damaged files raise many types
            raise DataError(f"{self.path}: member {name} cannot be unpacked: {reason(error)}") from error


def read_file(path: Path) -> bytes:
    """Reads a file that may be an image. Raises DataError if it is unreadable, no file, or too large for an image."""
    data = _read(path, MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{path}: more than {MAX_FILE_BYTES >> 20} MiB, the limit for one image")
    return data


def _read(path: Path, limit: int) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # reading a pipe would block
            raise OSError(errno.EINVAL, "not a file")
        with open(path, "rb") as file:
            return file.read(limit)
    except (OSError, ValueError) as error:  # ValueError: an invalid file name
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _name_of(member: zipfile.ZipInfo) -> str:
    """The member's name: UTF-8 if its bytes are valid UTF-8, flagged or not (macOS does not flag it), else code page
    437, as the specification says for names without the flag (APPNOTE.TXT 6.3.10, appendix D)."""
    if member.flag_bits & UTF8_NAME:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def listing_key(root: Path, files: Iterable[Path]) -> str:
    """A key that changes whenever a file below root is added, removed, renamed or written to, even if its size and
    modification time stay the same.

    Hashes path, size, modification time and inode change time, which no program can set back.
    """
    digest = hashlib.sha256(os.fsencode(root))
    for path in files:
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        digest.update(os.fsencode(path) + f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return digest.hexdigest()[:32]
