"""Zips of images: equal to the folder, and every hostile one refused without a byte written."""

import stat
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from samples import encoded, files_of, picture, snapshot, write_tree

from cnn_jax.data import folder, load

TWO = {"cat": 20, "dog": 40}


@pytest.fixture
def packed(tmp_path):
    """Writes members into a zip; a member is a name or a ZipInfo, with its bytes."""

    def make(*members, name="photos.zip", compression=zipfile.ZIP_DEFLATED):
        with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / name, "w", compression) as archive:
            warnings.simplefilter("ignore")  # duplicate names
            for member, data in members:
                archive.writestr(member, data)
        return tmp_path / name

    return make


def test_a_zip_is_the_folder_it_holds(packed, tmp_path):
    files = files_of(TWO)
    folder = load(str(write_tree(tmp_path / "photos", files)))
    path = packed(*files.items())
    dataset = load(str(path))
    assert dataset.name == "photos"
    assert dataset.fingerprint == folder.fingerprint
    wrapped = packed(*((f"top/{name}", data) for name, data in reversed(files.items())), name="wrapped.zip")
    assert load(str(wrapped)).fingerprint == folder.fingerprint
    assert list(dataset.source["archives"]) == ["photos.zip"]


def test_hidden_members_are_skipped_and_counted(packed):
    extra = {"__MACOSX/cat/._000.png": b"x", "__MACOSX/b": b"x", "cat/.DS_Store": b"x", "cat/Thumbs.db": b"x"}
    dataset = load(str(packed(*(files_of(TWO) | extra).items())))
    assert dataset.source["skipped"] == {"hidden": 3, "outside a class folder": 0, "not an image": 0}


def test_a_changed_zip_never_gives_stale_arrays_and_a_moved_one_is_known(packed, tmp_path, cache):
    files = files_of(TWO)
    path = packed(*files.items())
    first = load(str(path)).fingerprint
    made = list(cache.rglob("about.json"))
    path = path.rename(tmp_path / "moved.zip")
    assert load(str(path)).fingerprint == first
    assert list(cache.rglob("about.json")) == made
    files["cat/000.png"] = encoded(picture(1234))
    assert load(str(packed(*files.items(), name="moved.zip"))).fingerprint != first


def linked(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([("../evil.png", b"x")], "unsafe member name '../evil.png'"),
        ([("cat/../../evil.png", b"x")], "unsafe member name"),
        ([("/tmp/evil.png", b"x")], "unsafe member name '/tmp/evil.png'"),
        ([("C:/evil.png", b"x")], "unsafe member name"),
        ([("cat\\..\\evil.png", b"x")], "unsafe member name"),
        ([(linked("cat/link.png"), b"/etc/passwd")], "cat/link.png is a link"),
        ([("cat/000.png", b"x")], "cat/000.png is in this zip 2 times"),
        ([("cat/zeros.png", bytes(101 << 20))], "more than 100 MiB"),
        ([(f"cat/{i}.png", bytes(20 << 20)) for i in range(2)], "zip bomb"),
        ([("cat/x.png", b"text")], "cat/x.png: neither a JPEG nor a PNG"),
        ([("dog/x.jpg", encoded(picture(1), "jpeg")[:-60])], "dog/x.jpg: broken image"),
        ([("bird/", b"")], "class bird has no images"),
    ],
)
def test_hostile_zips_are_refused_and_nothing_is_written(members, what, packed, tmp_path, refuses, cache):
    path = packed(*files_of(TWO).items(), *members)
    before = snapshot(tmp_path)
    with refuses(path, what):
        load(str(path))
    after = {name: held for name, held in snapshot(tmp_path).items() if not name.startswith(str(cache))}
    assert after.keys() == before.keys()
    assert after[str(path)] == before[str(path)]
    assert not list(cache.rglob("*.npy"))


def patched(path, flag=0, size=None):
    """Rewrites the headers of the last member: sets flag bits, declares another unpacked size."""
    data = bytearray(path.read_bytes())
    central, local = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x03\x04")
    for start, flags, declared in ((central, 8, 24), (local, 6, 22)):
        struct.pack_into("<H", data, start + flags, struct.unpack_from("<H", data, start + flags)[0] | flag)
        if size is not None:
            struct.pack_into("<I", data, start + declared, size)
    path.write_bytes(data)


def test_an_encrypted_zip_is_refused(packed, refuses):
    path = packed(*files_of(TWO).items())
    patched(path, flag=1)
    with refuses(path, "dog/039.png is encrypted"):
        load(str(path))


def test_a_member_that_inflates_to_more_than_it_declares_is_not_inflated(packed, refuses):
    path = packed(*files_of(TWO).items(), ("dog/zeros.png", bytes(90 << 20)))
    patched(path, size=1000)
    tracemalloc.start()
    with refuses(path, "dog/zeros.png"):
        load(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize("damage", [lambda d: b"text", lambda d: b"", lambda d: d[: len(d) // 2], lambda d: d[-400:]])
def test_what_is_not_a_whole_zip_is_refused(damage, packed, refuses):
    path = packed(*files_of(TWO).items())
    path.write_bytes(damage(path.read_bytes()))
    with refuses(path):
        load(str(path))


def test_a_flipped_byte_in_a_member_is_refused(packed, refuses):
    path = packed(*files_of(TWO).items(), compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    with refuses(path, "cat/000.png", "CRC"):
        load(str(path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(compression, packed, refuses):
    with refuses("cat/000.png", "neither stored nor deflated"):
        load(str(packed(*files_of(TWO).items(), compression=compression)))


def test_an_empty_zip_is_refused(packed, refuses):
    path = packed()
    with refuses(path, "no class folders"):
        load(str(path))


@pytest.mark.parametrize("content", [b"\x89PNG", encoded(picture(0))])
def test_another_file_is_refused(content, tmp_path, refuses):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with refuses(path, "not a whole zip archive"):
        load(str(path))


@pytest.mark.slow
def test_the_real_zip_of_cifar10_has_its_counts_and_is_decoded_once(real_data, cache, monkeypatch):
    path = real_data / "cifar10_jpeg" / "cifar10-jpeg.zip"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    first = load(str(path))
    monkeypatch.setattr(folder, "decode_all", None)  # half a second instead of several: nothing is decoded again
    second = load(str(path))
    assert second.image_shape == (32, 32, 3)
    assert second.class_names[0] == "airplane"
    assert (len(second.train), len(second.validation)) == (45000, 5000)
    assert np.bincount(second.test.labels).tolist() == [1000] * 10
    assert first.source == second.source
    assert first.source["archives"]["cifar10-jpeg.zip"].startswith("3dcffc6d4520")
    assert np.abs(second.mean - [0.4914, 0.4822, 0.4465]).max() < 2e-3  # the usual figures for CIFAR-10
