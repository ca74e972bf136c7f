"""A folder of images, or a zip of one, as arrays.

`<class>/*` is dealt to three splits later on; `<split>/<class>/*` has its own, with the split folders `train`,
`val`, `valid` or `validation`, and `test`. A single folder around it all is stepped into. Classes are sorted by name,
images by class and name. Names are compared in Unicode's normal form C, so that é is é whichever system wrote it: two
class folders whose names differ only in their form are one class.
"""

import os
import sys
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np

from cnn_jax.data.decoding import decode_all
from cnn_jax.data.images import Size, is_image
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
    """The folder or zip at an existing path; `key` names its content, `read_parts` its arrays."""
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: neither a folder nor a file")
    source = Folder(path) if path.is_dir() else Zip(path)
    _check_utf8(str(source.path), source.path)
    return source


def read_parts(source: Folder | Zip, image_size: Size | None, without_test: bool = False) -> Parts:
    """Decodes every image. DataError: a layout that is none, an empty class, one class only, a file that is no image
    though its name says so, images of different sizes where no image_size makes them one. Errors of `check_splits`.

    Other files in class folders are skipped, counted in the parts' source, and said here, once.
    """
    listing = source.listing
    everything, outside = _arrange(source.path, listing)
    tree, strays = _images_only(source, everything)
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
        some = ", ".join(strays[:3]) + (", …" if len(strays) > 3 else "")
        print(f"cnn_jax: {source.path}: {count}: {some}", file=sys.stderr, flush=True)
    about = {
        "title": source.path.name,
        "licence": "not stated",
        "citation": "",
        "archives": source.archives,
        "skipped": {"hidden": len(listing.hidden), "outside a class folder": outside, "not an image": len(strays)},
    }
    return Parts(splits, classes, about)


def _arrange(root: Path, listing: Listing) -> tuple[Tree, int]:
    """The tree, whose only split is `all` where the source has none; and how many files lie outside class folders."""
    files = sorted((_normal(name), name) for name in listing.files)
    folders = sorted({_normal(name) for name in listing.folders})
    start = _wrapper(folders)
    files = [(name.removeprefix(start), stored) for name, stored in files]
    folders = [name.removeprefix(start) for name in folders if name.startswith(start)]
    tops = [name for name in folders if "/" not in name]
    has_splits = set(tops) <= set(SPLITS) and any(name.count("/") == 2 for name, _ in files)
    depth = 2 if has_splits else 1
    classes: dict[str, list[str]] = {name: [] for name in folders if name.count("/") == depth - 1}
    outside = 0
    for name, stored in files:
        if name.count("/") > depth:
            raise DataError(f"{root}/{stored}: lies too deep: the layout is {LAYOUTS}")
        if name.count("/") < depth:
            outside += 1
        else:
            classes[name.rpartition("/")[0]].append(stored)
    if not has_splits:
        return {"all": classes}, outside
    tree = {
        SPLITS[top]: {
            name.removeprefix(f"{top}/"): held for name, held in classes.items() if name.startswith(f"{top}/")
        }
        for top in tops
    }
    if len(tree) < len(tops):
        raise DataError(f"{root}: two folders for the validation split: val, valid and validation mean the same")
    return tree, outside


def _wrapper(folders: list[str]) -> str:
    """`name/` of the only folder around all the others, if there is one, else nothing."""
    tops = {path.split("/")[0] for path in folders}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    wraps = top and top[:-1] not in SPLITS and any(name.startswith(top) for name in folders)
    return top if wraps else ""


def _images_only(source: Folder | Zip, tree: Tree) -> tuple[Tree, list[str]]:
    """The tree without files that neither are called nor begin like an image, and the names of those."""
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
    """DataError for the name of a class or a data set that no record or page could hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{root}: the name {os.fsencode(name)!r} is not UTF-8, in which records and pages are written: rename it"
        ) from None
