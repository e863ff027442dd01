"""Images that are dark, light, blurry, nearly empty, or of another size than the others."""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter

from digitlib.data.decoding import read_files
from digitlib.data.sources import list_images
from digitlib.data.split import paths_of
from digitlib.files import resolve
from digitlib.progress import progress
from digitlib.run import Run

LIMITS = {
    "dark": 0.32, "light": 0.05, "blurry": 0.29, "low_information": 0.3, "odd_aspect_ratio": 0.35, "odd_size": 0.5,
}  # fmt: skip
"""cleanvision's names of issues, and the scores below which it flags an image."""

LOW = 1 / 4
"""Share of the median entropy below which an image has little information: a digit on black has a fifth of a photo's."""

SIDE = 64
"""Blur is measured at no more than this many pixels a side."""


def image_issues(images: str | os.PathLike[str] | Run) -> pd.DataFrame:
    """Return the images of a folder, or of a run's split, that are worth a look for their pixels alone.

    Scores are cleanvision's, computed by cleanvision if it is installed: ``dark`` and ``light`` go by the brightest and
    darkest pixels, so that digits on black or white are neither; ``blurry`` by the edges; ``low_information`` by the
    entropy, which must also be below a quarter of the median, since cleanvision's limit alone flags every image of MNIST;
    ``odd_aspect_ratio`` by the shape; ``odd_size`` by the distance from the sizes of the others.

    Parameters
    ----------
    images : str, path-like or Run
        A folder of images, or a run that notebook 01 has prepared. Files that can't be read are left out.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``issue``, ``score`` (0 to 1, lower is worse); an image may have several rows.

    Examples
    --------
    >>> image_issues("scans")  # doctest: +SKIP
    """
    if isinstance(images, Run):
        names, paths = images.split["filename"].tolist(), list(paths_of(images, images.split))
    else:
        names, root = list_images(images), resolve(images)
        paths = [str(root / name) for name in names]
    results = progress(read_files(paths), len(paths), "Measuring images")
    measured = [_measure(one.image) if one.image is not None else None for one in results]
    names, paths = ([text for text, one in zip(texts, measured, strict=True) if one] for texts in (names, paths))
    scores, flagged = _by_cleanvision(paths) or _by_numpy(pd.DataFrame(filter(None, measured), columns=list(LIMITS)))
    flagged["low_information"] &= scores["low_information"] < LOW * scores["low_information"].median()
    table = (
        scores.where(flagged).set_axis(names).melt(var_name="issue", value_name="score", ignore_index=False).dropna()
    )
    return table.rename_axis("filename").reset_index().sort_values("score", kind="stable", ignore_index=True)


def _by_cleanvision(paths: list[str]) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return scores and flags of images, a row each, or nothing if cleanvision is not installed."""
    if not paths or find_spec("cleanvision") is None:
        return None
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=paths)
    # One job: its own processes would be forks of one in which TensorFlow's threads run.
    lab.find_issues({issue: {} for issue in LIMITS}, n_jobs=1, verbose=False)
    scores, flags = ([name.format(issue) for issue in LIMITS] for name in ("{}_score", "is_{}_issue"))
    return lab.issues[scores].set_axis([*LIMITS], axis=1), lab.issues[flags].set_axis([*LIMITS], axis=1)


def _by_numpy(measured: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the same scores and flags without cleanvision; ``odd_size`` holds sizes so far."""
    size = measured["odd_size"]
    low, high = size.quantile([0.25, 0.75])
    middle, gap = (low + high) / 2, 7 * (high - low)  # three times the quartiles' distance on both sides
    scores = measured.assign(odd_size=1 - (abs(size - middle) / (gap or middle)).clip(0, 1))
    return scores, scores < pd.Series(LIMITS if gap else LIMITS | {"odd_size": 1.0})


def _measure(image: np.ndarray) -> dict[str, float]:
    """Return the scores of one image, uint8, shape (height, width, 1 or 3); ``odd_size`` is its mean side."""
    height, width, channels = image.shape
    squares = np.square(image, dtype=float)
    light = np.sqrt(squares @ [0.241, 0.691, 0.068] if channels == 3 else squares[..., 0]) / 255
    whole, ratio = Image.fromarray(image if channels == 3 else image[..., 0]), max(1, max(height, width) / SIDE)
    small = whole.resize((max(1, int(width // ratio)), max(1, int(height // ratio)))).convert("L")
    edges, greys = (
        1 - np.exp(-np.std(one) / 100) for one in (np.asarray(small.filter(ImageFilter.FIND_EDGES)), small.histogram())
    )
    return {
        "dark": np.percentile(light, 99), "light": 1 - np.percentile(light, 5),
        "blurry": min(1, edges + (greys if greys > 0.18 else 0)), "low_information": max(0, min(1, whole.entropy() / 10)),
        "odd_aspect_ratio": min(width / height, height / width), "odd_size": np.sqrt(width * height),
    }  # fmt: skip
