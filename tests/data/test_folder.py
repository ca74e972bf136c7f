"""Folders of images: layouts, order, splits, caching, and everything that is refused."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image
from samples import encoded, files_of, picture, snapshot, write_tree

from cnn_jax.data import load
from cnn_jax.data.images import decode

TWO = {"cat": 20, "dog": 40}


@pytest.fixture
def photos(tmp_path):
    def make(files, name="photos"):
        return write_tree(tmp_path / name, files)

    return make


def pixels(files, folder):
    return [decode(name, data) for name, data in sorted(files.items()) if name.startswith(folder)]


def test_classes_are_dealt_70_15_15_and_every_image_is_there_once(photos):
    files = files_of(TWO)
    dataset = load(str(photos(files)))
    assert dataset.name == "photos"
    assert dataset.class_names == ("cat", "dog")
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [np.bincount(split.labels).tolist() for split in splits] == [[14, 28], [3, 6], [3, 6]]
    for label, folder in enumerate(dataset.class_names):
        found = [image.tobytes() for split in splits for image in split.images[split.labels == label]]
        assert sorted(found) == sorted(image.tobytes() for image in pixels(files, folder))
    assert dataset.source["split"] == {
        "rule": "stratified 70/15/15 by PCG64",
        "seed": 0,
        "sizes": {"train": 42, "validation": 9, "test": 9},
    }
    assert load(str(photos(files)), split_seed=1).fingerprint != dataset.fingerprint


@pytest.mark.parametrize("folder", ["val", "valid", "validation"])
def test_split_folders_are_taken_as_they_are(folder, photos):
    files = files_of({f"{split}/{c}": n for split, n in (("train", 5), (folder, 3), ("test", 2)) for c in "ba"})
    dataset = load(str(photos(files)))
    for split, name in ((dataset.train, "train"), (dataset.validation, folder), (dataset.test, "test")):
        assert np.array_equal(split.images, np.stack(pixels(files, f"{name}/")))
        assert split.labels.tolist() == [0] * (len(split) // 2) + [1] * (len(split) // 2)


def test_a_missing_validation_split_is_cut_from_train_alone(photos):
    files = files_of({"train/a": 30, "train/b": 30, "test/a": 4, "test/b": 4})
    folder = str(photos(files))
    dataset = load(folder)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54, 6, 8)
    assert np.array_equal(dataset.test.images, np.stack(pixels(files, "test/")))
    assert (len(load(folder, validation=25).train), len(load(folder, validation=25).validation)) == (35, 25)


def test_train_and_test_may_also_be_names_of_classes(photos):
    assert load(str(photos(files_of({"train": 5, "test": 5})))).class_names == ("test", "train")
    assert load(str(photos(files_of({"train": 5, "bus": 5}), "b"))).class_names == ("bus", "train")


def test_grey_images_take_one_channel_and_one_colour_image_gives_three(photos):
    files = files_of(TWO, (6, 5))
    assert load(str(photos(files))).image_shape == (6, 5, 1)
    files["dog/999.png"] = encoded(picture(9))
    dataset = load(str(photos(files)))
    assert dataset.image_shape == (6, 5, 3)
    everything = np.concatenate([dataset.train.images, dataset.validation.images, dataset.test.images])
    assert (everything[..., 0] == everything[..., 2]).all(axis=(1, 2)).sum() == 60


def test_sizes_that_differ_are_named_and_image_size_makes_them_one(photos, refuses):
    files = files_of(TWO) | {"dog/020.png": encoded(picture(3, 7, 9, 3))}
    folder = photos(files)
    with refuses(folder / "cat/000.png", "5x6", folder / "dog/020.png", "9x7", "--image-size N"):
        load(str(folder))
    dataset = load(str(folder), image_size=4)
    assert dataset.image_shape == (4, 4, 3)
    expected = np.asarray(Image.fromarray(picture(3, 7, 9, 3)).resize((4, 4), Image.Resampling.BILINEAR))
    splits = (dataset.train, dataset.validation, dataset.test)
    assert sum(np.array_equal(image, expected) for split in splits for image in split.images) == 1


def test_one_folder_around_all_is_stepped_into(photos):
    plain = load(str(photos(files_of(TWO))))
    wrapped = load(str(photos({f"inner/{name}": data for name, data in files_of(TWO).items()}, "outer")))
    assert wrapped.fingerprint == plain.fingerprint


def test_hidden_files_and_files_outside_classes_are_skipped_and_counted(photos):
    plain = load(str(photos(files_of(TWO)))).fingerprint
    extra = {".DS_Store": b"x", "cat/.DS_Store": b"x", "dog/Thumbs.db": b"x", ".git/a/b/c/d": b"x", "README.txt": b"x"}
    dataset = load(str(photos(files_of(TWO) | extra, "extra")))
    assert dataset.fingerprint == plain
    assert dataset.source["skipped"] == {"hidden": 4, "outside a class folder": 1, "not an image": 0}


def test_duplicates_across_splits_are_counted(photos):
    same = encoded(picture(77))
    files = files_of({"train/a": 9, "train/b": 9, "val/a": 2, "val/b": 2, "test/a": 3, "test/b": 3})
    files |= {"train/a/0.png": same, "val/a/0.png": same, "test/a/0.png": same, "test/b/0.png": same}
    assert load(str(photos(files))).source["duplicates"] == {
        "train/validation": 1,
        "train/test": 2,
        "validation/test": 2,
    }


def test_nothing_is_written_outside_the_cache(photos):
    folder = photos(files_of(TWO))
    before = snapshot(folder)
    load(str(folder))
    assert snapshot(folder) == before


@pytest.mark.parametrize("change", ["content", "added", "removed", "renamed"])
def test_a_changed_folder_never_gives_stale_arrays(change, photos):
    folder = photos(files_of(TWO, (6, 5)))
    before = load(str(folder))
    path = folder / "dog" / "003.png"
    status, data = path.stat(), path.read_bytes()
    if change == "content":  # of the same size and with its time put back
        other = next(d for d in (encoded(picture(s, 6, 5)) for s in range(500, 600)) if len(d) == len(data))
        path.write_bytes(other)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "added":
        (folder / "cat" / "new.png").write_bytes(encoded(picture(999, 6, 5)))
    elif change == "removed":
        path.unlink()
    else:
        path.rename(folder / "cat" / "003b.png")
    after = load(str(folder))
    assert after.fingerprint != before.fingerprint


def test_links_are_followed_only_inside(photos, tmp_path, refuses):
    folder = photos(files_of(TWO))
    (folder / "cat" / "same.png").symlink_to("000.png")
    (folder / "bird").symlink_to("dog")
    dataset = load(str(folder))
    assert dataset.class_names == ("bird", "cat", "dog")
    (tmp_path / "secret.png").write_bytes(encoded(picture(5)))
    (folder / "cat" / "out.png").symlink_to(tmp_path / "secret.png")
    with refuses(folder / "cat" / "out.png", "leads out"):
        load(str(folder))
    (folder / "cat" / "out.png").unlink()
    (folder / "cat" / "broken.png").symlink_to("nothing.png")
    with refuses(folder / "cat" / "broken.png", "link to nothing"):
        load(str(folder))
    (folder / "cat" / "broken.png").unlink()
    (folder / "cat" / "itself.png").symlink_to("itself.png")
    with refuses(folder / "cat" / "itself.png"):
        load(str(folder))
    (folder / "cat" / "itself.png").unlink()
    (folder / "cat" / "loop").symlink_to("..")
    with refuses("loop", "deep"):
        load(str(folder))


def test_a_pipe_is_not_waited_for(photos, refuses):
    folder = photos(files_of(TWO))
    os.mkfifo(folder / "cat" / "pipe.png")
    with refuses("pipe.png", "neither a file nor a folder"):
        load(str(folder))


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({}, ["no class folders"]),
        ({"0.png": encoded(picture(0))}, ["no class folders"]),
        (files_of({"cat": 5}), ["one class only (cat)"]),
        (files_of({"train/cat": 5, "test/cat": 5}), ["one class only (cat)"]),
        (files_of({"cat": 5, "dog": 2}), ["fewer than 3 images of dog"]),
        (files_of({"cat": 5, "dog": 5}) | {"bird/.hidden": b""}, ["class bird has no images"]),
        (files_of({"train/a": 5, "train/b": 5}), ["no test split beside train", "--without-test"]),
        (files_of({"test/a": 5, "test/b": 5}), ["no train split beside test"]),
        (files_of({"train/a": 5, "train/b": 5, "test/a": 5}), ["split test", "class b"]),
        (files_of({"train/a": 5, "train/b": 5, "test/a": 5, "test/c": 5}), ["split test", "class b"]),
        (files_of({f"{s}/{c}": 3 for s in ("train", "val", "valid", "test") for c in "ab"}), ["two folders", "val"]),
        (files_of({f"{s}/{c}": 3 for s in ("train", "test", "other") for c in "ab"}), ["too deep", "<class>/*"]),
        (files_of(TWO) | {"cat/x.png": b"text"}, ["cat/x.png", "neither a JPEG nor a PNG"]),
        (files_of(TWO) | {"cat/x.GIF": b"text"}, ["cat/x.GIF", "neither a JPEG nor a PNG"]),
        (files_of(TWO) | {"bird/x.txt": b"text"}, ["class bird has no images"]),
        (files_of(TWO) | {"cat/x.jpg": encoded(picture(1), "jpeg")[:-60]}, ["cat/x.jpg", "broken image"]),
    ],
)
def test_bad_folders_are_refused_and_leave_no_arrays(files, what, photos, refuses, cache):
    folder = photos(files)
    folder.mkdir(exist_ok=True)
    with refuses(folder, *what):
        load(str(folder))
    shutil.rmtree(folder)
    assert all("photos" not in str(path) for path in cache.rglob("*.npy"))


def test_a_class_folder_without_any_file_is_refused(photos, refuses):
    folder = photos(files_of(TWO))
    (folder / "bird").mkdir()
    with refuses("class bird has no images"):
        load(str(folder))
