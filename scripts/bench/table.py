"""Formats results as Markdown, from their JSON alone, with the standard library only."""

from typing import Any

RIVALS = {"flax": "Flax + optax", "torch": "PyTorch", "torch+malloc": "PyTorch, malloc"}
UNITS = dict.fromkeys(("step", "epoch", "axis", "trials"), "ms per step") | {"start": "seconds to the first step"}


def markdown(measured: dict[str, Any]) -> str:
    """All tables of one JSON file: the comparison, then every contender; for an axis, the cost along it."""
    if measured["mode"] == "grid":
        return grid(measured)
    if measured["mode"] == "axis":
        return f"{heading(measured)}\n\n{axis_table(measured)}"
    parts = [heading(measured), comparison(measured), details(measured)]
    if build := measured.get("build"):
        parts.append(
            f"Building the native operations, once for a machine and not in the rows above: {quartiles(build)} s, "
            f"n = {build['n']}."
        )
    skipped = [
        f"- {reason}" for work in measured["works"].values() for reason in work["skipped"].values()
    ]  # a reason begins with the contender and the network
    if skipped:
        parts.append("Not measured:\n\n" + "\n".join(skipped))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def heading(measured: dict[str, Any]) -> str:
    """What was measured, on which hardware, with which versions."""
    versions = ", ".join(f"{name} {measured['versions'][name]}" for name in ("jax", "flax", "optax"))
    torch = measured["torch"] and f", torch {measured['torch']['torch']}"
    device = measured["device"]
    where = device["cpu"] if device["backend"] == "cpu" else f"{device['kind']} ({device['cpu']})"
    sizes = sorted({work["batch_size"] for work in measured.get("works", {}).values() if "batch_size" in work})
    size = " or ".join(map(str, sizes or [measured["batch_size"]]))
    batch = "" if measured["axis"] == "batch" else f"batch of {size}, "
    if vectors := measured.get("vectors"):
        where += f", {vectors} vectors" + (" and no wider ones allowed" if "--vectors" in measured["command"] else "")
    several = f" of {measured['trials']} networks at once" if measured["mode"] == "trials" else ""
    line = f"{UNITS[measured['mode']]}{several}, {batch}{measured['rounds']} rounds in turns; {where}; {versions}"
    line += f"{torch or ''}; {measured['started'][:10]}."
    if ceiling := measured.get("ceiling"):
        line += (
            f" A float32 matrix product of {ceiling['size']:,} x {ceiling['size']:,} reached "
            f"{number(ceiling['gflops_per_second'])} GFLOP/s in the same run: the ceiling."
        )
    for precision, ceiling in measured.get("ceilings", {}).items():
        rate, size = number(ceiling["gflops_per_second"] / 1000), f"{ceiling['size']:,}"
        line += f" The ceiling in {precision}, a product of {size} x {size}: {rate} TFLOP/s."
    return f"**{measured['mode']}**: {line}\n\n`{measured['command']}`"


def comparison(measured: dict[str, Any]) -> str:
    """A row for each network: medians with quartiles and the ratios of medians. PyTorch is its fastest variant."""
    works = measured["works"].values()
    contenders = next(iter(works))["contenders"]
    ours = [name for name, times in contenders.items() if times["framework"] == "cnn_jax"]
    rivals = [rival for rival in RIVALS if all(rival in work["against"] for work in works)]
    header = ["network", *ours, *(RIVALS[rival] for rival in rivals), *(f"{RIVALS[rival]} / ours" for rival in rivals)]
    rows = []
    for name, work in measured["works"].items():
        cells = [f"{name}: `{work['network']}`, {'x'.join(map(str, work['shape']))}"]
        cells += [quartiles(work["contenders"][contender]) for contender in ours]
        for rival in rivals:
            contender = work["against"][rival]["contender"]
            which = f" {contender.removeprefix('torch-').removesuffix('+malloc')}" if "torch" in rival else ""
            cells.append(quartiles(work["contenders"][contender]) + which)
        cells += [f"{work['against'][rival]['ratio']:.2f}" for rival in rivals]
        rows.append(cells)
    return rendered(header, rows)


def details(measured: dict[str, Any]) -> str:
    """A row for each contender on each network."""
    steps = measured["mode"] != "start"
    header = ["network", "contender", "median (quartiles)", "min", "max", "n"]
    header += ["compile, s", "images/s", "GFLOP/s", "of the ceiling"] if steps else []
    header += ["device busy"] if "ceilings" in measured else []
    rows = []
    for name, work in measured["works"].items():
        for contender, times in work["contenders"].items():
            cells = [name, contender, quartiles(times), number(times["min"]), number(times["max"]), str(times["n"])]
            if steps:
                cells += [number(times["compile_seconds"]), f"{times['images_per_second']:,.0f}"]
                cells += [number(times["gflops_per_second"]), f"{100 * times['ceiling_fraction']:.0f} %"]
            if "ceilings" in measured:
                busy = times["utilisation"]
                cells.append("" if busy is None else f"{100 * busy:.0f} %")
            rows.append(cells)
    return rendered(header, rows)


def grid(measured: dict[str, Any]) -> str:
    """The table of the sweep benchmark, a row for each contender."""
    rows = []
    for name, times in measured["contenders"].items():
        ratio = times["median"] / measured["contenders"]["ours"]["median"]
        limits = f"{times['min']:.0f} – {times['max']:.0f}"
        rows.append([name, f"{times['median']:.0f}", limits, str(times["n"]), f"{ratio:.2f}"])
    all_seeds = measured["seeds_of_peers"] == measured["seeds"]
    text = (
        f"**grid**: {measured['trials']} trials of {measured['epochs']} epochs on {measured['dataset']}, seconds from "
        f"the command to its end; {measured['device']['cpu']}; {measured['started'][:10]}. The peers trained "
        f"{measured['seeds_of_peers']} of {measured['seeds']} seeds"
        f"{'' if all_seeds else ', whose trials count for all'}.\n\n"
    )
    return text + rendered(["contender", "median, s", "range", "n", "times ours"], rows)


def axis_table(measured: dict[str, Any]) -> str:
    """A row for each value along the axis."""
    names = list(measured["points"][0]["contenders"])
    rows = [
        [str(point[measured["axis"]]), *(quartiles(point["contenders"][name]) for name in names)]
        for point in measured["points"]
    ]
    return rendered([measured["axis"], *names], rows)


def rendered(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def quartiles(times: dict[str, Any]) -> str:
    """Median (lower – upper quartile)."""
    return f"{number(times['median'])} ({number(times['lower_quartile'])} – {number(times['upper_quartile'])})"


def number(value: float) -> str:
    """A number with three significant digits or all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
