"""A pad in the notebook to write digits on, named by a network as they are written."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from digitlib.forms import mnist_form
from digitlib.naming import name_pictures
from digitlib.strokes import Strokes, ink_of

if TYPE_CHECKING:
    from digitlib.backend import keras
    from digitlib.recipes import Recipe

BLANK = np.zeros((28, 28), np.uint8)


def web_file(name: str) -> str:
    """Return the text of a file in ``digitlib/web``."""
    return (files("digitlib") / "web" / name).read_text(encoding="utf-8")


class DrawingPad(anywidget.AnyWidget):
    """A pad to write on with mouse, pen or finger, in JupyterLab and VS Code.

    Parameters
    ----------
    model, recipe, class_names
        The network that names what is written, as from `digitlib.prediction.open_model`.
    dark_ink : bool
        See `digitlib.naming.name_pictures`; pictures in MNIST's form are light on dark.
    strokes : sequence of sequence of [x, y]
        What stands on the pad at first; see `digitlib.strokes.ink_of`.

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
        dark_ink: bool = False,
        strokes: Strokes = (),
    ) -> None:
        super().__init__()
        self._network = (model, recipe, class_names)
        self._dark_ink = dark_ink
        self.observe(self._name, "strokes")
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
        picture = mnist_form(ink_of(self.strokes)) if any(self.strokes) else BLANK
        answers = []
        if picture.any():
            likely = name_pictures(*self._network, picture[None], dark_ink=self._dark_ink).iloc[0].nlargest(3)
            answers = [{"label": str(label), "confidence": share} for label, share in likely.items()]
        with self.hold_sync():
            self.form, self.answers = picture.tobytes(), answers
