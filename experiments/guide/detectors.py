"""Does a filter that is drawn like a curve find that curve, and nothing else?

The guide: a 7 x 7 filter with high values along a curve gives 6600 where the picture has that curve and 0 where it has
nothing; other filters find curves to the left and straight edges.

    scripts/run experiments/guide/detectors.py    # two CPU cores, some seconds

Expected: exact. 6600 at the curve, 0 at the empty corner, and each detector answers most to its own shape.
"""

import jax.numpy as jnp
import matplotlib
import numpy as np

from cnn_jax.cli.study import main
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question.exact("detectors", "Does a filter that is drawn like a curve find that curve?")
# A line that bends outward and to the right, one pixel wide; the other two detectors are its mirror and a straight one.
CURVE = (".....#.", "....#..", "...#...", "...#...", "...#...", "....#..", ".......")
STRAIGHT = ("...#...",) * 6 + (".......",)
WEIGHT = 30.0
# The picture has the curve thicker and not quite the same: at 50 but for one pixel of 20, and with pixels beside it.
PATCH = (
    (0, 0, 0, 0, 0, 0, 30), (0, 0, 0, 0, 50, 50, 50), (0, 0, 0, 20, 50, 0, 0), (0, 0, 0, 50, 50, 0, 0),
    (0, 0, 0, 50, 50, 0, 0), (0, 0, 0, 50, 50, 0, 0), (0, 0, 0, 50, 50, 0, 0),
)  # fmt: skip
PLACES = {"curve right": (0, 0), "curve left": (0, 22), "straight": (22, 11)}  # row and column in the second picture


def detectors() -> dict[str, np.ndarray]:
    """The three filters, 7 x 7."""
    curve, straight = (
        WEIGHT * np.array([[c == "#" for c in row] for row in rows], np.float32) for rows in (CURVE, STRAIGHT)
    )
    return {"curve right": curve, "curve left": curve[:, ::-1], "straight": straight}


def responses(picture: np.ndarray) -> np.ndarray:
    """The activation maps of the three detectors: 26 x 26 x 3 of a 32 x 32 picture."""
    kernel = np.stack(list(detectors().values()), -1)[:, :, None]
    network = Network((*picture.shape, 1), parse("conv7-3:nobias"))
    images = jnp.asarray(picture[None, ..., None], jnp.float32)
    return np.asarray(network.activations({"params": {"conv1": {"kernel": kernel}}}, images)["conv1"][0])


def investigate(study: Study) -> Finding:
    picture = np.zeros((32, 32), np.float32)
    picture[:7, :7] = PATCH
    maps = responses(picture)
    at_curve, at_nothing = float(maps[0, 0, 0]), float(maps[0, -1, 0])

    shapes = np.zeros((32, 32), np.float32)
    for (y, x), shape in zip(PLACES.values(), detectors().values(), strict=True):
        shapes[y : y + 7, x : x + 7] = 50.0 * (shape > 0)
    found = responses(shapes)
    rows = [
        {"detector": name, **{f"at {where}": float(found[y, x, i]) for where, (y, x) in PLACES.items()}}
        for i, name in enumerate(PLACES)
    ]
    table = study.write("responses", rows).set_index("detector").to_numpy()
    own = bool((table.argmax(1) == np.arange(3)).all() and (table.argmax(0) == np.arange(3)).all())
    draw(study, shapes, found)
    holds = {"6600 at the curve": at_curve == 6600.0, "0 at the empty corner": at_nothing == 0.0, "each its own": own}
    more = {"at the curve": at_curve, "at the empty corner": at_nothing, "holds": holds}
    return Finding.exact("response at the curve", "", at_curve, all(holds.values()), more)


def draw(study: Study, shapes: np.ndarray, found: np.ndarray) -> None:
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure, plots = figures.subplots(2, 4, figsize=(8.0, 4.0), layout="constrained")
        plots[0, 0].imshow(shapes, cmap="gray")
        plots[1, 0].axis("off")
        for i, filter in enumerate(detectors().values(), 1):
            plots[0, i].imshow(filter, cmap="gray")
            plots[1, i].imshow(found[..., i - 1], cmap="inferno", vmin=0, vmax=found.max())
            plots[0, i].set_title("7 x 7", fontsize=8)
            plots[1, i].set_title(f"max {found[..., i - 1].max():.0f}", fontsize=8)
        plots[0, 0].set_title("32 x 32", fontsize=8)
        for plot in plots.flat:
            plot.set_xticks([])
            plot.set_yticks([])
    study.draw("figure", figure)


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__)
