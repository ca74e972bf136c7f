"""Official archives of image files whose folders are not those of `folder`: the names of their files are translated."""

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from cnn_jax import untrusted
from cnn_jax.data.storage import HEAD, Listing, Zip
from cnn_jax.errors import DataError


class Translated:
    """Files under the names `<split>/<class>/<file>`, each with a function that reads it."""

    def __init__(self, path: Path, files: dict[str, Callable[[], bytes]]):
        self.path, self.archives = path, dict[str, str]()
        self._files = files
        folders = {str(parent) for name in files for parent in PurePosixPath(name).parents if parent.name}
        self.listing = Listing(sorted(files), folders)

    def read(self, name: str) -> bytes:
        return self._files[name]()

    def head(self, name: str) -> bytes:
        """The first bytes of a file."""
        return self.read(name)[:HEAD]


def tiny_imagenet(path: Path) -> Translated:
    """train/<class>/images/<file>, and val/images/<file> with the classes in val_annotations.txt (le2015tiny)."""
    archive = Zip(path)
    files = {}
    with untrusted.parsing(path, DataError):
        root = "tiny-imagenet-200"
        lines = archive.read(f"{root}/val/val_annotations.txt").decode().splitlines()
        class_of = dict(line.split("\t")[:2] for line in lines)
        for member in archive.listing.files:
            match member.split("/"):
                case [_, "train", label, "images", file]:
                    files[f"train/{label}/{file}"] = _reader(archive, member)
                case [_, "val", "images", file]:
                    files[f"test/{class_of[file]}/{file}"] = _reader(archive, member)
    return Translated(path, files)


def _reader(archive: Zip, member: str) -> Callable[[], bytes]:
    return lambda: archive.read(member)


def imagenette(path: Path) -> Translated:
    """train/<class>/<file> and val/<class>/<file>, read into memory, since a compressed tar is read in its order."""
    files: dict[str, Callable[[], bytes]] = {}
    with untrusted.parsing(path, DataError), tarfile.open(path, "r:gz") as archive:
        for member in archive:
            match member.name.removeprefix("./").split("/"):
                case [_, ("train" | "val") as folder, label, name] if file := archive.extractfile(member):
                    split = "train" if folder == "train" else "test"
                    files[f"{split}/{label}/{name}"] = file.read().__bytes__
    return Translated(path, files)


def words(path: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes of Tiny ImageNet with the first of the words that words.txt of its zip has for each."""
    with untrusted.parsing(path, DataError), zipfile.ZipFile(path) as archive:
        lines = archive.read("tiny-imagenet-200/words.txt").decode().splitlines()
    word_of = dict(line.split("\t")[:2] for line in lines)
    return tuple(f"{label} {word_of.get(label, '').partition(',')[0]}".strip() for label in classes)


SOURCES: dict[str, Callable[[Path], Translated]] = {"tiny_imagenet": tiny_imagenet, "imagenette": imagenette}
