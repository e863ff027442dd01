"""Pictures of how far a network can be trusted: each a function of a table that returns Axes or a Figure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from digitlib.evaluation.metrics import mistaken_for
from digitlib.plots.data import BLUE, GREEN, GREY, ORANGE, RED, WIDTH, drawable, plot_images
from digitlib.plots.style import describe
from digitlib.training.generators import ImageBatches


def plot_confusion_shares(table: pd.DataFrame) -> Axes:
    """Draw the shares of each true class that were named wrong; the full diagonal has words, but no part in the colours.

    Parameters
    ----------
    table : pandas.DataFrame
        Counts, as from `digitlib.evaluation.metrics.confusion_matrix`.

    Returns
    -------
    matplotlib.axes.Axes
        Rows are true classes, columns what they were taken for.
    """
    shares = 100 * table.div(table.sum(axis=1).clip(lower=1), axis=0).rename(index=drawable, columns=drawable)
    side, diagonal = max(4.6, 0.5 * len(table)), np.eye(len(table), dtype=bool)
    figure, axes = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    words = shares.map(lambda share: f"{share:.1f}" if share >= 0.05 else ("<.1" if share > 0 else ""))
    top = 1.5 * max(
        0.1, shares.to_numpy()[~diagonal].max(initial=0)
    )  # all colours are light enough for black words
    sns.heatmap(
        shares, annot=words, fmt="", mask=diagonal | (shares == 0), cmap="Oranges", vmin=0, vmax=top, linewidths=0.5,
        linecolor="#eeeeee", square=True, annot_kws={"fontsize": 8, "color": "black"}, ax=axes,
        cbar_kws={"label": "% of the true class", "shrink": 0.8},
    )  # fmt: skip
    for place, share in enumerate(np.diag(shares)):
        color = GREY if share > 0 else "#bbbbbb"
        axes.text(place + 0.5, place + 0.5, f"{share:.1f}", ha="center", va="center", fontsize=8, color=color)
    axes.set(xlabel="predicted", ylabel="true", title="Named wrong, in % of the true class (grey: right)")
    axes.tick_params(axis="both", rotation=0, length=0)
    axes.grid(visible=False)
    off = np.where(diagonal, 0, shares)
    true, predicted = np.unravel_index(off.argmax(), off.shape)
    describe(
        figure,
        f"Matrix of {len(table)} classes in percent of the true class. The largest share named wrong: "
        f"{off.max():.1f} % of {shares.index[true]}, taken for {shares.columns[predicted]}.",
    )
    return axes


def plot_per_class(table: pd.DataFrame) -> Axes:
    """Draw precision, recall and F1 of each class with their 95 % intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.evaluation.metrics.classification_report`.

    Returns
    -------
    matplotlib.axes.Axes
        A group of three points a class.
    """
    figure, axes = plt.subplots(figsize=(max(WIDTH, 0.6 * len(table)), 3.2), layout="constrained")
    looks = zip(("precision", "recall", "f1"), (BLUE, ORANGE, GREEN), "osD", (-0.22, 0, 0.22), strict=True)
    for name, color, marker, aside in looks:
        below, above = table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]
        errors: Any = np.clip([below, above], 0, None)  # rounding can put a bound on the wrong side by 1e-17
        axes.errorbar(
            np.arange(len(table)) + aside, table[name], errors, fmt=marker, color=color, capsize=2, markersize=4,
            label="F1" if name == "f1" else name,
        )  # fmt: skip
    axes.set_xticks(np.arange(len(table)), table["class"].map(drawable))
    axes.set(xlabel="class", title="Precision, recall and F1 of each class, with 95 % intervals")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", visible=False)
    lowest = float(table[["precision_low", "recall_low", "f1_low"]].to_numpy().min())
    axes.set_ylim(lowest - 0.22 * (1.01 - lowest), 1.01)  # room for the legend
    axes.legend(ncols=3, loc="lower center")
    worst = table.loc[table["f1"].idxmin()]
    describe(
        figure,
        f"Precision, recall and F1 of {len(table)} classes, each with its interval. The lowest F1 is {worst['f1']:.1%}, "
        f"of {drawable(worst['class'])}; the highest is {table['f1'].max():.1%}.",
    )
    return axes


def plot_most_confused(
    pairs: pd.DataFrame, predictions: pd.DataFrame, generator: ImageBatches, each: int = 4
) -> Figure:
    """Draw images of each confused pair, a row a pair: left the first taken for the second, right the reverse.

    Parameters
    ----------
    pairs : pandas.DataFrame
        As from `digitlib.evaluation.metrics.most_confused`.
    predictions, generator
        The test images' table and the generator they come from.
    each : int
        Pictures of either direction.

    Returns
    -------
    matplotlib.figure.Figure
        A row a pair.
    """
    size = generator.originals(np.array([0])).shape[1:]
    place = {name: number for number, name in enumerate(generator.filenames)}
    images: list[np.ndarray] = []
    titles: list[str] = []
    for row in pairs.itertuples():
        for true, predicted in ((row.first, row.second), (row.second, row.first)):
            found = mistaken_for(predictions, str(true), str(predicted), each)["filename"]
            shown = generator.originals(np.array([place[name] for name in found], dtype=int))
            white = [np.full(size, 255, np.uint8)] * (each - len(found))
            images += [*shown, *white]
            titles += [f"{true} → {predicted}"] * len(found) + [""] * len(white)
    return plot_images(images, titles, columns=2 * each, alt="Confused pairs, true → named")


def plot_reliability(tables: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw accuracy against confidence, beside the line on which both agree; the area of a point grows with its images.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Words of the legend, and tables as from `digitlib.evaluation.calibration.calibration_table`.

    Returns
    -------
    matplotlib.axes.Axes
        Both axes from 0 to 1.
    """
    figure, axes = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="confidence = accuracy")
    looks = cycle(zip((ORANGE, BLUE, GREEN, RED, GREY), "sod^v", strict=True))
    for (name, table), (color, marker) in zip(tables.items(), looks):  # noqa: B905 - looks have no end
        below, above = table["accuracy"] - table["accuracy_low"], table["accuracy_high"] - table["accuracy"]
        errors: Any = np.clip([below, above], 0, None)
        axes.errorbar(
            table["confidence"],
            table["accuracy"],
            errors,
            fmt="none",
            ecolor=color,
            elinewidth=0.8,
            capsize=2,
            alpha=0.6,
        )
        sizes = 6 + 250 * table["images"] / table["images"].sum()
        axes.scatter(
            table["confidence"], table["accuracy"], s=sizes, c=color, marker=marker, alpha=0.8, label=name
        )
    axes.set(xlabel="confidence", ylabel="share named right", title="Does the confidence mean what it says?")
    axes.set(xlim=(0, 1.05), ylim=(0, 1.05))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    for shown in figure.legend(loc="outside lower center").legend_handles:
        if isinstance(shown, PathCollection):
            shown.set_sizes([30])
    gaps = {
        name: np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["images"])
        for name, table in tables.items()
    }
    words = "; ".join(f"{name}: {gap:.1%}" for name, gap in gaps.items())
    describe(
        figure,
        f"Share named right against confidence, beside the diagonal. Mean distance from it by images, {words}.",
    )
    return axes


def plot_accuracy_by_confidence(table: pd.DataFrame) -> Axes:
    """Draw the mistakes among parts of equally many images, from the least sure to the surest.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.evaluation.metrics.accuracy_by_confidence`.

    Returns
    -------
    matplotlib.axes.Axes
        A bar for each part.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 2.9), layout="constrained")
    names = [f"{row.from_confidence:.0%}–\n{row.to_confidence:.1%}" for row in table.itertuples()]
    bars = axes.bar(np.arange(len(table)), table["wrong"], color=RED)
    axes.bar_label(bars, [f"{share:.1%}" for share in table["accuracy"]], fontsize=8, padding=2)
    axes.set_xticks(np.arange(len(table)), names, fontsize=8)
    axes.set(xlabel="confidence, in parts of equally many images", ylabel="named wrong")
    axes.set(
        title="Mistakes by confidence (above: share named right)", ylim=(0, table["wrong"].max() * 1.18 + 0.5)
    )
    axes.grid(axis="x", visible=False)
    wrong = ", ".join(str(number) for number in table["wrong"])
    describe(figure, f"Images named wrong, in {len(table)} bars from the least sure to the surest: {wrong}.")
    return axes


def plot_risk_coverage(tables: Mapping[str, pd.DataFrame], threshold: float) -> Axes:
    """Draw the accuracy of the answers against the share of images that get one, with the chosen threshold.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Words of the legend, and tables as from `digitlib.evaluation.selective.risk_coverage`.
    threshold : float
        Marked by a star on the last line, whose score it is for.

    Returns
    -------
    matplotlib.axes.Axes
        Across, the share of images that get an answer.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    looks = cycle(zip((ORANGE, BLUE, GREEN, RED, GREY), ("--", "-", ":", "-.", "-"), strict=True))
    for (name, table), (color, dash) in zip(tables.items(), looks):  # noqa: B905 - looks have no end
        seen = table[table["coverage"] >= 0.5]
        axes.plot(
            seen["coverage"],
            1 - seen["accuracy"],
            dash,
            color=color,
            marker="",
            label=name,
            drawstyle="steps-post",
        )
    alt = "Share of answers wrong against share of images answered; fewer answers, fewer of them wrong."
    if len(at := table[table["threshold"] >= threshold]):
        last = at.iloc[-1]
        axes.plot(last["coverage"], 1 - last["accuracy"], "*", color=RED, markersize=13)
        alt += f" At the threshold {last['coverage']:.1%} are answered, {1 - last['accuracy']:.2%} of these wrong."
    describe(figure, alt)
    axes.set(xlabel="share of images answered", ylabel="share of answers wrong")
    axes.set(title="What declining to answer gains (star: the chosen threshold)")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=2))
    axes.legend(loc="best")
    return axes


def plot_reasons(
    images: np.ndarray, maps: Mapping[str, np.ndarray], titles: list[str], columns: int = 6
) -> Figure:
    """Draw each picture above the maps of what decided, some pictures side by side.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (n, height, width, channels), uint8 or float in 0 to 1.
    maps : mapping of str to numpy.ndarray
        Name of each kind, and maps as from `digitlib.evaluation.explain`, shape (n, height, width), 0 to 1.
    titles : list of str
        One a picture.
    columns : int
        Pictures side by side.

    Returns
    -------
    matplotlib.figure.Figure
        Blocks of a row of pictures and a row for each kind of map.
    """
    kinds, blocks = ["picture", *maps], -(-len(images) // columns)
    rows = blocks * len(kinds)
    size = (WIDTH, rows * WIDTH / columns * 0.8 + 0.3 * blocks)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        block, column = divmod(number, columns)
        grey = np.asarray(image).mean(axis=-1)
        for name, axes in zip(kinds, grid[block * len(kinds) :, column], strict=False):
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
            if name in maps:
                heat = maps[name][number]
                axes.imshow(heat, cmap="inferno", alpha=0.15 + 0.6 * heat, vmin=0, vmax=1)
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
        grid[block * len(kinds), column].set_title(drawable(title), fontsize=9, parse_math=False)
    describe(
        figure,
        f"{len(images)} pictures ({', '.join(map(drawable, titles))}); below each, a map of {' and of '.join(maps)}, bright "
        "where it counted.",
    )
    return figure
