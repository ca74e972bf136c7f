"""Ranks the explanations of a run, or of the seeds of a sweep's chosen cell."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from cnn_jax import ops
from cnn_jax.data import Split
from cnn_jax.errors import RequestError
from cnn_jax.insight import ranking
from cnn_jax.insight.checks import SAME
from cnn_jax.insight.ranking import MEASURES, Ranked
from cnn_jax.report.inspect.inspection import evenly_spaced
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel
from cnn_jax.waiting import waiting

EXPLAINED = 32  # images, for each network


def rank(
    models: Sequence[TrainedModel], splits: Sequence[Split], out: Path, seed: int, command: str, show: bool
) -> str:
    """Writes ranking.json and ranking.md, and returns the latter.

    Args:
        models: networks that differ in their seed alone.
        splits: the validation images of each.
        out: the folder to write to.
        seed: of everything random.
        command: for the record.
        show: announce each network on standard error.

    Raises:
        RequestError: fewer than two images, over which no interval exists.
    """
    measured, counts = [], []
    refused: list[str] = []
    for number, (model, split) in enumerate(zip(models, splits, strict=True)):
        at = evenly_spaced(len(split), EXPLAINED)
        if len(at) < 2:
            raise RequestError(f"ranking needs at least 2 validation images; there are {len(at)}")
        images = model.normalise(split.images[at])
        key = jax.random.fold_in(jax.random.key(seed, impl=ops.generator(ops.resolve())), number)
        with jax.default_matmul_precision(model.config.precision), waiting(
            f"ranking: network {number + 1} of {len(models)}", show=show, after=0.0
        ):  # fmt: skip
            methods, refused = ranking.candidates(model.network, model.variables, images[:1], key)
            measured.append(ranking.measured(model.network, model.variables, jnp.asarray(images), methods, key))
        counts.append(len(at))
    found = ranking.ranked(measured)
    record = {
        "command": command, "networks": [_about(model) for model in models], "images": counts, "seed": seed,
        "device": jax.devices()[0].device_kind, "refused": refused,
        "methods": [
            {"method": one.method, "trusted": one.trusted, "depends_on_weights": one.depends_on_weights,
             "faithful": one.faithful, "place": one.place, "measures": {k: asdict(v) for k, v in one.measures.items()}}
            for one in found
        ],
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    text = _text(found, refused, len(models), counts[0], command)
    Folder(out).write_json("ranking.json", record)
    Folder(out).write_text("ranking.md", text)
    return text


def _about(model: TrainedModel) -> dict[str, Any]:
    assert model.folder is not None
    return {"folder": model.folder.path.name, "seed": model.config.seed, "config_hash": model.config.hash()}


def _text(found: Sequence[Ranked], refused: Sequence[str], networks: int, images: int, command: str) -> str:
    over = f"n = {networks} networks, {images} images of each" if networks > 1 else f"n = {images} images of 1 network"
    trusted = [one.method for one in found if one.trusted]
    opening = (
        f"{len(trusted)} of {len(found)} methods may be trusted on this network: {', '.join(trusted)}."
        if trusted
        else f"None of {len(found)} methods may be trusted on this network."
    )
    lines = [
        opening, "",
        f"Mean and 95 % t interval, {over}. A method may be trusted if its maps depend on the weights (rank "
        f"correlation with those of random weights below {SAME}) and if deletion, insertion, and remove-and-debias "
        "(ROAD) are all better than for a random order of the pixels, each at its interval. Place: the mean over the "
        "three, 1 is best.",
        "",
        "| method | trusted | place | " + " | ".join(MEASURES) + " |",
        "| --- | --- | --- |" + " --- |" * len(MEASURES),
    ]  # fmt: skip
    for one in found:
        cells = [f"{m.difference:+.2f} ({m.low:+.2f} – {m.high:+.2f})" for m in one.measures.values()]
        why = [] if one.depends_on_weights else ["weights"]
        why += [] if one.faithful else ["faithfulness"]
        verdict = "yes" if one.trusted else "no: " + ", ".join(why)
        lines.append(f"| {one.method} | {verdict} | {one.place:.1f} | " + " | ".join(cells) + " |")
    lines += ["", *(f"Left out: {line}." for line in refused), f"Run it again: `{command}`", ""]
    return "\n".join(lines)
