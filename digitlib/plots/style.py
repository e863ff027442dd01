"""One style and one set of colours for all figures, and a text for those who can't see them."""

from __future__ import annotations

import base64
import html
import io
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise, product
from textwrap import fill
from typing import Any, TypeVar, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryLocator
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from PIL import Image

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#777777"
"""Colours that people with any colour vision can tell apart (Okabe and Ito, 2008)."""

WIDTH = 7.2
"""Inches of a figure as wide as a notebook's text."""

STORED_COLORS = 128
"""Of a stored figure: plots have no more, and their files get three times as small."""

UNSEEN = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)"
"""Style of a text that only screen readers read, also where JupyterLab's class for it is unknown."""

MOST = 40
"""Classes that a figure with a line for each shows; above, those that the network does worst at."""

FALLBACKS = (
    "DejaVu Sans", "Noto Sans", "Lohit", "Nirmala UI", "Mangal", "Kohinoor", "Devanagari MT", "Bangla MN", "Microsoft YaHei",
    "MS Gothic", "Yu Gothic", "Malgun Gothic", "PingFang", "Hiragino", "Heiti", "Apple SD Gothic Neo", "WenQuanYi",
    "Droid Sans Fallback", "Leelawadee UI", "Thonburi", "Ebrima", "Segoe UI", "FreeSans", "Arial Unicode MS",
)  # fmt: skip
"""How the names of font families begin that are searched for a name's characters, in this order."""

NUMBERS: dict[str, str] = {}
"""Names that can't be drawn, or not told apart, and the numbers drawn for them: the same in all figures."""

SHORTENED: dict[str, str] = {}
"""Drawn texts and the names that they stand for."""

Drawn = TypeVar("Drawn", Figure, Axes)


def use_style() -> None:
    """Set the style ``digitlib.plots.style`` for all figures that follow.

    Examples
    --------
    >>> use_style()  # doctest: +SKIP
    """
    plt.style.use("digitlib.plots.style")


def panels(rows: int, columns: int, height: float, width: float = WIDTH) -> tuple[Figure, Any]:
    """Return a new figure of so many inches, and an array of its axes, shape (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")


def new_axes(height: float = 3.4, width: float = WIDTH, percent: str = "", **settings: Any) -> Axes:
    """Return the axes of a new figure of so many inches, those in `percent` ("x", "y" or "xy") with shares as %."""
    axes: Axes = panels(1, 1, height, width)[1][0, 0]
    for name in percent:
        getattr(axes, f"{name}axis").set_major_formatter(whole_percent)
    axes.set(**settings)
    return axes


def whole_percent(share: float, _: int = 0) -> str:
    """Return a share at an axis in %, and nothing between whole numbers."""
    return f"{share:.0%}" if abs(100 * share - round(100 * share)) < 1e-6 else ""


def short(name: object, longest: int = 20) -> str:
    """Return a name in one line, without its middle where it is long, and bytes that aren't UTF-8 as their numbers."""
    text = " ".join(str(name).encode("utf-8", "backslashreplace").decode().split())
    return text if len(text) <= longest else f"{text[: longest // 2 - 1]}…{text[-(longest // 2) :]}"


def line_axes(names: Sequence[str], each: float = 0.28, **settings: Any) -> Axes:
    """Return the axes of a new figure with a line for each name, the first at the top."""
    axes = new_axes(min(16, 1.4 + each * len(names)), **settings)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    return axes


def drawable(name: object, longest: int = 20) -> str:
    """Return a name as it is drawn: `short`, or its number if no font has its characters or another name looks the same.

    `key_of` says what a number in a figure stands for.

    Examples
    --------
    >>> drawable("digits that people wrote by hand")
    'digits th…te by hand'
    """
    whole, text = short(name, 10_000), short(name, longest)
    if whole == text and text in SHORTENED:
        return text
    families, used = {_family_with(character) for character in text}, plt.rcParams["font.family"]
    plt.rcParams["font.family"] = used + sorted(families - {*used, ""})  # all that is drawn from now on has them
    if "" in families or SHORTENED.setdefault(text, whole) != whole:
        return NUMBERS.setdefault(whole, f"#{len(NUMBERS) + 1}")
    return text


@cache
def _family_with(character: str) -> str:
    """Return the first font family that has a character, or nothing."""
    regular = [font for font in fontManager.ttflist if font.weight == 400]
    fonts = (font for start in FALLBACKS for font in regular if font.name.startswith(start))
    return next((font.name for font in fonts if get_font(font.fname).get_char_index(ord(character))), "")


def key_of(figure: Figure) -> str:
    """Return which names the numbers in a figure stand for."""
    drawn = set(re.findall(r"#\d+", " ".join(text.get_text() for text in figure.findobj(Text))))
    return "; ".join(f"{number} = {name}" for name, number in NUMBERS.items() if number in drawn)


def write_titles(cells: np.ndarray, titles: Iterable[str], colors: Iterable[str], width: float) -> int:
    """Write a title above each image in lines no wider than `width` inches; return how many lines the longest has."""
    for axes, title, color in zip(cells.flat, titles, colors, strict=False):
        words = re.sub(r"\S+|[^\n]", lambda word: drawable(word[0], 40) or " ", str(title))
        text = axes.set_title(words, fontsize=8, color=color, family=plt.rcParams["font.family"], parse_math=False)
        letters = len(words)
        while letters > 3 and text.get_window_extent().width > width * axes.figure.dpi:
            letters -= 1
            text.set_text("\n".join(fill(line, letters) for line in words.split("\n")))
    return 1 + max(axes.get_title().count("\n") for axes in cells.flat)


def fit_ticks(figure: Figure) -> None:
    """Write the names at ticks without overlaps: turned, in smaller type, or only every few of them."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        places, locator = axis.get_majorticklocs(), axis.get_major_locator()
        if len(places) < 2 or not isinstance(locator, FixedLocator | StrCategoryLocator):
            continue
        longest = int(5.5 * figure.get_size_inches()[int(axis.axis_name == "x")])
        texts = [drawable(label.get_text(), longest) for label in axis.get_ticklabels()]
        look: Any = {"family": plt.rcParams["font.family"], "parse_math": False}
        steps = [step for step in (1, 2, 5, 10, 50, 200) if len(texts) <= 150 * step]
        for step, turn, size in product(steps, (0, 90)[: 1 + (axis.axis_name == "x")], (10, 8)):
            axis.set_ticks(places[::step], texts[::step], size=size, rotation=turn, **look)
            figure.draw_without_rendering()
            boxes = [label.get_window_extent().padded(2, 0) for label in axis.get_ticklabels()]
            if not any(one.overlaps(other) for one, other in pairwise(boxes)):
                break


def reach(value: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    """Return how far error bars reach below and above `value`, shape (2, n)."""
    # Rounding can put a bound on the wrong side by 1e-17, which matplotlib refuses.
    return np.clip([value - low, high - value], 0, None)


def describe(drawn: Drawn, alt: str) -> Drawn:
    """Keep with a figure what it shows, in one or two sentences that `show` hands to screen readers, and return it.

    Examples
    --------
    >>> figure = describe(plt.figure(), "A curve that falls from 0.7 to 0.1.")
    >>> alt_text(figure)
    'A curve that falls from 0.7 to 0.1.'
    """
    fit_ticks(figure_of(drawn))
    figure_of(drawn).set_label(alt)
    return drawn


def alt_text(drawn: Figure | Axes) -> str:
    """Return what `describe` has kept, or else the titles in the figure, and the key to its numbers.

    Examples
    --------
    >>> figure, _ = plt.subplots(subplot_kw={"title": "Loss by epoch"})
    >>> alt_text(figure)
    'Loss by epoch'
    """
    figure = figure_of(drawn)
    text = str(figure.get_label()) or "; ".join(filter(None, (axes.get_title() for axes in figure.axes)))
    return " ".join(filter(None, (text, key_of(figure)))).encode("utf-8", "backslashreplace").decode()


def show(drawn: Figure | Axes, alt: str = "") -> None:
    """Show a figure below the cell, with its alternative text, and close it.

    The figure goes into the notebook as ``image/png``, which every host shows, with the text as ``alt`` in its metadata.
    JupyterLab 4 and GitHub do not read that, so the text follows as a paragraph that only screen readers read. In a
    program outside of Jupyter, a window opens if there is a screen.

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
    if alt or not figure.get_label():
        describe(figure, alt)
    notebook = sys.modules.get("IPython")  # where there is a kernel, it is loaded
    if notebook is None or getattr(notebook.get_ipython(), "kernel", None) is None:
        if figure.canvas.required_interactive_framework:
            plt.show()
    else:
        text, key = alt_text(figure), key_of(figure)
        data = {"image/png": png_of(figure), "text/plain": f"Figure: {text}"}
        notebook.display.display(data, metadata={"image/png": {"alt": text}}, raw=True)
        words = f'<p class="jp-sr-only" style="{UNSEEN}">Figure: {html.escape(text)}</p>'
        words += f"<p>{html.escape(key)}</p>" * bool(key)
        notebook.display.display({"text/html": words, "text/plain": key}, raw=True)
    plt.close(figure)


def figure_of(drawn: Figure | Axes) -> Figure:
    """Return the whole figure that something is drawn in."""
    return drawn if isinstance(drawn, Figure) else cast(Figure, drawn.get_figure(root=True))


def png_of(figure: Figure) -> str:
    """Return a figure as a PNG of few colours, in base64."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png")
    image = Image.open(full).convert("RGB").quantize(STORED_COLORS, dither=Image.Dither.NONE)
    image.save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
