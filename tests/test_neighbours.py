"""Neighbours: unsure answers weighed anew by the training images that are nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import digitlib as d
from digitlib.backend import keras
from digitlib.evaluation import load_model
from digitlib.neighbours import SIDE, WARP, bent_distances

UNSURE, SURE = [0.45, 0.05, 0.5], [0.05, 0.9, 0.05]


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, np.ndarray]:
    """Return 60 pictures of three classes: an upright bar, a lying one, a ring; each at another place."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 20)
    return np.stack([drawn(label, *rng.integers(-3, 4, 2)) for label in labels]), labels


def drawn(label: int, down: int = 0, across: int = 0) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - np.array([13 + down, 13 + across])[:, None, None]
    far = np.hypot(y, x)
    ink = [(abs(x) < 2) & (abs(y) < 9), (abs(y) < 2) & (abs(x) < 9), (far > 6) & (far < 9)][label]
    return ink[..., None].astype(np.float32)


def layer_of(known: tuple[np.ndarray, np.ndarray], **settings: float) -> d.Neighbours:
    images, labels = known
    layer = d.Neighbours(len(labels), glances=20, candidates=10, **settings)
    layer.remember(np.array_split(images, 3), labels)
    return layer


def test_distances_are_those_of_the_model_pixel_by_pixel(known: tuple[np.ndarray, np.ndarray]) -> None:
    pictures = known[0][:3, ..., 0] * np.random.default_rng(1).random((3, SIDE, SIDE), np.float32)
    framed = np.pad(pictures, ((0, 0), (9, 9), (9, 9)))
    down = (np.roll(framed, -1, 1) - np.roll(framed, 1, 1)).astype(float)
    across = (np.roll(framed, -1, 2) - np.roll(framed, 1, 2)).astype(float)
    down = (np.roll(down, 1, 2) + 2 * down + np.roll(down, -1, 2)) / 4
    across = (np.roll(across, 1, 1) + 2 * across + np.roll(across, -1, 1)) / 4
    slopes = np.stack([down, across], axis=-1)

    def around(number: int, y: int, x: int) -> np.ndarray:
        return slopes[number, y + 8 : y + 11, x + 8 : x + 11]

    shifts = range(-WARP, WARP + 1)
    for other in (1, 2):
        expected = np.mean(
            [
                min(
                    ((around(0, y, x) - around(other, y + dy, x + dx)) ** 2).sum() / 9
                    for dy in shifts
                    for dx in shifts
                )
                for y in range(SIDE)
                for x in range(SIDE)
            ]
        )
        assert float(bent_distances(pictures[:1], pictures[other : other + 1])[0]) == pytest.approx(
            expected, rel=1e-4
        )


def test_an_unsure_answer_goes_to_the_class_whose_images_are_nearest(
    known: tuple[np.ndarray, np.ndarray],
) -> None:
    said = np.array([UNSURE] * 3, np.float32)
    bars, ring = np.stack([drawn(0, 4, 1), drawn(0)]), drawn(2, 1, 4)
    weighed = np.asarray(layer_of(known)(np.stack([*bars, ring]), said))
    assert weighed.argmax(axis=1).tolist() == [0, 0, 2]
    np.testing.assert_allclose(weighed.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(weighed[:, 1], 0.05, atol=1e-6)  # not among the two likeliest


def test_a_sure_answer_stays_and_so_does_one_where_no_image_is_nearer(
    known: tuple[np.ndarray, np.ndarray],
) -> None:
    said = np.array([SURE, UNSURE], np.float32)
    images = np.stack([drawn(0), drawn(0)])
    weighed = np.asarray(layer_of(known)(images, said))
    np.testing.assert_array_equal(weighed[0], said[0])
    assert weighed[1].argmax() == 0
    np.testing.assert_allclose(np.asarray(layer_of(known, weight=0.0)(images, said)), said, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(layer_of(known, limit=0.0)(images, said)), said)


@pytest.mark.parametrize("sizes", [(28, 28, 1), (56, 40, 3)])
def test_it_works_in_a_network_that_is_saved_at_any_size(
    known: tuple[np.ndarray, np.ndarray], tmp_path: Path, sizes: tuple[int, int, int]
) -> None:
    image, said = keras.Input(sizes), keras.Input((3,))
    images = np.asarray(keras.ops.image.resize(known[0], sizes[:2]))
    images = np.repeat(images, sizes[2], axis=-1)
    model = keras.Model([image, said], layer_of((images, known[1]))(image, said))
    answers = np.array([UNSURE, SURE] * 30, np.float32)
    expected = model.predict([images, answers], batch_size=7, verbose=0)
    assert (expected[::2].argmax(axis=1) == np.where(known[1][::2] == 0, 0, 2))[known[1][::2] != 1].all()
    model.save(tmp_path / "network.keras")
    again = load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(again.predict([images, answers], batch_size=7, verbose=0), expected)
    sure = model.predict([images[:2], answers[[1, 1]]], verbose=0)  # nothing to weigh
    np.testing.assert_array_equal(sure, answers[[1, 1]])
