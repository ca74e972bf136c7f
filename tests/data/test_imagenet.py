"""ImageNet in small: 2,000 JPEG files of different sizes, prepared by TFDS, streamed with random resized crops."""

import io
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from commands import finish, start, wait_for
from PIL import Image
from samples import picture

from cnn_jax.runs.folder import Folder
from cnn_jax.runs.model import TrainedModel

SIZES = [(120, 160), (160, 120), (128, 128), (90, 150)]
IMAGES = {"train": 2000, "test": 20}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_compilations")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("prepared")

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        name = "small_imagenet"

        def _info(self):
            label = tfds.features.ClassLabel(names=[str(i) for i in range(10)])
            features = {"image": tfds.features.Image(), "label": label, "file_name": tfds.features.Text()}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in IMAGES}

        def _generate_examples(self, split):
            for i in range(IMAGES[split]):
                file, (height, width) = io.BytesIO(), SIZES[i % len(SIZES)]
                coarse = Image.fromarray(picture(len(split) + 10 * i, height // 8, width // 8, 3))
                coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)
                yield i, {"image": file.getvalue(), "label": i % 10, "file_name": f"{i}.JPEG"}

    Small(data_dir=home).download_and_prepare(file_format="array_record")
    return home


def config(folder, **more):
    fields = {
        "dataset": "small_imagenet", "data_dir": folder, "validation": 20, "resize": "crop",
        "augment": "resized_crop0.08 flip", "epochs": 1, "batch_size": 64, "devices": 1,
    } | more  # fmt: skip
    options = [text for name, value in fields.items() for text in (f"--{name.replace('_', '-')}", value)]
    return [*options, "--stream"]


def test_a_resnet_killed_in_the_middle_of_an_epoch_and_resumed_is_bit_for_bit_the_one_that_was_not(folder, tmp_path):
    """One residual block stands for a ResNet: compiling takes most of the time."""
    block = "res( conv3-8:same:nobias bn relu conv3-8:same:nobias bn ) relu"
    code = (
        "from cnn_jax.runs import writer; from cnn_jax.training import epoch, fit; "
        "from cnn_jax.cli import common, train; writer.CHECKPOINT_SECONDS = 0.3; fit.POLL_SECONDS = 0.05; "
        "epoch.STREAMED_STEPS = 4; common.main(train.command)"
    )
    train = ["-c", code, *config(folder, network=f"conv3-8:same:nobias bn relu {block} gap dense-10", image_size=32)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status, _, err = finish(*train, "--out", whole)
    assert status == 0, err

    process = start(*train, "--out", killed)
    saved = killed / "checkpoints"
    wait_for(lambda: saved.is_dir() and any(path.name.isdigit() for path in saved.iterdir()), process)
    process.kill()
    process.communicate()
    assert 0 < max(int(path.name) for path in saved.iterdir() if path.name.isdigit()) < 31  # of 31 steps
    status, _, err = finish("-c", code, "--out", killed, "--resume")
    assert status == 0, err

    lines = [
        [json.loads(line) | {"seconds": 0} for line in (path / "metrics.jsonl").open()] for path in (whole, killed)
    ]
    assert lines[0] == lines[1]
    assert len(Folder(whole).metrics()) == 1
    ours, theirs = (jax.tree.leaves(dict(TrainedModel.load(path).variables)) for path in (whole, killed))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


MEASURED = """
import json, sys
from pathlib import Path
from cnn_jax import api
from cnn_jax.training import epoch
from cnn_jax.training.config import Config

def status(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024

epoch.STREAMED_BYTES = 1 << 23
config = json.loads(sys.argv[1])
api.train(Config(**config, train_examples=200), sys.argv[2] + "/few", show=False)
Path("/proc/self/clear_refs").write_text("5")  # the peak is that of what follows
before = status("VmRSS")
api.train(Config(**config), sys.argv[2] + "/all", show=False)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peak of memory that can be reset")
def test_an_epoch_takes_the_memory_of_a_few_chunks(folder, tmp_path):
    """Images of 224x224: 298 MB an epoch, read in chunks of 8 MB; each run reads them twice, the first time for the
    mean. Compiling for more images takes up to 100 MB."""
    fields = {
        "network": "gap dense-10", "dataset": "small_imagenet", "data_dir": str(folder), "image_size": 224, "epochs": 1,
        "validation": 20, "resize": "crop", "augment": "resized_crop0.08 flip", "batch_size": 32, "stream": True,
    }  # fmt: skip
    process = start("-c", MEASURED, json.dumps(fields), tmp_path)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert float(out) < 220
