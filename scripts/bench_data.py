"""How fast do batches come: from memory, streamed from records, and from the loaders that others use?

    scripts/run scripts/bench_data.py --data-dir DIR --out OUT                   Fashion-MNIST, 28x28 PNG
    scripts/run scripts/bench_data.py --synthetic 20000 --out OUT                random 64x64 colour JPEG
    scripts/run scripts/bench_data.py --synthetic 2000 --side 224 --out OUT      larger ones
    scripts/run scripts/bench_data.py --data-dir DIR --torch PYTHON --out OUT    and PyTorch's loader

Hardware: CPU; about three minutes. Every contender hands out batches of 128 labelled uint8 images at random positions.
They take turns, in another order each round; a turn lasts from asking for an iterator to its last batch, about half a
second, and records have been read before (they are in the operating system's cache). Writes OUT/data.json and
OUT/data.md.
"""

import argparse
import contextlib
import io
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from bench.process import commit
from PIL import Image

from cnn_jax.cli import common
from cnn_jax.data import Streamed, archives, open_stream, tfds_source
from cnn_jax.data.catalogue import CATALOGUE
from cnn_jax.errors import RequestError, RunError
from cnn_jax.runs import provenance

BATCH = 128
ROUNDS = 15
TURN_SECONDS = 0.5
PREFETCH = 4  # chunks that a stream reads ahead
CLASSES = 10
PRIVATE = {"--data-dir": "DIR", "--out": "OUT", "--torch": "PYTHON"}  # options that say where things lie on a machine

Turn = Callable[[int, int], float]  # (seed, batches) -> seconds


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="where the prepared set is, or the archives of (Fashion-)MNIST")
    parser.add_argument("--dataset", default="fashion_mnist", help="its name (default: %(default)s)")
    parser.add_argument("--synthetic", type=int, metavar="N", help="random images instead")
    parser.add_argument("--side", type=int, default=64, help="of the random images, in pixels (default: %(default)s)")
    parser.add_argument("--torch", metavar="PYTHON", help="the Python of an environment with torch, NumPy and Pillow")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each contender (default: %(default)s)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 2 batches: to see that it runs")
    parsed = parser.parse_args(arguments)
    if (parsed.data_dir is None) == (parsed.synthetic is None):
        raise RequestError("give either --data-dir DIR or --synthetic N")
    if parsed.rounds < 1 or (parsed.synthetic is not None and parsed.synthetic < CLASSES):
        raise RequestError(f"--rounds must be at least 1, --synthetic at least {CLASSES}")
    if not 8 <= parsed.side <= 1024:
        raise RequestError(f"--side {parsed.side} is impossible: it must be 8 to 1024")
    if parsed.quick:
        parsed.rounds = 2
    return parsed


def write_synthetic(folder: Path, count: int, side: int) -> None:
    """Prepares `synthetic`: `count` square colour images, smooth as photos are, to train with, a tenth to test with."""
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
    with contextlib.redirect_stdout(io.StringIO()):  # it says "Downloading", which it does not
        Synthetic(data_dir=folder).download_and_prepare(file_format="array_record")


def prepared_in(name: str, data_dir: Path) -> Path:
    """The folder below which the set is prepared: data_dir, or the cache, where its archives are prepared."""
    from cnn_jax.data.builders import idx_builder

    if name in idx_builder.BUILDERS and not tfds_source.find(name, data_dir):
        entry = CATALOGUE[name]
        return idx_builder.prepare(entry, archives.find(entry, data_dir)).parents[1]
    return data_dir


def timed(batches: Callable[[np.ndarray], Iterator[Any]], examples: int) -> Turn:
    """A turn of what gives batches of the examples at positions int64 [M]."""

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
    """Ours and, with the same records, what TFDS and grain offer. `images` is the same split in memory."""
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
            found = decoding.__getitems__(row.tolist())
            yield np.stack([one[image] for one in found]), np.array([one[label] for one in found])

    def decoded(example: dict[str, Any]) -> dict[str, Any]:
        return {"image": np.asarray(Image.open(io.BytesIO(example[image]))), "label": example[label]}

    def mapped(positions: np.ndarray) -> Iterator[Any]:
        """Every option as grain has it by default."""
        dataset = grain.MapDataset.source(encoded).shuffle(seed=int(positions[0])).repeat()[: len(positions)]
        with contextlib.closing(iter(dataset.map(decoded).batch(BATCH).to_iter_dataset())) as iterator:
            yield from iterator

    named = {
        "memory, NumPy": indexed,
        "memory, device": gathered,
        **{f"stream, {workers} threads": streamed(workers) for workers in (1, 2, 4)},
        "TFDS data source": data_source,
        "grain MapDataset": mapped,
    }
    return {name: timed(batches, examples) for name, batches in named.items()}


@contextlib.contextmanager
def torch_contenders(python: str, train: Streamed, images: np.ndarray) -> Iterator[tuple[dict[str, Turn], Any]]:
    """Those of bench_data_torch.py in a process of that Python, and its versions."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        files = [data for _, data, _ in train.prepared.read(train.split, train.index)]
        arrays = {
            "images": images,
            "labels": train.labels,
            "encoded": np.frombuffer(b"".join(files), np.uint8),
            "bounds": np.cumsum([0, *map(len, files)]),
        }
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array)
        command = [python, str(Path(__file__).with_name("bench_data_torch.py")), folder, str(BATCH)]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        except OSError as error:
            raise RequestError(f"--torch {python}: {error.strerror}") from error
        with process:
            assert process.stdin is not None
            assert process.stdout is not None

            def answer(question: str = "") -> dict[str, Any]:
                if question:
                    with contextlib.suppress(BrokenPipeError):  # of a dead process: its last words say why
                        print(question, file=process.stdin, flush=True)
                if line := process.stdout.readline():  # type: ignore[union-attr]
                    return json.loads(line)
                code = process.wait()
                log.seek(0)
                raise RunError(f"--torch {python}: {[f'exit code {code}', *log][-1].strip()}")

            def turn(name: str) -> Turn:
                return lambda seed, count: answer(f"{name} {seed} {count * BATCH}")["seconds"]

            about = answer()
            try:
                yield {name: turn(name) for name in about["contenders"]}, about["versions"]
            finally:
                process.stdin.close()


def batches_of_a_turn(turn: Turn, quick: bool) -> int:
    """How many take about TURN_SECONDS; the turns that find out warm up caches, compilations and worker processes."""
    count = 2
    for seed in range(1 if quick else 3):
        seconds = turn(seed, count) / count
        if not quick:
            count = min(max(round(TURN_SECONDS / seconds), 4), 5000)
    return count


def measure(turns: dict[str, Turn], rounds: int, quick: bool) -> dict[str, Any]:
    """Milliseconds per batch of each turn and their summary, by contender."""
    counts = {name: batches_of_a_turn(turn, quick) for name, turn in turns.items()}
    found: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(1000 * turns[name](1000 + number, counts[name]) / counts[name])
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {
        name: {
            "n": len(each),
            "batches_per_turn": counts[name],
            "ms_per_batch": summary(each),
            "images_per_second": summary([1000 * BATCH / one for one in each]),
            "ms_per_batch_of_each_turn": each,
        }
        for name, each in found.items()
    }


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def markdown(measured: dict[str, Any]) -> str:
    data, versions = measured["data"], measured["versions"] | (measured["torch"] or {})
    height, width, channels = data["image_shape"]
    shown = ("python", "jax", "numpy", "pillow", "tensorflow-datasets", "array_record", "grain", "torch")
    lines = [
        f"{data['name']}: {data['examples']} images of {width}x{height}x{channels}, {data['bytes_per_image']} bytes "
        f"encoded; batches of {measured['batch_size']}; {measured['rounds']} turns each, median (min to max). "
        f"{measured['device']['cpu']}, JAX on {measured['device']['kind']}. "
        f"{', '.join(f'{name} {versions[name]}' for name in shown if versions.get(name))}.",
        "",
        "| contender | images/s | ms per batch |",
        "| --- | ---: | ---: |",
    ]
    for name, one in measured["contenders"].items():
        speed, took = one["images_per_second"], one["ms_per_batch"]
        lines.append(
            f"| {name} | {speed['median']:,.0f} ({speed['min']:,.0f} to {speed['max']:,.0f}) "
            f"| {took['median']:.3g} ({took['min']:.3g} to {took['max']:.3g}) |"
        )
    return "\n".join([*lines, "", f"`{measured['command']}`", ""])


def command_line(arguments: Sequence[str]) -> str:
    """What anyone can run again, without the places of this machine."""
    words = ["scripts/run", "scripts/bench_data.py"]
    for word in arguments:
        option, equals, _ = word.partition("=")
        if words[-1] in PRIVATE:
            word = PRIVATE[words[-1]]
        elif equals and option in PRIVATE:
            word = f"{option}={PRIVATE[option]}"
        words.append(word)
    return shlex.join(words)


def command(arguments: Sequence[str]) -> int:
    parsed = parse(arguments)
    with contextlib.ExitStack() as stack:
        name, data_dir = parsed.dataset, parsed.data_dir
        if parsed.synthetic:
            name, data_dir = "synthetic", Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_synthetic(data_dir, parsed.synthetic, parsed.side)
            os.environ["CNN_JAX_CACHE"] = str(data_dir / "cache")  # gone with the images
        train = open_stream(name, data_dir=prepared_in(name, data_dir)).train
        assert isinstance(train, Streamed)
        images = np.concatenate(list(train.blocks()))
        turns, torch = contenders(train, images), None
        if parsed.torch:
            more, torch = stack.enter_context(torch_contenders(parsed.torch, train, images))
            turns |= more
        sizes = [len(data) for _, data, _ in train.prepared.read(train.split, train.index[:1000])]
        measured = {
            "command": command_line(arguments),
            "started": provenance.utc_now(),
            "git": commit(),
            "versions": provenance.versions(),
            "torch": torch,
            "device": provenance.device(),
            "data": {
                "name": name,
                "examples": len(train),
                "image_shape": list(train.image_shape),
                "bytes_per_image": round(statistics.mean(sizes)),
            },
            "batch_size": BATCH,
            "rounds": parsed.rounds,
            "contenders": measure(turns, parsed.rounds, parsed.quick),
        }
    text = markdown(measured)
    print(text, end="")
    if parsed.out:
        parsed.out.mkdir(parents=True, exist_ok=True)
        (parsed.out / "data.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        (parsed.out / "data.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    common.main(command)
