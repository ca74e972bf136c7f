"""How long does an attribution method take, and does it agree with that of captum or pytorch-grad-cam for the same
network and images?

Every method takes turns with the peer's, in float32; maps are compared in float64, on images with noise. Our first call
of each method, which compiles, is measured separately.
"""

import functools
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tyro.conf import Positional

from bench import options
from bench.measure import summary
from bench.process import Worker, environment
from bench.table import number, rendered
from cnn_jax import runtime
from cnn_jax.data import load
from cnn_jax.errors import RequestError
from cnn_jax.insight import attribution, cam, rules, sampling
from cnn_jax.insight.attribution import Method
from cnn_jax.layers import Activation, Conv, Dense, Pool
from cnn_jax.nodes import Node
from cnn_jax.runs.model import TrainedModel

IMAGES, STEPS, SAMPLES, NOISE = 64, 50, 50, 0.15
BASELINES, SHAP_SAMPLES, PERMUTATIONS = 16, 20, 10
SAME = 1e-4  # tolerance, relative to the largest value, for methods that both define in the same way
OF_GRAD_CAM = ("Grad-CAM++", "HiResCAM", "LayerCAM", "ScoreCAM", "EigenCAM")
NOT_EQUAL = {  # by definition: why
    "SmoothGrad": "other noise", "gradient SHAP": "other draws", "Shapley sampling": "other orders",
    "layer conductance": "other quadrature", "ScoreCAM": "other enlargement", "EigenCAM": "they subtract the mean",
    "Grad-CAM++": "they add 1e-6 to the denominator",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Insight(options.Options):
    """Times attributions of 64 validation images, each for its predicted class. The network must be a plain stack of
    convolutions, pools, activations and dense layers. A few minutes on two CPU cores. The peers need an environment
    with torch, captum and grad-cam.

    For example: cnn-jax bench insight RUN --torch PYTHON --out results/performance
    """

    run: Positional[Path]
    """Folder of a run."""
    data_dir: str | None = None
    """Folder of the run's data (default: as in the run)."""


def layer_facts(node: Node) -> dict[str, Any]:
    """What attribution_peer.py needs to rebuild a layer. Raises RequestError for an unsupported layer."""
    layer = node.layer
    about: dict[str, Any] = {
        "name": node.name, "kind": layer.kind, "input": list(node.input), "output": list(node.output)
    }  # fmt: skip
    if isinstance(layer, Conv) and layer.bias and (layer.stride, layer.dilation, layer.groups) == (1, 1, 1):
        rows, _ = layer.windows(node.input)
        if rows.low == rows.output - 1 + layer.size - rows.low - node.input[0]:
            return about | {"size": layer.size, "padding": rows.low}
    elif isinstance(layer, Pool) and layer.stride in (None, layer.size) and layer.padding == "valid" and not layer.ceil:
        return about | {"size": layer.size}
    elif isinstance(layer, Dense | Activation):
        return about
    raise RequestError(f"{node.name}: only stacks of plain convolutions, pools, activations and dense layers compare")


def ours(trained: TrainedModel, task: dict[str, Any]) -> dict[str, Method]:
    """Our methods with the settings of attribution_peer.py. The maps of pytorch-grad-cam are enlarged and scaled to
    0 … 1, and so are ours."""
    layer, segments, key = task["grad_cam_layer"], np.array(task["segments"]), jax.random.key(0)
    height, width, _ = trained.network.input_shape

    def as_shown(name: str) -> Method:
        @jax.jit
        def maps(variables: Any, images: jax.Array, classes: jax.Array) -> jax.Array:
            large = cam.enlarged(cam.METHODS[name](trained.network, variables, images, classes, layer), height, width)
            low, high = large.min((1, 2), keepdims=True), large.max((1, 2), keepdims=True)
            return (large - low) / (high - low + 1e-7)

        return lambda network, *args: maps(*args)

    def with_segments(function: Callable[..., jax.Array], **how: Any) -> Method:
        return lambda network, *rest: function(network, *rest, segments=segments, **how)

    by_name: dict[str, Method] = {
        **attribution.methods(trained.network, key, size=task["size"], stride=task["stride"]),
        "Grad-CAM": lambda *args: cam.grad_cam(*args, layer=layer),
        "DeepLIFT": rules.deep_lift,
        "relevance propagation": functools.partial(rules.relevance, rule=rules.Relevance(epsilon=1e-9)),
        "gradient SHAP": lambda network, variables, images, classes: sampling.expected_gradients(
            network, variables, images, classes, images[:BASELINES], key, SHAP_SAMPLES
        ),
        "feature ablation": with_segments(sampling.feature_ablation),
        "Shapley sampling": with_segments(sampling.shapley_sampling, key=key, permutations=PERMUTATIONS),
        "layer conductance": lambda *args: attribution.layer_conductance(*args, layer=layer, steps=STEPS),
    }
    return by_name | {name: as_shown(name) for name in OF_GRAD_CAM}


def with_noise(images: jax.Array) -> np.ndarray:
    """float64 images with noise, so that no two positions under a max pool are equal; otherwise rounding would decide
    which of them is the maximum."""
    return np.asarray(images, np.float64) + np.random.default_rng(0).normal(0, 1e-3, images.shape)


def in_double(
    trained: TrainedModel, methods: dict[str, Method], images: jax.Array, classes: jax.Array
) -> dict[str, np.ndarray]:
    """The maps in float64, for the comparison: in float32 some of the millions of ReLU inputs are so close to zero that
    rounding alone decides whether the ReLU is active."""
    with jax.enable_x64(True):
        variables, x = jax.tree.map(
            lambda a: jnp.asarray(np.asarray(a), jnp.float64), (trained.variables, with_noise(images))
        )
        return {name: np.asarray(method(trained.network, variables, x, classes)) for name, method in methods.items()}


def measure(args: Insight) -> dict[str, Any]:
    """The content of the JSON file that is specific to this benchmark."""
    runtime.tune()
    trained = TrainedModel.load(args.run)
    config = trained.config
    data = load(config.dataset, data_dir=args.data_dir or config.data_dir, image_size=config.image_size,
                validation=config.validation, split_seed=config.seed_of_split)  # fmt: skip
    images = trained.normalise(data.validation.images[:IMAGES])
    classes = trained.network.apply(trained.variables, images).argmax(1)
    height = trained.network.input_shape[0]
    task = {
        "layers": [layer_facts(node) for node in trained.network.nodes],
        "size": max(height // 6, 1), "stride": max(height // 14, 1), "steps": STEPS, "samples": SAMPLES,
        "smooth_grad_noise": NOISE, "grad_cam_layer": cam.grad_cam_layer(trained.network), "baselines": BASELINES,
        "shap_samples": SHAP_SAMPLES, "permutations": PERMUTATIONS,
        "segments": sampling.grid(height, trained.network.input_shape[1], max(height // 4, 1)).tolist(),
    }  # fmt: skip
    methods = ours(trained, task)
    first, exact = {}, {}
    for name, method in methods.items():
        started = time.perf_counter()
        jax.block_until_ready(method(trained.network, trained.variables, images, classes))
        first[name] = time.perf_counter() - started
    if args.torch:
        exact = in_double(trained, methods, images, classes)
    times: dict[str, dict[str, list[float]]] = {name: {"ours": []} for name in methods}
    about: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        peer = peers(args.torch, Path(folder), trained, images, classes, task) if args.torch else None
        try:
            for _ in range(args.rounds):
                for name, method in methods.items():
                    started = time.perf_counter()
                    jax.block_until_ready(method(trained.network, trained.variables, images, classes))
                    times[name]["ours"].append(1e3 * (time.perf_counter() - started) / IMAGES)
                    if peer is not None:
                        spent = peer.ask(name)["milliseconds"] / IMAGES
                        times[name].setdefault("peer", []).append(spent)
            if peer is not None:
                about = peer.ready["versions"]
                with np.load(Path(folder) / "peer.npz") as file:
                    theirs = {name: file[name] for name in file.files}
        finally:
            if peer is not None:
                peer.close()
    results: dict[str, dict[str, Any]] = {}
    for name, by in times.items():
        results[name] = {"first_call_seconds": first[name]}
        results[name] |= {who: summary(ms, "ms_per_image") for who, ms in by.items()}
        if about and name not in NOT_EQUAL:
            scale = float(np.abs(theirs[name]).max())
            results[name]["difference"] = float(np.abs(exact[name] - theirs[name]).max()) / scale
    return {
        "network": config.network, "dataset": config.dataset, "images": IMAGES, "torch": about, "methods": results,
        "failures": [
            f"{name}: differs from {peer_of(name)} by more than {SAME}"
            for name, result in results.items() if result.get("difference", 0.0) > SAME
        ],
    }  # fmt: skip


def peer_of(name: str) -> str:
    return "pytorch-grad-cam" if name in OF_GRAD_CAM else "captum"


def peers(
    python: str, folder: Path, trained: TrainedModel, images: jax.Array, classes: jax.Array, task: dict[str, Any]
) -> Worker:
    """A process of both peers with the same network, images and classes."""
    assert trained.folder is not None
    trained.export(folder / "weights.npz", "npz")
    np.savez(folder / "examples.npz", images=np.asarray(images), noisy=with_noise(images), classes=np.asarray(classes))
    (folder / "task.json").write_text(json.dumps(task))
    return Worker("captum and pytorch-grad-cam", python, ["bench.attribution_peer", str(folder)], environment("torch"))


def markdown(measured: dict[str, Any]) -> str:
    peer = any("peer" in method for method in measured["methods"].values())
    header = ["method", "ours, ms per image", "first call, s"]
    header += ["peer", "peer, ms per image", "peer / ours", "largest difference"] if peer else []
    rows = []
    for name, method in measured["methods"].items():
        cells = [name, quartiles(method["ours"]), number(method["first_call_seconds"])]
        if peer:
            ratio = method["peer"]["median"] / method["ours"]["median"]
            cells += [peer_of(name), quartiles(method["peer"]), f"{ratio:.2f}"]
            cells += [f"{method['difference']:.1e}" if "difference" in method else NOT_EQUAL[name]]
        rows.append(cells)
    names = ("jax", "torch", "captum", "grad-cam")
    versions = ", ".join(f"{name} {measured['versions'][name]}" for name in names if name in measured["versions"])
    return (
        f"**insight**: ms per image, {measured['images']} images of {measured['dataset']} at once, "
        f"`{measured['network']}`, median and quartiles of {measured['rounds']} rounds in turns; "
        "differences, in float64, relative to the largest value; "
        f"{measured['device']['cpu']}; {versions}; {measured['started'][:10]}.\n\n`{measured['command']}`\n\n"
        + rendered(header, rows)
    )


def quartiles(times: dict[str, Any]) -> str:
    """Median (lower – upper quartile)."""
    return f"{times['median']:.3g} ({times['lower_quartile']:.3g} – {times['upper_quartile']:.3g})"
