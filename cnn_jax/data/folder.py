"""Reads a folder of images, or a zip of one, into arrays.

The layout `<class>/*` is divided into three splits later; `<split>/<class>/*` has its own splits, in the folders
`train`, `val`, `valid` or `validation`, and `test`. A single enclosing folder is skipped. Classes are sorted by name,
images by class and name. Names are compared in Unicode's normal form C, so that é equals é whichever system wrote it:
two class folders whose names differ only in their normal form are one class.
"""

import os
import sys
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np

from cnn_jax.data.decoding import decode_all
from cnn_jax.data.images import Size, is_image
from cnn_jax.data.pictures import Translated
from cnn_jax.data.split import Parts, Split
from cnn_jax.data.splits import check_splits
from cnn_jax.data.storage import Folder, Listing, Zip
from cnn_jax.errors import DataError

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
LAYOUTS = "<class>/* or <split>/<class>/* (train, val, test)"
IMAGE_ENDINGS = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".heic", ".heif"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
}

Tree = dict[str, dict[str, list[str]]]  # split -> class -> names of its files


def open_source(path: Path) -> Folder | Zip:
    """Opens the folder or zip at an existing path. Its `key` identifies the content; `read_parts` reads the arrays."""
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: neither a folder nor a file")
    source = Folder(path) if path.is_dir() else Zip(path)
    _check_utf8(str(source.path), source.path)
    return source


def read_parts(source: Folder | Zip | Translated, image_size: Size | None, without_test: bool = False) -> Parts:
    """Decodes every image.

    Other files in class folders are skipped, counted in the parts' source, and reported once on stderr.

    Raises:
      DataError: another layout, an empty class, a single class, a file that is not an image despite its name, images of
        different sizes without an image_size.
      Errors of `check_splits`.
    """
    listing = source.listing
    all_files, outside = _arrange(source.path, listing)
    tree, strays = _images_only(source, all_files)
    classes = _classes(source.path, tree, without_test)
    names = [name for split in tree.values() for label in classes for name in split[label]]
    items = ((f"{source.path}/{name}", source.read(name)) for name in names)
    images = decode_all(items, len(names), image_size)
    labels = [
        np.repeat(np.arange(len(classes), dtype=np.int32), [len(split[label]) for label in classes])
        for split in tree.values()
    ]
    arrays = images.split([len(targets) for targets in labels])
    splits = {name: Split(*pair) for name, *pair in zip(tree, arrays, labels, strict=True)}
    if strays:
        count = f"{len(strays)} file{'s are no images and were' if len(strays) > 1 else ' is no image and was'} skipped"
        examples = ", ".join(strays[:3]) + (", …" if len(strays) > 3 else "")
        print(f"cnn_jax: {source.path}: {count}: {examples}", file=sys.stderr, flush=True)
    about = {
        "title": source.path.name,
        "licence": "not stated",
        "citation": "",
        "archives": source.archives,
        "skipped": {"hidden": len(listing.hidden), "outside a class folder": outside, "not an image": len(strays)},
    }
    return Parts(splits, classes, about)


def _arrange(root: Path, listing: Listing) -> tuple[Tree, int]:
    """Returns the tree, with the split `all` if the source has no splits, and the number of files outside classes."""
    files = sorted((_normal(name), name) for name in listing.files)
    folders = sorted({_normal(name) for name in listing.folders})
    prefix = _wrapper(folders)
    files = [(name.removeprefix(prefix), path) for name, path in files]
    folders = [name.removeprefix(prefix) for name in folders if name.startswith(prefix)]
    tops = [name for name in folders if "/" not in name]
    has_splits = set(tops) <= set(SPLITS) and any(name.count("/") == 2 for name, _ in files)
    depth = 2 if has_splits else 1
    classes: dict[str, list[str]] = {name: [] for name in folders if name.count("/") == depth - 1}
    outside = 0
    for name, path in files:
        if name.count("/") > depth:
            raise DataError(f"{root}/{path}: is too deep: the layout is {LAYOUTS}")
        if name.count("/") < depth:
            outside += 1
        else:
            classes[name.rpartition("/")[0]].append(path)
    if not has_splits:
        return {"all": classes}, outside
    tree = {
        SPLITS[top]: {
            name.removeprefix(f"{top}/"): paths for name, paths in classes.items() if name.startswith(f"{top}/")
        }
        for top in tops
    }
    if len(tree) < len(tops):
        raise DataError(f"{root}: two folders for the validation split: val, valid and validation mean the same")
    return tree, outside


def _wrapper(folders: list[str]) -> str:
    """`name/` of a single folder that encloses all others, else the empty string."""
    tops = {path.split("/")[0] for path in folders}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    wraps = top and top[:-1] not in SPLITS and any(name.startswith(top) for name in folders)
    return top if wraps else ""


def _images_only(source: Folder | Zip | Translated, tree: Tree) -> tuple[Tree, list[str]]:
    """Removes files with neither the ending nor the first bytes of an image; also returns the removed names, sorted."""
    strays = {
        name
        for classes in tree.values()
        for names in classes.values()
        for name in names
        if PurePosixPath(name).suffix.lower() not in IMAGE_ENDINGS and not is_image(source.head(name))
    }
    images = {
        split: {label: [name for name in names if name not in strays] for label, names in classes.items()}
        for split, classes in tree.items()
    }
    return images, sorted(strays)


def _classes(root: Path, tree: Tree, without_test: bool) -> tuple[str, ...]:
    """The class names, sorted, the same in every split."""
    check_splits(root, tree, without_test)
    first = tree.get("all") or tree.get("train")
    if not first:
        raise DataError(f"{root}: no class folders with images: the layout is {LAYOUTS}")
    for split, classes in tree.items():
        where = str(root) if split == "all" else f"{root}, split {split}"
        if odd := sorted(set(classes) ^ set(first)):
            raise DataError(f"{where}: class {odd[0]} is in one of train and {split} but not in the other")
        if empty := sorted(name for name, files in classes.items() if not files):
            raise DataError(f"{where}: class {empty[0]} has no images")
    for name in first:
        _check_utf8(name, root)
    if len(first) == 1:
        raise DataError(f"{root}: one class only ({next(iter(first))}): there is nothing to tell apart")
    return tuple(sorted(first))


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _check_utf8(name: str, root: Path) -> None:
    """Raises DataError for the name of a class or data set that is not UTF-8, as records and pages must be."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{root}: the name {os.fsencode(name)!r} is not UTF-8, in which records and pages are written: rename it"
        ) from None
