"""Images that are dark, light, blurry, nearly empty, or of another size than the others."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from PIL import ImageFilter

from digitlib.data.decoding import as_pil, read_files
from digitlib.data.sources import list_images
from digitlib.data.split import paths_of
from digitlib.files import StrPath, resolve
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


def image_issues(images: StrPath | Run) -> pd.DataFrame:
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
    measure, judge = _cleanvision() if find_spec("cleanvision") else (_measure, _judge)
    results = progress(read_files(paths), len(paths), "Measuring images")
    found = {name: measure(one.image) for name, one in zip(names, results, strict=True) if one.image is not None}
    if not found:
        return pd.DataFrame(columns=["filename", "issue", "score"])
    scores, flagged = judge(pd.DataFrame.from_dict(found, orient="index"))
    flagged["low_information"] &= scores["low_information"] < LOW * scores["low_information"].median()
    table = scores.where(flagged).melt(var_name="issue", value_name="score", ignore_index=False).dropna()
    return table.rename_axis("filename").reset_index().sort_values("score", kind="stable", ignore_index=True)


def _cleanvision() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return cleanvision's `_measure` and `_judge`, for decoded images: its own reader fails for transparent grey ones."""
    from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager

    manager = ImagePropertyIssueManager()
    ways = [manager.image_properties[issue] for issue in LIMITS]

    def judge(table: pd.DataFrame) -> list[pd.DataFrame]:
        manager.issues = pd.DataFrame(index=table.index)
        manager.update_issues(table, [*LIMITS])
        patterns = "{}_score", "is_{}_issue"
        return [manager.issues[[one.format(name) for name in LIMITS]].set_axis([*LIMITS], axis=1) for one in patterns]

    return lambda image: {name: value for way in ways for name, value in way.calculate(as_pil(image)).items()}, judge


def _judge(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scores and flags of a table with a row of `_measure` for each image."""
    size = table["odd_size"]
    low, high = size.quantile([0.25, 0.75])
    middle, gap = (low + high) / 2, 7 * (high - low)  # three times the quartiles' distance on both sides
    scores = table.assign(odd_size=1 - (abs(size - middle) / (gap or middle)).clip(0, 1))
    return scores, scores < pd.Series(LIMITS if gap else LIMITS | {"odd_size": 1.0})


def _measure(image: np.ndarray) -> dict[str, float]:
    """Return the scores of one image, uint8, shape (height, width, 1 or 3); ``odd_size`` is its mean side."""
    height, width, channels = image.shape
    squares = np.square(image, dtype=float)
    light = np.sqrt(squares @ [0.241, 0.691, 0.068] if channels == 3 else squares[..., 0]) / 255
    whole, ratio = as_pil(image), max(1, max(height, width) / SIDE)
    small = whole.resize((max(1, int(width // ratio)), max(1, int(height // ratio)))).convert("L")
    edges, greys = (
        1 - np.exp(-np.std(one) / 100) for one in (np.asarray(small.filter(ImageFilter.FIND_EDGES)), small.histogram())
    )
    return {
        "dark": np.percentile(light, 99), "light": 1 - np.percentile(light, 5),
        "blurry": min(1, edges + (greys if greys > 0.18 else 0)), "low_information": max(0, min(1, whole.entropy() / 10)),
        "odd_aspect_ratio": min(width / height, height / width), "odd_size": np.sqrt(width * height),
    }  # fmt: skip
