"""The networks of 1989 and 1998, with features that later networks dropped: connection tables, biases per position,
trainable subsampling, scaled tanh, fixed output codes."""

from cnn_jax.layers import Activation, Conv, Dense, Layer, Pad, RadialBasis, Subsample

Layers = tuple[Layer, ...]


def lenet1989(classes: int = 10) -> Layers:
    """lecun1989backpropagation, "Backpropagation applied to handwritten zip code recognition", on 16x16 images.

    Images are padded with the background, -1 there; every unit has its own bias. The paper does not specify which 8 of
    the 12 maps a filter of the second layer sees ("a scheme"); as in the reproduction of karpathy2022deep, groups of
    four filters see maps 1-8, 5-12, and 1-4 with 9-12.
    """
    groups = (tuple(range(8)), tuple(range(4, 12)), (*range(4), *range(8, 12)))
    tanh = Activation("stanh")
    return (
        Pad(2, value=-1.0),
        Conv(12, 5, stride=2, bias_per_position=True),
        tanh,
        Pad(2, value=-1.0),
        Conv(12, 5, stride=2, bias_per_position=True, connections=tuple(group for group in groups for _ in range(4))),
        tanh,
        Dense(30),
        tanh,
        Dense(classes),
    )


# lecun1998gradient, table I: the input maps of each of the 16 filters of C3.
C3_TABLE = (
    *(tuple(sorted((i + k) % 6 for k in range(3))) for i in range(6)),
    *(tuple(sorted((i + k) % 6 for k in range(4))) for i in range(6)),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    tuple(range(6)),
)  # fmt: skip


def lenet5_1998() -> Layers:
    """LeNet-5 as described in lecun1998gradient, II.B, on 32x32 images of ten digits.

    Its last layer compares its input with drawings of the digits, so the number of classes is fixed.
    """
    tanh = Activation("stanh")
    return (
        Conv(6, 5), tanh, Subsample(2), tanh,
        Conv(16, 5, connections=C3_TABLE), tanh, Subsample(2), tanh,
        Conv(120, 5), tanh, Dense(84), tanh, RadialBasis(DIGIT_CODES),
    )  # fmt: skip


# Our own 7x12 drawings after figure 3 of lecun1998gradient: '#' is +1, '.' is -1.
_DRAWINGS = """
..###.. ...#... .#####. .#####. .....#. #######
.#...#. ..##... #.....# #.....# ....##. #......
#.....# .#.#... ......# ......# ...#.#. #......
#.....# ...#... ......# ......# ..#..#. #......
#.....# ...#... .....#. ..####. .#...#. #.####.
#.....# ...#... ....#.. ......# #....#. ##....#
#.....# ...#... ...#... ......# ####### ......#
#.....# ...#... ..#.... ......# .....#. ......#
#.....# ...#... .#..... ......# .....#. ......#
#.....# ...#... #...... #.....# .....#. #.....#
.#...#. ...#... #...... #.....# .....#. #.....#
..###.. .#####. ####### .#####. .....#. .#####.

..####. ####### .#####. .#####.
.#..... ......# #.....# #.....#
#...... .....#. #.....# #.....#
#...... .....#. #.....# #.....#
#.####. ....#.. .#...#. #.....#
##....# ....#.. ..###.. .######
#.....# ...#... .#...#. ......#
#.....# ...#... #.....# ......#
#.....# ..#.... #.....# ......#
#.....# ..#.... #.....# .....#.
#.....# .#..... #.....# ....#..
.#####. .#..... .#####. ####...
"""
DIGIT_CODES = tuple(
    tuple(1 if cell == "#" else -1 for row in drawing for cell in row)
    for block in _DRAWINGS.strip().split("\n\n")
    for drawing in zip(*(line.split() for line in block.splitlines()), strict=True)
)
