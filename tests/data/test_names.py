"""Names of classes: in UTF-8, in one normal form, whichever system wrote the folder or the zip."""

import json
import os
import struct
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import encoded, files_of, picture, write_tree

from cnn_jax.data import load
from cnn_jax.data.folder import open_source

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
KOREAN = [unicodedata.normalize(form, "고양이") for form in ("NFC", "NFD")]


def write_zip(path: Path, files: dict[bytes | str, bytes], flagged: bool = True) -> Path:
    """With names given as bytes, and with or without the flag that says they are UTF-8."""
    raw = {name if isinstance(name, bytes) else name.encode(): data for name, data in files.items()}
    plain = {f"{index:0{len(name)}}": name for index, name in enumerate(raw)}  # of the same length, ASCII
    with zipfile.ZipFile(path, "w") as archive:
        for stand_in, name in plain.items():
            archive.writestr(stand_in, raw[name])
    data = bytearray(path.read_bytes())
    for stand_in, name in plain.items():
        for signature, at, flags in ((b"PK\x03\x04", 30, 6), (b"PK\x01\x02", 46, 8)):
            start = next(
                found
                for found in _all(data, signature)
                if data[found + at : found + at + len(name)] == stand_in.encode()
            )
            data[start + at : start + at + len(name)] = name
            if flagged:
                struct.pack_into("<H", data, start + flags, 0x800)
    path.write_bytes(data)
    return path


def _all(data: bytearray, signature: bytes):
    place = data.find(signature)
    while place >= 0:
        yield place
        place = data.find(signature, place + 1)


def renamed(files: dict[str, bytes], **classes: str) -> dict[str, bytes]:
    return {"/".join(classes.get(part, part) for part in name.split("/")): data for name, data in files.items()}


def everything(dataset) -> list[bytes]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return sorted(image.tobytes() + bytes([label]) for s in splits for image, label in zip(s.images, s.labels))  # noqa: B905


def test_a_class_name_that_is_not_utf8_is_one_line(tmp_path, refuses):
    files = files_of({"a": 5, "b": 5})
    folder = write_tree(tmp_path / "photos", files)
    os.rename(folder / "b", os.fsencode(folder) + b"/caf\xe9")
    with refuses(folder, r"b'caf\xe9' is not UTF-8", "rename it"):
        load(str(folder))


def test_a_data_set_in_a_folder_whose_name_is_not_utf8_is_one_line(tmp_path, refuses):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    write_tree(Path(folder) / "photos", files_of({"a": 5, "b": 5}))
    with refuses(r"caf\xe9", "is not UTF-8"):
        load(f"{folder}/photos")


def test_files_in_a_class_may_be_called_anything(tmp_path, refuses):
    """Their names stand in no record."""
    folder = write_tree(tmp_path / "photos", files_of({"a": 5, "b": 5}))
    odd = os.fsdecode(b"caf\xe9\n.png")
    (folder / "a" / odd).write_bytes(encoded(picture(99)))
    dataset = load(str(folder))
    assert sum(map(len, (dataset.train, dataset.validation, dataset.test))) == 11
    json.dumps(dataset.source, ensure_ascii=False).encode()


@pytest.mark.parametrize("flagged", [True, False])
@pytest.mark.parametrize("name", [NFC, NFD, *KOREAN, "Ω≈ç√∫", "猫"])
def test_utf8_names_in_a_zip_are_read_with_and_without_the_flag(name, flagged, tmp_path):
    files = files_of({"a": 5, "b": 5})
    path = write_zip(tmp_path / "photos.zip", renamed(files, b=name), flagged)
    with zipfile.ZipFile(path) as archive:
        assert (f"{name}/000.png" in archive.namelist()) == flagged  # Python's own reading is garbled without it
    dataset = load(str(path))
    assert dataset.class_names == ("a", unicodedata.normalize("NFC", name))
    folder = load(str(write_tree(tmp_path / "photos", renamed(files, b=name))))
    assert dataset.fingerprint == folder.fingerprint


@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\:."), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_without_the_flag_is_listed_as_it_was_written(tmp_path, name):
    path = write_zip(tmp_path / "any.zip", {f"{name}/{i}.png": b"x" for i in range(3)}, flagged=False)
    assert open_source(path).listing.files == [f"{name}/{i}.png" for i in range(3)]


def test_other_names_in_a_zip_are_code_page_437_as_its_specification_says(tmp_path):
    files = {name.encode("cp437"): data for name, data in renamed(files_of({"a": 5, "b": 5}), b=NFC).items()}
    assert load(str(write_zip(tmp_path / "dos.zip", files, flagged=False))).class_names == ("a", NFC)


@pytest.mark.parametrize("names", [(NFC, NFD), KOREAN])
def test_both_normal_forms_are_the_same_data(names, tmp_path):
    files = files_of({"a": 5, "b": 5})
    first, second = (
        load(str(write_tree(tmp_path / f"photos{i}", renamed(files, b=name)))) for i, name in enumerate(names)
    )
    assert first.class_names == second.class_names == ("a", names[0])
    assert first.fingerprint == second.fingerprint


def test_two_folders_that_are_one_class_in_two_forms_are_one_class(tmp_path):
    files = files_of({"a": 6, "b": 6, "c": 6})
    merged = load(str(write_tree(tmp_path / "two", renamed(files, b=NFC, c=NFD))))
    assert merged.class_names == ("a", NFC)
    counts = [np.bincount(s.labels).tolist() for s in (merged.train, merged.validation, merged.test)]
    assert np.sum(counts, 0).tolist() == [6, 12]
    other = {name.replace("c/", f"{NFC}/1"): data for name, data in renamed(files, b=NFC).items()}
    assert everything(merged) == everything(load(str(write_tree(tmp_path / "one", other))))


def test_splits_written_by_different_systems_have_the_same_classes(tmp_path):
    files = files_of({f"{split}/{c}": 4 for split in ("train", "val", "test") for c in "ab"})
    plain = load(str(write_tree(tmp_path / "plain", renamed(files, b=NFC))))
    mixed = {name.replace("/b/", f"/{NFD if 'val' in name else NFC}/"): data for name, data in files.items()}
    assert load(str(write_tree(tmp_path / "mixed", mixed))).fingerprint == plain.fingerprint
