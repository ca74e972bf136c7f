"""The verbs of `cnn-jax` beyond training: what they do, and in which line they refuse."""

import json
import re
import shlex

import numpy as np
import pytest
from commands import finish, messages, refused
from PIL import Image

import cnn_jax
from cnn_jax import plugins
from cnn_jax.cli import common, main
from cnn_jax.errors import RequestError

FAST = ("--network", "conv3-4 relu max2 dense-classes", "--epochs", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("commands") / "run"
    code, _, err = finish("-m", "cnn_jax", "train", *FAST, "--out", out)
    assert code == 0, err
    return out


def test_help_names_every_verb_with_a_line_and_every_verb_has_help(capsys):
    assert main.command(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb, line in main.VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(line)}$", shown, re.M)
        with pytest.raises(SystemExit) if verb not in ("study", "bench") else capsys.disabled() as stop:
            main.command([verb, "--help"])
        assert stop is None or stop.value.code == 0
    assert main.command(["--version"]) == 0


def test_help_of_train_has_named_groups_an_example_and_what_is_registered(capsys):
    with pytest.raises(SystemExit):
        main.command(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for group in ("network options", "data options", "optimizer options", "schedule options"):
        assert group in shown
    assert "For example: cnn-jax train" in shown
    assert "Registered: sgd, signsgd, adam, adamw" in shown


def test_a_first_run_on_two_hundred_images_of_three_classes_learns_with_the_defaults(tmp_path):
    """Photos of many sizes, told apart by their colour: nothing is given but the folder and a size."""
    random = np.random.default_rng(0)
    for name, colour in {"bricks": (150, 80, 60), "grass": (80, 140, 60), "water": (60, 90, 150)}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(67):
            height, width = random.integers(40, 90, 2)
            light = np.array(colour) * random.uniform(0.5, 1.3) + random.normal(0, 50, (height, width, 3))
            image = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
            image.save(tmp_path / "photos" / name / f"{i}.jpg")
    out = tmp_path / "run"
    code, _, err = finish(
        "-m", "cnn_jax", "train", "--dataset", tmp_path / "photos", "--image-size", "32", "--out", out
    )
    assert code == 0, err
    result = json.loads((out / "result.json").read_text())
    assert result["status"] == "complete"
    assert result["validation"]["accuracy"] > 0.9


def test_the_command_that_the_range_test_recommends_is_one():
    code, out, err = finish("-m", "cnn_jax", "range", "--steps", "12", *FAST)
    assert code == 0, err
    words = shlex.split(out.strip().splitlines()[-1].removeprefix("recommended: cnn-jax train "))
    rate = words.pop()
    assert words == [*FAST, "--learning-rate"]
    assert 1e-5 < float(rate) < 10


def test_predict_takes_folders_and_one_bad_file_does_not_stop_the_others(run, tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, shape in (("a.png", (8, 8)), ("b.jpg", (20, 9)), ("more/c.PNG", (5, 30))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    code, out, err = finish("-m", "cnn_jax", "predict", run, folder, "--json")
    assert code == 1
    assert [line for line in err.splitlines() if "broken.png" in line]
    assert len(messages(err)) == 1
    assert [row["image"].rpartition("photos/")[2] for row in json.loads(out)] == ["a.png", "b.jpg", "more/c.PNG"]
    assert "there is no image to predict" in refused("-m", "cnn_jax", "predict", run)


def test_evaluate_scores_any_split_and_says_so_in_its_record(run):
    result = json.loads((run / "result.json").read_text())
    for split in ("validation", "test"):
        code, out, err = finish("-m", "cnn_jax", "evaluate", run, "--split", split, "--json")
        assert code == 0, err
        scored = json.loads(out)
        assert {name: scored[name] for name in result[split]} == result[split]
        kept = json.loads((run / "evaluations" / f"digits-{split}.json").read_text())
        assert kept["accuracy"] == scored["accuracy"]
        assert kept["provenance"]["repository"]
    code, _, err = finish("-m", "cnn_jax", "evaluate", run, "--dataset", "nowhere")
    assert code == 2
    assert "no such data set" in err


def test_evaluate_refuses_data_of_other_classes(run, tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", images=random.integers(0, 256, (40, 8, 8), dtype=np.uint8), labels=np.arange(40) % 2)
    line = refused("-m", "cnn_jax", "evaluate", run, "--dataset", tmp_path / "two.npz")
    assert "has the classes 0, 1, the network was trained for 0, 1, 2, 3" in line


def test_a_folder_stands_for_its_config(run, tmp_path):
    code, _, err = finish("-m", "cnn_jax", "train", "--config", run, "--seed", "1", "--out", tmp_path / "other")
    assert code == 0, err
    first, second = (json.loads((path / "config.json").read_text()) for path in (run, tmp_path / "other"))
    assert second == first | {"seed": 1}


def test_more_epochs_extend_a_run_whose_schedule_allows_it(tmp_path):
    for name, epochs in (("long", "4"), ("run", "2")):
        code, _, err = finish("-m", "cnn_jax", "train", *FAST[:2], "--epochs", epochs, "--out", tmp_path / name)
        assert code == 0, err
    code, _, err = finish("-m", "cnn_jax", "train", "--resume", "--epochs", "4", "--out", tmp_path / "run")
    assert code == 0, err
    assert "extended from 2 to 4 epochs" in err
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert any("extended from 2 to 4 epochs" in note for note in record["notes"])
    result, long = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("run", "long"))
    assert result["test"] == long["test"]
    code, out, err = finish("-m", "cnn_jax", "evaluate", tmp_path / "run", "--json")
    assert json.loads(out)["accuracy"] == result["test"]["accuracy"], err


def test_a_schedule_that_depends_on_the_epochs_is_not_extended(tmp_path):
    cnn_jax.train(cnn_jax.Config(network="dense-classes", epochs=1, schedule="cosine"), tmp_path / "run", show=False)
    line = refused("-m", "cnn_jax", "train", "--resume", "--epochs", "2", "--out", tmp_path / "run")
    assert "schedule 'cosine', which depends on their number" in line
    assert "--init" in line
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 1


def test_the_range_test_recommends_a_rate_that_learns(capsys):
    assert main.command(["range", *FAST[:2], "--batch-size", "32", "--steps", "60"]) == 0
    shown = capsys.readouterr().out
    rate = float(re.search(r"--learning-rate ([\d.e-]+)$", shown.strip())[1])
    assert 1e-3 < rate < 1.0
    losses = [float(x) for x in re.findall(r"loss +([\d.]+)", shown)]
    assert min(losses) < 0.8 * losses[0]


@pytest.mark.parametrize("how", ["squash", "fit", "crop"])
def test_photos_of_any_size_just_work(how, empty_cache, tmp_path):
    random = np.random.default_rng(0)
    for label, level in enumerate((60, 130, 200)):
        (tmp_path / "photos" / str(label)).mkdir(parents=True)
        for i in range(20):
            shape = (random.integers(10, 30), random.integers(10, 30))
            pixels = np.clip(random.normal(level, 15, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / str(label) / f"{i}.png")
    data = cnn_jax.load_data(str(tmp_path / "photos"), image_size="12x16", resize=how)
    assert data.image_shape == (12, 16, 1)
    config = cnn_jax.Config(
        network="conv3-4:same relu gap dense-classes", dataset=str(tmp_path / "photos"), image_size="12x16", resize=how,
        batch_size=8, epochs=10, optimizer="adam", learning_rate=0.03,
    )  # fmt: skip
    assert cnn_jax.train(config, tmp_path / "run", show=False).result.test.accuracy > 0.5


def test_resizing_keeps_what_it_says():
    from cnn_jax.data.images import resize

    image = np.zeros((20, 10, 1), np.uint8)
    image[:, 5:] = 200
    fit, crop = resize(image, (8, 8, "fit")), resize(image, (8, 8, "crop"))
    assert fit.shape == crop.shape == (8, 8, 1)
    assert (fit[:, :2] == 0).all()  # black borders left and right of 8x4 pixels
    assert (fit[:, 6:] == 0).all()
    assert fit[4, 5, 0] > 150
    assert (crop[:, :3] < 50).all()  # the whole width, the middle of the height
    assert (crop[:, 5:] > 150).all()


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("import nothing_like_this", "line 1: No module named 'nothing_like_this'"),
        ("x = 1\n\ny = 1 / 0", "line 3: division by zero"),
        ("def f(:", "line 1|invalid syntax"),
        (
            "from cnn_jax import register\n@register.loss('cross_entropy')\ndef f(x, y): ...",
            "loss 'cross_entropy' is built in",
        ),
        ("from cnn_jax import register\n@register.layer('a b')\nclass A: ...", "a name is a word"),
        ("from cnn_jax import register\n@register.activation('gap')\ndef f(x): ...", "has this word for another part"),
        ("from cnn_jax import register\n@register.layer('relu')\nclass A: ...", "has this word for another part"),
    ],
)
def test_a_plugin_that_fails_is_one_line(plugin, message, tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(plugin)
    with pytest.raises(RequestError) as caught:
        common.load_plugins(["describe", "lenet5", "--plugin", str(path)])
    assert re.search(message, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [[], ["--plugin"], ["describe", "--plugin"]])
def test_where_no_plugin_is_named_none_is_loaded(arguments):
    before = dict(plugins.LOADED)
    common.load_plugins(arguments)
    assert before == plugins.LOADED


def test_without_a_verb_the_command_says_how_it_is_used():
    code, out, err = finish("-m", "cnn_jax")
    assert (code, err) == (2, "")
    assert out.startswith("usage: cnn-jax VERB")


def test_data_sets_are_listed_and_cached(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CNN_JAX_CACHE", str(tmp_path / "cache"))
    main.command(["data", "list"])
    assert re.search(r"^mnist +The MNIST database", capsys.readouterr().out, re.M)
    main.command(["data", "cache", "digits", "--image-size", "5"])
    assert "digits: train 1259" in capsys.readouterr().out
    with pytest.raises(RequestError, match="data prepare knows mnist, fashion_mnist, not digits"):
        main.command(["data", "prepare", "digits"])


def test_a_study_is_run_from_its_file(tmp_path):
    code, out, err = finish(
        "-m", "cnn_jax", "study", "experiments/guide/pooling.py", "--quick", "--out", tmp_path / "study"
    )
    assert code == 0, err
    assert "(quick: counts for nothing)" in out
    said = refused("-m", "cnn_jax", "study", "nowhere")
    assert "is no experiment: neither a file nor experiments/guide/nowhere.py" in said
