"""Pictures whose label or place in the split is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digitlib.decoding import read_file
from digitlib.errors import DigitError
from digitlib.files import shown
from digitlib.plots import RED, plot_images
from digitlib.runs import Run
from digitlib.split import paths_of, read_split


def plot_label_issues(run: Run, issues: pd.DataFrame, columns: int = 6) -> Figure:
    """Draw pictures with their label, the likely one, and the name of the file.

    Parameters
    ----------
    run : Run
        Where the files are.
    issues : pandas.DataFrame
        At least one row, as from `digitlib.labels.find_label_issues`.
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
        At least one row, as from `digitlib.duplicates.near_duplicates`.
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
            raise DigitError(f"{shown(path)} can't be shown: {result.reason}. Run notebook 01 again.")
        images.append(result.image)
    return images


def _short(filename: str) -> str:
    """Return a file's own name, its end alone where it is long."""
    name = PurePosixPath(filename).name
    return name if len(name) <= 17 else "…" + name[-16:]
