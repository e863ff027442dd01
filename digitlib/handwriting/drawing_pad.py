"""A pad in the notebook to draw digits on, classified as they are drawn, and the strokes as ink."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython import get_ipython
from matplotlib.figure import Figure

from digitlib.errors import DigitError
from digitlib.handwriting.mnist_format import Network, digit_predictor, to_mnist_format
from digitlib.plots import plot_images, show

HERE = Path(__file__).parent

Strokes = Sequence[Sequence[Sequence[float]]]
"""Strokes of points ``[x, y]``: from 0 to 1, x to the right and y downwards."""

SIDE, BOX, PEN = 112, 80, 10
"""Four times MNIST's image (28 pixels), its box (20 pixels) and the width of its strokes (about 2.5 pixels)."""

SMALLEST = 0.05
"""What is smaller than this share of the pad is not enlarged further: a dot stays a dot."""

MAX_POINTS = 100_000


def _web(name: str) -> str:
    return (HERE / "web" / name).read_text(encoding="utf-8")


class DrawingPad(anywidget.AnyWidget):
    """A pad to draw on with mouse, pen or finger, in JupyterLab and VS Code.

    Parameters
    ----------
    network : Classifier, Run, str or path-like
        What predicts: a classifier, a run's folder, or a ``.keras`` file.
    dark_on_light : bool, optional
        Whether the network was trained on dark digits on light paper. By default as the images of its run are.
    strokes : sequence of sequence of [x, y]
        What the pad shows until somebody draws on it; see `digitlib.handwriting.drawing_pad.rasterize`.
    example : sequence of sequence of [x, y]
        What it shows where nobody can draw: if a program such as papermill executes the notebook, a still image is kept.

    Attributes
    ----------
    strokes : list of list of [x, y]
        What the pad shows now. Setting it is like drawing it.
    predictions : list of dict
        The three most likely classes, most likely first: ``label`` and ``confidence`` (0 to 1). Empty for a blank.

    Raises
    ------
    DigitError
        If `strokes` aren't strokes.

    Examples
    --------
    >>> import keras
    >>> from digitlib import Classifier, DrawingPad
    >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    >>> pad = DrawingPad(Classifier(model, ["0", "1"]), strokes=[[[0.5, 0.2], [0.5, 0.8]]])
    >>> len(pad.predictions)
    2
    """

    _esm = _web("drawing.js") + _web("pad.js")
    _css = _web("pad.css")
    strokes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    predictions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    pixels = traitlets.Bytes(bytes(28 * 28)).tag(sync=True)
    stored = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self, network: Network, *, dark_on_light: bool | None = None, strokes: Strokes = (), example: Strokes = ()
    ) -> None:
        super().__init__()
        self._predict = digit_predictor(network, dark_on_light)
        self.observe(self._update, "strokes")
        self.strokes = list(strokes or (example if nobody_draws() else ()))
        self.stored = bool(self.strokes)  # the first stroke of somebody replaces it

    def __repr__(self) -> str:
        """Say what a page shows that can't run it."""
        return "DrawingPad (open the notebook in JupyterLab or VS Code to draw on it)"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if not nobody_draws():
            return super()._repr_mimebundle_(**options)
        return show(self._still())  # and the text of __repr__ below it

    def _still(self) -> Figure:
        """Draw the pad as it looks in use."""
        texts = [f"{one['label']} {one['confidence']:.0%}" for one in self.predictions]
        steps = [1 - rasterize(self.strokes), self.image / 255]
        return plot_images(
            steps, ["The pad", ", ".join(texts)], 2, alt="A drawing on the pad, and what the network sees"
        )

    @property
    def image(self) -> np.ndarray:
        """What the network gets: uint8, shape (28, 28), 0 is paper."""
        return np.frombuffer(self.pixels, np.uint8).reshape(28, 28)

    def _update(self, change: dict[str, Any]) -> None:
        """Predict what has been drawn, and send it to the browser."""
        image, predictions = to_mnist_format(rasterize(self.strokes)), []
        if image.any():
            row = self._predict(image[None]).iloc[0]
            pairs = [(row[f"label{end}"], float(row[f"confidence{end}"])) for end in ("", "_2", "_3")]
            predictions = [{"label": label, "confidence": share} for label, share in pairs if label]
        with self.hold_sync():
            self.pixels, self.predictions = image.tobytes(), predictions


def nobody_draws() -> bool:
    """Tell whether a program such as papermill executes the cell: it sends nothing along, JupyterLab and VS Code the cell's id."""
    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    return "metadata" in parent and not parent["metadata"] and "google.colab" not in sys.modules


def rasterize(strokes: Strokes) -> np.ndarray:
    """Draw strokes as ink on paper, at one size whatever size they were written in.

    The pen's width goes by the size of the drawing: small writing with a thick pen would be a blot to a network that
    was trained on MNIST. ``web/drawing.js`` does the same arithmetic.

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
        If `strokes` aren't strokes.

    Examples
    --------
    >>> int(rasterize([[[0.5, 0.2], [0.5, 0.8]]]).sum(axis=0).argmax())
    55
    """
    ink = np.zeros((SIDE, SIDE))
    lines = [_points(stroke) for stroke in strokes if len(stroke)]
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
        raise DigitError("strokes must be lists of points [x, y], with numbers from 0 to 1.")
    return points


def stored_drawing(style: str, character: str | int) -> Strokes:
    """Return one of the drawings that come with digitlib, as strokes.

    Parameters
    ----------
    style : str
        "school", "quick" or "continental".
    character : str or int
        "0" to "9".

    Raises
    ------
    DigitError
        If there is no such drawing.

    Examples
    --------
    >>> len(stored_drawing("continental", 7))  # the second stroke is the bar
    2
    """
    drawings = read_strokes()
    if str(character) not in drawings.get(style, ()):
        way_out = f"choose a style from {', '.join(drawings)} and a digit from 0 to 9."
        raise DigitError(f"there is no drawing of {character!r} in the style {style!r}: {way_out}")
    return drawings[style][str(character)]


def read_strokes() -> dict[str, dict[str, Strokes]]:
    """Return the drawings that come with digitlib: ``drawings[style][digit]`` are strokes as `rasterize` takes them.

    The styles are an upright school hand, a quick slanted one, and a continental one (1 with a flag, 7 with a bar,
    looped 2).

    Examples
    --------
    >>> list(read_strokes())
    ['school', 'quick', 'continental']
    """
    drawings: dict[str, dict[str, Strokes]] = json.loads((HERE / "drawings.json").read_text(encoding="utf-8"))
    return drawings
