"""Files of weights from elsewhere: read as they are meant, or refused in one line that names the file and the array."""

import io
import json
import random
import time
import tracemalloc
import warnings
import zipfile
from collections import Counter

import jax
import ml_dtypes
import numpy as np
import pytest
from counting import cases, count
from safetensors.numpy import save, save_file

from cnn_jax.errors import RequestError
from cnn_jax.runs import weights
from cnn_jax.runs.model import TrainedModel, arrays_of
from cnn_jax.zoo import build

NETWORK = build("conv3-4 bn relu max2 dense-10", (8, 8, 1), 10)
ABOUT = {
    "input_shape": "[8, 8, 1]", "class_names": json.dumps(list("0123456789")), "mean": "[0.5]", "std": "[0.25]",
    "network": '[{"layer": "Dense", "features": 10}]',
}  # fmt: skip


def variables():
    return NETWORK.init(jax.random.key(0))


def arrays():
    return {name: np.array(array) for name, array in weights.named(variables()).items()}


def npz(path, values, compress=False):
    (np.savez_compressed if compress else np.savez)(path, **values)


def refusal(path, words, read=weights.read):
    """The line with which a file is refused."""
    with pytest.raises(RequestError) as refused:
        read(path)
    line = str(refused.value)
    assert str(path) in line
    assert words in line, line
    assert "\n" not in line
    assert len(line) <= 2100
    return line


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", "int8", "uint16", "int64"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_every_real_type_is_read_by_its_value(tmp_path, dtype, suffix):
    path = tmp_path / f"w{suffix}"
    values = {name: (array * 10).astype(dtype) for name, array in arrays().items()}
    npz(path, values) if suffix == ".npz" else save_file(
        {name: array.astype(array.dtype.newbyteorder("=")) for name, array in values.items()}, path
    )
    found = weights.fitted(NETWORK, variables(), weights.read(path)[0], path)
    for name, array in weights.named(found).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, values[name].astype(np.float32))


def test_bfloat16_of_safetensors_is_read_by_its_value(tmp_path):
    path = tmp_path / "w.safetensors"
    values = {name: array.astype(ml_dtypes.bfloat16) for name, array in arrays().items()}
    save_file(values, path)
    found = weights.fitted(NETWORK, variables(), weights.read(path)[0], path)
    np.testing.assert_array_equal(found["params"]["conv1"]["kernel"], values["params/conv1/kernel"].astype(np.float32))


@pytest.mark.parametrize("dtype", ["complex64", "bool", "S3", "U3", "M8[s]", "object", "float32,int8"])
def test_what_is_no_real_number_is_refused_by_its_name(tmp_path, dtype):
    path = tmp_path / "w.npz"
    npz(path, {**arrays(), "params/conv1/kernel": np.zeros((3, 3, 1, 4), dtype)})
    assert "'params/conv1/kernel'" in refusal(path, "")


def safetensors(path, entries, data=b"", metadata=None):
    """A file written by hand: a header of any entries, then data."""
    header = (
        entries
        if isinstance(entries, bytes)
        else json.dumps({**entries, **({} if metadata is None else {"__metadata__": metadata})}).encode()
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "C64", "BOOL"])
def test_types_of_safetensors_that_are_no_weights_are_refused(tmp_path, kind):
    size = {"C64": 8}.get(kind, 1)
    safetensors(
        tmp_path / "w.safetensors", {"a": {"dtype": kind, "shape": [1], "data_offsets": [0, size]}}, b"0" * size
    )
    refusal(tmp_path / "w.safetensors", "")


def test_damage_by_hand_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    entry = '{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    safetensors(path, f'{{"a": {entry}, "a": {entry}}}'.encode(), b"1234")
    refusal(path, "the name 'a' appears twice")
    safetensors(path, b'{"a":' * 3000 + b"1" + b"}" * 3000)
    refusal(path, "nested more than 100 deep")
    safetensors(path, b'{"\xff": 1}')
    refusal(path, "is unreadable")
    path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    refusal(path, "header would be")
    for name, value in {
        "mean": "[[", "std": '["a"]', "class_names": "[1]", "input_shape": "[8.5, 8, 1]", "network": "[" * 5000,
    }.items():  # fmt: skip
        save_file(arrays(), path, metadata={**ABOUT, name: value})
        refusal(path, f"{path}: {name}")
    save_file(arrays(), path, metadata={**ABOUT, "class_names": '["a", "b"]'})
    refusal(path, "2 classes", lambda path: TrainedModel.of_weights(path, "conv3-4 bn relu max2 dense-10"))
    path = tmp_path / "w.npz"
    for name in ABOUT:
        npz(path, {**arrays(), f"about/{name}": np.ones(3)})
        refusal(path, name)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # duplicate names
        for _ in range(2):
            archive.writestr("a.npy", array_bytes(np.ones(3)))
    refusal(path, "'a' is unreadable: this name appears twice")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refusal(path, "'readme.txt' is unreadable")
    (tmp_path / "folder.npz").mkdir()
    refusal(tmp_path / "folder.npz", "Is a directory")
    refusal(tmp_path / "folder.npz", "is not a run's folder", arrays_of)


def array_bytes(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def header(shape, descr="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(30_000_000_000,), (2**40, 2**40), (-1, 4), (10**30,), (2**62, 4)])
def test_a_shape_of_120_gigabytes_is_refused_before_memory_is_taken(tmp_path, shape):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("params/conv1/kernel.npy", header(shape) + b"1234")
    tracemalloc.start()
    refusal(path, "'params/conv1/kernel'")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_deflate_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "w.npz"
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("a.npy", "w", force_zip64=True) as member:
        for _ in range(200):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    refusal(path, "these are no weights")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_sparse_file_larger_than_memory_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    size = 1 << 42
    safetensors(path, {"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)
    refusal(path, "of this machine's memory")


SWAPS = (
    (b"<f4", b"<c8"), (b"<f4", b"|O8"), (b"<f4", b"<f8"), (b"<f4", b"<U1"), (b"<f4", b"|V4"), (b"<f4", b">i4"),
    (b"(3, ", b"(-3,"), (b"(3, ", b"(9**"), (b"F32", b"F64"), (b"F32", b"BF1"), (b"F32", b"C64"), (b"shape", b"shope"),
    (b"False", b"True "), (b"descr", b"descx"), (b"[0,", b"[9,"), (b"\x93NUMPY\x01", b"\x93NUMPY\x03"), (b"[", b"{"),
    (b"params", b"params/conv1"), (b'"', b'\\"'), (b"0", b"9" * 30), (b"(", b"(" * 300),
)  # fmt: skip


def mutated(data, chance):
    """A copy with something wrong: bits, a piece cut out, doubled or replaced, a word of a header exchanged."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(data)) if len(data) > 1 else 0
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.randrange(256)
            case 2:
                del data[at : chance.choice((None, at + chance.randrange(1, 40)))]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
            case _:
                old, new = chance.choice(SWAPS)
                data = data.replace(old, new, chance.choice((1, -1)))
        data = data or bytearray(b"\0")
    return bytes(data)


def mutated_members(data, chance):
    """An NPZ file of which one member is mutated within a sound zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        hit = chance.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, mutated(old.read(name), chance) if name == hit else old.read(name))
    return out.getvalue()


def originals(tmp_path):
    ours = {**arrays(), **{f"about/{name}": np.array(value) for name, value in ABOUT.items()}}
    for name, compress in (("plain", False), ("deflated", True)):
        npz(tmp_path / f"{name}.npz", ours, compress)
        yield ".npz", (tmp_path / f"{name}.npz").read_bytes()
    yield ".safetensors", save(arrays(), metadata=ABOUT)


def answered(path, like):
    """Whether a file of weights is read or refused: in one line that names it, and soon."""
    started, message = time.perf_counter(), None
    try:
        found, _ = weights.read(path)
        fitted = weights.fitted(NETWORK, like, found, path)
        assert jax.tree.map(np.shape, fitted) == jax.tree.map(np.shape, like)
    except RequestError as error:
        message = str(error)
        assert str(path) in message
        assert "\n" not in message
        assert len(message) < 2100
    assert time.perf_counter() - started < 5
    return "read" if message is None else "refused"


def test_mutated_files_are_read_or_refused_in_one_line(tmp_path, request, record_property):
    """Seeded: the same files each time. 400 of them, with --slow 2,000."""
    chance, counts, failures = random.Random(0), Counter(), []
    sound = list(originals(tmp_path))
    like = variables()
    for i in range(cases(request, quick=400, slow=2000)):
        suffix, data = sound[i % len(sound)]
        spoilt = mutated_members if suffix == ".npz" and chance.random() < 0.6 else mutated
        path = tmp_path / f"{i}{suffix}"
        path.write_bytes(spoilt(data, chance))
        try:
            counts[answered(path, like)] += 1
        except Exception as error:
            counts["failed"] += 1
            failures.append(f"number {i}: {type(error).__name__} {error}")
        path.unlink()
    count(record_property, "damaged files of weights", tried=counts.total(), failures=failures)
    assert counts["refused"] > counts.total() / 3
    assert counts["read"] > 10  # what no checksum covers, or a change of no consequence
