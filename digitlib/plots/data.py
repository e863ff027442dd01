"""Every picture of the series: each a function of a table that returns Axes or a Figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path, PurePosixPath

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from digitlib.data.decoding import read_file
from digitlib.data.split import paths_of, read_split
from digitlib.errors import DigitError
from digitlib.files import display_path
from digitlib.pipeline.gallery import guess_titles
from digitlib.plots.style import describe
from digitlib.run import Run
from digitlib.training.generators import ImageBatches
from digitlib.training.recipes import Recipe

BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#777777"
"""Colours that people with any colour vision can tell apart (Okabe and Ito, 2008)."""

WIDTH = 7.2
"""Inches of a picture as wide as a notebook's text."""


def use_style() -> None:
    """Set the series' one style, ``digitlib.mplstyle``, for all figures that follow."""
    plt.style.use("digitlib.plots.style")


def drawable(name: object) -> str:
    """Return a class or file name as a font can show it, with bytes that are no UTF-8 as their numbers."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def plot_counts(counts: pd.DataFrame) -> Axes:
    """Draw images per class beside the line of perfect balance.

    Parameters
    ----------
    counts : pandas.DataFrame
        As from `digitlib.data.class_counts.class_counts`.

    Returns
    -------
    matplotlib.axes.Axes
        A bar each class.
    """
    figure, axes = plt.subplots(figsize=(max(WIDTH, 0.35 * len(counts)), 3.2), layout="constrained")
    names = counts["Classes"].map(drawable)
    train = counts["Train_images"]
    axes.bar(names, train, color=BLUE, label="TRAIN")
    axes.bar(
        names, counts["Test_images"], bottom=train, color=ORANGE, hatch="//", edgecolor="white", label="TEST"
    )
    total = counts["Train_images"] + counts["Test_images"]
    axes.axhline(total.mean(), color=GREY, linestyle="--", label="equal shares")
    for place, (number, share) in enumerate(zip(total, counts["Share"], strict=True)):
        axes.annotate(f"{share:.1%}", (place, number), ha="center", va="bottom", fontsize=8)
    axes.set(
        xlabel="class",
        ylabel="images",
        title="Images per class and their share of all",
        ylim=(0, total.max() * 1.25),
    )
    axes.legend(ncols=3, loc="upper right")
    axes.grid(axis="x", visible=False)
    describe(
        figure,
        f"A bar for each of {len(counts)} classes, in two parts, TRAIN and TEST: {total.sum():,} images in all, "
        f"{total.min():,} in the rarest class and {total.max():,} in the commonest.",
    )
    return axes


def plot_images(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int = 10,
    colors: Sequence[str] | None = None,
    size: float | None = None,
    alt: str = "",
) -> Figure:
    """Draw images in rows.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        Shape (height, width, 1 or 3), uint8 or float in 0 to 1.
    titles : sequence of str
        One an image.
    columns : int
        Images a row.
    colors : sequence of str, optional
        Colour of each title.
    size : float, optional
        Width of an image in inches; as large as a row of them fits into a notebook, but not above 2, if not given.
    alt : str
        What the images are, for `digitlib.plots.style.alt_text`; the titles follow it.

    Returns
    -------
    matplotlib.figure.Figure
        With all images.
    """
    size = min(2.0, WIDTH / columns) if size is None else size
    rows = max(1, -(-len(images) // columns))
    lines = max((title.count("\n") for title in titles), default=0) + 1
    high = max((np.shape(image)[0] / np.shape(image)[1] for image in images), default=1)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(columns * size, rows * (size * high + 0.22 * lines)),
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat:
        axes.axis("off")
    for number, (axes, image, title) in enumerate(zip(grid.flat, images, titles)):  # noqa: B905 - the grid may be larger
        pixels = np.asarray(image)
        top = 255 if pixels.dtype == np.uint8 else 1
        # Pixels of a small image as squares: true to what the network sees, and small files.
        smooth = "auto" if max(pixels.shape) > 64 else "nearest"
        grey = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        axes.imshow(grey, cmap="gray", vmin=0, vmax=top, interpolation=smooth)
        axes.set_title(
            drawable(title), fontsize=8, color=colors[number] if colors else "black", parse_math=False
        )
    describe(figure, _listed(alt, titles))
    return figure


def _listed(what: str, titles: Sequence[str], most: int = 40) -> str:
    """Return what some pictures are, how many, and the first titles."""
    number = f"{len(titles)} picture{'' if len(titles) == 1 else 's'}"
    named = [drawable(" ".join(title.split())) for title in titles[:most]]
    listed = f": {'; '.join(named)}{' …' if len(titles) > most else ''}" if any(named) else ""
    return f"{what + ', ' if what else ''}{number}{listed}."


def plot_augmented(originals: np.ndarray, augmented: Sequence[np.ndarray], how: str = "varied") -> Figure:
    """Draw each original above several augmented versions of it, one column an image.

    Parameters
    ----------
    originals : numpy.ndarray
        Float in 0 to 1, shape (n, height, width, 1 or 3).
    augmented : sequence of numpy.ndarray
        Several arrays of that shape, each another version of all images.
    how : str
        What became of them, as a word.

    Returns
    -------
    matplotlib.figure.Figure
        A row of originals, and a row for each version.
    """
    images = [*originals, *(image for batch in augmented for image in batch)]
    titles = ["original"] * len(originals) + [how] * (len(images) - len(originals))
    colors = [BLUE] * len(originals) + [RED] * (len(images) - len(originals))
    figure = plot_images([np.clip(image, 0, 1) for image in images], titles, len(originals), colors)
    describe(
        figure,
        f"{len(originals)} original images in a row; below each, how it looks when {how} ({len(augmented)}×).",
    )
    return figure


def plot_history(history: pd.DataFrame, best: int, part: str = "validation") -> Figure:
    """Draw accuracy and loss by epoch, the one that was kept marked.

    Parameters
    ----------
    history : pandas.DataFrame
        As from `digitlib.run.read_history`.
    best : int
        The epoch whose weights were kept.
    part : str
        Which images the epochs were judged on.

    Returns
    -------
    matplotlib.figure.Figure
        Accuracy left, loss right.
    """
    figure, both = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained")
    chosen = history.set_index("epoch").loc[best]
    for axes, quantity in zip(both, ("accuracy", "loss"), strict=True):
        axes.plot(
            history["epoch"], history[quantity], "o-", color=BLUE, markersize=4, label="train (augmented)"
        )
        axes.plot(
            history["epoch"],
            history[f"val_{quantity}"],
            "s--",
            color=ORANGE,
            markersize=4,
            label=part,
        )
        axes.axvline(best, color=GREY, linestyle=":")
        axes.plot(
            best, chosen[f"val_{quantity}"], "*", color=RED, markersize=15, markerfacecolor="none",
            label=f"epoch kept ({best})",
        )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=quantity, title=f"Model {quantity}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    both[0].yaxis.set_major_formatter(PercentFormatter(1))
    describe(
        figure,
        f"Accuracy and loss in {len(history)} epochs, of training and {part} images: {part} accuracy goes from "
        f"{history['val_accuracy'].iloc[0]:.1%} to {chosen['val_accuracy']:.1%} in epoch {best}, which was kept; "
        f"{part} loss from {history['val_loss'].iloc[0]:.2f} to {chosen['val_loss']:.2f}.",
    )
    return figure


def plot_confusion(table: pd.DataFrame) -> Axes:
    """Draw a confusion matrix whose few mistakes stay readable beside the full diagonal.

    Colour is logarithmic; empty cells stay white and without a number.

    Parameters
    ----------
    table : pandas.DataFrame
        Counts, as from `digitlib.evaluation.metrics.confusion_matrix`.

    Returns
    -------
    matplotlib.axes.Axes
        Rows are true classes, columns what they were taken for.
    """
    table = table.rename(index=drawable, columns=drawable)
    n = len(table)
    side = max(4.6, 0.42 * n)
    figure, axes = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    labels = table.astype(str).where(table > 0, "")
    sns.heatmap(
        table, annot=labels, fmt="", mask=table == 0, cmap="Blues", norm=LogNorm(1, max(2, table.to_numpy().max())),
        linewidths=0.5, linecolor="#eeeeee", square=True, cbar_kws={"label": "images (logarithmic)", "format": "%d", "shrink": 0.8},
        annot_kws={"fontsize": 9 if n <= 12 else 7}, ax=axes,
    )  # fmt: skip
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix: test images")
    axes.tick_params(axis="both", rotation=0, length=0)
    axes.grid(visible=False)
    counts = table.to_numpy()
    right, mistakes = int(counts.trace()), counts - np.diag(np.diag(counts))
    true, predicted = np.unravel_index(mistakes.argmax(), counts.shape)
    alt = f"Matrix of {n} classes: {right:,} of {counts.sum():,} images are on the diagonal, named right."
    if mistakes.any():
        most = f"{table.index[true]} taken for {table.columns[predicted]}, {mistakes.max()} times"
        alt += f" The most frequent mistake: {most}."
    describe(figure, alt)
    return axes


def plot_growth(table: pd.DataFrame) -> Axes:
    """Draw seconds against images, both logarithmic, one line a step, with its slope in the legend.

    Parameters
    ----------
    table : pandas.DataFrame
        ``step`` (str), ``n`` (images) and ``seconds``, as from ``benchmarks/growth.py``.

    Returns
    -------
    matplotlib.axes.Axes
        A line each step.
    """
    figure, axes = plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")
    looks = cycle(zip((BLUE, ORANGE, GREEN, RED, GREY), "osD^v", strict=True))
    for (step, rows), (color, marker) in zip(table.groupby("step", sort=False), looks):  # noqa: B905 - looks have no end
        slope = np.polyfit(np.log(rows["n"]), np.log(rows["seconds"]), 1)[0]
        axes.plot(rows["n"], rows["seconds"], f"{marker}-", color=color, label=f"{step} (slope {slope:.2f})")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="images",
        ylabel="seconds",
        title="Time against the number of images",
    )
    names = ", ".join(text.get_text() for text in axes.legend().get_texts())
    describe(
        figure,
        f"Seconds against images from {table['n'].min():,} to {table['n'].max():,}, a line each: {names}.",
    )
    # Powers of ten would be formulas, which the style leaves as they are.
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return axes


def plot_top_losses(wrong: pd.DataFrame, generator: ImageBatches, columns: int = 6) -> Figure:
    """Draw images that were named wrong: true class → named class, the confidence, and the end of the file's name.

    Parameters
    ----------
    wrong : pandas.DataFrame
        At least one row, as from `digitlib.evaluation.metrics.top_losses`.
    generator : ImageBatches
        Where the images are from.
    columns : int
        Images a row.

    Returns
    -------
    matplotlib.figure.Figure
        With all images.
    """
    place = {name: number for number, name in enumerate(generator.filenames)}
    titles = [
        f"{row.true} → {row.predicted}  {row.confidence:.0%}\n{PurePosixPath(row.filename).name[-16:]}"
        for row in wrong.itertuples()
    ]
    images = list(generator.originals(np.array([place[name] for name in wrong["filename"]], dtype=int)))
    return plot_images(images, titles, columns, alt="The surest mistakes, true class → named class")


def plot_predictions(
    folder: Path, predictions: pd.DataFrame, recipe: Recipe, guesses: int = 1, columns: int = 10
) -> Figure:
    """Draw files with the likeliest classes and how likely they are.

    Parameters
    ----------
    folder : pathlib.Path
        What the names of the files are relative to.
    predictions : pandas.DataFrame
        At least one row, as from `digitlib.pipeline.predict_folder.predict_files`; unreadable files are left out.
    recipe : Recipe
        Whether in grey or in colour.
    guesses : int
        Classes above each image, 1 to 3.
    columns : int
        Images a row.

    Returns
    -------
    matplotlib.figure.Figure
        With all images.

    Raises
    ------
    DigitError
        If a file can't be read any more.
    """
    read = predictions[predictions["reason"] == ""]
    images = []
    for name in read["filename"]:
        decoded = read_file(folder / name, recipe.color_mode)
        if decoded.image is None:
            raise DigitError(
                f"{display_path(folder / name)} can't be shown: {decoded.reason}. Name the files again."
            )
        images.append(decoded.image)
    titles = ["\n".join(title.split("\n")[:guesses]) for title in guess_titles(read)]
    return plot_images(images, titles, columns, alt="Images with their likeliest class and how likely it is")


def plot_label_issues(run: Run, issues: pd.DataFrame, columns: int = 6) -> Figure:
    """Draw pictures with their label, the likely one, and the name of the file.

    Parameters
    ----------
    run : Run
        Where the files are.
    issues : pandas.DataFrame
        At least one row, as from `digitlib.evaluation.label_quality.find_label_issues`.
    columns : int
        Pictures a row.

    Returns
    -------
    matplotlib.figure.Figure
        A row a line of pictures.

    Raises
    ------
    DigitError
        If a file can't be read any more.
    """
    titles = [f"{row.label} → {row.likely_label}?\n{_short(row.filename)}" for row in issues.itertuples()]
    return plot_images(_pictures(run, issues["filename"].tolist()), titles, columns, alt="Doubtful labels")


def plot_twins(run: Run, pairs: pd.DataFrame, columns: int = 3) -> Figure:
    """Draw pictures beside their most similar one of an earlier part, in red where the labels differ.

    Parameters
    ----------
    run : Run
        Where the files are.
    pairs : pandas.DataFrame
        At least one row, as from `digitlib.data.duplicates.near_duplicates`.
    columns : int
        Pairs a row.

    Returns
    -------
    matplotlib.figure.Figure
        Each picture stands left of its twin.

    Raises
    ------
    DigitError
        If a file can't be read any more.
    """
    rows = pairs.to_dict("records")
    left, right = (_pictures(run, [row[name] for row in rows]) for name in ("filename", "twin"))
    titles = [
        f"{row['part']}: {row['class']}, {_short(row['filename'])}\n"
        f"{row['twin_part']}: {row['twin_class']}, {_short(row['twin'])}\nr = {row['correlation']:.3f}"
        for row in rows
    ]
    colors = ["black" if row["class"] == row["twin_class"] else RED for row in rows]
    return plot_images(
        list(map(_beside, left, right)), titles, columns, colors, alt="Similar pictures, in pairs"
    )


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return two pictures as one, a white gap between them."""
    height, gap = max(len(left), len(right)), max(1, left.shape[1] // 14)
    whole = np.full((height, left.shape[1] + gap + right.shape[1], 3), 255, np.uint8)
    whole[: len(left), : left.shape[1]] = left
    whole[: len(right), -right.shape[1] :] = right
    return whole


def _pictures(run: Run, filenames: Sequence[str]) -> list[np.ndarray]:
    """Return the pictures of some files of a run."""
    rows = read_split(run).drop_duplicates("filename").set_index("filename").loc[filenames].reset_index()
    images = []
    for path in paths_of(run, rows):
        result = read_file(path)
        if result.image is None:
            raise DigitError(f"{display_path(path)} can't be shown: {result.reason}. Run notebook 01 again.")
        images.append(result.image)
    return images


def _short(filename: str) -> str:
    """Return a file's own name, its end alone where it is long."""
    name = PurePosixPath(filename).name
    return name if len(name) <= 17 else "…" + name[-16:]
