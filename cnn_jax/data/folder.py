"""A folder of images, or a zip of one, as arrays.

`<class>/*` is dealt to three splits later on; `<split>/<class>/*` has its own, with the split folders `train`,
`val`, `valid` or `validation`, and `test`. A single folder around it all is stepped into. Classes are sorted by name,
images by class and name.
"""

from pathlib import Path

import numpy as np

from cnn_jax.data.dataset import Split
from cnn_jax.data.images import Images, decode
from cnn_jax.data.splits import Parts
from cnn_jax.data.storage import Folder, Zip
from cnn_jax.errors import DataError

SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
LAYOUTS = "<class>/* or <split>/<class>/* (train, val, test)"


def open_source(path: Path) -> Folder | Zip:
    """The folder or zip at an existing path; `key` names its content, `read_parts` its arrays."""
    return Folder(path) if path.is_dir() else Zip(path)


def read_parts(source: Folder | Zip, image_size: int | None) -> Parts:
    """Decodes every image. DataError: a layout that is none, an empty class, one class only, a file that is no image,
    images of different sizes where no image_size makes them one."""
    listing = source.listing
    tree, outside = _arrange(source.path, listing.files, listing.folders)
    classes = _classes(source.path, tree)
    names = [name for split in tree.values() for label in classes for name in split[label]]
    images = Images(len(names))
    for name in names:  # no threads: measured, they take twice as long for 32x32 and as long for 224x224
        where = f"{source.path}/{name}"
        images.add(where, decode(where, source.read(name), image_size))
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


def _arrange(root: Path, files: list[str], folders: set[str]) -> tuple[dict[str, dict[str, list[str]]], int]:
    """split -> class -> files, the only split being `all` where the source has none; and how many files lie outside."""
    start = _start(files, folders)
    tops = {folder.removeprefix(start) for folder in folders if folder.startswith(start)}
    tops = {folder for folder in tops if folder and "/" not in folder}
    inner = [name.removeprefix(start) for name in files]
    split_layout = bool(tops) and tops <= set(SPLITS) and any(name.count("/") == 2 for name in inner)
    depth = 2 if split_layout else 1
    tree: dict[str, dict[str, list[str]]] = {}
    for top in sorted(tops) if split_layout else ["all"]:
        if SPLITS.get(top, top) in tree:
            raise DataError(f"{root}: two folders for the validation split: val, valid and validation mean the same")
        tree[SPLITS.get(top, top)] = {}
    for folder in folders:
        parts = folder.removeprefix(start).split("/")
        if folder.startswith(start) and len(parts) == depth:
            tree[SPLITS[parts[0]] if split_layout else "all"][parts[-1]] = []
    outside = 0
    for original, name in zip(files, inner, strict=True):
        parts = name.split("/")
        if len(parts) > depth + 1:
            raise DataError(f"{root}/{original}: lies too deep: the layout is {LAYOUTS}")
        if len(parts) <= depth:
            outside += 1
        else:
            tree[SPLITS[parts[0]] if split_layout else "all"][parts[-2]].append(original)
    return tree, outside


def _start(files: list[str], folders: set[str]) -> str:
    """`name/` of the only folder around all the others, if there is one, else nothing."""
    tops = {path.split("/")[0] for path in [*files, *folders]}
    top = tops.pop() if len(tops) == 1 else ""
    wraps = top not in SPLITS and any(folder.startswith(f"{top}/") for folder in folders)
    return f"{top}/" if top and wraps else ""


def _classes(root: Path, tree: dict[str, dict[str, list[str]]]) -> tuple[str, ...]:
    """The class names, sorted, the same in every split."""
    if "all" not in tree:
        for needed in ("train", "test"):
            if needed not in tree:
                raise DataError(f"{root}: no {needed} folder beside {', '.join(tree)}")
    first = next(iter(tree.values())) if "all" in tree else tree["train"]
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
