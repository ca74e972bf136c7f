"""Damaged images, folders and zips, by the thousand: each gives an image or one line that names the file."""

import io
import warnings
import zipfile

import numpy as np
import pytest
from counting import cases, count
from damage import damaged
from PIL import Image
from pngs import KINDS, PALETTE, RGB, RGB_ALPHA, chunk, exif, png, with_segments
from samples import encoded, files_of, picture, write_tree

from cnn_jax.data import decoding, load, workers
from cnn_jax.data.images import Images, decode
from cnn_jax.errors import DataError

CHANNELS = {RGB: 3, RGB_ALPHA: 4, 4: 2}


def whole_images(root) -> list[bytes]:
    """Real files, and PNG and JPEG of every kind."""
    images = [(root / "docs" / "three.png").read_bytes()]
    for i, (colour, depth) in enumerate(KINDS):
        random = np.random.default_rng(i)
        samples = random.integers(0, 1 << depth, (9, 7, CHANNELS.get(colour, 1)))
        options = {"plte": random.bytes(3 << depth), "trns": random.bytes(3)} if colour == PALETTE else {}
        if colour in (0, RGB):
            options["trns"] = samples[0, 0].astype(">u2").tobytes()
        extra = [chunk(b"eXIf", exif(i % 8 + 1)), chunk(b"tEXt", b"key\0text")]
        images.append(png(samples, depth, colour, interlaced=i % 2 == 1, after=extra, **options))
    for shape, options in (((16, 24), {}), ((24, 16, 3), {}), ((40, 40, 3), {"progressive": True})):
        plain = encoded(picture(1, *shape), "jpeg", **options)
        images += [plain, with_segments(plain, (0xE1, b"Exif\0\0" + exif(6)), (0xFE, b"comment"))]
    file = io.BytesIO()
    Image.fromarray(picture(2, 16, 16, 4), "CMYK").save(file, "jpeg")
    return [*images, file.getvalue()]


def outcome(do, *names) -> str:
    """Empty where `do` gives what it should or one line that holds one of `names`; else what went wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return do() or ""
    except DataError as error:
        message = str(error)
        return "" if any(name in message for name in names) and "\n" not in message else f"a bad line: {message!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def decoded(name, data) -> str:
    image = decode(name, data)
    good = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (1, 3) and image.size
    return "" if good else f"gave {image.dtype} {image.shape}"


def test_damaged_images(request, record_property, pytestconfig):
    images = whole_images(pytestconfig.rootpath)
    assert not any(decoded("x", data) for data in images)
    failures = []
    for seed in range(tries := cases(request, quick=1500, slow=10_000)):
        random = np.random.default_rng(seed)
        data = damaged(images[random.integers(len(images))], random)
        if problem := outcome(lambda data=data: decoded("dir/x.png", data), "dir/x.png: "):
            failures.append(f"seed {seed}: {problem}")
    count(record_property, "damaged images", tried=tries, failures=failures)


def test_damaged_images_in_a_worker_process_are_what_they_are_here(request, record_property, pytestconfig):
    """One worker takes them all, one at a time: the same pixels, or the same line; and it lives to the end."""
    images = whole_images(pytestconfig.rootpath)
    failures = []
    tries, size = cases(request, quick=200, slow=2000), (8, 8, "squash")
    with workers.shared_memory() as memory:
        room = Images(tries, memory)
        room.add("first", decode("first", encoded(picture(0, 8, 8, 3)), size))
        with workers.started(1, decoding._Files(size), memory, room.array.shape) as (worker,):
            for seed in range(1, tries):
                random = np.random.default_rng([7, seed])
                name, data = f"dir/{seed}.png", damaged(images[random.integers(len(images))], random)
                worker.send(seed, [(name, data)])
                _, shapes, failure = worker.receive()
                try:
                    here = decode(name, data, size)
                except DataError as error:
                    same = not shapes and str(failure) == str(error)
                else:
                    same = shapes == [here.shape] and np.array_equal(room.array[seed][..., : here.shape[2]], here)
                if not same:
                    failures.append(f"seed {seed}: {shapes} {failure}")
            assert worker.process.poll() is None
    count(record_property, "damaged images in a worker process", tried=tries, failures=failures)


def test_damaged_files_in_a_folder(request, record_property, pytestconfig, tmp_path):
    """Whatever is done to one file of a folder: it loads, or one line names that file."""
    images = whole_images(pytestconfig.rootpath)
    failures = []
    for seed in range(tries := cases(request, quick=40, slow=200)):
        random = np.random.default_rng([1, seed])
        folder = write_tree(tmp_path / str(seed), files_of({"a": 4, "b": 4}))
        (folder / "b" / "x.png").write_bytes(damaged(images[random.integers(len(images))], random))
        if problem := outcome(lambda folder=folder: len(load(str(folder), image_size=4).train) != 5, "b/x.png: "):
            failures.append(f"seed {seed}: {problem}")
    count(record_property, "damaged files in a folder", tried=tries, failures=failures)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_zips(compression, request, record_property, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.comment = b"a comment"
        archive.mkdir("café")
        for name, data in files_of({"café": 4, "b": 4}).items():
            archive.writestr(name, data)
        archive.writestr("b/README", b"text")
        archive.writestr("__MACOSX/b/._000.png", b"x")
    failures = []
    for seed in range(tries := cases(request, quick=100, slow=500)):
        random = np.random.default_rng([2, compression, seed])
        path = tmp_path / f"{seed}.zip"
        path.write_bytes(damaged(file.getvalue(), random))
        if problem := outcome(lambda path=path: not len(load(str(path)).train), str(path)):
            failures.append(f"seed {seed}: {problem}")
    count(record_property, "damaged zips", tried=tries, failures=failures)
