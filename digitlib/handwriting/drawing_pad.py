"""A pad in the notebook to write digits on, named by a network as they are written."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from digitlib.errors import DigitError
from digitlib.evaluation.naming import name_pictures
from digitlib.files import display_path, resolve
from digitlib.handwriting.mnist_format import to_mnist_format

if TYPE_CHECKING:
    from digitlib.training.backend import keras
    from digitlib.training.recipes import Recipe


BLANK = np.zeros((28, 28), np.uint8)


def web_file(name: str) -> str:
    """Return the text of a file in ``digitlib/web``."""
    return (files("digitlib.handwriting") / "web" / name).read_text(encoding="utf-8")


class DrawingPad(anywidget.AnyWidget):
    """A pad to write on with mouse, pen or finger, in JupyterLab and VS Code.

    Parameters
    ----------
    model, recipe, class_names
        The network that names what is written, as from `digitlib.pipeline.predict_folder.open_model`.
    dark_on_light : bool
        See `digitlib.evaluation.naming.name_pictures`; pictures in MNIST's form are light on dark.
    strokes : sequence of sequence of [x, y]
        What stands on the pad at first; see `digitlib.handwriting.drawing_pad.rasterize`.

    Attributes
    ----------
    strokes : list of list of [x, y]
        What stands on the pad now. Setting it is like drawing it.
    answers : list of dict
        The three likeliest classes, likeliest first: ``label`` and ``confidence`` (0 to 1). Empty for a blank.

    Raises
    ------
    DigitError
        If `strokes` are none.
    """

    _esm = web_file("drawing.js") + web_file("pad.js")
    _css = web_file("pad.css")
    strokes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    answers: traitlets.List[Any] = traitlets.List().tag(sync=True)
    form = traitlets.Bytes().tag(sync=True)

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        class_names: list[str],
        *,
        dark_on_light: bool = False,
        strokes: Strokes = (),
    ) -> None:
        super().__init__()
        self._network = (model, recipe, class_names)
        self._dark_ink = dark_on_light
        self.extract_features(self._name, "strokes")
        self.strokes = list(strokes)

    def __repr__(self) -> str:
        """Say what a page shows that can't run it."""
        return "DrawingPad (open the notebook in JupyterLab or VS Code to write on it)"

    @property
    def picture(self) -> np.ndarray:
        """What the network sees: uint8, shape (28, 28), 0 is paper."""
        return np.frombuffer(self.form, np.uint8).reshape(28, 28) if self.form else BLANK

    def _name(self, change: dict[str, Any]) -> None:
        """Name what has been written, and tell the browser."""
        picture = to_mnist_format(rasterize(self.strokes)) if any(self.strokes) else BLANK
        answers = []
        if picture.any():
            likely = (
                name_pictures(*self._network, picture[None], dark_on_light=self._dark_ink).iloc[0].nlargest(3)
            )
            answers = [{"label": str(label), "confidence": share} for label, share in likely.items()]
        with self.hold_sync():
            self.form, self.answers = picture.tobytes(), answers


Strokes = Sequence[Sequence[Sequence[float]]]
"""Strokes of points ``[x, y]``: from 0 to 1, x to the right and y downwards."""

SIDE, BOX, PEN = 112, 80, 10
"""Four times MNIST's picture (28 pixels), its box (20 pixels) and the width of its strokes (about 2.5 pixels)."""

SMALLEST = 0.05
"""What is smaller than this share of the pad is not enlarged further: a dot stays a dot."""

MAX_POINTS = 100_000


def rasterize(strokes: Strokes) -> np.ndarray:
    """Draw strokes as ink on paper, at one size whatever size they were written in.

    The pen's width goes by the size of the drawing: small writing with a thick pen would be a blot to a network that
    has seen MNIST. ``web/drawing.js`` does the same arithmetic.

    Parameters
    ----------
    strokes : sequence of sequence of [x, y]
        See `Strokes`; empty for a blank.

    Returns
    -------
    numpy.ndarray
        float64, shape (112, 112), 0 (paper) to 1 (ink): the share of each pixel that the pen covered.

    Raises
    ------
    DigitError
        If `strokes` are none.

    Examples
    --------
    >>> int(rasterize([[[0.5, 0.2], [0.5, 0.8]]]).sum(axis=0).argmax())
    55
    """
    lines = [_points(stroke) for stroke in strokes if len(stroke)]
    ink = np.zeros((SIDE, SIDE))
    if not lines:
        return ink
    every = np.concatenate(lines)
    low, high = every.min(axis=0), every.max(axis=0)
    scale = (BOX - PEN) / max(*(high - low), SMALLEST)
    for line in lines:
        places = (line - (low + high) / 2) * scale + SIDE / 2
        for start, end in zip(places, places[1:] if len(places) > 1 else places, strict=False):
            _draw_line(ink, start, end)
    return ink


def _draw_line(ink: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """Lay a straight line with round ends on `ink`; a pixel at the edge is covered in part."""
    reach = PEN / 2 + 1
    left, top = (max(0, math.floor(min(a, b) - reach)) for a, b in zip(start, end, strict=True))
    right, bottom = (min(SIDE, math.ceil(max(a, b) + reach)) for a, b in zip(start, end, strict=True))
    x, y = np.arange(left, right) + 0.5 - start[0], np.arange(top, bottom)[:, None] + 0.5 - start[1]
    along_x, along_y = end - start
    length = along_x**2 + along_y**2
    share = np.clip((x * along_x + y * along_y) / length, 0, 1) if length else 0.0
    distance = np.hypot(x - share * along_x, y - share * along_y)
    window = ink[top:bottom, left:right]
    np.maximum(window, np.clip(PEN / 2 + 0.5 - distance, 0, 1), out=window)


def _points(stroke: Sequence[Sequence[float]]) -> np.ndarray:
    """Return a stroke as an array of shape (n, 2)."""
    try:
        points: np.ndarray = np.asarray(stroke, dtype=float)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all() or len(points) > MAX_POINTS:
        raise DigitError("a stroke is no list of points: give each as [x, y] with numbers from 0 to 1.")
    return points


def stored_drawing(style: str, character: str | int) -> Strokes:
    """Return one of the drawings that come along.

    Parameters
    ----------
    style : str
        "school", "quick" or "continental".
    character : str or int
        What was written, "0" to "9".

    Returns
    -------
    list
        Strokes as `rasterize` takes them.

    Raises
    ------
    DigitError
        If there is no such drawing.
    """
    drawings = read_strokes()
    if style not in drawings:
        raise DigitError(f"style is {style!r}: choose one of {', '.join(map(repr, drawings))}.")
    if str(character) not in drawings[style]:
        raise DigitError(f"digit is {character!r}: choose one of {', '.join(drawings[style])}.")
    return drawings[style][str(character)]


def read_strokes(path: str | os.PathLike[str] | None = None) -> dict[str, dict[str, Strokes]]:
    """Return drawings kept in a JSON file: strokes by style, then by what was written.

    Parameters
    ----------
    path : str or path-like, optional
        By default those that come along: the ten digits in three styles of handwriting, an upright school hand, a
        quick slanted one, and a continental one (1 with a flag, 7 with a bar, looped 2).

    Returns
    -------
    dict of str to dict of str to list
        ``drawings[style][character]`` are strokes as `rasterize` takes them.

    Raises
    ------
    DigitError
        If there is no such file, or it holds something else.
    """
    file = Path(str(files("digitlib.handwriting") / "drawings.json")) if path is None else resolve(path)
    try:
        drawings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DigitError(
            f"{display_path(file)} can't be read as drawings ({error}): give a file of strokes in JSON."
        ) from error
    if not isinstance(drawings, dict) or not all(isinstance(style, dict) for style in drawings.values()):
        raise DigitError(
            f"{display_path(file)} holds no drawings: it should be {{style: {{character: strokes}}}}."
        )
    return drawings
