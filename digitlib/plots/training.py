"""Figures of training: one run's history, time against the number of images, and the runs of a sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from digitlib.errors import DigitError
from digitlib.plots.style import BLUE, GREY, ORANGE, RED, describe, line_axes, panels, reach, whole_percent

MOST = 25
"""Runs that a figure with a line of text for each shows; more would be too small to read."""


def plot_history(history: pd.DataFrame, best: int, part: str = "validation") -> Figure:
    """Draw accuracy (left) and loss (right) by epoch, the epoch whose weights were kept marked.

    Parameters
    ----------
    history : pandas.DataFrame
        As from `digitlib.run.read_history`.
    best : int
        The epoch whose weights were kept.
    part : str
        Which set the epochs were compared on.

    Examples
    --------
    >>> rows = [(1, 0.6, 1.2, 0.7, 0.9), (2, 0.8, 0.6, 0.8, 0.7)]
    >>> history = pd.DataFrame(rows, columns=["epoch", "accuracy", "loss", "val_accuracy", "val_loss"])
    >>> [axes.get_title() for axes in plot_history(history, best=2).axes]
    ['Model accuracy', 'Model loss']
    """
    figure, grid = panels(1, 2, 3.2)
    chosen = history.set_index("epoch").loc[best]
    for axes, name in zip(grid.flat, ("accuracy", "loss"), strict=True):
        axes.plot("epoch", name, "o-", color=BLUE, label="training (augmented)", data=history)
        axes.plot("epoch", f"val_{name}", "s--", color=ORANGE, label=part, data=history)
        axes.axvline(best, color=GREY, linestyle=":")
        star: dict[str, Any] = {"color": RED, "markersize": 15, "markerfacecolor": "none"}
        axes.plot(best, chosen[f"val_{name}"], "*", label=f"kept: epoch {best}", **star)
        axes.set(xlabel="epoch", ylabel=name, title=f"Model {name}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    grid[0, 0].yaxis.set_major_formatter(whole_percent)
    first = history.iloc[0]
    accuracy = f"accuracy goes from {first['val_accuracy']:.1%} to {chosen['val_accuracy']:.1%} in epoch {best}"
    loss = f"{part} loss from {first['val_loss']:.2f} to {chosen['val_loss']:.2f}"
    alt = f"Accuracy and loss in {len(history)} epochs, on the training and {part} set:"
    return describe(figure, f"{alt} {part} {accuracy}, which was kept; {loss}.")


def plot_sweep(table: pd.DataFrame) -> Axes:
    """Draw the validation accuracy of each run with its 95 % interval, best first, at most `MOST` of them.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.scale.sweep.read_sweep`.

    Raises
    ------
    DigitError
        If no run is done.

    Examples
    --------
    >>> accuracy = {"validation_accuracy": [0.97, 0.95], "validation_low": [0.95, 0.93], "validation_high": [0.98, 0.97]}
    >>> plot_sweep(pd.DataFrame({"run": ["001", "002"], "n_validation": 500, **accuracy})).get_xlabel()
    'validation accuracy, n = 500 images'
    """
    table = table.dropna(subset="validation_accuracy").head(MOST)
    if table.empty:
        raise DigitError("No run of this sweep is done yet: run the sweep again.")
    place, share = np.arange(len(table)), table["validation_accuracy"]
    below = f"validation accuracy, n = {table['n_validation'].iloc[0]:,.0f} images"
    title = "Validation accuracy with 95 % intervals"
    axes = line_axes(table.get("label", table["run"]).map(str), percent="x", xlabel=below, title=title)
    errors = reach(share, table["validation_low"], table["validation_high"])
    axes.errorbar(share, place, xerr=errors, fmt="o", color=BLUE, capsize=3, markersize=5)
    axes.plot(share.iloc[:1], place[:1], "*", color=RED, markersize=14, label="best", zorder=3)
    lower = table["validation_low"].iloc[0]
    axes.axvline(lower, color=GREY, linestyle=":", label="lower end of the best run's interval")
    axes.figure.legend(loc="outside lower right", ncols=2)
    within = f"Of the others, {(share > lower).sum() - 1} are within the best run's interval."
    shares = f"{share.iloc[0]:.2%} down to {share.iloc[-1]:.2%}. {within}"
    return describe(axes, f"Validation accuracy of {len(table)} runs with intervals, best first: {shares}")
