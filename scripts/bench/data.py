"""How fast is data loading: from memory, streamed from records, and with the loaders that others use?

Every contender yields batches of labelled uint8 images at random positions: small PNGs, decoded, and photos, of which a
random resized crop is taken and half are mirrored, as in training on ImageNet. They take turns, in a different order
each round. The records have been read before and are in the operating system's cache; PyTorch's loaders have the files
in memory. Of loaders with workers a turn takes the time from the request of the first batch to the last one; the
workers have been started before.
"""

import contextlib
import dataclasses
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

from bench import options, photos
from bench.measure import summary
from bench.process import Worker, environment
from bench.table import quartiles, rendered
from cnn_jax.data import RandomCrops, Streamed, archives, open_stream, tfds_source
from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.errors import RequestError, RunError

BATCH = 128  # small images
PHOTOS = 32  # photos
TURN_SECONDS = 0.5
LEAST = 16  # batches in a turn, so that the workers' first ones matter little
WORKERS = (0, 1, 2, 4)
SIDE = 224  # of the crops of photos
MIN_AREA = 0.08

Batches = Callable[[np.ndarray], Iterator[Any]]  # positions int64 (m,) -> batches of images and labels
Turn = Callable[[int, int], float]  # (seed, batches) -> seconds


@dataclass(frozen=True, kw_only=True)
class Data(options.Options):
    """Times the loading of batches. About fifteen minutes on two CPU cores.

    For example: cnn-jax bench data --data-dir DIR --out results/performance
    """

    trains: ClassVar[bool] = False

    data_dir: Path | None = None
    """Folder of the prepared data set, or of the archives of (Fashion-)MNIST; without it only photos are loaded."""
    dataset: str = "fashion_mnist"
    """Name of the data set of small images."""
    photos: int = 2000
    """Number of photos: JPEG files of noise, 500x375."""

    def check(self) -> None:
        super().check()
        if self.photos < 2 * photos.CLASSES:
            raise RequestError(f"--photos must be at least {2 * photos.CLASSES}")


def prepared_in(name: str, data_dir: Path) -> Path:
    """The folder below which the data set is prepared: data_dir, or the cache if data_dir has only its archives."""
    from cnn_jax.data.builders import idx_builder

    if name in idx_builder.BUILDERS and not tfds_source.find(name, data_dir):
        entry = CATALOGUE[name]
        return idx_builder.prepare(entry, archives.find(entry, data_dir)).parents[1]
    return data_dir


def timed(batches: Batches, examples: int, batch_size: int) -> Turn:
    """A turn with `batches`."""

    def turn(seed: int, count: int) -> float:
        positions = np.random.default_rng(seed).integers(0, examples, count * batch_size)
        start = time.perf_counter()
        seen = sum(1 for _ in batches(positions))
        seconds = time.perf_counter() - start
        if seen != count:
            raise RunError(f"{seen} batches instead of {count}")
        return seconds

    return turn


def rows(positions: np.ndarray) -> np.ndarray:
    return positions.reshape(-1, BATCH)


def mirrored(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Half of the images mirrored, in place. (In training the device does it.)"""
    for image in images.view("V3")[..., 0]:
        if random.random() < 0.5:
            image[...] = image[:, ::-1].copy()
    return images


def streams(train: Streamed, batch_size: int, crop: bool) -> dict[str, Batches]:
    """Ours, with each number of workers."""

    def streamed(workers: int) -> Batches:
        own = dataclasses.replace(train)  # keeps its own workers

        def batches(positions: np.ndarray) -> Iterator[Any]:
            random = np.random.default_rng(positions[0])
            crops = RandomCrops(int(positions[0]), 0, MIN_AREA) if crop else None
            with contextlib.closing(own.chunks(positions, batch_size, crops=crops, workers=workers)) as chunks:
                for chunk in chunks:
                    yield mirrored(chunk.images, random) if crop else chunk.images, chunk.labels

        return batches

    names = {workers: f"stream, {workers} workers" for workers in WORKERS}
    return {name: streamed(workers) for workers, name in names.items()}


def from_memory(train: Streamed, images: np.ndarray) -> dict[str, Batches]:
    """Batches of a split in memory, and of TFDS's own reader of the records."""
    import tensorflow_datasets as tfds

    labels = train.labels

    def indexed(positions: np.ndarray) -> Iterator[Any]:
        for row in rows(positions):
            yield images[row], labels[row]

    on_device = jax.device_put((images, labels))
    gather = jax.jit(lambda arrays, row: jax.tree.map(lambda array: array[row], arrays))

    def gathered(positions: np.ndarray) -> Iterator[Any]:
        for row in rows(positions.astype(np.int32)):
            yield jax.block_until_ready(gather(on_device, row))

    decoding = tfds.builder_from_directory(train.prepared.folder).as_data_source("train")
    image, label = train.records.image, train.records.label

    def data_source(positions: np.ndarray) -> Iterator[Any]:
        for row in rows(positions):
            batch = decoding.__getitems__(row.tolist())
            yield np.stack([example[image] for example in batch]), np.array([example[label] for example in batch])

    return {"memory, NumPy": indexed, "memory, device": gathered, "TFDS data source": data_source}


@contextlib.contextmanager
def torch_loaders(
    python: str, train: Streamed, batch_size: int, images: np.ndarray | None
) -> Iterator[tuple[dict[str, Turn], Any]]:
    """The loaders of torch_loader.py in a process of that Python, and its versions. With `images`, the split in memory,
    whole images are loaded, else crops."""
    with tempfile.TemporaryDirectory() as folder:
        files = [data for _, data, _ in train.records.read(train.index)]
        arrays = {
            "labels": train.labels,
            "encoded": np.frombuffer(b"".join(files), np.uint8),
            "bounds": np.cumsum([0, *map(len, files)]),
        } | ({} if images is None else {"images": images})
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array)
        crop = [str(SIDE), str(MIN_AREA)] if images is None else []
        arguments = ["bench.torch_loader", folder, str(batch_size), *crop]
        worker = Worker(f"--torch {python}", python, arguments, environment("torch"))

        def turn(name: str) -> Turn:
            return lambda seed, count: worker.ask(f"{name} {seed} {count * batch_size}")["seconds"]

        with contextlib.closing(worker):
            yield {name: turn(name) for name in worker.ready["contenders"]}, worker.ready["versions"]


def batches_of_a_turn(turn: Turn, quick: bool) -> int:
    """The number of batches that take about TURN_SECONDS. The turns that measure it also warm up caches, compilation
    and worker processes."""
    count = 2
    for seed in range(1 if quick else 3):
        seconds = turn(seed, count) / count
        if not quick:
            count = min(max(round(TURN_SECONDS / seconds), LEAST), 5000)
    return count


def take_turns(turns: dict[str, Turn], batch_size: int, rounds: int, quick: bool) -> dict[str, Any]:
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
            "images_per_second": summary([1000 * batch_size / ms for ms in milliseconds], "of_each_turn"),
        }
        for name, milliseconds in times.items()
    }


def markdown(measured: dict[str, Any]) -> str:
    versions = measured["versions"]
    shown = ("python", "jax", "numpy", "pillow", "simplejpeg", "tensorflow-datasets", "array_record")
    names = ", ".join(f"{name} {versions[name]}" for name in shown if versions.get(name))
    torch = measured["torch"] and "; PyTorch's loaders with " + ", ".join(
        f"{name} {version}" for name, version in measured["torch"].items()
    )
    device = measured["device"]
    about = (
        f"**data**: {measured['rounds']} rounds in turns, median and quartiles; "
        f"{device['cpu']}, JAX on {device['kind']}; {names}{torch or ''}; {measured['started'][:10]}."
    )
    parts = [about, f"`{measured['command']}`"]
    for data in measured["sets"]:
        height, width, channels = data["image_shape"]
        crops = ", random resized crops to this size, half of them mirrored" if data["crops"] else ""
        parts.append(
            f"{data['name']}: {data['examples']} images of {width}x{height}x{channels}{crops}; "
            f"{data['bytes_per_image']} bytes encoded; batches of {data['batch_size']}"
        )
        header = ["contender", "images/s", "ms per batch", "PyTorch's / ours"]
        contenders = data["contenders"]
        table = [
            [name, quartiles(times["images_per_second"]), quartiles(times), against(name, contenders)]
            for name, times in contenders.items()
        ]
        parts.append(
            rendered(
                header if measured["torch"] else header[:-1], [row[: 4 if measured["torch"] else 3] for row in table]
            )
        )
    return "\n\n".join(parts)


def against(name: str, contenders: dict[str, Any]) -> str:
    """The ratio of the median times of PyTorch's loader of encoded images and ours, with as many workers."""
    rival = name.replace("stream", "torch encoded")
    if rival == name or rival not in contenders:
        return ""
    return f"{contenders[rival]['median'] / contenders[name]['median']:.2f}"


def measure(args: Data) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    rounds = 2 if args.quick else args.rounds
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sets = []
        if args.data_dir:
            sets.append(open_stream(args.dataset, data_dir=prepared_in(args.dataset, args.data_dir)).train)
        photos.write(temporary, args.photos)
        os.environ["CNN_JAX_CACHE"] = str(temporary / "cache")  # gone with the photos
        sets.append(open_stream(photos.NAME, data_dir=temporary, image_size=SIDE, resize="crop").train)
        measured, torch = [], None
        for train in sets:
            assert isinstance(train, Streamed)
            images = None if train.image_size else np.concatenate(list(train.blocks()))
            size = PHOTOS if images is None else BATCH
            loaders = streams(train, size, crop=images is None)
            loaders |= {} if images is None else from_memory(train, images)
            turns = {name: timed(batches, len(train), size) for name, batches in loaders.items()}
            with contextlib.ExitStack() as peers:
                if args.torch:
                    more, torch = peers.enter_context(torch_loaders(args.torch, train, size, images))
                    turns |= more
                contenders = take_turns(turns, size, rounds, args.quick)
            sizes = [len(data) for _, data, _ in train.records.read(train.index[:1000])]
            measured.append(
                {
                    "name": train.prepared.folder.parent.name,
                    "examples": len(train),
                    "image_shape": list(train.image_shape),
                    "crops": images is None,
                    "batch_size": size,
                    "bytes_per_image": round(statistics.mean(sizes)),
                    "contenders": contenders,
                }
            )
        return {"torch": torch, "rounds": rounds, "sets": measured}
