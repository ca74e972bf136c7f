"""Makes torchvision_outputs.npz, by a Python that has torchvision: PYTHON tests/torchvision_outputs.py

For each model the names and shapes of its state dict and what it answers with the weights that `state` makes for them.
"""

import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_suffix(".npz")
MODELS = (
    "alexnet",
    "vgg11",
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
)


def numbers(name, shape, low, high):
    """Uniform numbers that are a function of a name. (RandomState: its stream never changes.)"""
    return np.random.RandomState(zlib.crc32(name.encode())).uniform(low, high, shape).astype(np.float32)


def state(shapes):
    """A state dict for these names and shapes: weights of He's variance, so that signals keep their size."""
    made = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            made[name] = np.zeros((), np.int64)
        elif len(shape) > 1:
            limit = np.sqrt(6 / np.prod(shape[1:]))
            made[name] = numbers(name, shape, -limit, limit)
        elif name.endswith(("running_var", "weight")):
            made[name] = numbers(name, shape, 0.5, 1.5)
        else:
            made[name] = numbers(name, shape, -0.1, 0.1)
    return made


def image():
    """One image as torchvision takes it: [1, 3, 224, 224]."""
    return numbers("image", (1, 3, 224, 224), -2, 2)


def main():
    import torch
    import torchvision

    arrays = {"versions": np.array([f"torch {torch.__version__}, torchvision {torchvision.__version__}"])}
    for name in MODELS:
        model = getattr(torchvision.models, name)(weights=None).eval()
        shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in state(shapes).items()})
        with torch.no_grad():
            arrays[name] = model.double()(torch.from_numpy(image()).double()).numpy().astype(np.float32)
        arrays[f"{name} state"] = np.array([f"{key} {' '.join(map(str, shape))}" for key, shape in shapes.items()])
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
