"""A pad in the notebook to write digits on, named by a network as they are written."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import pandas as pd
import traitlets

from digitlib.decoding import read_files
from digitlib.forms import mnist_form
from digitlib.runs import Run
from digitlib.split import paths_of, read_split
from digitlib.strokes import Strokes, ink_of

if TYPE_CHECKING:
    from digitlib.backend import keras
    from digitlib.recipes import Recipe

BLANK = np.zeros((28, 28), np.uint8)


def web_file(name: str) -> str:
    """Return the text of a file in ``digitlib/web``."""
    return (files("digitlib") / "web" / name).read_text(encoding="utf-8")


def name_pictures(
    model: keras.Model,
    recipe: Recipe,
    class_names: list[str],
    pictures: np.ndarray,
    *,
    dark_ink: bool = False,
) -> pd.DataFrame:
    """Return how likely each class is for pictures in MNIST's form.

    Parameters
    ----------
    model, recipe, class_names
        As from `digitlib.prediction.open_model`.
    pictures : numpy.ndarray
        uint8, shape (n, 28, 28): ink is 255, as `digitlib.forms.mnist_form` makes them.
    dark_ink : bool
        Whether the network has learnt dark ink on light paper; the pictures are inverted then.

    Returns
    -------
    pandas.DataFrame
        A row a picture, a column a class; shares from 0 to 1.
    """
    from digitlib.training import as_batches

    shown = 255 - pictures if dark_ink else pictures
    batches = as_batches(shown[..., None], recipe, batch_size=len(pictures))
    return pd.DataFrame(model.predict_on_batch(batches[0][0]), columns=class_names).astype(float)


def dark_ink(run: Run, n: int = 100) -> bool:
    """Say whether a run's images are dark ink on light paper, by the rims of some of them.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    n : int
        How many of its images to look at, evenly over all.

    Returns
    -------
    bool
        False as well if none of the images is there any more: MNIST is light on dark.
    """
    manifest = read_split(run)
    some = manifest.iloc[:: max(1, len(manifest) // n)]
    images = [done.image for done in read_files(paths_of(run, some), "grayscale") if done.image is not None]
    rims = [np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]) for image in images]
    return bool(rims) and float(np.median([np.median(rim) for rim in rims])) > 127


class DrawingPad(anywidget.AnyWidget):
    """A pad to write on with mouse, pen or finger, in JupyterLab and VS Code.

    Parameters
    ----------
    model, recipe, class_names
        The network that names what is written, as from `digitlib.prediction.open_model`.
    dark_ink : bool
        See `name_pictures`; pictures in MNIST's form are light on dark.
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
