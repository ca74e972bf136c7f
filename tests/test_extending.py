"""docs/extending.md: every addition from outside the package, trained, and opened again by other processes."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import finish

import cnn_jax
from cnn_jax.errors import RunError
from cnn_jax.insight.rules import ReLURule
from cnn_jax.report import own_figures
from cnn_jax.report.own_figures import RegisteredFigure

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()
NAMED = r"(?:<!-- (\w+) -->\n)?```python\n(.*?)```"
BLOCKS = {name or "head": code for name, code in re.findall(NAMED, PAGE, re.S)[::-1]}
BLOCKS["head"] = re.search(r"```python\n(import flax.*?)```", PAGE, re.S)[1]
PARTS = (
    "activation", "layer", "network", "nnx", "pure", "family", "loss", "optimizer", "schedule", "augmentation",
    "metric", "data", "logger", "operation", "figure",
)  # fmt: skip
MOST = {"layer": 15, "loss": 6, "network": 10, "nnx": 10, "arrays": 5, "logger": 20}
IMAGE = ROOT / "docs" / "three.png"


def lines(code):
    """Lines with something on them."""
    return sum(bool(line.strip()) and not line.strip().startswith("from ") for line in code.splitlines())


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("outside") / "parts.py"
    path.write_text(BLOCKS["head"] + "\n\n" + "\n\n".join(BLOCKS[name] for name in PARTS))
    return path


@pytest.fixture(scope="module")
def run(plugin):
    """Everything at once."""
    out = plugin.with_name("run")
    code, _, err = finish(
        "-m", "cnn_jax", "train", "--plugin", plugin,
        "--network", "conv3-4:same snake smooth:size=3 max2 dense-classes",
        "--loss", "focal", "--optimizer", "centred", "--optimizer-args", "beta=0.9", "--schedule", "ramp",
        "--schedule-args", "end=0.2", "--augment", "flip noise0.01", "--log", "table", "--log", "json",
        "--learning-rate", "0.1", "--epochs", "3", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    return out


def test_the_page_counts_its_lines():
    table = {row[0].strip(): int(row[2]) for row in re.findall(r"^\| ([^|]+) \| ([^|]+) \| (\d+) \|", PAGE, re.M)}
    counted = {
        "an activation": "activation", "a layer": "layer", "a Flax Linen or NNX module as a network": "network",
        "a network as text or as layers": "family", "a loss": "loss", "an optimizer": "optimizer",
        "a schedule": "schedule", "an augmentation": "augmentation", "a metric": "metric",
        "a data set with a name": "data", "a logger": "logger",
        "an operation with its own derivative": "operation", "a figure on the page of `see`": "figure",
    }  # fmt: skip
    for row, block in counted.items():
        assert table[row] >= lines(BLOCKS[block]), (row, lines(BLOCKS[block]))
        assert lines(BLOCKS[block]) >= table[row] - 2, (row, lines(BLOCKS[block]))
    for block, most in MOST.items():
        assert lines(BLOCKS[block]) <= most, block


def test_every_part_of_ones_own_is_trained_together(run):
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "complete"
    assert result["test"]["accuracy"] > 0.3
    assert result["test"]["margin"] > 0
    assert [line.split()[0] for line in (run / "rows.txt").read_text().splitlines()] == ["1", "2", "3"]
    events = [json.loads(line)["event"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert (events[0], events[-1], events.count("evaluation")) == ("start", "end", 3)
    (source,) = json.loads((run / "record.json").read_text())["provenance"]["plugins"]
    assert (run / source["copy"]).read_text() == Path(source["path"]).read_text()


def test_a_run_with_own_parts_is_opened_by_other_processes(run, plugin):
    code, _, err = finish("-m", "cnn_jax", "predict", run, IMAGE)
    assert code == 1
    assert f"needs the plugin {plugin}" in err
    code, out, err = finish("-m", "cnn_jax", "predict", run, IMAGE, "--plugin", plugin, "--json")
    assert code == 0, err
    with_plugin = json.loads(out)
    code, out, err = finish("-m", "cnn_jax", "predict", run, IMAGE, "--trust-plugins", "--json")
    assert (code, json.loads(out)) == (0, with_plugin), err
    code, out, err = finish("-m", "cnn_jax", "cite", run, "--plugin", plugin, "--metric", "test.margin")
    assert code == 0, err
    assert "logits" in out
    code, out, err = finish("-m", "cnn_jax", "evaluate", run, "--split", "validation", "--plugin", plugin, "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == json.loads((run / "result.json").read_text())["validation"]["accuracy"]


def test_a_plugin_that_changed_is_another_plugin(run, plugin, tmp_path):
    other = tmp_path / "parts.py"
    other.write_text(plugin.read_text().replace("jnp.sin", "jnp.cos"))
    code, _, err = finish("-m", "cnn_jax", "predict", run, IMAGE, "--plugin", other)
    assert code == 1
    assert "needs the plugin" in err


def test_a_copy_that_was_changed_is_never_executed(run, tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "code" / "parts.py").write_text("import pathlib; pathlib.Path('/tmp/executed').touch()")
    code, _, err = finish("-m", "cnn_jax", "predict", copy, IMAGE, "--trust-plugins")
    assert code == 1
    assert "it is not the plugin that was recorded" in err


def test_the_scripts_take_plugins_and_a_run_resumes_with_the_copies_in_its_folder(plugin, tmp_path):
    script = ("experiments/train.py", "--network", "conv3-2 snake max2 dense-classes", "--loss", "focal", "--quiet")
    code, _, err = finish(*script, "--plugin", plugin, "--epochs", "1", "--out", tmp_path / "run")
    assert code == 0, err
    more = ("-m", "cnn_jax", "train", "--resume", "--epochs", "2", "--quiet", "--out", tmp_path / "run")
    code, _, err = finish(*more)
    assert code == 1
    assert f"needs the plugin {plugin}" in err
    code, _, err = finish(*more, "--trust-plugins")
    assert code == 0, err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("network", ["tiny", "linear"])
def test_a_network_of_ones_own_is_seen_without_what_cannot_modify_it(network, plugin, tmp_path):
    train = ("-m", "cnn_jax", "train", "--plugin", plugin, "--network", network, "--epochs", "1", "--quiet")
    assert finish(*train, "--out", tmp_path / "run")[0] == 0
    code, out, err = finish("-m", "cnn_jax", "see", "--plugin", plugin, tmp_path / "run", "--count", "1", "--quiet")
    assert code == 0, err
    page = Path(out.strip())
    text = page.read_text()
    assert f"Guided backpropagation and the deconvnet are left out: they cannot modify {network}1." in text
    with np.load(page.with_name("attributions.npz")) as file:
        assert {"gradient", "integrated_gradients", "occlusion"} <= set(file.files)
        assert not {"guided_backpropagation", "deconvnet"} & set(file.files)
    with np.load(page.with_name(f"units-{network}1.npz")) as file:
        assert "projections" not in file.files


@pytest.mark.slow
def test_a_run_with_own_parts_is_seen(run, plugin):
    code, out, err = finish(
        "-m", "cnn_jax", "see", run, "--plugin", plugin, "--images", IMAGE, "--count", "0", "--layers", "conv1"
    )
    assert code == 0, err
    page = Path(out.strip())
    assert page.with_name("figure-brightness.png").read_bytes().startswith(b"\x89PNG")
    assert "The logits against the mean of the image." in page.read_text()


def test_a_figure_that_fails_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(own_figures, "FIGURES", {"broken": RegisteredFigure(lambda *_: 1 / 0, "Nothing.")})
    inspection = SimpleNamespace(network=None, variables={}, images=None)
    with pytest.raises(RunError, match="figure broken failed: ZeroDivisionError: division by zero"):
        own_figures.registered_figures(inspection, None)


@pytest.mark.parametrize(
    ("network", "arguments", "dataset"),
    [
        ("conv3-4 sign dense-classes", [], "stripes"),
        ("tiny", ["width=4"], "stripes"),
        ("tiny_nnx", ["width=4"], "stripes"),
        ("linear", [], "digits"),
        ("stack", ["depth=1", "width=4"], "stripes"),
    ],
)
def test_a_network_of_ones_own_is_trained_and_opened_again(network, arguments, dataset, plugin, tmp_path):
    options = ["--network-args", *arguments] if arguments else []
    code, _, err = finish(
        "-m", "cnn_jax", "train", "--plugin", plugin, "--network", network, *options, "--dataset", dataset,
        "--epochs", "4", "--batch-size", "16", "--optimizer", "adam", "--learning-rate", "0.01", "--out",
        tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["test"]["accuracy"] > (0.6 if dataset == "stripes" else 0.4)
    code, out, err = finish("-m", "cnn_jax", "predict", tmp_path / "run", IMAGE, "--plugin", plugin, "--json")
    assert code == 0, err
    assert sum(json.loads(out)[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_arguments_of_own_networks_and_parts_by_name_are_axes(plugin, tmp_path):
    code, _, err = finish(
        "-m", "cnn_jax", "sweep", "--plugin", plugin, "--network", "tiny", "--axis", "network_args.width=2,4", "--axis",
        "loss=cross_entropy,focal", "--axis", "augment=,noise0.01", "--dataset", "stripes", "--seeds", "2", "--epochs",
        "1", "--out", tmp_path / "sweep", "--quiet",
    )  # fmt: skip
    assert code == 0, err
    table = (tmp_path / "sweep" / "results.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 2 * 2 * 2
    assert {"network_args.width", "loss", "augment"} <= set(table[0].split(","))
    code, _, err = finish("-m", "cnn_jax", "cite", tmp_path / "sweep", "--plugin", plugin)
    assert code == 0, err


def test_arrays_are_trained_and_found_again(empty_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = np.clip(labels[:, None, None] * 0.4 + 0.1 * random.random((300, 8, 8)), 0, 1)
    exec(BLOCKS["arrays"], {"images": images, "labels": labels})
    code, out, err = finish("-m", "cnn_jax", "evaluate", tmp_path / "runs" / "arrays", "--json")
    assert code == 0, err
    scored = json.loads(out)
    assert scored["examples"] == 45
    assert scored["sha256"] == json.loads((tmp_path / "runs/arrays/record.json").read_text())["data"]["sha256"]
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    code, out, err = finish(
        "-m", "cnn_jax", "evaluate", tmp_path / "runs" / "arrays", "--dataset", tmp_path / "own.npz", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["accuracy"] == scored["accuracy"]


def test_a_wrapped_module_needs_no_name(tmp_path):
    space: dict = {}
    exec(BLOCKS["head"] + BLOCKS["network"].replace('@register.network("tiny")', ""), space)
    network = cnn_jax.Network.wrap(space["Tiny"](width=3), (8, 8, 1))
    assert repr(network) == "Network((8, 8, 1), 'Tiny:width=3')"
    config = cnn_jax.Config(network=network, epochs=1)
    assert config.network == "Tiny:width=3"
    run = cnn_jax.train(config, tmp_path / "run", show=False)
    assert run.status == "complete"
    assert Path(__file__).name in [
        Path(source["path"]).name
        for source in json.loads((run.path / "record.json").read_text())["provenance"]["plugins"]
    ]
    with pytest.raises(cnn_jax.errors.RequestError, match="Tiny1 is a user-defined module"):
        network.apply(network.init(__import__("jax").random.key(0)), np.zeros((1, 8, 8, 1)), rule=ReLURule("guided"))


def test_the_blocks_of_the_page_are_python():
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        ast.parse(code)


PAGE_OF_LOGGERS = (ROOT / "docs" / "loggers.md").read_text()
LOGGERS = dict(re.findall(NAMED, PAGE_OF_LOGGERS, re.S))


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_of_another_tool_is_a_plugin_of_twenty_lines(name, tmp_path):
    assert lines(LOGGERS[name]) <= 20
    pytest.importorskip(name)
    plugin = tmp_path / f"{name}_logger.py"
    plugin.write_text(LOGGERS[name])
    offline = {
        "WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_TRACKING_URI": f"file://{tmp_path}/mlflow",
        "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "true",
    }  # fmt: skip
    code, _, err = finish(
        "-m", "cnn_jax", "train", "--plugin", plugin, "--log", name, "--network", "dense-classes", "--epochs", "2",
        "--out", tmp_path / "run", **offline,
    )  # fmt: skip
    assert code == 0, err
    assert "is left out" not in err
    found = {
        "wandb": lambda: list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")),
        "mlflow": lambda: list((tmp_path / "mlflow" / "0").glob("*/metrics/validation_loss")),
        "trackio": lambda: list((tmp_path / "trackio").glob("*.db")),
    }[name]()
    assert found
    assert all(path.stat().st_size > 10 for path in found)


def test_a_logger_that_fails_never_stops_a_run(tmp_path):
    plugin = tmp_path / "bad.py"
    plugin.write_text(
        "from cnn_jax import Callback, register\n"
        "@register.logger('bad')\n"
        "class Bad(Callback):\n"
        "    def on_evaluation(self, run, metrics):\n"
        "        raise OSError('the server is gone')\n"
    )
    code, _, err = finish(
        "-m", "cnn_jax", "train", "--plugin", plugin, "--log", "bad", "--network", "dense-classes", "--epochs", "3",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    assert err.count("Bad failed in on_evaluation and is left out: OSError: the server is gone") == 1


def test_tensorboard_reads_what_is_logged(tmp_path):
    """The event files by their format: records of length, CRC, event; read without the writer's own code."""
    pytest.importorskip("tensorboardX")
    code, _, err = finish(
        "-m", "cnn_jax", "train", "--log", "tensorboard", "--network", "dense-classes", "--epochs", "2", "--out",
        tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    (path,) = (tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*")
    data, place, events = path.read_bytes(), 0, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 8], "little")
        events.append(data[place + 12 : place + 12 + length])
        place += 16 + length
    assert place == len(data)
    for tag in (b"loss/validation\x15", b"loss/train\x15", b"learning_rate\x15"):
        assert sum(tag in event for event in events) == 2, tag
