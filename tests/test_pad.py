"""Strokes as ink, and the pad: named as one writes, without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import digitlib as d
from digitlib.handwriting.drawing_pad import BOX, PEN

DRAWINGS = d.read_strokes()
LINE = [[[0.5, 0.2], [0.5, 0.8]]]


def test_ink_is_a_line_with_the_width_of_mnists_strokes_in_its_box() -> None:
    ink = d.rasterize(LINE)
    assert ink.shape == (112, 112)
    assert (ink.min(), ink.max()) == (0, 1)
    rows, columns = np.nonzero(ink > 0.5)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (BOX, PEN)
    assert ink[56].sum() == pytest.approx(PEN)


@pytest.mark.parametrize("style", list(DRAWINGS))
def test_neither_size_nor_place_of_the_writing_matters(style: str) -> None:
    for strokes in DRAWINGS[style].values():
        small = [[[0.7 + 0.2 * x, 0.1 + 0.2 * y] for x, y in stroke] for stroke in strokes]
        np.testing.assert_allclose(d.rasterize(small), d.rasterize(strokes), atol=1e-9)


def test_ink_is_what_a_pen_four_times_as_fine_covers() -> None:
    from PIL import Image, ImageDraw

    strokes = [[[0.2, 0.1], [0.7, 0.4], [0.3, 0.9]]]
    fine = Image.new("L", (448, 448), 0)
    scale = 4 * (BOX - PEN) / 0.8
    points = [((x - 0.45) * scale + 224, (y - 0.5) * scale + 224) for x, y in strokes[0]]
    ImageDraw.Draw(fine).line(points, fill=255, width=4 * PEN)
    for x, y in points:
        ImageDraw.Draw(fine).ellipse((x - 2 * PEN, y - 2 * PEN, x + 2 * PEN, y + 2 * PEN), fill=255)
    by_pillow = np.asarray(fine.resize((112, 112), Image.Resampling.BOX)) / 255
    difference = np.abs(d.rasterize(strokes) - by_pillow)
    assert difference.mean() < 0.01
    assert difference.max() < 0.4  # Pillow's own edges are rough


def test_blanks_and_dots() -> None:
    assert not d.rasterize([]).any()
    assert not d.rasterize([[]]).any()
    dot = d.rasterize([[[0.3, 0.3]]])
    assert dot.sum() == pytest.approx(np.pi * PEN**2 / 4, rel=0.05)


@pytest.mark.parametrize(
    "bad", [[[0.1, 0.2]], [[["a", "b"]]], [[[0.1, float("nan")]]], [[[1, 2, 3]]], [[[1], [2, 3]]]]
)
def test_what_are_no_strokes_gets_one_sentence(bad: list) -> None:
    with pytest.raises(d.DigitError, match="a stroke is no list of points"):
        d.rasterize(bad)


def test_stored_drawings_are_the_ten_digits_in_three_styles(tmp_path: Path) -> None:
    assert [list(drawn) for drawn in DRAWINGS.values()] == [list("0123456789")] * 3
    points = np.concatenate(
        [stroke for drawn in DRAWINGS.values() for strokes in drawn.values() for stroke in strokes]
    )
    assert points.min() >= 0
    assert points.max() <= 1
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"mine": {"7": LINE}}), encoding="utf-8")
    assert d.read_strokes(own) == {"mine": {"7": LINE}}
    own.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(d.DigitError, match="holds no drawings"):
        d.read_strokes(own)
    own.write_text("{", encoding="utf-8")
    with pytest.raises(d.DigitError, match="can't be read as drawings"):
        d.read_strokes(own)


class Brightest:
    """A network that tells by the share of ink in each third: enough to see what it was given."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        self.given = images
        thirds = np.stack(
            [part.sum(axis=(1, 2, 3)) for part in np.array_split(images, [9, 19], axis=2)], axis=1
        )
        return thirds / thirds.sum(axis=1, keepdims=True)


@pytest.fixture
def recipe() -> SimpleNamespace:
    return SimpleNamespace(image_size=(28, 28), color_mode="grayscale", augmentation={"rescale": 1 / 255})


def test_the_pad_names_what_is_written_and_forgets_what_is_cleared(recipe: SimpleNamespace) -> None:
    network = Brightest()
    pad = d.DrawingPad(network, recipe, ["left", "middle", "right"])
    assert pad.answers == []
    assert not pad.picture.any()
    pad.strokes = LINE
    assert pad.answers[0]["label"] == "middle"
    assert sum(answer["confidence"] for answer in pad.answers) == pytest.approx(1)
    np.testing.assert_array_equal(pad.picture, d.to_mnist_format(d.rasterize(LINE)))
    np.testing.assert_allclose(network.given[0, ..., 0], pad.picture / 255, atol=1e-6)
    pad.strokes = []
    assert pad.answers == []
    assert not pad.picture.any()


def test_the_network_gets_dark_ink_where_it_learned_dark_ink(recipe: SimpleNamespace) -> None:
    network = Brightest()
    d.DrawingPad(network, recipe, ["a", "b", "c"], dark_on_light=True, strokes=LINE)
    assert network.given[0, 0, 0, 0] == 1
    assert network.given[0, 14, 14, 0] == 0


def test_the_pad_fits_networks_of_another_size_and_colour(recipe: SimpleNamespace) -> None:
    network, recipe.image_size, recipe.color_mode = Brightest(), (56, 40), "rgb"
    d.DrawingPad(network, recipe, ["a", "b", "c"], strokes=LINE)
    assert network.given.shape == (1, 56, 40, 3)


@pytest.mark.parametrize("inverted", [False, True])
def test_dark_ink_is_told_from_the_images(digits: Path, inverted: bool) -> None:
    from PIL import Image, ImageOps

    if inverted:
        for path in (digits / "trainingSet").rglob("*.png"):
            ImageOps.invert(Image.open(path)).save(path)
    run = d.prepare(digits, "runs/a", mode="none")
    assert d.dark_on_light(run) is inverted


def test_a_drawing_that_there_is_not_gets_one_sentence() -> None:
    assert d.stored_drawing("school", 7) == DRAWINGS["school"]["7"]
    with pytest.raises(d.DigitError, match="style is 'cursive': choose one of 'school'"):
        d.stored_drawing("cursive", 7)
    with pytest.raises(d.DigitError, match="digit is 10: choose one of 0, 1"):
        d.stored_drawing("school", 10)
