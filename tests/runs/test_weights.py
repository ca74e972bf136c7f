"""Weights out and in again: files, other runs, other class counts, torchvision's names."""

import json

import jax
import numpy as np
import pytest
from commands import finish, refused

from cnn_jax import api
from cnn_jax.errors import RequestError
from cnn_jax.network import Network
from cnn_jax.notation import parse
from cnn_jax.runs import weights
from cnn_jax.runs.model import TrainedModel
from cnn_jax.training.config import Config
from cnn_jax.zoo import NETWORKS, torchvision

NETWORK = "conv3-4:same bn relu max2 dense-10"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "run"
    api.train(Config(network=NETWORK, epochs=1, devices=1), out, show=False)
    return out


@pytest.mark.parametrize("format", [pytest.param("npz", marks=pytest.mark.slow), "safetensors"])
def test_what_is_exported_is_what_was_trained(run, tmp_path, format):
    path = tmp_path / f"w.{format}"
    code, out, err = finish("-m", "cnn_jax", "export", run, "--format", format, "--out", path)
    assert (code, out.strip()) == (0, str(path)), err
    trained = TrainedModel.load(run)
    arrays, about = weights.read(path)
    expected = weights.named(trained.variables)
    assert arrays.keys() == expected.keys()
    assert {"params/conv1/kernel", "params/bn1/scale", "batch_stats/bn1/variance"} < arrays.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert tuple(about["class_names"]) == trained.class_names
    again = TrainedModel.of_weights(path, NETWORK)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    np.testing.assert_array_equal(again.probabilities(images), trained.probabilities(images))


def test_a_run_starts_from_the_weights_of_another(run, tmp_path):
    """From a folder and from a file alike, bit for bit; and a resumed run needs them no more."""
    path = tmp_path / "w.npz"
    TrainedModel.load(run).export(path, "npz")
    results = []
    for source in (run, path):
        config = Config(network=NETWORK, epochs=1, devices=1, init=str(source), seed=3, keep_all=True)
        started = api.train(config, tmp_path / f"from-{source.name}", show=False)
        trained = TrainedModel.load(started.path)
        first = trained.history()[0][1]
        np.testing.assert_array_equal(first["params"]["conv1"]["kernel"], weights.read(path)[0]["params/conv1/kernel"])
        results.append(started.result.validation)
        record = json.loads((started.path / "record.json").read_text())
        assert record["init_sha256"] == weights.digest(weights.read(path)[0])
    assert results[0] == results[1]
    path.unlink()
    again = api.train(config, tmp_path / "from-w.npz", resume=True, show=False)
    assert again.result.validation == results[1]


def test_other_classes_leave_the_last_layer_new():
    old = Network((8, 8, 1), parse("conv3-4 relu dense-10"))
    new = Network((8, 8, 1), parse("conv3-4 relu dense-3"))
    arrays = weights.named(old.init(jax.random.key(0)))
    like = new.init(jax.random.key(1))
    found = weights.fitted(new, like, arrays, "w.npz")
    np.testing.assert_array_equal(found["params"]["conv1"]["kernel"], arrays["params/conv1/kernel"])
    np.testing.assert_array_equal(found["params"]["dense1"]["kernel"], like["params"]["dense1"]["kernel"])
    other = Network((8, 8, 1), parse("conv5-4 relu dense-10"))
    with pytest.raises(
        RequestError, match=r"w.npz does not fit the network: it has params/conv1/kernel of shape \(3, 3"
    ):
        weights.fitted(other, other.init(jax.random.key(0)), arrays, "w.npz")
    deeper = Network((8, 8, 1), parse("conv3-4 relu conv3-4 dense-10"))
    with pytest.raises(RequestError, match="it has no params/conv2/bias"):
        weights.fitted(deeper, deeper.init(jax.random.key(0)), arrays, "w.npz")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.txt", b"", "w.txt holds no weights: give a run's folder, a .npz or a .safetensors file"),
        ("w.npz", b"nothing", "w.npz is unreadable"),
        ("w.safetensors", b"nothing", "w.safetensors is unreadable"),
        ("w.npz", None, "w.npz does not exist"),
    ],
)
def test_what_holds_no_weights_is_refused_before_a_folder_is_made(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    assert words in refused("experiments/train.py", "--init", tmp_path / name, "--out", out)
    assert not out.exists()


def made_up(network):
    """A state dict of random numbers with torchvision's names for this network."""
    random = np.random.default_rng(0)
    names = torchvision._residual_names if any(n.layer.kind == "res" for n in network.nodes) else None
    found = {}
    for node, name in (names or torchvision._sequential_names)(network):
        if node.layer.kind == "bn":
            for what in ("weight", "bias", "running_mean", "running_var"):
                found[f"{name}.{what}"] = random.uniform(0.5, 1.5, node.input[-1:]).astype(np.float32)
        elif node.layer.kind == "conv":
            shape = node.layer.features, node.input[-1] // node.layer.groups, node.layer.size, node.layer.size
            found[f"{name}.weight"] = random.normal(size=shape).astype(np.float32)
        else:
            found[f"{name}.weight"] = random.normal(size=(node.layer.features, np.prod(node.input))).astype(np.float32)
        if getattr(node.layer, "bias", False):
            found[f"{name}.bias"] = random.normal(size=node.layer.features).astype(np.float32)
    return found


NAMES = {
    "alexnet_owt": ("features.0.weight", "features.10.bias", "classifier.1.weight", "classifier.6.bias"),
    "vgg11": ("features.0.weight", "features.18.bias", "classifier.0.weight", "classifier.6.bias"),
    "resnet18": ("conv1.weight", "bn1.running_var", "layer2.0.downsample.1.weight", "layer4.1.conv2.weight", "fc.bias"),
    "resnet50": ("layer1.0.downsample.0.weight", "layer1.2.bn3.bias", "layer3.5.conv3.weight", "layer4.2.bn3.weight"),
}


@pytest.mark.parametrize("name", NAMES)
def test_torchvisions_names_fill_every_array(name):
    """The names are torchvision's own (a sample of its state dicts' keys), and every array of ours comes from one."""
    network = NETWORKS[name].network()
    state = made_up(network)
    assert set(NAMES[name]) <= state.keys()
    found = weights.named(torchvision.variables_of(network, state))
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    expected = {
        f"{collection}/{layer}/{array}": value.shape
        for collection, layers in shapes.items()
        for layer, values in layers.items()
        for array, value in values.items()
    }
    assert {array: value.shape for array, value in found.items()} == expected
    del state[NAMES[name][0]]
    with pytest.raises(RequestError, match=rf"has no {NAMES[name][0]}, which would be"):
        torchvision.variables_of(network, state)
