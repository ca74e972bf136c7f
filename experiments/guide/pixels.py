"""What does the computer see of an image, and what does it answer?

The guide: an image is an array of numbers, height x width x 3 for a colour image, each from 0 to 255; the answer is a
probability for every class.

    scripts/run experiments/guide/pixels.py [--image FILE] --data-dir DIR    # two CPU cores; its verdict says how long

Takes any JPEG or PNG file; without one, an image of the data's. Expected: exact, every number as said.
"""

import argparse
import io
from pathlib import Path

import matplotlib
import numpy as np
from classic import classic
from matplotlib.patches import Rectangle
from PIL import Image

from cnn_jax import api
from cnn_jax.cli.study import main
from cnn_jax.data.images import decode
from cnn_jax.report import figures
from cnn_jax.study import Finding, Question, Study

QUESTION = Question.exact("pixels", "What does the computer see of an image, and what does it answer?")


def investigate(study: Study) -> Finding:
    trained = next(iter(study.learned(classic(study)).values()))
    validation = api.load_data(trained.config).validation
    image = validation.images[0]
    if "image" in study.options:
        image = trained.read([study.options["image"]])[0]
    study.write(
        "pixels", [{"row": y, **{f"column {x}": v for x, v in enumerate(row)}} for y, row in enumerate(image[..., 0])]
    )
    probabilities = trained.probabilities(image[None])[0]
    study.write(
        "probabilities",
        [{"class": c, "probability": p} for c, p in zip(trained.class_names, probabilities, strict=True)],
    )
    draw(study, image, probabilities, trained.class_names)

    photo = decode("a JPEG file", jpeg(480, 480), None)
    sums = trained.probabilities(validation.images[:256]).sum(1)
    holds = {
        "a 480 x 480 JPEG file is 480 x 480 x 3 = 691,200 numbers": photo.shape == (480, 480, 3)
        and photo.size == 691_200,
        "each is a whole number from 0 to 255": photo.dtype == np.uint8,
        "the probabilities of 256 images sum to 1": bool(np.abs(sums - 1).max() < 1e-5),
        "there is one for each class": len(probabilities) == len(trained.class_names),
    }
    more = {"holds": holds, "image": list(image.shape), "answer": trained.class_names[int(probabilities.argmax())]}
    return Finding.exact("statements that hold", f"of {len(holds)}", sum(holds.values()), all(holds.values()), more)


def jpeg(height: int, width: int) -> bytes:
    """A colour photograph of that size, as a file."""
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "JPEG")
    return file.getvalue()


def draw(study: Study, image: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]) -> None:
    """The image, a corner of its numbers, the answer as bars."""
    with matplotlib.rc_context(figures.STYLE | {"axes.grid": False}):
        figure, (left, middle, right) = figures.subplots(1, 3, figsize=(9.0, 2.8), layout="constrained")
        left.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        left.set_title(" x ".join(map(str, image.shape)), fontsize=9)
        y, x = (max(0, length // 2 - 4) for length in image.shape[:2])
        corner = image[y : y + 8, x : x + 8, 0]
        left.add_patch(Rectangle((x - 0.5, y - 0.5), 8, 8, fill=False, ec=figures.COLOURS[5], lw=1.5))
        middle.imshow(corner, cmap="gray", vmin=0, vmax=255)
        for (row, column), value in np.ndenumerate(corner):
            middle.text(
                column, row, value, ha="center", va="center", fontsize=6, color="white" if value < 128 else "black"
            )
        right.barh(range(len(names)), probabilities, color=figures.COLOURS[0])
        right.set_yticks(range(len(names)), names, fontsize=7)
        right.invert_yaxis()
        right.set_xlim(0, 1)
        right.set_xlabel("p")
        for plot in (left, middle):
            plot.set_xticks([])
            plot.set_yticks([])
    study.draw("figure", figure)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", type=Path, metavar="FILE", help="a JPEG or PNG file")


if __name__ == "__main__":
    main(QUESTION, investigate, __doc__, arguments)
