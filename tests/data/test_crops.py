"""Random resized crops: windows as published, of the seed, epoch and position alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from samples import picture

from cnn_jax.data import RandomCrops


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99), st.floats(0.01, 1))
def test_a_window_lies_in_the_image_and_has_the_area_and_the_ratio(height, width, position, min_area):
    rows, columns = RandomCrops(0, 3, min_area).window(position, height, width)
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width
    high, wide = rows.stop - rows.start, columns.stop - columns.start
    if 3 / 4 < width / height < 4 / 3:  # then the whole image is a window and the area is kept, but for rounding
        assert (high + 0.5) * (wide + 0.5) >= min_area * height * width
    assert (wide - 0.5) / (high + 0.5) <= 4 / 3 + 1e-9 or wide == 1
    assert (high - 0.5) / (wide + 0.5) <= 4 / 3 + 1e-9 or high == 1


def test_windows_have_the_distribution_that_is_published():
    """In a square too large to refuse windows of up to half its area: the area is uniform and the ratio log-uniform."""
    windows = [RandomCrops(1, 0, 0.08).window(i, 1000, 1000) for i in range(4000)]
    sides = np.array([[rows.stop - rows.start, columns.stop - columns.start] for rows, columns in windows])
    starts = np.array([[rows.start, columns.start] for rows, columns in windows])
    areas, ratios = sides.prod(1) / 1e6, np.log(sides[:, 1] / sides[:, 0]) / math.log(4 / 3)
    small = areas < 0.5
    assert areas[small].mean() == pytest.approx((0.08 + 0.5) / 2, abs=0.01)
    assert ratios[small].mean() == pytest.approx(0, abs=0.05)
    assert ratios[small].std() == pytest.approx(1 / math.sqrt(3), abs=0.03)
    assert (starts / np.maximum(1001 - sides, 1)).mean(0) == pytest.approx([0.5, 0.5], abs=0.03)


def test_the_window_depends_on_seed_epoch_and_position_alone():
    windows = {
        (seed, epoch, position): str(RandomCrops(seed, epoch, 0.08).window(position, 100, 120))
        for seed in (0, 1) for epoch in (0, 1) for position in (0, 1)
    }  # fmt: skip
    assert len(set(windows.values())) == 8
    assert windows[0, 1, 1] == str(RandomCrops(0, 1, 0.08).window(1, 100, 120))


@pytest.mark.parametrize("shape", [(50, 40, 3), (20, 90, 1)])
def test_the_crop_is_what_pillow_cuts_and_resizes(shape):
    image, crops = picture(0, *shape), RandomCrops(5, 2, 0.08)
    for position in range(20):
        rows, columns = crops.window(position, *shape[:2])
        plain = Image.fromarray(image.squeeze())
        window = plain.crop((columns.start, rows.start, columns.stop, rows.stop))
        expected = np.asarray(window.resize((16, 12), Image.Resampling.BILINEAR)).reshape(12, 16, -1)
        assert np.array_equal(crops.crop(image, position, 12, 16), expected)
