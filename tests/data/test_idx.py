"""The idx reader: round trips, and every way in which a file can be wrong."""

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import write_idx

from cnn_jax.data.idx import read_idx, read_pair


@given(hnp.arrays(np.uint8, st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)))
def test_what_is_written_is_read(array):
    with tempfile.TemporaryDirectory() as folder:
        found = read_idx(write_idx(Path(folder) / "x.gz", array), array.ndim)
    assert found.dtype == np.uint8
    assert np.array_equal(found, array)


def compress(data):
    """Without the time, so that the names of the tests are the same in every process."""
    return gzip.compress(data, mtime=0)


def head(*sizes: int, magic: bytes = b"\0\0\x08\x03") -> bytes:
    return magic + struct.pack(f">{len(sizes)}I", *sizes)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (compress(head(2, 3, 3) + bytes(17)), "truncated: the header announces 18 values, the file has 17"),
        (compress(head(2, 3, 3) + bytes(19)), "too long"),
        (compress(head(2, 3)), "truncated: the header has 16 bytes"),
        (compress(head(2, 3, 3, magic=b"\0\0\x08\x01")), "wrong magic number 00000801"),
        (compress(head(2, 3, 3, magic=b"\0\0\x0d\x03")), "wrong magic number 00000d03"),
        (compress(b""), "wrong magic number"),
        (compress(head(1 << 20, 1 << 20, 1 << 20)), "more than the limit"),
        (compress(head(2, 3, 3) + bytes(18))[:-9], "not a whole gzip file"),
        (compress(head(2, 3, 3) + bytes(18))[:12] + b"\xff" * 20, "not a whole gzip file"),
        (head(2, 3, 3) + bytes(18), "not a whole gzip file"),
        (b"", "wrong magic number"),
    ],
)
def test_a_bad_file_is_refused(content, what, tmp_path, refuses):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with refuses(path, what):
        read_idx(path, 3)


def test_a_gzip_bomb_is_not_inflated(tmp_path, refuses):
    path = tmp_path / "bomb.gz"
    path.write_bytes(compress(head(2, 3, 3) + bytes(50 << 20)))
    with refuses(path, "too long"):
        read_idx(path, 3, limit=1 << 20)


def test_pairs_must_agree_and_labels_be_in_range(tmp_path, refuses):
    images = write_idx(tmp_path / "i.gz", np.zeros((3, 28, 28), np.uint8))
    good = write_idx(tmp_path / "good.gz", np.array([0, 9, 1], np.uint8))
    few = write_idx(tmp_path / "few.gz", np.array([0, 1], np.uint8))
    high = write_idx(tmp_path / "high.gz", np.array([0, 1, 10], np.uint8))
    pixels, labels = read_pair(images, good, 10, 3)
    assert pixels.shape == (3, 28, 28, 1)
    assert labels.tolist() == [0, 9, 1]
    with refuses(few, "2 labels for the 3 images of i.gz"):
        read_pair(images, few, 10, 3)
    with refuses(high, "label 10 at 2", "from 0 to 9"):
        read_pair(images, high, 10, 3)
