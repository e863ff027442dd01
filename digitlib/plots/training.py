"""Pictures that compare the runs of a sweep: each a function of a table that returns Axes."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from digitlib.errors import DigitError
from digitlib.plots.data import BLUE, GREEN, GREY, ORANGE, RED, WIDTH, drawable
from digitlib.plots.style import describe
from digitlib.scale.sweep_table import labels_of, pareto_front

MOST = 25
"""Runs that a picture with a line of words for each shows; the others would be too small to read."""

LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (RED, "^"), (GREY, "v"))


def plot_sweep(table: pd.DataFrame) -> Axes:
    """Draw the validation accuracy of each run with its 95 % interval, best first, at most `MOST` of them.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.scale.sweep_table.read_sweep`.

    Returns
    -------
    matplotlib.axes.Axes
        A point a run.

    Raises
    ------
    DigitError
        If no run has come to its end.
    """
    table = table.assign(label=labels_of(table)).dropna(subset="validation_accuracy").head(MOST)
    if table.empty:
        raise DigitError("no run of the sweep has come to its end yet: run the sweep again.")
    place = np.arange(len(table))
    figure, axes = plt.subplots(figsize=(WIDTH, 1.0 + 0.28 * len(table)), layout="constrained")
    share = table["validation_accuracy"]
    errors: Any = np.clip([share - table["validation_low"], table["validation_high"] - share], 0, None)
    axes.errorbar(share, place, xerr=errors, fmt="o", color=BLUE, capsize=3, markersize=5)
    axes.plot(share.iloc[:1], place[:1], "*", color=RED, markersize=14, label="best", zorder=3)
    axes.axvline(
        table["validation_low"].iloc[0],
        color=GREY,
        linestyle=":",
        label="lower end of the best one's interval",
    )
    axes.set_yticks(place, [drawable(text) for text in table["label"]])
    axes.set(xlabel=f"validation accuracy, n = {table['n_validation'].iloc[0]:,.0f} images")
    axes.set(title="Validation accuracy with 95 % intervals", ylim=(len(table) - 0.4, -0.6))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower right", ncols=2)
    within = int((share > table["validation_low"].iloc[0]).sum()) - 1
    describe(
        figure,
        f"Validation accuracy of {len(table)} runs with intervals, best first: {share.iloc[0]:.2%} down to "
        f"{share.iloc[-1]:.2%}. Of the others, {within} within the best one's interval.",
    )
    return axes


def plot_histories(histories: pd.DataFrame) -> Axes:
    """Draw the validation accuracy by epoch of several runs over each other, the first one, the best, above all.

    Parameters
    ----------
    histories : pandas.DataFrame
        As from `digitlib.scale.sweep_table.histories_of`.

    Returns
    -------
    matplotlib.axes.Axes
        A line a run.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    every = list(histories.groupby("run", sort=False))
    for number, (_, rows) in reversed(list(enumerate(every))):
        color, marker = LOOKS[number] if number < len(LOOKS) else (GREY, "")
        named = drawable(rows["label"].iloc[0]) if number < len(LOOKS) else None
        axes.plot(
            rows["epoch"], rows["val_accuracy"], f"{marker}-", color=color, markersize=4, label=named,
            linewidth=2.2 if number == 0 else 1, alpha=1 if number < len(LOOKS) else 0.5,
        )  # fmt: skip
    if len(every) > len(LOOKS):
        axes.plot([], [], color=GREY, alpha=0.5, label=f"{len(every) - len(LOOKS)} others")
    axes.set(xlabel="epoch", ylabel="validation accuracy", title="How each run went, best ones in colour")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    handles, names = axes.get_legend_handles_labels()
    order = (
        [*range(len(names) - 1, -1, -1)]
        if len(every) <= len(LOOKS)
        else [*range(len(names) - 2, -1, -1), len(names) - 1]
    )
    axes.legend([handles[n] for n in order], [names[n] for n in order], loc="lower right")
    best = every[0][1]
    describe(
        figure,
        f"Validation accuracy by epoch, a line for each of {len(every)} runs. The best, {drawable(best['label'].iloc[0])}, "
        f"goes from {best['val_accuracy'].iloc[0]:.1%} to {best['val_accuracy'].iloc[-1]:.1%}.",
    )
    return axes


def plot_pareto(table: pd.DataFrame) -> Axes:
    """Draw validation accuracy against training time; runs that no other beats in both are ringed and joined by a line.

    The area of a marker grows with the number of parameters. The axis of time spans a factor of three at least, so that
    chance in the times is not spread over all of it.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.scale.sweep_table.read_sweep`.

    Returns
    -------
    matplotlib.axes.Axes
        A point a run.
    """
    done = table[table["state"] == "done"]
    front = pareto_front(table)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    axes.plot(
        front["seconds"], front["validation_accuracy"], "o--", color=GREY, zorder=1, drawstyle="steps-post",
        markersize=19, markerfacecolor="none", label="no other is both faster and better",
    )  # fmt: skip
    largest = done["parameters"].max()
    for (name, rows), (color, marker) in zip(done.groupby("recipe", sort=False), LOOKS):  # noqa: B905 - more looks than recipes
        sizes = 25 + 175 * rows["parameters"] / largest
        few, many = rows["parameters"].min(), rows["parameters"].max()
        words = f"{name}: {f'{few:,.0f} to ' if few < many else ''}{many:,.0f} parameters"
        axes.scatter(
            rows["seconds"], rows["validation_accuracy"], s=sizes, c=color, marker=marker, alpha=0.85,
            label=drawable(words), edgecolors="white",
        )  # fmt: skip
    fastest, slowest = done["seconds"].min(), done["seconds"].max()
    aside = max(1.1, (3 * fastest / slowest) ** 0.5)
    axes.set(
        xscale="log",
        xlabel="seconds of training",
        ylabel="validation accuracy",
        xlim=(fastest / aside, slowest * aside),
    )
    axes.set(title="Accuracy against time")
    describe(
        figure,
        f"Validation accuracy of {len(done)} runs against seconds of training. {len(front)} of them are beaten by no other "
        f"in both: from {front['validation_accuracy'].min():.2%} to {front['validation_accuracy'].max():.2%}.",
    )
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.margins(y=0.12)
    figure.legend(loc="outside lower center", ncols=3, markerscale=0.5)
    return axes
