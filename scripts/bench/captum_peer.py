"""Worker: captum's attributions of a network with copied weights. Runs in an environment with torch and captum.

    PYTHON -m bench.captum_peer FOLDER

FOLDER holds weights.npz, examples.npz (images (n, h, w, c), the same with noise, classes) and task.json, all written by
insight.py. Writes captum.npz, the maps of every method in float64; then answers each line, the name of a method, with
the time that the method took.
"""

import json
import sys
import time
from pathlib import Path

import captum
import numpy as np
import torch
from captum import attr

from bench.worker import serve_lines

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}


def network(task: dict, weights: dict) -> torch.nn.Sequential:
    """The same layers in sequence, with the names that they have in cnn_jax."""
    model = torch.nn.Sequential()
    for layer in task["layers"]:
        name, kind, shape = layer["name"], layer["kind"], layer["input"]
        if kind == "dense" and len(shape) == 3:
            model.add_module(f"{name}_flatten", torch.nn.Flatten())
        model.add_module(name, module(layer))
        if kind in ("conv", "dense"):
            kernel = torch.from_numpy(weights[f"params/{name}/kernel"])
            weight = kernel.permute(3, 2, 0, 1) if kind == "conv" else dense(kernel, shape)
            getattr(model, name).weight.data = weight.contiguous()
            getattr(model, name).bias.data = torch.from_numpy(weights[f"params/{name}/bias"])
    return model.eval()


def module(layer: dict) -> torch.nn.Module:
    kind, shape = layer["kind"], layer["input"]
    if kind == "conv":
        return torch.nn.Conv2d(shape[-1], layer["output"][-1], layer["size"], padding=layer["padding"])
    if kind == "dense":
        return torch.nn.Linear(int(np.prod(shape)), layer["output"][-1])
    if kind in ("max", "avg"):
        return {"max": torch.nn.MaxPool2d, "avg": torch.nn.AvgPool2d}[kind](layer["size"])
    return ACTIVATIONS[kind]()


def dense(kernel: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """Converts a dense kernel: torch flattens (channels, height, width), cnn_jax (height, width, channels)."""
    if len(shape) == 1:
        return kernel.T
    height, width, channels = shape
    return kernel.reshape(height, width, channels, -1).permute(3, 2, 0, 1).flatten(1)


def methods(model: torch.nn.Sequential, task: dict) -> dict:
    square, stride, channels = task["size"], task["stride"], task["layers"][0]["input"][-1]
    cam = attr.LayerGradCam(model, getattr(model, task["grad_cam_layer"]))
    smooth = attr.NoiseTunnel(attr.Saliency(model))
    noise = task["smooth_grad_noise"]
    return {
        "gradient": lambda x, y: attr.Saliency(model).attribute(x, target=y, abs=False),
        "gradient x input": lambda x, y: attr.InputXGradient(model).attribute(x, target=y),
        "SmoothGrad": lambda x, y: smooth.attribute(
            x, target=y, abs=False, nt_type="smoothgrad", nt_samples=task["samples"], nt_samples_batch_size=1,
            stdevs=noise * float(x.max() - x.min()),
        ),
        "integrated gradients": lambda x, y: attr.IntegratedGradients(model).attribute(
            x, target=y, n_steps=task["steps"], internal_batch_size=len(x) * 4
        ),
        "guided backpropagation": lambda x, y: attr.GuidedBackprop(model).attribute(x, target=y),
        "deconvnet": lambda x, y: attr.Deconvolution(model).attribute(x, target=y),
        "occlusion": lambda x, y: attr.Occlusion(model).attribute(
            x, target=y, sliding_window_shapes=(channels, square, square), strides=(channels, stride, stride),
        ),
        "Grad-CAM": lambda x, y: cam.attribute(x, target=y, relu_attributions=True),
    }  # fmt: skip


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    with np.load(folder / "weights.npz") as weights:
        model = network(task, dict(weights))
    with np.load(folder / "examples.npz") as file:
        images, noisy = (torch.from_numpy(file[n]).permute(0, 3, 1, 2).contiguous() for n in ("images", "noisy"))
        classes = torch.from_numpy(file["classes"]).long()
    by_name = methods(model, task)

    def maps(name: str) -> np.ndarray:
        return by_name[name](images, classes).detach().permute(0, 2, 3, 1).numpy()

    def answer(name: str) -> dict:
        started = time.perf_counter()
        maps(name)
        return {"milliseconds": 1e3 * (time.perf_counter() - started)}

    def ready() -> dict:
        exact = {name: method(noisy, classes) for name, method in methods(model.double(), task).items()}
        arrays = {name: tensor.detach().permute(0, 2, 3, 1).numpy() for name, tensor in exact.items()}
        model.float()
        np.savez(folder / "captum.npz", **arrays)
        return {"versions": {"torch": torch.__version__, "captum": captum.__version__}}

    serve_lines(ready, answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
