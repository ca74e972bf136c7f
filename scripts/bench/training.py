"""How long does a whole training take, and what does it reach, beside the published implementation of the same recipe
on the same images?

A training is timed from the initial weights to the test accuracy. The data are on the device before, programs are
compiled before (their seconds are reported), and nothing is scored or written in between. That is how the
implementations of jordan2024airbench time themselves.
"""

import contextlib
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tyro.conf import Positional

from bench import options
from bench.measure import summary
from bench.process import Worker, environment
from bench.table import number, quartiles
from cnn_jax.api.loading import load_data
from cnn_jax.cli.common import stored_config
from cnn_jax.data import Split
from cnn_jax.errors import RequestError, RunError
from cnn_jax.statistics import equivalent, paired_t
from cnn_jax.training.config import Config

MARGIN = 0.001  # difference of accuracies, a tenth of a point, within which two implementations are called equal
PEER = "peer"


@dataclass(frozen=True, kw_only=True)
class Training(options.Options):
    """Trains the network of a config from start to end, once with each seed, in turns with the published implementation
    of jordan2024airbench. The peer needs an environment with torch and torchvision, and its file airbench94_muon.py.

    For example: cnn-jax bench training results/papers/airbench/best --torch PYTHON --peer FILE
    """

    run: Positional[Path]
    """Folder of a run or sweep, or a config.json: its config is trained, on all training images."""
    dataset: str | None = None
    """The images, if not those of the config."""
    data_dir: str | None = None
    """Folder of archives."""
    rounds: int = 20
    """Trainings of each contender, each with a seed of its own."""
    precisions: tuple[Literal["float32", "tf32", "bfloat16"], ...] = ("tf32", "bfloat16")
    """Precisions of ours; the peer's is float16."""
    peer: Path | None = None
    """The peer's file."""

    def check(self) -> None:
        super().check()
        if self.peer is not None and (self.torch is None or not self.peer.is_file()):
            raise RequestError(f"--peer {self.peer}: it must be a file, and --torch a Python to run it")


def config_of(args: Training) -> Config:
    """The config that is trained, on one device."""
    values = stored_config(["--config", str(args.run)], best=True)
    assert values is not None
    data = {"dataset": args.dataset or values["dataset"], "data_dir": args.data_dir}
    return Config.from_json(values | data | {"devices": 1, "epochs": 1 if args.quick else values["epochs"]})


def measure(args: Training) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    config, rounds = config_of(args), 2 if args.quick else args.rounds
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        examples = write_examples(config, folder)
        config_file = folder / "config.json"
        config_file.write_text(json.dumps(config.to_json()), encoding="utf-8")
        ours = ["bench.training_ours", str(config_file)]
        commands = {
            f"ours, {precision}": (sys.executable, [*ours, precision], environment("cnn_jax"))
            for precision in args.precisions
        }
        if args.peer is not None and args.torch is not None:
            arguments = ["bench.training_peer", str(folder), str(args.peer.resolve())]
            commands[PEER] = (args.torch, arguments, environment("torch"))
        workers, skipped = {}, []
        for name, command in commands.items():  # one after another: compiling tries kernels on the device
            try:
                workers[name] = Worker(name, *command)
            except RunError as error:
                skipped.append(str(error))
                continue
            stack.callback(workers[name].close)
        if not workers:
            raise RunError(skipped[0])
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
        for seed in range(rounds):
            for name, worker in reversed(workers.items()) if seed % 2 else workers.items():
                found[name].append(worker.ask(f"train {seed}"))
                print(f"{name}, seed {seed}: {found[name][-1]}", file=sys.stderr, flush=True)
        facts = {name: worker.ready for name, worker in workers.items()}
    first = next(iter(facts.values()))
    trainings = {
        name: summary([one["seconds"] for one in each], "seconds")
        | {"accuracies": [one["accuracy"] for one in each], "compile_seconds": facts[name]["compile_seconds"]}
        for name, each in found.items()
    }
    return {
        "network": config.network, "dataset": config.dataset, "epochs": config.epochs, "batch_size": config.batch_size,
        "config": config.hash(), "examples": examples, "rounds": rounds, "trainings": trainings, "skipped": skipped,
        "device": first["device"], "versions": first["versions"] | facts.get(PEER, {}).get("versions", {}),
        "against": {name: against(trainings[name], trainings[PEER]) for name in trainings if PEER in trainings},
    }  # fmt: skip


def against(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """The ratio of the median times, and the difference of the accuracies, ours less the peer's, with its interval and
    the test for equivalence; trainings are paired by their turns."""
    a, b = ours["accuracies"], peer["accuracies"]
    difference, same = paired_t(a, b), equivalent(a, b, MARGIN)
    return {
        "ratio": peer["median"] / ours["median"],
        "difference": difference.difference, "low": difference.low, "high": difference.high,
        "equivalent": same.equivalent, "p": same.p,
    }  # fmt: skip


def write_examples(config: Config, folder: Path) -> dict[str, int]:
    """Writes train.npz and test.npz, images uint8 (n, h, w, c) and labels, and returns the numbers of images. The peer
    trains on the very same ones."""
    data = load_data(config)
    assert isinstance(data.train, Split)
    parts = {"train": (data.train, data.validation), "test": (data.test,)}
    for name, splits in parts.items():
        images, labels = (np.concatenate([getattr(split, of) for split in splits]) for of in ("images", "labels"))
        np.savez(folder / f"{name}.npz", images=images, labels=labels, classes=data.class_names)
    return {name: sum(len(split) for split in splits) for name, splits in parts.items()}


def markdown(measured: dict[str, Any]) -> str:
    """The table."""
    device, versions, n = measured["device"], measured["versions"], measured["rounds"]
    where = device["cpu"] if device["backend"] == "cpu" else device["kind"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("jax", "torch") if name in versions)
    head = "seconds: median (quartiles) | peer / ours | test accuracy: mean, deviation, range | ours − peer (95 %)"
    lines = [f"| training | {head} | compile, s |", "|---|---|---|---|---|---|"]
    for name, one in measured["trainings"].items():
        accuracies = 100 * np.array(one["accuracies"])
        reached = (
            f"{accuracies.mean():.2f} %, {accuracies.std(ddof=1):.2f}, {accuracies.min():.2f} – {accuracies.max():.2f}"
        )
        ratio, difference = "", ""
        if name != PEER and PEER in measured["trainings"]:
            compared = measured["against"][name]
            ratio = number(compared["ratio"])
            ends = (100 * compared[end] for end in ("difference", "low", "high"))
            verdict = "equal within 0.1" if compared["equivalent"] else "not shown to be equal within 0.1"
            difference = "{:+.2f} points ({:+.2f} – {:+.2f}), ".format(*ends) + verdict
        cells = (name, quartiles(one), ratio, reached, difference, number(one["compile_seconds"]))
        lines.append(f"| {' | '.join(cells)} |")
    images = (
        "{train:,} images) in batches of {size:,}, from the initial weights to the accuracy on {test:,} test images"
    )
    return (
        f"**Whole trainings**: `{measured['network']}`, {measured['epochs']} passes over {measured['dataset']} "
        f"({images.format(**measured['examples'], size=measured['batch_size'])}; n = {n} seeds, in turns; data on the "
        f"device, compilation apart; {where}, {named}; {measured['started'][:10]}.\n\n"
        + "\n".join(lines)
        + "".join(f"\n\nNot measured: {reason}" for reason in measured["skipped"])
        + f"\n\n`{measured['command']}`\n"
    )
