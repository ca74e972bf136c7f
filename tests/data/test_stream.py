"""A streamed data set is the loaded one, but for the memory it takes."""

import dataclasses
import gc
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pngs import GREY, chunk, exif, png
from samples import encoded, picture
from test_tfds_source import prepare

from cnn_jax import api
from cnn_jax.data import Split, Streamed, archives, catalogue, load, open_stream, stream, workers
from cnn_jax.data.builders import idx_builder
from cnn_jax.data.records import Records
from cnn_jax.errors import RequestError, RunError
from cnn_jax.grids.grid import Grid
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.training import epoch
from cnn_jax.training.config import Config

SIZES = {"train": 60, "validation": 8, "test": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with `small`, three splits; `cut`, two; `lone`, one; `sizes`, images of different sizes."""
    home = tmp_path_factory.mktemp("prepared")
    prepare(home, "small", SIZES)
    prepare(home, "cut", {"train": 50, "test": 10}, channels=1)
    prepare(home, "lone", {"train": 40})
    prepare(home, "sizes", {"train": 30, "test": 4}, side=0)
    return home


@pytest.fixture(scope="module")
def small(folder, tmp_path_factory):
    """The streamed train split of `small` and the same in memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNN_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        return open_stream("small", data_dir=folder).train, load("small", data_dir=folder).train


def prepare_images(home, name, train, test):
    """A set of images given as the bytes of files, under their labels 0 and 1 in turn."""

    class Images(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["a", "b"])}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(train), "test": self._generate_examples(test)}

        def _generate_examples(self, images):
            yield from ((i, {"image": image, "label": i % 2}) for i, image in enumerate(images))

    Images.name = name
    builder = Images(data_dir=home)
    builder.download_and_prepare(file_format="array_record")
    return builder.data_path


def joined(chunks):
    chunks = list(chunks)
    return Split(np.concatenate([c.images for c in chunks]), np.concatenate([c.labels for c in chunks]))


def same(a, b):
    return np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)


def running():
    """The processes that this one has started and not ended."""
    paths = Path("/proc/self/task").glob("*/children")
    return [pid for path in paths for pid in path.read_text().split()]


def check_equal(name, folder, **options):
    streamed, loaded = open_stream(name, data_dir=folder, **options), load(name, data_dir=folder, **options)
    assert isinstance(streamed.train, Streamed)
    assert len(streamed.train) == len(loaded.train)
    assert same(joined(streamed.train.chunks(np.arange(len(loaded.train)), 7)), loaded.train)
    assert streamed.train.labels.dtype == np.int32
    assert np.array_equal(streamed.train.labels, loaded.train.labels)
    assert same(streamed.validation, loaded.validation)
    assert same(streamed.test, loaded.test)
    for what in ("name", "class_names", "image_shape", "facts", "fingerprint"):
        assert getattr(streamed, what) == getattr(loaded, what)
    assert np.array_equal(streamed.mean, loaded.mean)
    assert np.array_equal(streamed.std, loaded.std)
    return streamed, loaded


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("small", {}),
        ("small", {"image_size": 4}),
        ("cut", {}),
        ("cut", {"validation": 7, "split_seed": 3, "image_size": 9}),
        ("lone", {"split_seed": 1}),
        ("lone", {"validation": 5}),
        ("sizes", {"image_size": 5}),
    ],
)
def test_every_split_and_fact_is_that_of_load(folder, name, options):
    streamed, loaded = check_equal(name, folder, **options)
    assert streamed.source == loaded.source


def test_mnist_as_prepared_is_the_mnist_of_the_catalogue(tiny_mnist, cache):
    loaded = load("mnist", data_dir=tiny_mnist)
    entry = catalogue.CATALOGUE["mnist"]
    idx_builder.prepare(entry, archives.find(entry, tiny_mnist))  # below the cache, in TFDS's own order
    streamed = open_stream("mnist", data_dir=cache / "tfds")
    assert streamed.fingerprint == loaded.fingerprint
    assert len(streamed.validation) == 100
    assert same(joined(streamed.train.chunks(np.arange(500), 100)), loaded.train)


@pytest.mark.parametrize("place", ["first", "late", "test"])
def test_one_colour_image_makes_all_of_them_colour(place, tmp_path):
    grey = [encoded(picture(i, 6, 5)) for i in range(700)]
    colour = encoded(picture(0, 6, 5, 3))
    train, test = list(grey), grey[:3]
    if place == "test":
        test[1] = colour
    else:
        train[0 if place == "first" else 600] = colour
    prepare_images(tmp_path, "mixed", train, test)
    streamed, _ = check_equal("mixed", tmp_path, validation=1)
    assert streamed.image_shape == (6, 5, 3)


def test_duplicates_are_counted_across_splits(tmp_path):
    images = [encoded(picture(i, 6, 5)) for i in range(20)]
    prepare_images(tmp_path, "twice", images, images[:5])
    streamed, loaded = check_equal("twice", tmp_path)
    assert streamed.source["duplicates"] == loaded.source["duplicates"]
    assert sum(streamed.source["duplicates"].values()) == 5


def test_the_second_opening_reads_no_record(folder, monkeypatch):
    first = open_stream("cut", data_dir=folder)
    monkeypatch.setattr(Records, "read", None)
    second = open_stream("cut", data_dir=folder)
    assert second.facts == first.facts
    assert np.array_equal(second.train.labels, first.train.labels)
    with pytest.raises(TypeError):  # another cut is another data set
        open_stream("cut", data_dir=folder, split_seed=1)


@given(data=st.data(), size=st.integers(1, 70), workers=st.sampled_from([0, 0, 0, 2]), most=st.integers(1, 20))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_hold_what_is_asked_for_in_that_order(small, data, size, workers, most):
    """With batches of any size, and workers that are kept between calls or not."""
    streamed, loaded = small
    positions = np.array(data.draw(st.lists(st.integers(0, len(loaded) - 1), max_size=90)), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BATCH", most)
        chunks = list(streamed.chunks(positions, size, workers=workers))
    lengths = [min(size, len(positions) - start) for start in range(0, len(positions), size)]
    assert [len(chunk) for chunk in chunks] == lengths
    if len(positions):
        assert same(joined(chunks), Split(loaded.images[positions], loaded.labels[positions]))


@given(seed=st.integers(0, 1000), count=st.integers(2, 5), size=st.integers(1, 20))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_processes_that_ask_for_their_own_positions_have_the_whole_together(small, seed, count, size):
    streamed, loaded = small
    order = np.random.default_rng(seed).permutation(len(loaded))
    whole = np.zeros_like(loaded.images)
    for process in range(count):
        mine = order[process::count]
        whole[mine] = joined(streamed.chunks(mine, size)).images
    assert np.array_equal(whole, loaded.images)


def test_workers_are_kept_for_the_next_epoch_and_end_with_a_loop_that_ends_early(small):
    before = running()
    streamed = dataclasses.replace(small[0])
    for _ in range(2):
        assert len(list(streamed.chunks(np.arange(60), 7, workers=2))) == 9
        (pool,) = streamed._idle
    kept = [worker.process.pid for worker in pool.workers]
    chunks = streamed.chunks(np.arange(60), 7, workers=2)
    next(chunks)
    assert sorted(map(str, kept)) == sorted(set(running()) - set(before))
    chunks.close()
    assert running() == before
    assert next(chunks, None) is None
    chunks = streamed.chunks(np.arange(60), 7, workers=1)
    next(chunks)
    del chunks  # forgotten
    gc.collect()
    assert running() == before


def test_a_forgotten_data_set_ends_its_workers(small):
    before = running()
    streamed = dataclasses.replace(small[0])
    list(streamed.chunks(np.arange(60), 7, workers=1))
    assert len(running()) == len(before) + 1
    del streamed
    gc.collect()
    assert running() == before


def test_workers_start_if_there_is_enough_to_read(small, monkeypatch):
    asked = []
    monkeypatch.setattr(stream, "processors", lambda: 2)
    monkeypatch.setattr(Streamed, "_chunks", lambda *arguments: asked.append(arguments[-1]))
    for enough in (60 * (stream.IMAGE + 6 * 6 * 3), 60 * (stream.IMAGE + 6 * 6 * 3) + 1):
        monkeypatch.setattr(stream, "ENOUGH", enough)
        small[0].chunks(np.arange(60), 7)
    assert asked == [2, 0]


def test_a_worker_that_dies_is_named_with_the_record_it_was_at(small, monkeypatch):
    streamed = dataclasses.replace(small[0])
    code = (
        "import os, sys; sys.path[:] = {}; import cnn_jax.data.stream as s; plain = s.decode; "
        f"s.decode = lambda name, *a: os._exit(3) if name.endswith(' {streamed.index[40]}') else plain(name, *a); "
        "from cnn_jax.data.workers import serve; serve({}, {}, {}, {})"
    )
    monkeypatch.setattr(workers, "WORKER", code)
    before = running()
    with pytest.raises(RunError, match=rf"train {streamed.index[40]}: the process .* ended with exit status 3$"):
        list(streamed.chunks(np.arange(60), 7, workers=2))
    assert running() == before


def test_a_damaged_record_is_named(tmp_path, refuses):
    home = prepare(tmp_path, "small", SIZES).data_path
    train = open_stream("small", data_dir=tmp_path).train
    ((_, image, _),) = train.records.read([33])
    train = open_stream("small", data_dir=tmp_path).train  # no file is open
    (path,) = home.glob("*train.array_record*")
    content = bytearray(path.read_bytes())
    content[content.index(image[-40:-20])] ^= 4
    path.write_bytes(content)
    for count in (0, 2):
        chunks = train.chunks(np.arange(60), 10, workers=count)
        assert len(next(chunks)) == 10
        with refuses(f"{home} train 33: this record is damaged"):
            list(chunks)
    for opener in (open_stream, load):
        with refuses(f"{home} train 33: this record is damaged"):
            opener("small", data_dir=tmp_path)


def test_a_record_that_holds_no_image_is_named(tmp_path, refuses):
    good = [encoded(picture(i, 6, 5)) for i in range(8)]
    home = prepare_images(tmp_path, "broken", [*good, good[0][:-30]], good)
    with refuses(f"{home} train ", "broken image"):
        open_stream("broken", data_dir=tmp_path)


def test_a_broken_chunk_behind_the_pixels_is_named(tmp_path, refuses):
    good = [encoded(picture(i, 6, 5)) for i in range(8)]
    broken = png(picture(9, 6, 5), 8, GREY, after=[chunk(b"tEXt", b"k\0v")[:-4] + bytes(4)])
    home = prepare_images(tmp_path, "broken", [*good, broken], good)
    for opener in (open_stream, load):
        with refuses(f"{home} train ", "broken image: wrong checksum of its chunk tEXt"):
            opener("broken", data_dir=tmp_path)


def test_images_lying_on_their_side_and_transparent_ones_are_those_of_load(tmp_path):
    images = [png(picture(i, 5, 6), 8, GREY, after=[chunk(b"eXIf", exif(6))]) for i in range(20)]
    images += [png(picture(i, 6, 5) >> 6, 2, GREY, trns=b"\0\1") for i in range(20)]
    streamed, _ = check_equal("turned", prepare_images(tmp_path, "turned", images, images[::3]).parents[1])
    assert streamed.image_shape == (6, 5, 1)


def test_an_image_of_another_shape_is_named(small, folder, refuses):
    with refuses("sizes", "--image-size N"):
        open_stream("sizes", data_dir=folder)
    streamed, _ = small
    for shape, words in (((5, 6, 3), "is 6x6 but others are 6x5"), ((6, 6, 1), "has colours")):
        other = dataclasses.replace(streamed, image_shape=shape)
        with refuses(f"{streamed.prepared.folder} train 9: this image", words):
            next(other.chunks(np.array([9]), 1))


def test_positions_and_sizes_that_cannot_be_are_refused(small, refuses):
    streamed, _ = small
    for positions in ([60], [-1], [[1]], [0.5], [True]):
        with pytest.raises(ValueError, match="positions must be integers"):
            streamed.chunks(np.array(positions), 4)
    for options in ({"size": 0}, {"size": 1, "workers": -1}):
        with refuses("at least 1 and 0"):
            streamed.chunks(np.arange(4), **options)


def test_what_cannot_be_streamed_is_refused(folder, tmp_path, refuses, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.zip").touch()
    for name, words in (
        ("digits", "it fits in memory"),
        ("cifar10", "it fits in memory"),
        ("mnist", f"prepared as array_record is below {folder}"),
        ("nothing", f"prepared as array_record is below {folder}"),
        (str(tmp_path / "photos"), "loaded into memory"),
        (str(tmp_path / "photos.zip"), "loaded into memory"),
    ):
        with refuses(f"{name} is not streamed", words):
            open_stream(name, data_dir=folder)
    with refuses("small is not streamed", "--data-dir"):
        open_stream("small", data_dir=None)
    with refuses(tmp_path / "gone", "not there"):
        open_stream("small", data_dir=tmp_path / "gone")
    with refuses("split seed -1"):
        open_stream("small", data_dir=folder, split_seed=-1)
    with refuses("--image-size 0"):
        open_stream("small", data_dir=folder, image_size=0)
    with refuses("a validation split of 50 images"):
        open_stream("cut", data_dir=folder, validation=50)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with refuses("streaming needs TFDS", "install cnn_jax[data]"):
        open_stream("small", data_dir=folder)


def test_records_in_another_format_are_refused(tmp_path, refuses):
    info = prepare(tmp_path, "small", {"train": 4, "test": 4}).data_path / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with refuses("small", "not stored as array_record"):
        open_stream("small", data_dir=tmp_path)


def test_a_run_on_a_stream_is_the_run_in_memory(folder, tmp_path, monkeypatch):
    """Bit for bit, with chunks that no epoch is a multiple of, augmentation and a last batch that is padded."""
    monkeypatch.setattr(epoch, "STREAMED_STEPS", 2)
    config = Config(
        dataset="cut", data_dir=str(folder), network="conv3-4:same bn relu max2 dense-2", batch_size=8, epochs=3,
        augment="crop1", devices=1,
    )  # fmt: skip
    runs = [api.train(dataclasses.replace(config, stream=on), tmp_path / str(on), show=False) for on in (True, False)]
    lines = [[dataclasses.replace(line, seconds=0.0) for line in Folder(run.path).metrics()] for run in runs]
    assert len(lines[0]) == 3
    assert lines[0] == lines[1]
    weights = [jax.tree.leaves(TrainedModel.load(run.path).variables["params"]) for run in runs]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_sweep_on_a_stream_trains_its_trials_alone(folder, tmp_path):
    config = Config(dataset="cut", data_dir=str(folder), network="gap dense-2", epochs=1, stream=True)
    grid = Grid(config, {"learning_rate": (0.1,), "seed": (0, 1)})
    with pytest.raises(RequestError, match="needs one device per trial and data in memory"):
        api.sweep(grid, tmp_path / "no", parallel="vmap", show=False)
    assert api.sweep(grid, tmp_path / "yes", show=False).status == "complete"
