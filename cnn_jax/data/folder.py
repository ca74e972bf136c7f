"""A folder of images, or a zip of one, as arrays.

`<class>/*` is dealt to three splits later on; `<split>/<class>/*` has its own, with the split folders `train`,
`val`, `valid` or `validation`, and `test`. A single folder around it all is stepped into. Classes are sorted by name,
images by class and name.
"""

from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Split
from cnn_jax.data.decoding import decode_all
from cnn_jax.data.splits import Parts
from cnn_jax.data.storage import Folder, Listing, Zip
from cnn_jax.errors import DataError

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
LAYOUTS = "<class>/* or <split>/<class>/* (train, val, test)"

Tree = dict[str, dict[str, list[str]]]  # split -> class -> names of its files


def open_source(path: Path) -> Folder | Zip:
    """The folder or zip at an existing path; `key` names its content, `read_parts` its arrays."""
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: neither a folder nor a file")
    return Folder(path) if path.is_dir() else Zip(path)


def read_parts(source: Folder | Zip, image_size: int | None) -> Parts:
    """Decodes every image. DataError: a layout that is none, an empty class, one class only, a file that is no image,
    images of different sizes where no image_size makes them one."""
    listing = source.listing
    tree, outside = _arrange(source.path, listing)
    classes = _classes(source.path, tree)
    names = [name for split in tree.values() for label in classes for name in split[label]]
    items = ((f"{source.path}/{name}", source.read(name)) for name in names)
    images = decode_all(items, len(names), image_size)
    labels = [
        np.repeat(np.arange(len(classes), dtype=np.int32), [len(split[label]) for label in classes])
        for split in tree.values()
    ]
    arrays = images.split([len(targets) for targets in labels])
    splits = {name: Split(*pair) for name, *pair in zip(tree, arrays, labels, strict=True)}
    about = {
        "title": source.path.name,
        "licence": "not stated",
        "citation": "",
        "archives": source.archives,
        "skipped": {"hidden": len(listing.hidden), "outside a class folder": outside},
    }
    return Parts(splits, classes, about)


def _arrange(root: Path, listing: Listing) -> tuple[Tree, int]:
    """The tree, whose only split is `all` where the source has none; and how many files lie outside class folders."""
    start = _wrapper(listing)
    files = {name.removeprefix(start): name for name in listing.files}
    folders = sorted(name.removeprefix(start) for name in listing.folders if name.startswith(start))
    tops = [name for name in folders if "/" not in name]
    has_splits = set(tops) <= set(SPLITS) and any(name.count("/") == 2 for name in files)
    depth = 2 if has_splits else 1
    classes: dict[str, list[str]] = {name: [] for name in folders if name.count("/") == depth - 1}
    outside = 0
    for inner, name in files.items():
        if inner.count("/") > depth:
            raise DataError(f"{root}/{name}: lies too deep: the layout is {LAYOUTS}")
        if inner.count("/") < depth:
            outside += 1
        else:
            classes[inner.rpartition("/")[0]].append(name)
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


def _wrapper(listing: Listing) -> str:
    """`name/` of the only folder around all the others, if there is one, else nothing."""
    tops = {path.split("/")[0] for path in [*listing.files, *listing.folders]}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    wraps = top and top[:-1] not in SPLITS and any(name.startswith(top) for name in listing.folders)
    return top if wraps else ""


def _classes(root: Path, tree: Tree) -> tuple[str, ...]:
    """The class names, sorted, the same in every split."""
    for needed in ("train", "test"):
        if needed not in tree and "all" not in tree:
            raise DataError(f"{root}: no {needed} folder beside {', '.join(tree)}: the layout is {LAYOUTS}")
    first = tree.get("all") or tree.get("train")
    if not first:
        raise DataError(f"{root}: no class folders with images: the layout is {LAYOUTS}")
    for split, classes in tree.items():
        where = str(root) if split == "all" else f"{root}, split {split}"
        if odd := sorted(set(classes) ^ set(first)):
            raise DataError(f"{where}: class {odd[0]} is in one of train and {split} but not in the other")
        if empty := sorted(name for name, files in classes.items() if not files):
            raise DataError(f"{where}: class {empty[0]} has no images")
    if len(first) == 1:
        raise DataError(f"{root}: one class only ({next(iter(first))}): there is nothing to tell apart")
    return tuple(sorted(first))
