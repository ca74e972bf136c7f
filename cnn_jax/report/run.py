"""The report of one run: a training curve and a page."""

import pandas as pd

from cnn_jax.report import figures, page
from cnn_jax.runs.folder import Folder
from cnn_jax.statistics import binomial_interval


def percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def sentence(result: dict) -> str:
    """What came out, in one sentence."""
    if result["status"] == "diverged":
        return f"The run diverged at step {result['diverged_step']}: {REASONS[result['reason']]}."
    if result["status"] == "interrupted":
        return f"The run was interrupted after step {result['steps']}; --resume goes on with it."
    text = (
        f"Validation accuracy {percent(result['validation']['accuracy'])} of {result['validation']['examples']} images"
    )
    if result["test"]:
        n = result["test"]["examples"]
        interval = binomial_interval(round(result["test"]["accuracy"] * n), n)
        text += (
            f"; test accuracy {percent(result['test']['accuracy'])} of {n} images "
            f"({interval.kind} over images {percent(interval.low)} – {percent(interval.high)}; one run, n = 1 seed)"
        )
    return text + "."


REASONS = {
    "nonfinite": "the loss or a parameter was no longer finite",
    "chance": "the last epoch's training loss was no better than answering the class frequencies",
}


def write_report(folder: Folder) -> None:
    """figures/training.png and report.html of a run's folder."""
    config, record, result = (folder.read_json(f"{name}.json") for name in ("config", "record", "result"))
    history = pd.DataFrame(folder.metrics())
    folder.file("figures").mkdir(exist_ok=True)
    parts = [page.paragraph(sentence(result))]
    if len(history):
        caption = f"{record['data']['name']}, seed {config['seed']}, n = 1 run"
        path = folder.file("figures/training.png")
        figures.save(figures.training_curve(history, caption), path)
        parts.append(
            page.figure(path, f"Loss and accuracy by epoch: {caption}", "Loss and accuracy, training and validation.")
        )
    network = config["network"] if isinstance(config["network"], str) else "described in config.json"
    parts += [
        page.section("Network", page.command(network), page.paragraph(f"{result['parameters']:,} parameters.")),
        page.section(
            "Run it again",
            page.command(record["command"]),
            page.command("scripts/run experiments/train.py --config config.json"),
        ),
        page.section("Record", page.record(record)),
    ]
    folder.write_text("report.html", page.page(f"{record['data']['name']}: one run", parts))
