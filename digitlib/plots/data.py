"""Figures of the data: counts per class, images, augmented images, label issues and near-duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from digitlib.plots import style
from digitlib.plots.style import BLUE, GREY, ORANGE, RED, describe, drawable, line_axes, panels

Images = np.ndarray | Sequence[np.ndarray]
"""Images of shape (height, width), (height, width, 1) or (height, width, 3): uint8, or float in 0 to 1 or 0 to 255."""


def plot_counts(counts: pd.DataFrame) -> Axes:
    """Draw images per class, training and test set stacked, beside the mean of all classes.

    Parameters
    ----------
    counts : pandas.DataFrame
        As from `digitlib.data.class_counts.class_counts`.

    Examples
    --------
    >>> table = pd.DataFrame({"Classes": ["3", "8"], "Train_images": [8, 7], "Test_images": [2, 3], "Share": [0.5, 0.5]})
    >>> plot_counts(table).get_title()
    'Images per class and their share of all'
    """
    title = "Images per class and their share of all"
    names = counts["Classes"].map(drawable) + counts["Share"].map("  {:.0%}".format)
    axes, place = line_axes(names, title=title, xlabel="images", ylabel="class"), range(len(counts))
    train, test, total = counts["Train_images"], counts["Test_images"], counts["Train_images"] + counts["Test_images"]
    axes.barh(place, train, color=BLUE, label="TRAIN")
    axes.barh(place, test, left=train, color=ORANGE, hatch="//", edgecolor="white", linewidth=0, label="TEST")
    axes.axvline(total.mean(), color=GREY, linestyle="--", label="mean of all classes")
    axes.figure.legend(loc="outside lower right", ncols=3)
    sizes = f"{total.sum():,} images in all, {total.min():,} in the smallest class and {total.max():,} in the largest."
    return describe(axes, f"A bar for each of {len(counts)} classes, stacked from TRAIN and TEST: {sizes}")


def plot_images(
    images: Images,
    titles: Sequence[str] | None = None,
    columns: int = 10,
    colors: Sequence[str] | None = None,
    size: float | None = None,
    alt: str = "",
) -> Figure:
    """Draw images in rows.

    Parameters
    ----------
    images : array or sequence of arrays
        Each (height, width), (height, width, 1) or (height, width, 3): uint8, or float in 0 to 1 or 0 to 255.
    titles, colors : sequence of str, optional
        One an image: the line above it, and the colour of that line.
    columns : int
        Images a row.
    size : float, optional
        Width of an image in inches. By default a row fills a notebook's text, with 2 at most.
    alt : str
        What the images are, for `digitlib.plots.style.alt_text`; the titles follow it.

    Examples
    --------
    >>> figure = plot_images(np.zeros((2, 28, 28)), ["first", "second"], columns=4)
    >>> style.alt_text(figure)
    '2 images: first; second.'
    """
    titles = titles if titles is not None else [""] * len(images)
    size = size or min(2.0, style.WIDTH / columns)
    rows = max(1, -(-len(images) // columns))
    high = max((len(image) / np.shape(image)[1] for image in images), default=1)
    figure, grid = panels(rows, columns, rows * size * high, columns * size)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image in zip(grid.flat, as_pixels(images), strict=False):
        draw_image(axes, image)
    lines = style.write_titles(grid, titles, colors or ["black"] * len(titles), size - 0.06)
    figure.set_figheight(rows * (size * high + 0.06 + 0.16 * lines))
    words = "; ".join(" ".join(title.split()) for title in titles[:40]) + " …" * (len(titles) > 40)
    count = f"{alt}{', ' if alt else ''}{len(images)} image{'s' * (len(images) != 1)}"
    return describe(figure, f"{count}: {words}." if any(titles) else f"{count}.")


def as_pixels(images: Images) -> list[np.ndarray]:
    """Return images as uint8, shape (height, width) or (height, width, 3)."""
    # Floats of 0 to 1 may exceed 1 a little after resampling.
    top = 1 if all(np.asarray(image).dtype != np.uint8 and np.max(image) < 2 for image in images) else 255
    made = [np.clip(np.asarray(image) * (255 / top), 0, 255).astype(np.uint8) for image in images]
    return [image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image for image in made]


def draw_image(axes: Axes, pixels: np.ndarray) -> None:
    """Draw one of `as_pixels`; the pixels of a small image as squares, as the network gets them."""
    smooth = "auto" if max(pixels.shape[:2]) > 64 else "nearest"
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation=smooth)


def plot_augmented(originals: Images, augmented: Sequence[Images], how: str = "augmented") -> Figure:
    """Draw each original above several augmented versions of it, one column an image.

    Parameters
    ----------
    originals, augmented : array, and sequence of arrays
        As `plot_images` takes them; each of `augmented` holds a version of all originals.
    how : str
        The word above each version.

    Examples
    --------
    >>> originals = np.zeros((4, 28, 28))
    >>> style.alt_text(plot_augmented(originals, [originals, originals]))
    '4 original images in a row; below each, the same augmented (2×).'
    """
    count, more = len(originals), len(originals) * len(augmented)
    images = [pixels for batch in (originals, *augmented) for pixels in as_pixels(batch)]
    titles, colors = ["original"] * count + [how] * more, [BLUE] * count + [RED] * more
    alt = f"{count} original images in a row; below each, the same {how} ({len(augmented)}×)."
    return describe(plot_images(images, titles, count, colors), alt)


def plot_label_issues(issues: pd.DataFrame, images: Images, columns: int = 6) -> Figure:
    """Draw images with their label, the class that it likely should be, and the end of the file's name.

    Parameters
    ----------
    issues : pandas.DataFrame
        As from `digitlib.evaluation.label_quality.find_label_issues`.
    images : array or sequence of arrays
        One a row of `issues`.
    columns : int
        Images a row.

    Examples
    --------
    >>> issues = pd.DataFrame({"label": ["4"], "likely_label": ["9"], "filename": ["4/1.png"]})
    >>> style.alt_text(plot_label_issues(issues, np.zeros((1, 28, 28))))
    'Likely label errors, label → likely class, 1 image: 4 → 9? 1.png.'
    """
    names = zip(issues["label"].map(drawable), issues["likely_label"].map(drawable), issues["filename"], strict=True)
    titles = [f"{label} → {likely}?\n{short_name(filename)}" for label, likely, filename in names]
    return plot_images(images, titles, columns, alt="Likely label errors, label → likely class")


def short_name(filename: str) -> str:
    """Return a file's own name, only its end where it is long."""
    name = style.short(PurePosixPath(filename).name, 10_000)
    return name if len(name) <= 17 else "…" + name[-16:]
