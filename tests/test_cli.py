"""The commands as a user types them: what they print, refuse and return."""

import json
import re
import shlex
import stat
import subprocess

import pytest
from commands import ROOT, environment, finish, refused

QUICK = ("--network", "conv3-4 relu dense-10", "--epochs", "1")


def test_describe_prints_the_contracts_json():
    code, out, _ = finish("-m", "cnn_jax", "describe", "alexnet", "--json")
    described = json.loads(out)
    assert (code, described["parameters"], described["input"]) == (0, 60_965_224, [227, 227, 3])
    code, out, _ = finish("-m", "cnn_jax", "describe", "lenet5", "--input", "28x28x1")
    assert code == 0
    assert out.splitlines()[2].startswith("pad1")
    code, out, _ = finish("-m", "cnn_jax", "describe", "conv5-6 max2 dense-10", "--input", "28x20x1")
    assert code == 0
    assert re.search(r"dense1 +10 +28x20 +2 +5,770", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("describe", "conv9-4", "--input", "8x8x1"), "conv1: a window of 9 does not fit its input of 8"),
        (("describe", "conv3-4"), "needs its input size: --input HxWxC"),
        (("describe", "lenet6"), "network 'lenet6' is unknown (did you mean lenet5"),
        (("describe", "conv3-4", "--input", "8x8"), "--input '8x8' is not a size"),
        (("describe",), "Missing from cnn-jax describe"),
        (("explain",), "verb 'explain' is unknown; there are train, sweep"),
        (("predict", "nowhere", "x.png"), "nowhere is not a run's folder: it has no config.json"),
    ],
)
def test_a_verb_refuses_in_one_line(arguments, message):
    assert message in refused("-m", "cnn_jax", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--learning-rat", "0.1"), "--learning-rat"),
        (("--learning-rate", "fast"), "fast"),
        (("--optimizer", "lamb"), "lamb"),
        (("--epochs", "0"), "epochs = 0 must be at least 1"),
        (("--dataset", "nothing-here"), "nothing-here"),
        (("--network", "conv3-4 dense-7"), "dense1: the network ends in 7 logits, but the data has 10 classes"),
        (("--config", "missing.json"), "missing.json does not exist"),
        (("--devices", "3"), "devices = 3, but JAX sees 1"),
        (("--augment", "spin"), "augmentation 'spin' is unknown"),
        (("--network", '[{"layer": "Dense", "features": "10"}]'), "Dense features = '10' has the wrong type"),
    ],
)
def test_train_refuses_in_one_line_and_leaves_nothing(arguments, message, tmp_path):
    assert message in refused("experiments/train.py", *arguments, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--axis", "optimizer=1"),
            "optimizer '1' is unknown; there are sgd, signsgd",
        ),
        (("--axis", "momentum=0.9,much"), "'much' is not a value of momentum"),
        (("--axis", "momentum"), "axis momentum has no value"),
        (("--axis", "momentum=0.1", "--axis", "momentum=0.2"), "axis momentum is given twice"),
        (("--axis", "learning_rate=0.1", "--learning-rates", "0.2"), "axis learning_rate is given twice"),
        (("--filters", "0"), "filters = 0 must be at least 1"),
        (("--seeds", "0"), "seeds = 0 must be at least 1"),
        (("--learning-rates", "0.1", "0.1"), "axis learning_rate lists a value twice"),
        (("--network", "dense-10", "--filters", "4"), "no convolution"),
    ],
)
def test_sweep_refuses_in_one_line(arguments, message, tmp_path):
    assert message in refused("experiments/sweep.py", *arguments, "--out", tmp_path / "sweep")


def test_a_config_file_with_a_wrong_field_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"epoch": 3}')
    assert "config field 'epoch' is unknown (did you mean 'epochs'?)" in refused(
        "experiments/train.py", "--config", path, "--out", tmp_path / "run"
    )
    path.write_text("{")
    assert "is not JSON" in refused("experiments/train.py", "--config", path)


def test_exit_codes_and_the_file_that_runs_again(tmp_path):
    first, second, died = (tmp_path / name for name in ("first", "second", "died"))
    code, out, err = finish("experiments/train.py", *QUICK, "--out", first)
    assert code == 0, err
    assert out.splitlines()[-1] == str(first)
    assert "one run, n = 1 seed" in out
    assert "already" in refused("experiments/train.py", *QUICK, "--out", first)
    code, _, _ = finish("experiments/train.py", "--config", first / "config.json", "--out", second)
    assert code == 0
    results = [json.loads((path / "result.json").read_text()) for path in (first, second)]
    assert results[0]["test"] == results[1]["test"]
    code, out, _ = finish("experiments/train.py", *QUICK, "--learning-rate", "1e6", "--out", died)
    assert code == 1
    assert "diverged at step" in out


def test_a_trial_is_the_run_of_its_seed(tmp_path):
    """Trial s of a sweep equals train.py --seed s, to the last bit of its metrics."""
    assert (
        finish("experiments/sweep.py", *QUICK, "--learning-rate", "0.02", "--seeds", "2", "--out", tmp_path / "s")[0]
        == 0
    )
    assert (
        finish("experiments/train.py", *QUICK, "--learning-rate", "0.02", "--seed", "1", "--out", tmp_path / "t")[0]
        == 0
    )
    trial, run = (
        json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
        for path in (tmp_path / "s" / "trials" / "0001", tmp_path / "t")
    )
    assert trial | {"seconds": 0} == run | {"seconds": 0}


@pytest.mark.slow
def test_every_command_of_the_readme_runs(tmp_path):
    """In the order of the page, in an empty folder; scripts/run itself is tested below."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"<!-- test -->\n```(python)?\n(.*?)```", text, re.S)
    assert len(blocks) == 7
    for name in ("docs", "experiments", "results"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = str(ROOT / ".venv" / "bin" / "python")
    for language, block in blocks:
        commands = [["-c", block]] if language else [shlex.split(line)[1:] for line in block.splitlines()]
        for command in commands:
            done = subprocess.run(
                [python, *command], cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True
            )
            assert done.returncode == 0, (command, done.stderr)


def test_scripts_run_from_any_folder_and_at_once(tmp_path):
    """Two at once, called from elsewhere. When nothing has changed, no Python but the user's is started."""
    command = [ROOT / "scripts" / "run", "-c", "print(1)"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.communicate() == ("1\n", "")
        assert process.returncode == 0
    traced = subprocess.run(["bash", "-x", *command], cwd=tmp_path, capture_output=True, text=True)
    started = [line for line in traced.stderr.splitlines() if "python" in line and "local" not in line]
    assert len(started) == 1, traced.stderr
    for name in ("run", "test", "lock"):
        assert (ROOT / "scripts" / name).stat().st_mode & stat.S_IXUSR


def test_the_default_grid_and_what_replaces_it():
    from cnn_jax.cli import common, sweep

    def grid(*arguments):
        return sweep.grid_of(common.parse(sweep.arguments_type(), arguments, "sweep", sweep.default_of({})), {})

    rates, filters = (0.01, 0.03, 0.1, 0.3, 1.0), (4, 8, 16)
    assert grid().axes == {"learning_rate": rates, "filters": filters, "seed": (0, 1, 2, 3, 4)}
    assert grid("--dataset", "fashion_mnist", "--seeds", "2").axes["filters"] == filters
    assert grid("--learning-rate", "0.02").axes == {
        "learning_rate": (0.02,), "filters": filters, "seed": (0, 1, 2, 3, 4),
    }  # fmt: skip
    assert grid("--network", "lenet5", "--seeds", "1").axes == {"learning_rate": (0.01,), "seed": (0,)}
    assert grid("--axis", "momentum=0,0.9").axes["momentum"] == (0, 0.9)
    assert grid("--axis", "augment=,flip crop1", "--axis", "select=final,best").axes["augment"] == (
        "",
        "flip crop1",
    )
    once = common.merge_repeated(["--seeds", "2", "--axis", "a=1", "b=2", "--axis", "c=3", "--axis=d=4", "--resume"])
    assert once == ["--seeds", "2", "--resume", "--axis", "a=1", "b=2", "c=3", "d=4"]


def test_an_unknown_accelerator_is_refused():
    done = subprocess.run(
        [ROOT / "scripts" / "run", "-c", ""], env={**environment(), "CNN_JAX_ACCELERATOR": "abacus"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "cnn_jax: CNN_JAX_ACCELERATOR=abacus is unknown; use cpu, cuda or tpu\n"
