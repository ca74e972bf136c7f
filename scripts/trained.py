"""Publishes the weights of finished sweeps in cnn_jax/zoo/trained, each with a card, and lists them in docs/zoo.md.

    scripts/run scripts/trained.py NAME=SWEEP …     the run of the chosen cell's lower-median seed of each sweep
    scripts/run scripts/trained.py                  only the list, from the cards

Weights are float16 if the test accuracy is the same with them, else float32; a file of more than 1 MB is refused.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnn_jax import api
from cnn_jax.cli import common
from cnn_jax.data import Split
from cnn_jax.errors import RequestError
from cnn_jax.report import tables
from cnn_jax.report.cite import Citation
from cnn_jax.runs import weights
from cnn_jax.runs.model import TrainedModel
from cnn_jax.runs.outcome import outcome_of
from cnn_jax.training.config import Config

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "zoo.md"
MOST_BYTES = 1_000_000


def publish(name: str, sweep: Path) -> None:
    """Writes NAME.safetensors and the card NAME.json. Raises RequestError for a file that is too large."""
    model, citation = TrainedModel.load(sweep), Citation(outcome_of(sweep), "test.accuracy")
    test = api.load_data(model.config).test
    with tempfile.TemporaryDirectory() as folder:
        kept = {kind: Path(folder) / f"{kind}.safetensors" for kind in ("float16", "float32")}
        model.export(kept["float32"], "safetensors")
        arrays, about = weights.read(kept["float32"])
        weights.write({key: a.astype(np.float16) for key, a in arrays.items()}, about, kept["float16"], "safetensors")
        correct = {kind: _correct(file, model, test) for kind, file in kept.items()}
        kind = "float16" if correct["float16"] == correct["float32"] else "float32"
        content = kept[kind].read_bytes()
    if len(content) > MOST_BYTES:
        raise RequestError(f"{sweep}: {len(content):,} bytes of weights; at most {MOST_BYTES:,} are kept here")
    (weights.TRAINED / f"{name}.safetensors").write_bytes(content)
    card = {
        "network": citation.network,
        "parameters": citation.outcome.parameters,
        "dtype": kind,
        "data": citation.data,
        "data_licence": citation.outcome.data.source["licence"],
        "recipe": _recipe(model.config),
        "correct": correct[kind],
        "test_images": len(test),
        "seeds": f"{citation.value}, {citation.n}, {citation.interval}",
        "device": citation.row()["device"],
        "commit": citation.commit,
        "date": citation.row()["date"],
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (weights.TRAINED / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _correct(file: Path, model: TrainedModel, test: Split) -> int:
    """The number of test images that the weights of a file classify correctly."""
    loaded = TrainedModel.of_weights(file, str(model.config.network))
    batches = range(0, len(test), 1000)
    accuracies = [loaded.accuracy(test.images[i : i + 1000], test.labels[i : i + 1000]) for i in batches]
    return round(sum(a * len(test.labels[i : i + 1000]) for a, i in zip(accuracies, batches, strict=True)))


def _recipe(config: Config) -> dict[str, Any]:
    """The fields of a config that differ from the default."""
    default = Config().to_json()
    return {name: value for name, value in config.to_json().items() if value != default[name] and name != "data_dir"}


def page() -> str:
    """The text of docs/zoo.md."""
    cards = {file.stem: json.loads(file.read_text()) for file in sorted(weights.TRAINED.glob("*.json"))}
    rows = [
        {
            "weights": f"zoo:{name}", "network": card["network"], "parameters": f"{card['parameters']:,}",
            "data": card["data"], "test accuracy": f"{100 * card['correct'] / card['test_images']:.2f} %",
            "over seeds": card["seeds"], "recipe": ", ".join(f"{key} {value}" for key, value in card["recipe"].items()),
            "licence of the data": card["data_licence"], "sha256": card["sha256"][:12],
        }
        for name, card in cards.items()
    ]  # fmt: skip
    return (
        "# Trained weights\n\n"
        "`cnn-jax train --init zoo:NAME …` starts from them, `cnn-jax see zoo:NAME --network NETWORK` looks inside, "
        "and `cnn_jax.runs.model.TrainedModel.of_weights` loads them. They are those of the lower-median seed of a "
        "sweep; the median over its seeds, with its interval, stands beside. `cnn_jax/zoo/trained/NAME.json` has "
        "device, commit and date. The weights are under Apache-2.0. Larger networks are described by their recipe, in "
        "`experiments/papers`.\n\n" + tables.markdown(pd.DataFrame(rows))
    )


def command(arguments: Sequence[str]) -> int:
    for argument in arguments:
        name, equals, sweep = argument.partition("=")
        if not equals:
            raise RequestError(f"{argument} is not NAME=SWEEP")
        publish(name, Path(sweep))
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    common.main(command)
