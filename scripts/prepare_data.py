"""Caches data sets in advance, e.g. to copy the cache to a machine without archives or TFDS.

    scripts/run scripts/prepare_data.py mnist fashion_mnist --data-dir DIR
    scripts/run scripts/prepare_data.py photos.zip --image-size 64
    python scripts/prepare_data.py --digits    (regenerates cnn_jax/data/digits.npz; needs scikit-learn)

The cache is $CNN_JAX_CACHE or `cnn_jax` in the user's cache folder; copy it and set CNN_JAX_CACHE there. For folders of
images, use a zip and copy it too: its arrays are found by the content of the zip.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from cnn_jax.data import load
from cnn_jax.data.load import DIGITS_FILE
from cnn_jax.errors import CnnJaxError


def make_digits(path: Path) -> None:
    """Writes scikit-learn's 1,797 digits as uint8 [1797,8,8,1] (grey level 0..16 times 255/16, rounded) and labels."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped, import-not-found, unused-ignore]

    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)[..., None]
    np.savez_compressed(path, images=images, labels=digits.target.astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", metavar="NAME|FOLDER|ZIP")
    parser.add_argument("--data-dir", help="folder of archives and prepared TFDS sets; only read")
    parser.add_argument("--image-size", type=int, help="resize every image to NxN")
    parser.add_argument("--digits", action="store_true", help="regenerate the embedded digits from scikit-learn")
    options = parser.parse_args()
    if not (options.datasets or options.digits):
        parser.error("nothing to prepare: name a data set, a folder or a zip, or give --digits")
    if options.digits:
        make_digits(DIGITS_FILE)
        print(f"{DIGITS_FILE}: {DIGITS_FILE.stat().st_size} bytes")
    for name in options.datasets:
        start = time.perf_counter()
        dataset = load(name, data_dir=options.data_dir, image_size=options.image_size)
        sizes = ", ".join(f"{split} {size}" for split, size in dataset.source["split"]["sizes"].items())
        print(f"{name}: {sizes}, images {dataset.image_shape}, {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except CnnJaxError as error:
        print(f"prepare_data: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
