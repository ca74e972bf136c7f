"""The cost of a training step of network L along one axis: the filters of its first convolution, the batch size, the
number of networks trained at once, or the devices that share the batch."""

import dataclasses
from pathlib import Path
from typing import Any

from bench.contenders import Contender, contenders
from bench.measure import Comparison, Turns
from bench.works import work_of

VALUES = {
    "width": (4, 8, 16, 32, 64),
    "batch": (16, 32, 64, 128, 256, 512, 1024),
    "trials": (1, 2, 4, 8, 16, 32, 64),
    "devices": (1, 2, 4, 8),
}
LABELS = {
    "width": "filters of the first convolution",
    "batch": "images in a batch",
    "trials": "networks that take a step at once",
    "devices": "simulated devices that share a batch",
}


def measure_axis(axis: str, turns: Turns, ceiling_gflops: float) -> list[dict[str, Any]]:
    """For each value of the axis, the value and the results of `Comparison.steps` for ours and flax."""
    points = []
    mode = "trials" if axis == "trials" else "step"
    for value in VALUES[axis]:
        work = work_of("L", value if axis == "width" else None)
        at_value = turns
        if axis == "batch":
            at_value = dataclasses.replace(turns, batch_size=value)
        elif axis == "trials":
            at_value = dataclasses.replace(turns, trials=value)
        results = Comparison(work, rivals(axis, value), at_value).steps(mode, ceiling_gflops)
        points.append({axis: value, **results})
    return points


def rivals(axis: str, value: int) -> list[Contender]:
    """Ours and flax; on several devices only ours, since Flax users write that part themselves."""
    if axis == "devices":
        environment = {"JAX_NUM_CPU_DEVICES": str(value)}
        return [Contender("ours", "cnn_jax", "bench.ours", f"devices={value}", environment=environment)]
    known = contenders(torch=False, several=axis == "trials")
    return [contender for contender in known if contender.name in ("ours", "flax")]


def plot(measured: dict[str, Any], stem: Path) -> None:
    """Median time of a step against the axis, both logarithmic, with quartiles."""
    import matplotlib

    from cnn_jax.report import figures, saving

    axis, points = measured["axis"], measured["points"]
    values = [point[axis] for point in points]
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.subplots(figsize=(4.5, 3.2), layout="constrained")
        for i, name in enumerate(points[0]["contenders"]):
            summaries = [point["contenders"][name] for point in points]
            median = [summary["median"] for summary in summaries]
            below = [summary["median"] - summary["lower_quartile"] for summary in summaries]
            above = [summary["upper_quartile"] - summary["median"] for summary in summaries]
            style: dict[str, Any] = {"color": figures.COLOURS[i], "marker": figures.MARKERS[i], "capsize": 2}
            axes.errorbar(values, median, [below, above], label=name, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(values, list(map(str, values)))
        axes.set_xlabel(LABELS[axis])
        axes.set_ylabel("milliseconds per step")
        axes.set_title(f"network L, median and quartiles of n = {measured['rounds']} rounds", fontsize=9)
        axes.legend()
        saving.save(figure, stem)
