"""Do deeper layers tell shapes apart that are combinations of edges?

The guide: the second layer's features could be semicircles (a curve and a straight edge) or squares (several straight
edges); deeper ones are more complex still.

    scripts/run experiments/guide/shapes.py --data-dir DIR    # two CPU cores, some seconds

Draws curves, straight edges, semicircles and squares at random places, sizes and angles, takes the mean response of
every unit of a layer to each, and asks how many drawings the nearest class mean (of other drawings) names rightly.
Eight units of each layer, so that none has more to go by. The statistic is what training adds to the third layer minus
what it adds to the first. A network for colour images is shown discs of six hues too (`--dataset`). Expected: more to
the third, n = 8 networks; no network was trained on such drawings.
"""

import matplotlib
import numpy as np
from deeper import gains
from PIL import Image, ImageDraw

from cnn_jax.cli.study import main
from cnn_jax.insight import units
from cnn_jax.report import figures
from cnn_jax.runs.model import TrainedModel
from cnn_jax.study import Finding, Question, Study, classic

QUESTION = Question("shapes", "Do deeper layers tell curves, edges, semicircles and squares apart better?")
LAYERS = ("relu1", "relu2", "relu3")
SHAPES = ("curve", "edge", "semicircle", "square")
HUES = 6
DRAWINGS = 200  # of each shape and each hue
UNITS = 8  # of each layer
SCALE = 8  # drawn larger and made smaller, so that lines are smooth


def drawing(shape: str, size: int, random: np.random.Generator) -> np.ndarray:
    """A white line drawing on black, uint8 (size, size)."""
    canvas = Image.new("L", (size * SCALE, size * SCALE))
    pen = ImageDraw.Draw(canvas)
    radius, width = size * SCALE * random.uniform(0.18, 0.3), SCALE * 2
    middle = size * SCALE / 2
    box = (middle - radius, middle - radius, middle + radius, middle + radius)
    if shape == "curve":
        pen.arc(box, 0, 180, 255, width)
    elif shape == "edge":
        pen.line((box[0], middle, box[2], middle), 255, width)
    elif shape == "semicircle":
        pen.arc(box, 0, 180, 255, width)
        pen.line((box[0], middle, box[2], middle), 255, width)
    else:
        pen.rectangle(box, None, 255, width)
    shift = random.uniform(-0.12, 0.12, 2) * size * SCALE
    turned = canvas.rotate(random.uniform(0, 360), Image.Resampling.BILINEAR, translate=tuple(shift))
    return np.asarray(turned.resize((size, size), Image.Resampling.BOX))


def disc(hue: int, size: int, random: np.random.Generator) -> np.ndarray:
    """A disc of one of the hues on grey, uint8 (size, size, 3)."""
    canvas = Image.new("HSV", (size * SCALE, size * SCALE), (0, 0, 128))
    radius = size * SCALE * random.uniform(0.18, 0.3)
    x, y = size * SCALE * random.uniform(0.35, 0.65, 2)
    box = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(canvas).ellipse(box, (255 * hue // HUES, 220, 220))
    return np.asarray(canvas.convert("RGB").resize((size, size), Image.Resampling.BOX))


def investigate(study: Study) -> Finding:
    outcome = classic(study)
    networks = study.learned(outcome)
    random = np.random.default_rng(0)
    size, channels = next(iter(networks.values())).network.input_shape[1:]
    drawn = np.stack([drawing(shape, size, random) for shape in SHAPES for _ in range(DRAWINGS)])
    shown = {"shapes": (np.repeat(drawn[..., None], channels, -1), np.repeat(np.arange(len(SHAPES)), DRAWINGS))}
    if channels == 3:
        coloured = np.stack([disc(hue, size, random) for hue in range(HUES) for _ in range(DRAWINGS)])
        shown["hues"] = coloured, np.repeat(np.arange(HUES), DRAWINGS)
    rows = []
    for seed, trained in networks.items():
        for state, variables in (("untrained", trained.history()[0][1]), ("trained", trained.variables)):
            for kind, pair in shown.items():
                found = named_rightly(trained, variables, *pair)
                rows += [
                    {"kind": kind, "seed": seed, "state": state, "layer": layer, "rightly": x}
                    for layer, x in found.items()
                ]
    table = study.write("shapes", rows)
    of_shapes = table[table["kind"] == "shapes"]
    draw(study, shown["shapes"][0], of_shapes)
    means = table.groupby(["kind", "state", "layer"])["rightly"].mean()
    more = {
        kind: means[kind].unstack().to_dict("index") | {"chance": 100.0 / len(np.unique(labels))}
        for kind, (_, labels) in shown.items()
    }
    more["left out"] = study.left_out(outcome)
    added = gains(of_shapes, "rightly")
    return Finding.paired(
        "drawings named rightly, what training adds to the third convolution minus to the first", "points",
        added[LAYERS[-1]].tolist(), added[LAYERS[0]].tolist(), more,
    )  # fmt: skip


def named_rightly(trained: TrainedModel, variables, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """For each layer the share of drawings, in percent, whose nearest class mean of the other half is their own."""
    responses = units.mean_responses(trained.network, variables, trained.normalise(images), LAYERS)
    found = {}
    half = np.arange(len(labels)) % 2 == 0
    for layer in LAYERS:
        every = responses[layer].shape[1] // UNITS
        of = responses[layer][:, :: max(every, 1)].astype(np.float64)
        of /= np.maximum(of.std(0), 1e-9)
        right = 0
        for known, asked in ((half, ~half), (~half, half)):
            means = np.stack([of[known & (labels == c)].mean(0) for c in np.unique(labels)])
            distance = np.square(of[asked][:, None] - means[None]).sum(-1)
            right += int((distance.argmin(1) == labels[asked]).sum())
        found[layer] = 100.0 * right / len(labels)
    return found


def draw(study: Study, images: np.ndarray, table) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plots = figures.subplots(1, 5, figsize=(8.5, 2.5), layout="constrained", width_ratios=(1, 1, 1, 1, 2))
        for i in range(len(SHAPES)):
            plots[i].imshow(images[i * DRAWINGS].squeeze(), cmap="gray")
            plots[i].axis("off")
        for i, (_, rows) in enumerate(table.groupby("state", sort=False)):
            for _, one in rows.groupby("seed"):
                style = {"color": figures.COLOURS[i], "marker": figures.MARKERS[i], "ms": 3, "lw": 0.8}
                plots[4].plot(range(3), one.set_index("layer").loc[list(LAYERS), "rightly"], **style)
        plots[4].axhline(25, color="0.5", lw=0.8, ls="--")
        plots[4].set_xticks(range(3), LAYERS, fontsize=8)
        plots[4].set_ylabel("%")
        plots[4].set_title("○ 0, □ →", fontsize=8)
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
