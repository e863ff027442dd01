"""Images that are in a split more than once: byte for byte, or nearly."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import pairwise_distances_argmin_min

from digitlib.data.split import PARTS, pixels_of
from digitlib.files import StrPath
from digitlib.progress import progress
from digitlib.run import Run, open_run

SIDE = 28
"""Larger images are compared at this many pixels a side."""

NEAR = 0.985
"""Correlation from which two images count as near duplicates; see `near_duplicates`."""

CHUNK = 1000


def near_duplicates(run: StrPath | Run, least: float = NEAR) -> pd.DataFrame:
    """Return images that are nearly the same as one in an earlier set (training before validation before test).

    Images are compared by Pearson's correlation of their pixels, which is 1 for the same image, also when it is lighter or
    darker. Measured on 500 digits of the sample: saved as JPEG of quality 50 each keeps at least 0.988 with itself, while
    the most similar two of its 4,500 different digits reach 0.980. Shifted or rotated images are not found. Time grows with
    the square of the number of images.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    least : float
        Correlation from which a pair is returned, -1 to 1.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``class``, ``part`` of an image of a later set; ``twin``, ``twin_class``, ``twin_part`` of the most
        similar one in the sets before; ``correlation``, highest first.

    Examples
    --------
    >>> near_duplicates("runs/default")  # doctest: +SKIP
    """
    run = open_run(run)
    manifest = run.split
    pixels = _normalised(run, manifest)
    rank = manifest["part"].map({part: number for number, part in enumerate(PARTS)}).to_numpy()
    found = [pd.DataFrame(columns=["late", "early", "correlation"])]
    for number in (1, 2):
        late, early = np.flatnonzero(rank == number), np.flatnonzero(rank < number)
        if not len(late) or not len(early):
            continue
        starts = range(0, len(late), CHUNK)
        for start in progress(starts, len(starts), f"Comparing {PARTS[number]}", unit="step"):
            some = late[start : start + CHUNK]
            nearest, distance = pairwise_distances_argmin_min(pixels[some], pixels[early])
            # Of vectors of length 1, half the squared distance is 1 less the correlation.
            near = {"late": some, "early": early[nearest], "correlation": 1 - distance**2 / 2}
            found.append(pd.DataFrame(near).query("correlation >= @least"))
    pairs = pd.concat(found).sort_values("correlation", ascending=False)
    late, early = (manifest.iloc[pairs[name].astype(int)].reset_index(drop=True) for name in ("late", "early"))
    return _pairs(late, early, pairs["correlation"].to_numpy(float))


def _normalised(run: Run, manifest: pd.DataFrame) -> np.ndarray:
    """Return all images in grey as float32 vectors of mean 0 and length 1; blank ones are all 0."""
    images, rows = pixels_of(run, manifest, (SIDE, SIDE))
    grey = np.asarray(images[rows]).mean(axis=-1, dtype=np.float32).reshape(len(rows), -1)
    grey -= grey.mean(axis=1, keepdims=True)
    return grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)


def _pairs(images: pd.DataFrame, twins: pd.DataFrame, correlation: np.ndarray) -> pd.DataFrame:
    columns = ["filename", "class", "part"]
    twins = twins[columns].rename(columns={"filename": "twin", "class": "twin_class", "part": "twin_part"})
    return pd.concat([images[columns], twins], axis=1).assign(correlation=correlation)
