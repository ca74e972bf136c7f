"""What does the first convolution make of a 32 x 32 x 3 image?

The guide: a 5 x 5 x 3 filter multiplies 75 numbers at each of 784 positions and makes a 28 x 28 x 1 map of them; two
filters make 28 x 28 x 2, three 28 x 28 x 3. It is loose where it says that more filters keep the size of the maps (they
add depth; padding keeps the size) and where a 7 x 7 filter is given a 28 x 28 map (it makes 26 x 26).

    scripts/run experiments/guide/first_layer.py    # two CPU cores, some seconds

Expected: exact, by arithmetic, by running the layer and by a loop in NumPy.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.patches import Rectangle

from cnn_jax.cli.study import main
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question.exact("first_layer", "What does the first convolution make of a 32 x 32 x 3 image?")
SHAPE = (32, 32, 3)
LAYERS = {  # text -> the output that is expected
    "conv5-1": (28, 28, 1),
    "conv5-2": (28, 28, 2),
    "conv5-3": (28, 28, 3),
    "conv7-1": (26, 26, 1),
    "conv5-1/2": (14, 14, 1),
    "conv5-1/3": (10, 10, 1),
    "conv5-1:same": (32, 32, 1),
    "conv3-1:pad1": (32, 32, 1),
    "conv7-1:pad1": (28, 28, 1),
}


def investigate(study: Study) -> Finding:
    image = picture()
    rows = []
    for text, expected in LAYERS.items():
        network = Network(SHAPE, parse(text))
        (node,) = network.nodes
        variables = network.init(jax.random.key(0))
        maps = np.asarray(network.activations(variables, jnp.asarray(image[None]))["conv1"][0])
        height, width, depth = node.output
        kernel = variables["params"]["conv1"]["kernel"]
        rows.append(
            {
                "layer": text, "output": "x".join(map(str, node.output)), "positions": height * width,
                "multiplications_per_position": int(np.prod(kernel.shape[:3])), "multiply_adds": node.multiply_adds,
                "parameters": node.parameters, "holds": node.output == expected == maps.shape
                and node.multiply_adds == height * width * depth * int(np.prod(kernel.shape[:3])),
            }
        )  # fmt: skip
    one = rows[0]
    numbers = (one["multiplications_per_position"], one["positions"], one["multiply_adds"]) == (75, 784, 58_800)
    table = study.write("layers", rows)
    filters = edge_filter()
    looped = slide(image, filters)
    network = Network(SHAPE, parse("conv5-1:nobias"))
    mapped = network.activations({"params": {"conv1": {"kernel": filters[..., None]}}}, jnp.asarray(image[None]))[
        "conv1"
    ]
    agrees = bool(np.allclose(np.asarray(mapped)[0, ..., 0], looped, rtol=1e-5, atol=1e-4))
    draw(study, image, filters, looped)
    holds = int(table["holds"].sum()) + numbers + agrees
    more = {"75 multiplications, 784 positions, 58,800 in all": numbers, "equals a loop in NumPy": agrees}
    return Finding.exact("statements that hold", f"of {len(rows) + 2}", holds, holds == len(rows) + 2, more)


def picture() -> np.ndarray:
    """A disc of one colour before another, float32 32 x 32 x 3."""
    y, x = np.mgrid[:32, :32]
    inside = (np.hypot(y - 15.5, x - 15.5) < 10)[..., None]
    return np.where(inside, [0.9, 0.6, 0.1], [0.1, 0.3, 0.5]).astype(np.float32)


def edge_filter() -> np.ndarray:
    """Bright to the right, dark to the left, the same in every colour: 5 x 5 x 3."""
    return np.repeat(np.tile(np.array([-1, -1, 0, 1, 1], np.float32) / 30, (5, 1))[..., None], 3, -1)


def slide(image: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """The filter at every position where it fits, multiplied and summed, one position after the other."""
    size = filters.shape[0]
    positions = image.shape[0] - size + 1
    found = np.zeros((positions, positions))
    for y in range(positions):
        for x in range(positions):
            found[y, x] = (image[y : y + size, x : x + size] * filters).sum()
    return found


def draw(study: Study, image: np.ndarray, filters: np.ndarray, found: np.ndarray) -> None:
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure, plots = figures.subplots(1, 3, figsize=(7.5, 2.7), layout="constrained", width_ratios=(32, 14, 28))
        most = np.abs(found).max()
        plots[0].imshow(image)
        plots[0].add_patch(Rectangle((-0.5, -0.5), 5, 5, fill=False, ec=figures.COLOURS[5], lw=2))
        plots[1].imshow(filters[..., 0], cmap="RdBu_r", vmin=-0.05, vmax=0.05)
        plots[2].imshow(found, cmap="RdBu_r", vmin=-most, vmax=most)
        for plot, shape in zip(plots, (image.shape, filters.shape, (*found.shape, 1)), strict=True):
            plot.set_title(" x ".join(map(str, shape)), fontsize=9)
            plot.set_xticks([])
            plot.set_yticks([])
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
