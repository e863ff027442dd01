"""Rows of images, each with what a network says of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digitlib.decoding import read_file
from digitlib.errors import DigitError
from digitlib.files import shown
from digitlib.gallery import guess_titles
from digitlib.generators import ImageBatches
from digitlib.plots import plot_images
from digitlib.recipes import Recipe


def plot_mistakes(wrong: pd.DataFrame, generator: ImageBatches, columns: int = 6) -> Figure:
    """Draw images that were named wrong: true class → named class, the confidence, and the end of the file's name.

    Parameters
    ----------
    wrong : pandas.DataFrame
        At least one row, as from `digitlib.evaluation.worst_mistakes`.
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


def plot_guesses(
    folder: Path, predictions: pd.DataFrame, recipe: Recipe, guesses: int = 1, columns: int = 10
) -> Figure:
    """Draw files with the likeliest classes and how likely they are.

    Parameters
    ----------
    folder : pathlib.Path
        What the names of the files are relative to.
    predictions : pandas.DataFrame
        At least one row, as from `digitlib.prediction.predict_files`; unreadable files are left out.
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
                f"{shown(folder / name)} can't be shown: {decoded.reason}. Name the files again."
            )
        images.append(decoded.image)
    titles = ["\n".join(title.split("\n")[:guesses]) for title in guess_titles(read)]
    return plot_images(images, titles, columns, alt="Images with their likeliest class and how likely it is")
