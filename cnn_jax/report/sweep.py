"""The report of a sweep: summary as CSV, Markdown and LaTeX, heatmap, curves, page."""

import pandas as pd
from matplotlib.figure import Figure

from cnn_jax.grids.grid import show
from cnn_jax.grids.table import Table
from cnn_jax.metrics import METRICS
from cnn_jax.report import figures, page, saving, tables
from cnn_jax.report.deviations import deviations
from cnn_jax.runs.folder import Folder
from cnn_jax.runs.outcome import NO_CELL
from cnn_jax.runs.reader import Trial
from cnn_jax.runs.schema import Record
from cnn_jax.runs.sweeps import SeedScore, seed_scores, trial_folder
from cnn_jax.statistics import binomial_interval, median, median_interval


def report_sweep(folder: Folder, table: Table) -> None:
    """Writes everything except results.csv, which exists already."""
    grid, summary = table.grid, table.summary()
    record = folder.read("record.json", Record)
    axes = grid.cell_axes
    folder.write_text("summary.csv", summary.to_csv(index=False, lineterminator="\n"))
    for_reader = tables.for_reader(summary, axes)
    chosen = chosen_sentence(table, seed_scores(folder, table))
    remarks = [*table.remarks(), *duplicates(record), *deviations(grid.base, record.data)]
    notes = "".join(f"\n{page.sentence(line)}" for line in [*remarks, chosen])
    folder.write_text("summary.md", tables.markdown(for_reader) + notes + "\n")
    folder.write_text("summary.tex", tables.latex(for_reader))

    about = ", ".join([record.data.name, *deviations(grid.base, record.data)])
    several = [name for name in axes if len(grid.axes[name]) > 1] or list(axes[:1])
    fixed = "".join(f", {figures.label(name)} {show(grid.axes[name][0])}" for name in axes if name not in several)
    caption = f"{about}{fixed}, {page.count(grid.base.epochs, 'epoch')}, median over n = {len(grid.seeds)} seeds"
    grid_caption = (
        f"Median validation accuracy for each cell of the grid: {caption}; orange frame: chosen; hatched: the median "
        "seed diverged."
    )
    curves_caption = (
        f"Validation accuracy along the first axis, where that has several values, and by epoch: {caption}; bands: "
        "quartiles (left), range over seeds (by epoch); cross: the median seed diverged."
    )
    shown = [
        _figure(folder, "heatmap", figures.heatmap(summary, several), grid_caption),
        _figure(folder, "curves", figures.curves(summary, several, _histories(folder, table)), curves_caption),
    ]
    _write_page(folder, table, for_reader, [chosen, *remarks], record, shown)


def _figure(folder: Folder, name: str, figure: Figure, caption: str) -> str:
    """Writes a figure, and returns it for the page."""
    saving.save(figure, folder.file(name), caption)
    return page.figure(folder.file(name), caption.partition(":")[0], caption)


def _histories(folder: Folder, table: Table) -> list[list[list]]:
    """For every cell the metrics of its seeds, by epoch."""
    return [[Trial.open(trial_folder(folder, row.trial).path).history for row in rows] for rows in table.by_cell]


def duplicates(record: Record) -> list[str]:
    """A remark if some images are in more than one split, else nothing."""
    counts = {pair: n for pair, n in record.data.source.get("duplicates", {}).items() if n}
    if not counts:
        return []
    return [f"exact duplicates across splits: {', '.join(f'{n} in {pair}' for pair, n in counts.items())}"]


def chosen_sentence(table: Table, seeds: tuple[SeedScore, ...]) -> str:
    """The chosen cell and the test accuracy of its seeds, as a clause."""
    if table.chosen is None:
        return f"no cell is chosen: {NO_CELL}, so the test split was not scored"
    where = ", ".join(f"{name} {show(value)}" for name, value in table.chosen.items())
    accuracies = [None if seed.test is None else seed.test.accuracy for seed in seeds]
    images = max((seed.test.examples for seed in seeds if seed.test is not None), default=0)
    if not images:
        return f"chosen by validation: {where}; the test split was not scored"
    accuracy = METRICS["accuracy"]
    final = ", trained anew on training and validation images together" if table.grid.base.final_fit else ""
    middle = median(accuracies)
    counts = failures(seeds)
    beginning = f"chosen by validation: {where}{final}; its test accuracy, median of n = {len(seeds)} seeds{counts},"
    if middle is None:
        return f"{beginning} does not exist, since the median seed diverged"
    binomial = binomial_interval(round(middle * images), images)
    return (
        f"{beginning} is {accuracy.text(middle)} ({tables.interval_text(median_interval(accuracies), accuracy)}), each "
        f"over {images:,} images (over images: {tables.interval_text(binomial, accuracy)})"
    )


def failures(seeds: tuple[SeedScore, ...]) -> str:
    """How many seeds diverged and how many are at chance, as a clause; empty if none."""
    diverged = sum(seed.status == "diverged" for seed in seeds)
    chance = sum(seed.at_chance is True for seed in seeds)
    clauses = [f"{diverged} diverged and rank below every other"] * bool(diverged) + [f"{chance} at chance"] * bool(
        chance
    )
    return f", of which {' and '.join(clauses)}" if clauses else ""


def _write_page(
    folder: Folder, table: Table, for_reader: pd.DataFrame, lines: list[str], record: Record, shown: list[str]
) -> None:
    chosen, *remarks = lines
    parts = [page.paragraph(page.sentence(chosen)), page.remarks(remarks)]
    parts += [
        *shown,
        page.section("Cells", page.table(for_reader, table.chosen_cell)),
        page.section("Run it again", page.command(record.provenance.command)),
        page.section("Record", page.record(record.to_json())),
    ]
    folder.write_text("report.html", page.page(f"{record.data.name}: a sweep of {len(table.rows)} trials", parts))
