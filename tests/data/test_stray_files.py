"""Files that are no images, in folders of classes: skipped, counted, said once; but a broken image is refused."""

import zipfile

import pytest
from samples import encoded, files_of, picture, write_tree

from cnn_jax.data import load

TWO = {"cat": 20, "dog": 40}
STRAYS = {
    "cat/README": b"How these were taken",
    "cat/labels.csv": b"a,b",
    "dog/notes.TXT": b"",
    "dog/checksums": b"\x89PN",
    "dog/.DS_Store": b"x",
    "dog/thumbs.DB": b"x",
    "dog/Desktop.ini": b"x",
    "__MACOSX/dog/._000.png": b"x",
}
SKIPPED = {"hidden": 4, "outside a class folder": 0, "not an image": 4}


@pytest.fixture(params=["folder", "zip"])
def source(request, tmp_path):
    """Writes files as a folder or a zip; returns its path."""

    def make(files, name="photos"):
        if request.param == "folder":
            return str(write_tree(tmp_path / name, files))
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in files.items():
                archive.writestr(member, data)
        return str(path)

    return make


def test_stray_files_are_skipped_counted_and_said_once(source, capsys):
    plain = load(source(files_of(TWO)))
    assert capsys.readouterr().err == ""
    path = source(files_of(TWO) | STRAYS, "strays")
    dataset = load(path)
    said = capsys.readouterr().err
    assert said == f"cnn_jax: {path}: 4 files are no images and were skipped: cat/README, cat/labels.csv, " + (
        "dog/checksums, …\n"
    )
    assert dataset.fingerprint == plain.fingerprint
    assert dataset.source["skipped"] == SKIPPED
    again = load(path)
    assert again.source["skipped"] == SKIPPED
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["cat/x.png", "cat/x.JPEG", "dog/x.webp", "dog/x.tif"])
def test_a_file_that_is_called_an_image_and_is_none_is_refused(name, source, refuses):
    with refuses(f"{name}: neither a JPEG nor a PNG"):
        load(source(files_of(TWO) | {name: b"no image"}))


def test_an_image_without_an_ending_is_an_image_and_a_broken_one_is_refused(source, refuses):
    images = {f"cat/n0144{i}_10026": encoded(picture(900 + i)) for i in range(3)}
    dataset = load(source(files_of(TWO) | images))
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 63
    assert dataset.source["skipped"]["not an image"] == 0
    with refuses("cat/000: broken image"):
        load(source(files_of(TWO) | {"cat/000": encoded(picture(1))[:-20]}, "broken"))


def test_files_beside_the_folder_around_all_are_outside(source):
    inner = {f"photos/{name}": data for name, data in files_of(TWO).items()}
    dataset = load(source(inner | {"README.md": b"x", "LICENSE": b"x"}, "around"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.source["skipped"] == {"hidden": 0, "outside a class folder": 2, "not an image": 0}


def test_a_class_of_stray_files_alone_has_no_images(source, refuses):
    with refuses("class docs has no images"):
        load(source(files_of(TWO) | {"docs/README.md": b"x"}))
