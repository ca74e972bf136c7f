"""Makes torch_layers.npz, by a Python that has torch: PYTHON tests/torch_layers.py

For each layer in the notation: what torch computes in float64 for the same input and weights, and its derivatives.
"""

import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".npz")
SHAPE = (2, 6, 8, 4)  # of the input: (n, height, width, channels)


def numbers(name, shape):
    """Normal numbers that are a function of a name. (RandomState: its stream never changes.)"""
    return np.random.RandomState(zlib.crc32(name.encode())).normal(size=shape)


def cases():
    """Layer: (shapes of its arrays, function of (x, arrays) in torch). x and outputs are (n, channels, height, width);
    arrays have our shapes."""
    import torch
    import torch.nn.functional as F

    def kernel(array):  # (rows, columns, channels, filters) as torch has it
        return array.permute(3, 2, 0, 1)

    def standardised(array):
        weights = kernel(array)
        mean = weights.mean((1, 2, 3), keepdim=True)
        return (weights - mean) / torch.sqrt(weights.var((1, 2, 3), unbiased=False, keepdim=True) + 1e-10)

    def hardsigmoid(x):  # torch's own has 1/6 in float32 in its derivative
        return F.relu6(x + 3) / 6

    def excited(x, a):
        squeezed = F.silu(F.linear(x.mean((2, 3)), a["reduce_kernel"].T, a["reduce_bias"]))
        return x * hardsigmoid(F.linear(squeezed, a["expand_kernel"].T, a["expand_bias"]))[..., None, None]

    def blurred(x, a):
        row = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
        filters = torch.outer(row, row).expand(4, 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), filters, stride=2, groups=4)

    def transposed(x, a):  # torch's is the derivative of a convolution, so that its filters are turned round
        return F.conv_transpose2d(x, a["kernel"].permute(2, 3, 0, 1).flip(2, 3), a["bias"], stride=2, padding=1)

    def per_channel(array):
        return array[None, :, None, None]

    def activation(function):
        return {}, lambda x, a: function(x)

    return {
        "dwconv3:pad1": (
            {"kernel": (3, 3, 1, 4), "bias": (4,)},
            lambda x, a: F.conv2d(x, kernel(a["kernel"]), a["bias"], padding=1, groups=4),
        ),
        "dwconv3/2:pad1:m2:nobias": (
            {"kernel": (3, 3, 1, 8)}, lambda x, a: F.conv2d(x, kernel(a["kernel"]), stride=2, padding=1, groups=4),
        ),
        "conv1-5:x3:same": (
            {"kernel": (1, 3, 4, 5), "bias": (5,)},
            lambda x, a: F.conv2d(x, kernel(a["kernel"]), a["bias"], padding=(0, 1)),
        ),
        "conv3-5:ws": (
            {"kernel": (3, 3, 4, 5), "bias": (5,)}, lambda x, a: F.conv2d(x, standardised(a["kernel"]), a["bias"]),
        ),
        "tconv3-5/2:pad1": ({"kernel": (3, 3, 4, 5), "bias": (5,)}, transposed),
        "blur3": ({}, blurred),
        "up2": ({}, lambda x, a: F.interpolate(x, scale_factor=2, mode="nearest")),
        "up3:bilinear": ({}, lambda x, a: F.interpolate(x, scale_factor=3, mode="bilinear", align_corners=False)),
        "ln": (
            {"scale": (4,), "bias": (4,)},
            lambda x, a: F.layer_norm(x.permute(0, 2, 3, 1), (4,), a["scale"], a["bias"], 1e-6).permute(0, 3, 1, 2),
        ),
        "gn2": ({"scale": (4,), "bias": (4,)}, lambda x, a: F.group_norm(x, 2, a["scale"], a["bias"], 1e-5)),
        "bn": (
            {"scale": (4,), "bias": (4,)},
            lambda x, a: F.batch_norm(x, None, None, a["scale"], a["bias"], training=True),
        ),
        "bn:noscale": ({"bias": (4,)}, lambda x, a: F.batch_norm(x, None, None, None, a["bias"], training=True)),
        "se-3:activation=silu:gate=hardsigmoid": (
            {"reduce_kernel": (4, 3), "reduce_bias": (3,), "expand_kernel": (3, 4), "expand_bias": (4,)}, excited,
        ),
        "scale0.1": ({"factor": (4,)}, lambda x, a: x * per_channel(a["factor"])),
        "gate0.5": ({"factor": ()}, lambda x, a: x * a["factor"]),
        "prelu": ({"slope": (4,)}, lambda x, a: F.prelu(x, a["slope"])),
        "leaky0.1": activation(lambda x: F.leaky_relu(x, 0.1)),
        "elu": activation(F.elu),
        "gelu": activation(F.gelu),
        "silu": activation(F.silu),
        "relu6": activation(F.relu6),
        "hardsigmoid": activation(hardsigmoid),
        "hardswish": activation(lambda x: x * hardsigmoid(x)),
        "mish": activation(F.mish),
        "dense-3:scale=0.25": (
            {"kernel": (192, 3), "bias": (3,)},
            lambda x, a: 0.25 * F.linear(x.permute(0, 2, 3, 1).flatten(1), a["kernel"].T, a["bias"])[..., None, None],
        ),
        "cat( max3/1:pad1 | | avg1 )": ({}, lambda x, a: torch.cat([F.max_pool2d(x, 3, 1, 1), x, x], 1)),
    }  # fmt: skip


def main():
    import torch

    made = {"versions": np.array([f"torch {torch.__version__}"])}
    for name, (shapes, function) in cases().items():
        arrays = {key: torch.from_numpy(numbers(f"{name} {key}", shape)) for key, shape in shapes.items()}
        x = torch.from_numpy(numbers(f"{name} input", SHAPE)).requires_grad_()
        for array in arrays.values():
            array.requires_grad_()
        y = function(x.permute(0, 3, 1, 2), arrays).permute(0, 2, 3, 1)
        (y * torch.from_numpy(numbers(f"{name} cotangent", tuple(y.shape)))).sum().backward()
        made |= {f"{name} | output": y.detach().numpy(), f"{name} | d input": x.grad.numpy()}
        made |= {f"{name} | d {key}": array.grad.numpy() for key, array in arrays.items()}
    np.savez_compressed(FILE, **made)


if __name__ == "__main__":
    main()
