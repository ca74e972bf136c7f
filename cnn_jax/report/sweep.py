"""The report of a sweep: summary as CSV, Markdown and LaTeX, heatmap, curves, page."""

import pandas as pd

from cnn_jax.report import figures, page, tables
from cnn_jax.runs.folder import Folder
from cnn_jax.statistics import binomial_interval, median_interval
from cnn_jax.sweep.table import WORST, Table


def report_sweep(folder: Folder, table: Table) -> None:
    """Writes everything but results.csv, which is there already."""
    grid, summary = table.grid, table.summary()
    record = folder.read_json("record.json")
    axes = grid.cell_axes
    folder.write_text("summary.csv", summary.to_csv(index=False, lineterminator="\n"))
    printed = tables.for_reader(summary, axes)
    remarks = [*table.remarks(), *duplicates(record)]
    notes = "".join(f"\n{line[0].upper()}{line[1:]}." for line in [*remarks, chosen_sentence(folder, table)])
    folder.write_text("summary.md", tables.markdown(printed) + notes + "\n")
    folder.write_text("summary.tex", tables.latex(printed))

    caption = f"{record['data']['name']}, {grid.base.epochs} epochs, median over n = {len(grid.seeds)} seeds"
    several = sorted(axes, key=lambda name: len(grid.axes[name]) == 1)  # axes with one value last
    if axes:
        figures.save(figures.heatmap(summary, several, caption), folder.file("heatmap.png"))
        spread = f"{caption}; bands: quartiles (left), range over seeds (by epoch)"
        figures.save(
            figures.curves(summary, several, _histories(folder, table, several), spread), folder.file("curves.png")
        )
    _write_page(folder, table, printed, remarks, record, caption)


def _histories(folder: Folder, table: Table, axes: list[str]) -> dict[tuple, list[pd.DataFrame]]:
    found: dict[tuple, list[pd.DataFrame]] = {}
    for i, trial in table.trials.iterrows():
        metrics = Folder(folder.file("trials") / f"{i:04d}").metrics()
        found.setdefault(tuple(trial[name] for name in axes), []).append(pd.DataFrame(metrics))
    return found


def duplicates(record: dict) -> list[str]:
    """A remark where images of one split stand in another too."""
    counts = {pair: n for pair, n in record["data"]["source"].get("duplicates", {}).items() if n}
    return [f"exact duplicates across splits: {', '.join(f'{n} in {pair}' for pair, n in counts.items())}"] * bool(
        counts
    )


def chosen_sentence(folder: Folder, table: Table) -> str:
    """The chosen cell, and what its seeds score on the test split."""
    seeds = pd.read_csv(folder.file("best/seeds.csv"))
    where = ", ".join(f"{name} {value:g}" for name, value in table.chosen.items())
    diverged = int(seeds["test_accuracy"].isna().sum())
    if diverged == len(seeds):
        return f"chosen by validation: {where}; every seed of it diverged, so the test split was not scored"
    accuracy = seeds["test_accuracy"].fillna(WORST)  # a diverged seed counts as the worst
    n, images = len(accuracy), int(seeds["examples"].max())
    median, interval = accuracy.median(), median_interval(list(accuracy))
    binomial = binomial_interval(round(median * images), images)
    died = f" ({diverged} diverged, counted as {WORST:g})" if diverged else ""
    return (
        f"chosen by validation: {where}; its test accuracy, median of n = {n} seeds{died}, is {100 * median:.2f} % "
        f"({interval.kind} {100 * interval.low:.2f} – {100 * interval.high:.2f} %), each over {images:,} images "
        f"({binomial.kind} over images {100 * binomial.low:.2f} – {100 * binomial.high:.2f} %)"
    )


def _write_page(
    folder: Folder, table: Table, printed: pd.DataFrame, remarks: list[str], record: dict, caption: str
) -> None:
    chosen = chosen_sentence(folder, table)
    parts = [page.paragraph(f"{chosen[0].upper()}{chosen[1:]}."), page.remarks(remarks)]
    for name, shows in (
        ("heatmap.png", "Median validation accuracy for each cell of the grid."),
        ("curves.png", "Validation accuracy: along the first axis where that has several values, and by epoch."),
    ):
        parts.append(page.figure(folder.file(name), f"{shows} {caption}", shows))
    best = int(table.summary()["chosen"].to_numpy().argmax())
    parts += [
        page.section("Cells", page.table(printed, best)),
        page.section("Run it again", page.command(record["command"])),
        page.section("Record", page.record(record)),
    ]
    folder.write_text(
        "report.html", page.page(f"{record['data']['name']}: a sweep of {len(table.trials)} trials", parts)
    )
