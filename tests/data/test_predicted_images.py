"""Images that a trained network is asked about are decoded as those it was trained on."""

import os

import numpy as np
import pytest
from pngs import GREY, GREY_ALPHA, chunk, exif, png
from samples import encoded, picture

from cnn_jax.data import storage
from cnn_jax.data.images import decode
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs.model import TrainedModel
from cnn_jax.training.config import Config


@pytest.fixture
def trained():
    def of(height, width):
        network = Network((height, width, 1), parse("dense-2"))
        return TrainedModel(network, {}, ("a", "b"), np.zeros(1), np.ones(1), Config(), None)

    return of


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_they_stand_as_exif_says(orientation, trained, tmp_path):
    shape = (6, 5) if orientation < 5 else (5, 6)
    data = png(picture(1, *shape), 8, GREY, after=[chunk(b"eXIf", exif(orientation))])
    (tmp_path / "x.png").write_bytes(data)
    assert np.array_equal(trained(6, 5).read([tmp_path / "x.png"]), decode("x", data)[None])


def test_sixteen_bits_of_transparency_are_composed(trained, tmp_path):
    (tmp_path / "x.png").write_bytes(png([[[51400, 13107], [0, 0]]], 16, GREY_ALPHA))
    assert trained(1, 2).read([tmp_path / "x.png"]).tolist() == [[[[244], [255]]]]


def test_what_cannot_be_read_is_one_line(trained, tmp_path, refuses, monkeypatch):
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    good.write_bytes(encoded(picture(1, 4, 4)))
    broken.write_bytes(png(picture(1, 4, 4), 8, GREY, after=[chunk(b"iTXt", b"k")[:-1] + b"\0"]))
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.setattr(storage, "MAX_FILE_BYTES", 1 << 20)
    (tmp_path / "large.png").write_bytes(bytes((1 << 20) + 1))
    for name, what in (
        ("broken.png", "broken image: wrong checksum of its chunk iTXt"),
        ("pipe.png", "cannot be read: not a file"),
        ("large.png", "more than 1 MiB"),
        ("missing.png", "cannot be read: No such file"),
        ("a\0b.png", "cannot be read: embedded null byte"),
        ("", "cannot be read: not a file"),
    ):
        with refuses(tmp_path / name, what):
            trained(4, 4).read([good, tmp_path / name])
