"""Digits set upright or made equally wide, before a network sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import digitlib as d
from digitlib.backend import keras
from digitlib.evaluation import load_model
from digitlib.normalising import SCALES
from digitlib.precision import in_float32


@pytest.fixture(scope="module")
def pictures(sample: Path) -> np.ndarray:
    """Return five digits of each class as JPEG left them, shape (50, 28, 28, 1), in 0 to 1."""
    paths = [
        path for digit in range(10) for path in sorted((sample / "trainingSet" / str(digit)).iterdir())[:5]
    ]
    return np.stack([np.asarray(Image.open(path), np.float32) for path in paths])[..., None] / 255


def width_and_slant(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard deviation of the ink's columns, and pixels aside for a pixel down."""
    ink = images[..., 0] / images[..., 0].sum(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    middle_x, middle_y = ((ink * of).sum(axis=(1, 2))[:, None, None] for of in (x, y))
    width = np.sqrt((ink * (x - middle_x) ** 2).sum(axis=(1, 2)))
    together = (ink * (x - middle_x) * (y - middle_y)).sum(axis=(1, 2))
    return width, together / (ink * (y - middle_y) ** 2).sum(axis=(1, 2))


def test_upright_digits_have_no_slant_and_stay_where_they_are(pictures: np.ndarray) -> None:
    upright = np.asarray(d.Normalised(upright=True)(pictures))
    before, after = width_and_slant(pictures)[1], width_and_slant(upright)[1]
    assert np.abs(before).mean() > 0.15, "else there is nothing to take away"
    assert np.abs(after).max() < 0.03
    np.testing.assert_allclose(upright.sum(axis=2), pictures.sum(axis=2), atol=0.3)  # rows keep their ink


def test_even_digits_are_equally_wide_where_they_may_be(pictures: np.ndarray) -> None:
    before = width_and_slant(pictures)[0]
    after = width_and_slant(np.asarray(d.Normalised(width=0.14)(pictures)))[0]
    wanted = np.clip(0.14 * 28 / before, *SCALES) * before
    assert np.quantile(np.abs(after / wanted - 1), 0.9) < 0.05  # one that stands aside is cut off at the edge
    assert after.std() < before.std() / 2


def test_dark_ink_on_light_paper_is_seen_as_light_on_dark(pictures: np.ndarray) -> None:
    layer = d.Normalised(upright=True, width=0.14)
    np.testing.assert_allclose(layer(1 - pictures), 1 - np.asarray(layer(pictures)), atol=1e-4)


def test_a_blank_picture_stays_as_it_is_and_colours_stay_together(pictures: np.ndarray) -> None:
    layer = d.Normalised(upright=True, width=0.14)
    blank = np.full((1, 28, 28, 1), 0.3, np.float32)
    np.testing.assert_allclose(layer(blank), blank, atol=1e-6)
    coloured = pictures * np.array([1, 1, 1], np.float32)
    np.testing.assert_allclose(layer(coloured)[..., 1:2], layer(pictures), atol=1e-5)


def test_the_network_behind_it_survives_its_file_and_an_ensemble(
    pictures: np.ndarray, tmp_path: Path
) -> None:
    """In the precision that a training may have; what is named is the digit as the layer leaves it."""
    recipe = d.get_recipe("accurate", model="upright", precision="mixed_bfloat16")
    network = d.build_model(recipe, list("0123456789"))
    assert network.layers[0].compute_dtype == "float32"
    plain = keras.Sequential([keras.Input((28, 28, 1)), *in_float32(network).layers[1:]])
    expected = np.asarray(
        plain(d.Normalised(upright=True)(pictures))
    )  # called, since predict compiles each anew
    in_float32(network).save(tmp_path / "network.keras")
    again = load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(again(pictures), expected, atol=1e-5)
    joined = d.join_networks([again, plain], (28, 28, 1))
    both = (expected + np.asarray(plain(pictures))) / 2
    np.testing.assert_allclose(joined(pictures), both, atol=1e-5)


def test_the_layer_is_written_with_its_settings() -> None:
    layer = d.Normalised(upright=True, width=0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.upright, again.width) == (True, 0.2)
