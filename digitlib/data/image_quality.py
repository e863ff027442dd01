"""Images that are dark, light, blurry, nearly empty, or of another size than the others."""

from __future__ import annotations

import os

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
    "dark": 0.32,
    "light": 0.05,
    "blurry": 0.29,
    "low_information": 0.3,
    "odd_aspect_ratio": 0.35,
    "odd_size": 0.5,
}
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
        split = images.split
        names, paths = split["filename"].tolist(), list(paths_of(images, split))
    else:
        names = list_images(images)
        paths = [str(resolve(images) / name) for name in names]
    results = progress(read_files(paths), len(paths), "Measuring images")
    rows = [
        (name, path, _measure(one.image))
        for name, path, one in zip(names, paths, results, strict=True)
        if not one.reason
    ]
    names, paths = [row[0] for row in rows], [row[1] for row in rows]
    scores, flagged = _by_cleanvision(paths) or _by_numpy(pd.DataFrame([row[2] for row in rows], columns=list(LIMITS)))
    flagged["low_information"] &= scores["low_information"] < LOW * scores["low_information"].median()
    found = [
        pd.DataFrame({"filename": names, "issue": issue, "score": scores[issue].to_numpy(float) + 0.0})[
            flagged[issue].to_numpy(bool)
        ]
        for issue in LIMITS
    ]
    return pd.concat(found).sort_values("score", kind="stable", ignore_index=True)


def _by_cleanvision(paths: list[str]) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return scores and flags of images, a row each, or nothing if cleanvision is not installed."""
    try:
        from cleanvision import Imagelab
    except ImportError:
        return None
    if not paths:
        return None
    lab = Imagelab(filepaths=paths)
    # One job: its own processes would be forks of one in which TensorFlow's threads run.
    lab.find_issues({issue: {} for issue in LIMITS}, n_jobs=1, verbose=False)
    table = lab.issues.loc[paths]
    columns = {"{}_score": float, "is_{}_issue": bool}
    scores, flagged = (
        pd.DataFrame({issue: table[name.format(issue)].astype(kind) for issue in LIMITS})
        for name, kind in columns.items()
    )
    return scores, flagged


def _by_numpy(measured: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the same scores and flags without cleanvision; ``odd_size`` holds sizes so far."""
    size = measured["odd_size"]
    low, high = size.quantile([0.25, 0.75])
    low, high = low - 3 * (high - low), high + 3 * (high - low)
    middle, gap = (low + high) / 2, high - low
    scores = measured.assign(odd_size=1 - (abs(size - middle) / (gap or middle)).clip(0, 1))
    return scores, scores < pd.Series(LIMITS | ({} if gap else {"odd_size": 1.0}))


def _measure(image: np.ndarray | None) -> dict[str, float]:
    """Return the scores of one image, uint8, shape (height, width, 1 or 3); ``odd_size`` is its mean side."""
    assert image is not None
    height, width, channels = image.shape
    squares = np.square(image, dtype=float)
    brightness = np.sqrt(squares @ [0.241, 0.691, 0.068] if channels == 3 else squares[..., 0]) / 255
    whole = Image.fromarray(image if channels == 3 else image[..., 0])
    ratio = max(1, max(height, width) / SIDE)
    small = whole.resize((max(1, int(width // ratio)), max(1, int(height // ratio)))).convert("L")
    edges = 1 - np.exp(-np.std(np.asarray(small.filter(ImageFilter.FIND_EDGES))) / 100)
    greys = 1 - np.exp(-np.std(small.histogram()) / 100)
    return {
        "dark": np.percentile(brightness, 99), "light": 1 - np.percentile(brightness, 5),
        "blurry": min(1, edges + (greys if greys > 0.18 else 0)), "low_information": min(1, whole.entropy() / 10),
        "odd_aspect_ratio": min(width / height, height / width), "odd_size": np.sqrt(width * height),
    }  # fmt: skip
