"""One style and one set of colours for all figures, and a text for those who can't see them."""

from __future__ import annotations

import base64
import html
import io
from typing import Any, TypeVar, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#777777"
"""Colours that people with any colour vision can tell apart (Okabe and Ito, 2008)."""

LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (RED, "^"), (GREY, "v"))
"""Colour and marker of each line, so that they differ in a grey print too."""

WIDTH = 7.2
"""Inches of a figure as wide as a notebook's text."""

STORED_COLORS = 128
"""Of a stored figure: plots have no more, and their files get three times as small."""

Drawn = TypeVar("Drawn", Figure, Axes)


def use_style() -> None:
    """Set the style ``digitlib.plots.style`` for all figures that follow."""
    plt.style.use("digitlib.plots.style")


def panels(rows: int, columns: int, height: float, width: float = WIDTH) -> tuple[Figure, Any]:
    """Return a new figure of so many inches, and an array of its axes, shape (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")


def new_axes(height: float = 3.4, width: float = WIDTH, percent: str = "", **settings: Any) -> Axes:
    """Return the axes of a new figure of so many inches, those in `percent` ("x", "y" or "xy") with shares as %."""
    axes: Axes = panels(1, 1, height, width)[1][0, 0]
    for name in percent:
        getattr(axes, f"{name}axis").set_major_formatter(PercentFormatter(1))
    axes.set(**settings)
    return axes


def drawable(name: object) -> str:
    """Return a class or file name as a font can show it: bytes that aren't UTF-8 as their numbers."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def reach(value: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    """Return how far error bars reach below and above `value`, shape (2, n)."""
    # Rounding can put a bound on the wrong side by 1e-17, which matplotlib refuses.
    return np.clip([value - low, high - value], 0, None)


def describe(drawn: Drawn, alt: str) -> Drawn:
    """Keep with a figure what it shows, in one or two sentences that `show` hands to screen readers, and return it."""
    figure_of(drawn).set_label(alt)
    return drawn


def alt_text(drawn: Figure | Axes) -> str:
    """Return what `describe` has kept, or else the titles in the figure."""
    figure = figure_of(drawn)
    return str(figure.get_label()) or "; ".join(filter(None, (axes.get_title() for axes in figure.axes)))


def show(drawn: Figure | Axes, alt: str = "") -> None:
    """Show a figure below the cell, with its alternative text, and close it.

    Neither JupyterLab 4 nor nbconvert 7 nor MyST-NB 1 reads a text for an output of type image/png. So the figure
    goes into the notebook as HTML, an ``<img>`` with everything inside. In a program outside of Jupyter, a window
    opens if there is a screen.

    Parameters
    ----------
    drawn : matplotlib.figure.Figure or matplotlib.axes.Axes
        As the functions ``plot_…`` return it.
    alt : str
        What the figure shows; empty for what the function that drew it says.

    Examples
    --------
    >>> import numpy as np
    >>> from digitlib import plots
    >>> figure = plots.plot_images([np.eye(28)], ["a stroke"], columns=4)
    >>> plots.alt_text(figure)
    '1 image: a stroke.'
    """
    figure = figure_of(drawn)
    if getattr(get_ipython(), "kernel", None) is None:
        if figure.canvas.required_interactive_framework:
            plt.show()
    else:
        text = alt or alt_text(figure)
        tag = f'<img alt="{html.escape(text)}" src="data:image/png;base64,{_png(figure)}">'
        display({"text/html": tag, "text/plain": f"Figure: {text}"}, raw=True)
    plt.close(figure)


def figure_of(drawn: Figure | Axes) -> Figure:
    """Return the whole figure that something is drawn in."""
    return drawn if isinstance(drawn, Figure) else cast(Figure, drawn.get_figure(root=True))


def _png(figure: Figure) -> str:
    """Return a figure as a PNG of few colours, in base64."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png")
    image = Image.open(full).convert("RGB").quantize(STORED_COLORS, dither=Image.Dither.NONE)
    image.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
