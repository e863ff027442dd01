"""Strokes as ink, and the pad: predicted as one writes, without a browser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image, ImageDraw, ImageOps

import digitlib as d
import digitlib.handwriting.drawing_pad as drawing_pad
from digitlib.data.split import dark_on_light
from digitlib.evaluation import classifier
from digitlib.handwriting import DrawingPad, rasterize, read_strokes, stored_drawing, to_mnist_format
from digitlib.handwriting.drawing_pad import BOX, PEN
from digitlib.plots import alt_text

DRAWINGS = read_strokes()
LINE = [[[0.5, 0.2], [0.5, 0.8]]]


def test_ink_is_a_line_with_the_width_of_mnists_strokes_in_its_box() -> None:
    ink = rasterize(LINE)
    assert (ink.shape, ink.min(), ink.max()) == ((112, 112), 0, 1)
    rows, columns = np.nonzero(ink > 0.5)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (BOX, PEN)
    assert ink[56].sum() == pytest.approx(PEN)


@pytest.mark.parametrize("style", list(DRAWINGS))
def test_neither_size_nor_place_of_the_writing_matters(style: str) -> None:
    for strokes in DRAWINGS[style].values():
        small = [[[0.7 + 0.2 * x, 0.1 + 0.2 * y] for x, y in stroke] for stroke in strokes]
        np.testing.assert_allclose(rasterize(small), rasterize(strokes), atol=1e-9)


def test_ink_is_what_a_pen_four_times_as_fine_covers() -> None:
    strokes = [[[0.2, 0.1], [0.7, 0.4], [0.3, 0.9]]]
    fine = Image.new("L", (448, 448), 0)
    scale = 4 * (BOX - PEN) / 0.8
    points = [((x - 0.45) * scale + 224, (y - 0.5) * scale + 224) for x, y in strokes[0]]
    ImageDraw.Draw(fine).line(points, fill=255, width=4 * PEN)
    for x, y in points:
        ImageDraw.Draw(fine).ellipse((x - 2 * PEN, y - 2 * PEN, x + 2 * PEN, y + 2 * PEN), fill=255)
    difference = np.abs(rasterize(strokes) - np.asarray(fine.resize((112, 112), Image.Resampling.BOX)) / 255)
    assert difference.mean() < 0.01
    assert difference.max() < 0.4  # Pillow's own edges are rough


def test_blanks_and_dots() -> None:
    assert not rasterize([]).any()
    assert not rasterize([[]]).any()
    assert rasterize([[[0.3, 0.3]]]).sum() == pytest.approx(np.pi * PEN**2 / 4, rel=0.05)


@pytest.mark.parametrize("bad", [[[0.1, 0.2]], [[["a", "b"]]], [[[0.1, float("nan")]]], [[[1, 2, 3]]], [[[1], [2, 3]]]])
def test_what_are_no_strokes_gets_one_sentence(bad: list) -> None:
    with pytest.raises(d.DigitError, match="must be lists of points"):
        rasterize(bad)


def test_stored_drawings_are_the_ten_digits_in_three_styles() -> None:
    assert [list(drawn) for drawn in DRAWINGS.values()] == [list("0123456789")] * 3
    points = np.concatenate([line for drawn in DRAWINGS.values() for lines in drawn.values() for line in lines])
    assert 0 <= points.min() < points.max() <= 1
    assert stored_drawing("school", 7) == DRAWINGS["school"]["7"]
    for wanted in (("cursive", 7), ("school", 10)):
        with pytest.raises(d.DigitError, match="choose a style from school, quick, continental and a digit"):
            stored_drawing(*wanted)


class Thirds(classifier.Classifier):
    """Predicts by the share of ink in each third: enough to see what it was given."""

    def __init__(self, run: object = None) -> None:
        self.run = run

    def predict(self, images: np.ndarray, top: int = 3) -> pd.DataFrame:
        self.given = images
        inks = np.array([part.sum() for part in np.array_split(images[0], [9, 19], axis=1)]) / images.sum()
        ends = ("", "_2", "_3")
        pairs = zip(ends, np.argsort(-inks), strict=True)
        row = {f"label{end}": ["left", "middle", ""][place] for end, place in pairs}
        return pd.DataFrame(
            [row | {f"confidence{end}": share for end, share in zip(ends, sorted(inks)[::-1], strict=True)}]
        )


def test_the_pad_predicts_what_is_written_and_forgets_what_is_cleared() -> None:
    pad = DrawingPad(network := Thirds())
    assert pad.predictions == []
    assert not pad.image.any()
    pad.strokes = LINE
    assert [one["label"] for one in pad.predictions] == ["middle", "left"]
    np.testing.assert_array_equal(pad.image, to_mnist_format(rasterize(LINE)))
    np.testing.assert_array_equal(network.given, pad.image[None])
    pad.strokes = []
    assert pad.predictions == []
    assert not pad.image.any()


@pytest.mark.parametrize(
    ("parent", "drawn"), [({"metadata": {}}, True), ({"metadata": {"cellId": "a"}}, False), ({}, False)]
)
def test_an_example_is_on_the_pad_only_where_nobody_draws(
    monkeypatch: pytest.MonkeyPatch, parent: dict, drawn: bool
) -> None:
    shown: list = []
    monkeypatch.setattr(drawing_pad, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: parent))
    monkeypatch.setattr(drawing_pad, "show", shown.append)
    pad = DrawingPad(Thirds(), example=LINE)
    assert (pad.strokes, pad.stored) == ((LINE, True) if drawn else ([], False))
    data, _ = DisplayFormatter().format(pad)
    assert ("application/vnd.jupyter.widget-view+json" in data) is not drawn
    assert "open the notebook in JupyterLab" in data["text/plain"]
    texts = [alt_text(figure) for figure in shown]
    assert (
        texts == ["A drawing on the pad, and what the network sees, 2 images: The pad; middle 100%, left 0%."] * drawn
    )


@pytest.mark.parametrize("inverted", [False, True])
def test_the_network_gets_dark_ink_where_its_images_have_dark_ink(digits: Path, inverted: bool) -> None:
    if inverted:
        for path in (digits / "trainingSet").rglob("*.png"):
            ImageOps.invert(Image.open(path)).save(path)
    run = d.prepare(digits, "runs/a", mode="none")
    assert dark_on_light(run) is inverted
    DrawingPad(network := Thirds(run), strokes=LINE)
    assert network.given[0, 0, 0] == 255 * inverted
    DrawingPad(network, strokes=LINE, dark_on_light=not inverted)
    assert network.given[0, 0, 0] == 255 * (not inverted)
