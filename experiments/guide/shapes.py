"""Do deeper layers tell shapes apart that are combinations of edges?

The guide: the second layer's features could be semicircles (a curve and a straight edge) or squares (several straight
edges); deeper ones are more complex still.

    scripts/run experiments/guide/shapes.py --data-dir DIR    # two CPU cores; its verdict says how long

Draws curves, straight edges, semicircles and squares at random places, sizes and angles, and asks a linear probe (ridge
regression on the maps of a layer, averaged over a grid of 4 x 4 places and projected to as many numbers for every
layer) to name those that it was not fitted to. The statistic is how much better the probe of the second layer does than
the best without training: that of the untrained second layer, or of the pixels. A network for colour images is shown
discs of six hues too. Expected: better by some points; no network was trained on such drawings.
"""

import matplotlib
import numpy as np
from classic import classic
from PIL import Image, ImageDraw

from cnn_jax.cli.study import main
from cnn_jax.insight.concepts import probe
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question(
    "shapes",
    "Does training make the second layer tell curves, edges, semicircles and squares apart?",
    smallest_effect=1.0,
)
LAYERS = ("relu1", "relu2", "relu3")
SHAPES = ("curve", "edge", "semicircle", "square")
HUES = 6
DRAWINGS = 200  # of each shape and each hue
PLACES, NUMBERS = 4, 128  # along an edge; for the probe of any layer
RIDGE = 0.1  # share of the mean square of the features
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
        for kind, (images, labels) in shown.items():
            rows.append(
                {
                    "kind": kind,
                    "seed": seed,
                    "state": "pixels",
                    "layer": "pixels",
                    "rightly": probed(images / 255, labels),
                }
            )
            for state, variables in (("untrained", trained.history()[0][1]), ("trained", trained.variables)):
                maps = trained.network.activations(variables, trained.normalise(images))
                rows += [
                    {
                        "kind": kind, "seed": seed, "state": state, "layer": layer,
                        "rightly": probed(np.asarray(maps[layer]), labels),
                    }
                    for layer in LAYERS
                ]  # fmt: skip
    table = study.write("shapes", rows)
    of_shapes = table[table["kind"] == "shapes"]
    draw(study, shown["shapes"][0], of_shapes)
    means = table.groupby(["kind", "state", "layer"])["rightly"].mean()
    more = {
        kind: means[kind].unstack().to_dict("index") | {"chance": 100.0 / len(np.unique(labels))}
        for kind, (_, labels) in shown.items()
    }
    more["left out"] = study.left_out(outcome)
    second = {
        state: of_shapes[(of_shapes["state"] == state) & of_shapes["layer"].isin(("relu2", "pixels"))][
            "rightly"
        ].tolist()
        for state in ("trained", "untrained", "pixels")
    }
    without = np.maximum(second["untrained"], second["pixels"]).tolist()
    statistic = "drawings named rightly by a probe of the second layer, trained minus the best without training"
    return study.paired(statistic, "points", second["trained"], without, more)


def probed(maps: np.ndarray, labels: np.ndarray) -> float:
    """The share of drawings, in percent, that ridge regression on the other half names rightly; maps (n, h, w, c)."""
    rows, columns = (np.linspace(0, length, PLACES + 1).astype(int)[:-1] for length in maps.shape[1:3])
    if maps.shape[-1] > 3:
        maps = np.add.reduceat(np.add.reduceat(maps, rows, 1), columns, 2)
    features = maps.reshape(len(maps), -1).astype(np.float64)
    features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)
    projection = np.random.default_rng(1).normal(size=(features.shape[1], NUMBERS)) / np.sqrt(features.shape[1])
    return 100.0 * float(probe(features @ projection, labels, RIDGE).mean())


def draw(study: Study, images: np.ndarray, table) -> None:
    with matplotlib.rc_context(figures.STYLE):
        figure, plots = figures.subplots(1, 5, figsize=(8.5, 2.5), layout="constrained", width_ratios=(1, 1, 1, 1, 2))
        for i in range(len(SHAPES)):
            plots[i].imshow(images[i * DRAWINGS].squeeze(), cmap="gray")
            plots[i].axis("off")
        for i, (_, rows) in enumerate(table[table["state"] != "pixels"].groupby("state", sort=False)):
            for _, one in rows.groupby("seed"):
                style = {"color": figures.COLOURS[i], "marker": figures.MARKERS[i], "ms": 3, "lw": 0.8}
                plots[4].plot(range(3), one.set_index("layer").loc[list(LAYERS), "rightly"], **style)
        pixels = table[table["state"] == "pixels"]["rightly"].mean()
        plots[4].axhline(pixels, color="0.5", lw=0.8, ls=":")
        plots[4].axhline(25, color="0.5", lw=0.8, ls="--")
        plots[4].set_xticks(range(3), LAYERS, fontsize=8)
        plots[4].set_ylabel("%")
        plots[4].set_title("○ 0, □ →", fontsize=8)
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
