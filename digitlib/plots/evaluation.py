"""Figures of evaluation: confusion, classes, misclassified images, calibration, abstention and explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from digitlib.plots import style
from digitlib.plots.data import Images, as_pixels, draw_image, plot_images, short_name
from digitlib.plots.style import BLUE, GREEN, GREY, ORANGE, RED, describe, drawable, line_axes, new_axes, panels, reach


def plot_confusion(table: pd.DataFrame) -> Axes:
    """Draw a confusion matrix, with logarithmic colours so that single errors can be seen.

    Above 40 classes, where a matrix can't be read, bars show the 20 most frequent errors instead.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.evaluation.confusion_matrix`.

    Examples
    --------
    >>> table = pd.DataFrame([[8, 2], [0, 9]], index=["3", "8"], columns=["3", "8"])
    >>> plot_confusion(table).get_title()
    'Confusion matrix: test set'
    """
    names, counts, n = [drawable(name) for name in table.index], table.to_numpy(), len(table)
    off = np.where(np.eye(n, dtype=bool), 0, counts)
    cells = np.argsort(-off, axis=None, kind="stable")[: min(20, np.count_nonzero(off))]
    pairs, times = [f"{names[cell // n]} → {names[cell % n]}" for cell in cells], off.flat[cells]
    alt = f"{counts.trace():,} of {counts.sum():,} images are predicted correctly."
    if pairs:
        alt += f" The most frequent error, true → predicted: {pairs[0]}, {times[0]} times."
    if n > style.MOST:
        axes = line_axes(pairs, title="Most frequent errors: test set", xlabel="images", ylabel="true → predicted")
        axes.bar_label(axes.barh(range(len(pairs)), times, color=RED), padding=3, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return describe(axes, f"A bar for each of the {len(pairs)} most frequent errors of {n} classes. {alt}")
    wide, highest = 0.08 * max(map(len, names)), max(2, counts.max())
    side = min(1.6 * style.WIDTH - 0.8, max(4.6, 0.46 * n) + wide)
    small = min(8, 100 * (side - wide - 1.8) / n / len(str(highest)))  # points, so that the highest count fits its cell
    axes = new_axes(
        side, side + 0.8, xlabel="predicted", ylabel="true", title="Confusion matrix: test set", aspect="equal"
    )
    drawn = axes.pcolormesh(
        np.ma.masked_equal(counts, 0), cmap="Blues", norm=LogNorm(1, highest), linewidth=0.5, edgecolor="#eeeeee"
    )
    for row, column in np.argwhere(counts):
        color = "white" if counts[row, column] > highest**0.6 else "#222222"
        axes.text(column + 0.5, row + 0.5, counts[row, column], ha="center", va="center", fontsize=small, color=color)
    scale: dict[str, Any] = {
        "label": "images (logarithmic)",
        "format": "%d",
        "ticks": LogLocator(subs=(1, 2, 5)),
        "shrink": 0.8,
    }
    axes.figure.colorbar(drawn, ax=axes, **scale).minorticks_off()
    axes.set_xticks(np.arange(n) + 0.5, names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(np.arange(n) + 0.5, names)
    axes.invert_yaxis()
    axes.tick_params(axis="both", length=0)
    axes.grid(visible=False)
    return describe(axes, f"Matrix of {n} classes, with correct predictions on the diagonal. {alt}")


def plot_per_class(table: pd.DataFrame) -> Axes:
    """Draw precision, recall and F1 of each class with their 95 % intervals; above 40 classes, of the 40 of lowest F1.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `digitlib.evaluation.metrics.classification_report`.

    Examples
    --------
    >>> names = [name + end for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")]
    >>> table = pd.DataFrame({"class": ["3", "8"], **dict.fromkeys(names, [0.9, 0.8])})
    >>> style.alt_text(plot_per_class(table))
    'Precision, recall and F1 of 2 classes, each with its interval. The lowest F1 is 80.0%, of 8; the highest is 90.0%.'
    """
    worst, best, n = table.loc[table["f1"].idxmin()], table["f1"].max(), len(table)
    f1 = f"The lowest F1 is {worst['f1']:.1%}, of {drawable(worst['class'])}; the highest is {best:.1%}."
    title = "Precision, recall and F1 with 95 % intervals"
    if n > style.MOST:
        table, title = table.nsmallest(style.MOST, "f1"), f"{title}: the {style.MOST} classes of lowest F1"
    axes = line_axes(table["class"].map(drawable), 0.34, percent="x", ylabel="class", title=title)
    looks = zip(("precision", "recall", "f1"), (BLUE, ORANGE, GREEN), "osD", (-0.22, 0, 0.22), strict=True)
    for name, color, marker, aside in looks:
        errors = reach(table[name], table[f"{name}_low"], table[f"{name}_high"])
        label = name.replace("f1", "F1")
        axes.errorbar(
            table[name], np.arange(len(table)) + aside, xerr=errors, fmt=marker, color=color, capsize=2, label=label
        )
    axes.figure.legend(loc="outside lower right", ncols=3)
    return describe(axes, f"Precision, recall and F1 of {n} classes, each with its interval. {f1}")


def plot_top_losses(wrong: pd.DataFrame, images: Images, columns: int = 6) -> Figure:
    """Draw misclassified images: true → predicted class, the confidence, and the end of the file's name.

    Parameters
    ----------
    wrong : pandas.DataFrame
        As from `digitlib.evaluation.metrics.top_losses`.
    images : array or sequence of arrays
        One a row of `wrong`.
    columns : int
        Images a row.

    Examples
    --------
    >>> wrong = pd.DataFrame({"true": ["4"], "predicted": ["9"], "confidence": [0.98], "filename": ["4/1.png"]})
    >>> style.alt_text(plot_top_losses(wrong, np.zeros((1, 28, 28))))
    'The most confident errors, true → predicted, 1 image: 4 → 9 98% 1.png.'
    """
    table = wrong.assign(true=wrong["true"].map(drawable), predicted=wrong["predicted"].map(drawable))
    form = "{0.true} → {0.predicted}  {0.confidence:.0%}\n"
    titles = [form.format(row) + short_name(row.filename) for row in table.itertuples()]
    return plot_images(images, titles, columns, alt="The most confident errors, true → predicted")


def plot_predictions(predictions: pd.DataFrame, images: Images, guesses: int = 1, columns: int = 10) -> Figure:
    """Draw images with the most likely classes and their confidences.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `digitlib.evaluation.classifier.Classifier.predict`, without unreadable files.
    images : array or sequence of arrays
        One a row of `predictions`.
    guesses : int
        Classes above each image, 1 to 3.
    columns : int
        Images a row.

    Examples
    --------
    >>> predictions = pd.DataFrame({"label": ["3", "8"], "confidence": [0.99, 0.6]})
    >>> style.alt_text(plot_predictions(predictions, np.zeros((2, 28, 28))))
    'Images with their predicted class and its confidence, 2 images: 3 99%; 8 60%.'
    """
    names = [(f"label{end}", f"confidence{end}") for end in ("", "_2", "_3")[:guesses]]
    titles = [
        "\n".join(f"{drawable(row[label])}  {row[share]:.0%}" for label, share in names if row.get(label))
        for row in predictions.to_dict("records")
    ]
    return plot_images(images, titles, columns, alt="Images with their predicted class and its confidence")


def plot_reliability(tables: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw a reliability diagram: accuracy against confidence; the area of a point grows with its images.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        Text of the legend, and tables as from `digitlib.evaluation.calibration.calibration_table`.

    Examples
    --------
    >>> bins = {"images": [5, 20], "confidence": [0.6, 0.9], "accuracy": [0.5, 0.9]}
    >>> table = pd.DataFrame({**bins, "accuracy_low": [0.2, 0.7], "accuracy_high": [0.8, 1.0]})
    >>> plot_reliability({"as trained": table}).get_title()
    'Reliability diagram'
    """
    axes = new_axes(4.2, 4.8, "xy", title="Reliability diagram", xlabel="confidence", ylabel="accuracy")
    axes.plot([0, 1], [0, 1], "--", color=GREY, marker="", label="confidence = accuracy")
    words = []
    looks = cycle(((ORANGE, "s"), (BLUE, "o"), (GREEN, "D")))
    for (name, table), (color, marker) in zip(tables.items(), looks, strict=False):
        share, images = table["accuracy"], table["images"]
        errors = reach(share, table["accuracy_low"], table["accuracy_high"])
        axes.errorbar(
            table["confidence"], share, errors, fmt="none", ecolor=color, elinewidth=0.8, capsize=2, alpha=0.6
        )
        axes.scatter(table["confidence"], share, 6 + 250 * images / images.sum(), color, marker=marker, alpha=0.8)
        axes.plot([], [], marker, color=color, label=name)
        gap = np.average((table["confidence"] - share).abs(), weights=images)
        words.append(f"{name}: {gap:.1%}")
    axes.set(xlim=(0, 1.05), ylim=(0, 1.05))
    axes.figure.legend(loc="outside lower center")
    alt = "Accuracy against confidence, beside the diagonal. Mean distance from the diagonal, weighted by images:"
    return describe(axes, f"{alt} {'; '.join(words)}.")


def plot_explanations(
    images: Images, maps: Mapping[str, np.ndarray], titles: Sequence[str], columns: int = 6
) -> Figure:
    """Draw images, and below each the maps of the pixels that counted.

    Parameters
    ----------
    images : array or sequence of arrays
        As `digitlib.plots.data.plot_images` takes them.
    maps : mapping of str to numpy.ndarray
        Name of each kind, and maps as from `digitlib.evaluation.explain`, shape (n, height, width), 0 to 1.
    titles : sequence of str
        One an image.
    columns : int
        Images side by side.

    Examples
    --------
    >>> images, heat = np.zeros((2, 28, 28)), np.ones((2, 28, 28))
    >>> style.alt_text(plot_explanations(images, {"Grad-CAM": heat}, ["3", "8"]))
    '2 images (3, 8); below each, a map of Grad-CAM, bright where it counted.'
    """
    kinds, blocks = ["image", *maps], -(-len(images) // columns)
    rows = blocks * len(kinds)
    figure, grid = panels(rows, columns, 1)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[], frame_on=False)
        axes.grid(visible=False)
    for number, pixels in enumerate(as_pixels(images)):
        block, column = divmod(number, columns)
        grey = pixels if pixels.ndim == 2 else pixels.mean(axis=-1)
        for name, axes in zip(kinds, grid[block * len(kinds) :, column], strict=False):
            draw_image(axes, grey)
            if name in maps:
                heat = maps[name][number]
                axes.imshow(heat, cmap="inferno", alpha=0.15 + 0.6 * heat, vmin=0, vmax=1)
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
    lines = style.write_titles(grid[:: len(kinds)], titles, ["black"] * len(titles), 5.8 / columns)
    figure.set_figheight(rows * 5.8 / columns + (0.14 + 0.16 * lines) * blocks)
    shown = f"{len(images)} images ({', '.join(titles)}); below each, a map of {' and of '.join(maps)}"
    return describe(figure, f"{shown}, bright where it counted.")
