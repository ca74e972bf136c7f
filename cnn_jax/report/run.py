"""The report of one run: a training curve and a page."""

from cnn_jax.metrics import METRICS, Evaluation
from cnn_jax.report import figures, page, saving, tables
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.reader import Run
from cnn_jax.runs.schema import Result
from cnn_jax.statistics import binomial_interval

ADVICE = "`cnn-jax range` with the same options finds a learning rate to begin with."
FEW_STEPS = 200


def sentence(result: Result) -> str:
    """The result in one sentence."""
    if result.status == "diverged":
        return f"The run diverged at step {result.diverged_step}: {result.reason}. {ADVICE}"
    if result.status == "interrupted":
        return f"The run was interrupted after step {result.steps}; --resume continues it."
    if result.status == "failed":
        return f"The run failed: {result.reason}."
    parts = [f"{name} {_accuracy_text(score)}" for name, score in _scores(result) if score is not None]
    chance = ", at chance: no better than answering the class frequencies" if result.at_chance else ""
    text = "; ".join(parts) or "the data has no test split, and the validation images were trained on"
    advice = f" {ADVICE}" if result.at_chance else ""
    if result.at_chance and result.steps < FEW_STEPS:
        steps = page.count(result.steps, "step")
        advice += f" It took only {steps}: a smaller --batch-size or more --epochs takes more."
    return page.sentence(f"{text}{chance}") + advice


def _scores(result: Result) -> tuple[tuple[str, Evaluation | None], ...]:
    return ("validation accuracy", result.validation), ("test accuracy", result.test)


def _accuracy_text(score: Evaluation) -> str:
    """An accuracy with its binomial interval over images."""
    accuracy = METRICS["accuracy"]
    interval = tables.interval_text(binomial_interval(score.correct, score.examples), accuracy)
    return (
        f"{accuracy.text(score.accuracy)} of {score.examples:,} images (over images: {interval}; one run, n = 1 seed)"
    )


def write_report(folder: Folder) -> None:
    """Writes figures/training.png, .pdf and .svg and report.html into a run's folder."""
    run = Run.open(folder.path)
    config, record, result, history = run.trial.config, run.record, run.trial.result, run.trial.history
    assert result is not None
    folder.file("figures").mkdir(exist_ok=True)
    parts = [page.paragraph(sentence(result))]
    if history:
        caption = f"{record.data.name}, seed {config.seed}, n = 1 run"
        stem = folder.file("figures/training")
        saving.save(figures.training_curve(history), stem, f"Training and validation: {caption}")
        parts.append(
            page.figure(stem, f"Loss and accuracy by epoch: {caption}", "Loss and accuracy, training and validation.")
        )
    network = config.network if isinstance(config.network, str) else "described in config.json"
    parts += [
        page.section("Network", page.command(network), page.paragraph(f"{result.parameters:,} parameters.")),
        page.section(
            "Run it again",
            page.command(record.provenance.command),
            page.command("scripts/run experiments/train.py --config config.json"),
        ),
        page.section("Record", page.record(record.to_json())),
    ]
    folder.write_text("report.html", page.page(f"{record.data.name}: one run", parts))
