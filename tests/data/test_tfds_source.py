"""Any image classification set that TFDS has prepared as array_record, read without TensorFlow or a network."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from samples import encoded, picture

from cnn_jax.data import load


def builder_of(name, splits, side=6, channels=3, features=None, version="1.2.0", config=None):
    """A TFDS builder of random images with labels a, b in turn."""

    class RandomImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            image = tfds.features.Image(shape=(None, None, channels))
            label = tfds.features.ClassLabel(names=["a", "b"])
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features or {"picture": image, "kind": label})
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split, count) for split, count in splits.items()}

        def _generate_examples(self, split, count):
            for i in range(count):
                shape = (side + (side == 0) * (i + 1), 6, 3)[: 2 + (channels == 3)]
                values = {"picture": encoded(picture(sum(map(ord, split)) * 1000 + i, *shape)), "kind": i % 2}
                values["other"] = values["picture"]
                yield i, {key: values[key] for key in features or {"picture", "kind"}}

    RandomImages.name = name
    return RandomImages


def prepare(folder, *args, file_format="array_record", **options):
    builder = builder_of(*args, **options)(data_dir=folder)
    builder.download_and_prepare(file_format=file_format)
    return builder


def images_of(split, count):
    return sorted(picture(sum(map(ord, split)) * 1000 + i, 6, 6, 3).tobytes() for i in range(count))


@pytest.mark.parametrize("name", ["small", "small/plain"])
def test_a_prepared_set_is_found_by_name_and_whole(name, tmp_path):
    config = name.partition("/")[2] or None
    prepare(tmp_path, "small", {"train": 30, "validation": 8, "test": 10}, config=config)
    for asked in {name, "small"}:
        dataset = load(asked, data_dir=tmp_path)
        assert dataset.class_names == ("a", "b")
        assert dataset.image_shape == (6, 6, 3)
        for split, count, part in (("train", 30, dataset.train), ("test", 10, dataset.test)):
            assert sorted(image.tobytes() for image in part.images) == images_of(split, count)
            by_label = {image.tobytes(): label for image, label in zip(part.images, part.labels, strict=True)}
            seed = sum(map(ord, split)) * 1000
            assert all(by_label[picture(seed + i, 6, 6, 3).tobytes()] == i % 2 for i in range(count))
        assert len(dataset.validation) == 8


def test_the_highest_version_is_read_and_a_new_one_is_noticed(tmp_path):
    for version, count in (("1.9.0", 30), ("1.10.0", 40)):
        prepare(tmp_path, "small", {"train": count, "test": 4}, version=version)
        dataset = load("small", data_dir=tmp_path)
        assert len(dataset.train) + len(dataset.validation) == count


def test_a_lone_train_split_is_dealt_to_three(tmp_path):
    prepare(tmp_path, "small", {"train": 40})
    dataset = load("small", data_dir=tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (28, 6, 6)
    assert "stratified" in dataset.source["split"]["rule"]


def test_grey_images_and_image_size(tmp_path):
    prepare(tmp_path, "small", {"train": 20, "test": 4}, channels=1)
    assert load("small", data_dir=tmp_path, image_size=3).image_shape == (3, 3, 1)


def test_images_of_different_sizes_need_image_size(tmp_path, refuses):
    prepare(tmp_path, "small", {"train": 20, "test": 4}, side=0)
    with refuses("small", "--image-size N"):
        load("small", data_dir=tmp_path)
    assert load("small", data_dir=tmp_path, image_size=4).image_shape == (4, 4, 3)


def test_what_cannot_be_read_is_refused(tmp_path, refuses):
    prepare(tmp_path, "noclass", {"train": 4, "test": 4}, features={"picture": tfds.features.Image()})
    with refuses("noclass", "not image classification: 1 images and 0 class labels"):
        load("noclass", data_dir=tmp_path)
    prepare(tmp_path, "notest", {"train": 4, "validation": 4})
    with refuses("notest", "no test split"):
        load("notest", data_dir=tmp_path)
    for config in ("one", "two"):
        prepare(tmp_path, "many", {"train": 4, "test": 4}, config=config)
    with refuses("many", "several configurations", "one, ", "two"):
        load("many", data_dir=tmp_path)
    damaged = prepare(tmp_path, "damaged", {"train": 4, "test": 4}).data_path
    (damaged / "features.json").write_text("{")
    with refuses("damaged", "TFDS cannot read this"):
        load("damaged", data_dir=tmp_path)


def test_records_in_another_format_are_refused(tmp_path, refuses):
    folder = prepare(tmp_path, "small", {"train": 4, "test": 4}).data_path
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with refuses("small", "array_record"):
        load("small", data_dir=tmp_path)


def test_a_stock_name_that_is_not_prepared_is_refused_at_once(tmp_path, refuses):
    with refuses("svhn_cropped", "no such data set"):
        load("svhn_cropped", data_dir=tmp_path)


def test_labels_are_int32_and_images_uint8(tmp_path):
    prepare(tmp_path, "small", {"train": 20, "test": 4})
    dataset = load("small", data_dir=tmp_path)
    assert dataset.train.labels.dtype == np.int32
    assert dataset.train.images.dtype == np.uint8
