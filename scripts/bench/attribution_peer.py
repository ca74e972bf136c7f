"""Worker: the attributions of captum and of pytorch-grad-cam for a network with copied weights. Runs in an environment
with torch and both.

    PYTHON -m bench.attribution_peer FOLDER

FOLDER holds weights.npz, examples.npz (images (n, h, w, c), the same with noise, classes) and task.json, all written by
insight.py. Writes peer.npz, the maps of every method in float64; then answers each line, the name of a method, with
the time that the method took.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytorch_grad_cam as cams
import torch
from captum import attr
from captum.attr._utils.lrp_rules import EpsilonRule
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

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
    """Functions of images and classes, by our names of the methods."""
    return of_captum(model, task) | of_grad_cam(model, task)


def of_grad_cam(model: torch.nn.Sequential, task: dict) -> dict:
    layer = getattr(model, task["grad_cam_layer"])

    def method(of_class: type) -> Callable:
        def maps(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            with of_class(model=model, target_layers=[layer]) as cam:
                return torch.from_numpy(cam(x, [ClassifierOutputTarget(int(one)) for one in y]))[:, None]

        return maps

    return {
        "Grad-CAM++": method(cams.GradCAMPlusPlus),
        "HiResCAM": method(cams.HiResCAM),
        "LayerCAM": method(cams.LayerCAM),
        "ScoreCAM": method(cams.ScoreCAM),
        "EigenCAM": method(cams.EigenCAM),
    }


def of_captum(model: torch.nn.Sequential, task: dict) -> dict:
    square, stride, channels = task["size"], task["stride"], task["layers"][0]["input"][-1]
    layer = getattr(model, task["grad_cam_layer"])
    cam, conductance = attr.LayerGradCam(model, layer), attr.LayerConductance(model, layer)
    segments = torch.tensor(task["segments"])[None, None]

    def relevance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for module in model:
            if isinstance(module, torch.nn.Flatten):  # which captum does not know
                module.rule = EpsilonRule()
        return attr.LRP(model).attribute(x, target=y)

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
        "DeepLIFT": lambda x, y: attr.DeepLift(model).attribute(x, target=y),
        "relevance propagation": relevance,
        "gradient SHAP": lambda x, y: attr.GradientShap(model).attribute(
            x, x[: task["baselines"]], n_samples=task["shap_samples"], target=y
        ),
        "feature ablation": lambda x, y: attr.FeatureAblation(model).attribute(x, target=y, feature_mask=segments),
        "Shapley sampling": lambda x, y: attr.ShapleyValueSampling(model).attribute(
            x, target=y, feature_mask=segments, n_samples=task["permutations"]
        ),
        "layer conductance": lambda x, y: conductance.attribute(x, target=y, n_steps=task["steps"]),
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
        np.savez(folder / "peer.npz", **arrays)
        return {"versions": {name: version(name) for name in ("torch", "captum", "grad-cam")}}

    serve_lines(ready, answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
