"""How fast is data loading: from memory, streamed from records, and with the loaders that others use?

Every contender yields batches of 128 labelled uint8 images at random positions. They take turns, in a different order
each round. A turn lasts about half a second, from the creation of an iterator to its last batch; the records have been
read before and are in the operating system's cache.
"""

import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from PIL import Image

from bench import options
from bench.measure import summary
from bench.process import Worker, environment
from bench.table import quartiles, rendered
from cnn_jax.data import Streamed, archives, open_stream, tfds_source
from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.errors import RequestError, RunError

BATCH = 128
TURN_SECONDS = 0.5
PREFETCH = 4  # chunks that a stream reads ahead
CLASSES = 10

Turn = Callable[[int, int], float]  # (seed, batches) -> seconds


@dataclass(frozen=True, kw_only=True)
class Data(options.Options):
    """Times the loading of batches. About three minutes on two CPU cores.

    For example: cnn-jax bench data --data-dir DIR --out results/performance
    """

    trains: ClassVar[bool] = False

    data_dir: Path | None = None
    """Folder of the prepared data set, or of the archives of (Fashion-)MNIST."""
    dataset: str = "fashion_mnist"
    """Name of the data set."""
    synthetic: int | None = None
    """Use this many random colour JPEG images instead."""
    side: int = 64
    """Height and width of the random images in pixels."""

    def check(self) -> None:
        super().check()
        if (self.data_dir is None) == (self.synthetic is None):
            raise RequestError("give either --data-dir DIR or --synthetic N")
        if self.synthetic is not None and self.synthetic < CLASSES:
            raise RequestError(f"--synthetic must be at least {CLASSES}")
        if not 8 <= self.side <= 1024:
            raise RequestError(f"--side {self.side} is impossible: it must be 8 to 1024")


def write_synthetic(folder: Path, count: int, side: int) -> None:
    """Prepares the data set `synthetic`: `count` square colour images, smooth like photos, for training and a tenth as
    many for testing."""
    import tensorflow_datasets as tfds

    class Synthetic(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version("1.0.0")
        name = "synthetic"

        def _info(self) -> Any:
            names = [str(label) for label in range(CLASSES)]
            features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=names)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples(0, count), "test": self._generate_examples(1, count // 10)}

        def _generate_examples(self, seed: int, examples: int) -> Iterator[tuple[int, dict[str, Any]]]:
            random = np.random.default_rng(seed)
            for index in range(examples):
                coarse = Image.fromarray(random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
                file = io.BytesIO()
                coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)
                yield index, {"image": file.getvalue(), "label": index % CLASSES}

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # hides "Downloading", which is not true
        Synthetic(data_dir=folder).download_and_prepare(file_format="array_record")


def prepared_in(name: str, data_dir: Path) -> Path:
    """The folder below which the data set is prepared: data_dir, or the cache if data_dir has only its archives."""
    from cnn_jax.data.builders import idx_builder

    if name in idx_builder.BUILDERS and not tfds_source.find(name, data_dir):
        entry = CATALOGUE[name]
        return idx_builder.prepare(entry, archives.find(entry, data_dir)).parents[1]
    return data_dir


def timed(batches: Callable[[np.ndarray], Iterator[Any]], examples: int) -> Turn:
    """A turn with `batches`, which yields the batches at positions int64 (m,)."""

    def turn(seed: int, count: int) -> float:
        positions = np.random.default_rng(seed).integers(0, examples, count * BATCH)
        start = time.perf_counter()
        seen = sum(1 for _ in batches(positions))
        seconds = time.perf_counter() - start
        if seen != count:
            raise RunError(f"{seen} batches instead of {count}")
        return seconds

    return turn


def rows(positions: np.ndarray) -> np.ndarray:
    return positions.reshape(-1, BATCH)


def contenders(train: Streamed, images: np.ndarray) -> dict[str, Turn]:
    """Ours, and the loaders of TFDS and grain on the same records. `images` is the same split in memory."""
    import grain
    import tensorflow_datasets as tfds

    labels, examples = train.labels, len(train)

    def indexed(positions: np.ndarray) -> Iterator[Any]:
        for row in rows(positions):
            yield images[row], labels[row]

    on_device = jax.device_put((images, labels))
    gather = jax.jit(lambda arrays, row: jax.tree.map(lambda array: array[row], arrays))

    def gathered(positions: np.ndarray) -> Iterator[Any]:
        for row in rows(positions.astype(np.int32)):
            yield jax.block_until_ready(gather(on_device, row))

    def streamed(workers: int) -> Callable[[np.ndarray], Iterator[Any]]:
        return lambda positions: train.chunks(positions, BATCH, workers=workers, prefetch=PREFETCH)

    builder = tfds.builder_from_directory(train.prepared.folder)
    split = "train"
    image, label = train.prepared.keys
    decoding = builder.as_data_source(split)
    encoded = builder.as_data_source(split, decoders={image: tfds.decode.SkipDecoding()})

    def data_source(positions: np.ndarray) -> Iterator[Any]:
        for row in rows(positions):
            batch = decoding.__getitems__(row.tolist())
            yield np.stack([example[image] for example in batch]), np.array([example[label] for example in batch])

    def decoded(example: dict[str, Any]) -> dict[str, Any]:
        return {"image": np.asarray(Image.open(io.BytesIO(example[image]))), "label": example[label]}

    def mapped(positions: np.ndarray) -> Iterator[Any]:
        """With grain's default options."""
        dataset = grain.MapDataset.source(encoded).shuffle(seed=int(positions[0])).repeat()[: len(positions)]
        with contextlib.closing(iter(dataset.map(decoded).batch(BATCH).to_iter_dataset())) as iterator:
            yield from iterator

    by_name = {
        "memory, NumPy": indexed,
        "memory, device": gathered,
        **{f"stream, {workers} threads": streamed(workers) for workers in (1, 2, 4)},
        "TFDS data source": data_source,
        "grain MapDataset": mapped,
    }
    return {name: timed(batches, examples) for name, batches in by_name.items()}


@contextlib.contextmanager
def torch_contenders(python: str, train: Streamed, images: np.ndarray) -> Iterator[tuple[dict[str, Turn], Any]]:
    """The loaders of torch_loader.py in a process of that Python, and its versions."""
    with tempfile.TemporaryDirectory() as folder:
        files = [data for _, data, _ in train.prepared.read(train.split, train.index)]
        arrays = {
            "images": images,
            "labels": train.labels,
            "encoded": np.frombuffer(b"".join(files), np.uint8),
            "bounds": np.cumsum([0, *map(len, files)]),
        }
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array)
        worker = Worker(f"--torch {python}", python, ["bench.torch_loader", folder, str(BATCH)], environment("torch"))

        def turn(name: str) -> Turn:
            return lambda seed, count: worker.ask(f"{name} {seed} {count * BATCH}")["seconds"]

        with contextlib.closing(worker):
            yield {name: turn(name) for name in worker.ready["contenders"]}, worker.ready["versions"]


def batches_of_a_turn(turn: Turn, quick: bool) -> int:
    """The number of batches that take about TURN_SECONDS. The turns that measure it also warm up caches, compilation
    and worker processes."""
    count = 2
    for seed in range(1 if quick else 3):
        seconds = turn(seed, count) / count
        if not quick:
            count = min(max(round(TURN_SECONDS / seconds), 4), 5000)
    return count


def take_turns(turns: dict[str, Turn], rounds: int, quick: bool) -> dict[str, Any]:
    """For each contender the milliseconds per batch of each turn and their summary."""
    counts = {name: batches_of_a_turn(turn, quick) for name, turn in turns.items()}
    times: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(1000 * turns[name](1000 + number, counts[name]) / counts[name])
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {
        name: {
            "batches_per_turn": counts[name],
            **summary(milliseconds, "ms_per_batch"),
            "images_per_second": summary([1000 * BATCH / ms for ms in milliseconds], "of_each_turn"),
        }
        for name, milliseconds in times.items()
    }


def markdown(measured: dict[str, Any]) -> str:
    data, versions = measured["data"], measured["versions"]
    height, width, channels = data["image_shape"]
    shown = ("python", "jax", "numpy", "pillow", "tensorflow-datasets", "array_record", "grain", "torch")
    about = (
        f"**data**: {data['name']}, {data['examples']} images of {width}x{height}x{channels}, "
        f"{data['bytes_per_image']} bytes encoded; batches of {measured['batch_size']}; {measured['rounds']} rounds in "
        f"turns, median and quartiles; {measured['device']['cpu']}, JAX on {measured['device']['kind']}; "
        f"{', '.join(f'{name} {versions[name]}' for name in shown if versions.get(name))}; {measured['started'][:10]}."
    )
    contenders = measured["contenders"].items()
    rows = [[name, quartiles(times["images_per_second"]), quartiles(times)] for name, times in contenders]
    return f"{about}\n\n`{measured['command']}`\n\n{rendered(['contender', 'images/s', 'ms per batch'], rows)}"


def measure(args: Data) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    with contextlib.ExitStack() as stack:
        name, data_dir, torch = args.dataset, args.data_dir, None
        if args.synthetic:
            name, data_dir = "synthetic", Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_synthetic(data_dir, args.synthetic, args.side)
            os.environ["CNN_JAX_CACHE"] = str(data_dir / "cache")  # gone with the images
        assert data_dir is not None
        train = open_stream(name, data_dir=prepared_in(name, data_dir)).train
        assert isinstance(train, Streamed)
        images = np.concatenate(list(train.blocks()))
        turns = contenders(train, images)
        if args.torch:
            more, torch = stack.enter_context(torch_contenders(args.torch, train, images))
            turns |= more
        sizes = [len(data) for _, data, _ in train.prepared.read(train.split, train.index[:1000])]
        rounds = 2 if args.quick else args.rounds
        return {
            "torch": torch,
            "data": {
                "name": name,
                "examples": len(train),
                "image_shape": list(train.image_shape),
                "bytes_per_image": round(statistics.mean(sizes)),
            },
            "batch_size": BATCH,
            "rounds": rounds,
            "contenders": take_turns(turns, rounds, args.quick),
        }
