"""Pictures in a notebook, with words for those who can't see them."""

from __future__ import annotations

import base64
import html
import io

import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

COLOURS = 128
"""Of a stored picture: plots have no more, and a third of the bytes is enough for them."""


def describe(figure: Figure, alt: str) -> None:
    """Keep with a figure what is to be seen in it; `show` hands it on to screen readers.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The picture.
    alt : str
        One or two sentences.
    """
    figure.set_label(alt)


def alt_text(picture: Figure | Axes) -> str:
    """Return what `describe` has kept, or else the titles in the picture.

    Parameters
    ----------
    picture : Figure or Axes
        A picture, or a part of it.

    Returns
    -------
    str
        Empty if there is neither.
    """
    figure = _figure_of(picture)
    return str(figure.get_label()) or "; ".join(filter(None, (axes.get_title() for axes in figure.axes)))


def show(picture: Figure | Axes, alt: str = "") -> None:
    """Show a picture below the cell, with its alternative text, and close it.

    Neither JupyterLab 4 nor nbconvert 7 nor MyST-NB 1 reads a text for an output of type image/png. So the picture
    goes into the notebook as HTML, an ``<img>`` with everything inside. In a program outside of Jupyter, a window
    opens if there is a screen.

    Parameters
    ----------
    picture : matplotlib.figure.Figure or matplotlib.axes.Axes
        As the functions ``plot_…`` return it.
    alt : str
        What is to be seen in it; empty for what the function that drew it says.

    Examples
    --------
    >>> import digitlib as d, numpy as np
    >>> picture = d.plot_images([np.eye(28)[..., None]], ["a stroke"], columns=4)
    >>> d.alt_text(picture)
    '1 picture: a stroke.'
    """
    figure = _figure_of(picture)
    if getattr(get_ipython(), "kernel", None) is None:
        if figure.canvas.required_interactive_framework:
            plt.show()
    else:
        text = alt or alt_text(figure)
        tag = f'<img alt="{html.escape(text)}" src="data:image/png;base64,{_png(figure)}">'
        display({"text/html": tag, "text/plain": f"Picture: {text}"}, raw=True)
    plt.close(figure)


def _figure_of(picture: Figure | Axes) -> Figure:
    figure = picture.figure if isinstance(picture, Axes) else picture
    return figure if isinstance(figure, Figure) else figure.figure  # a SubFigure's own figure


def _png(figure: Figure) -> str:
    """Return a figure as a PNG of few colours, in base64."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png")
    picture = Image.open(full).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
