"""MNIST's format, and classifying images in it: what a drawing or a photo is brought to before a network sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pandas as pd
from PIL import Image

from digitlib.data.split import dark_on_light as has_dark_on_light
from digitlib.files import StrPath
from digitlib.run import Run

if TYPE_CHECKING:
    from digitlib.evaluation.classifier import Classifier

SIDE, BOX, CENTRE = 28, 20, 14
"""Pixels a side of an MNIST image, pixels of the digit's longer side, and the row and column of its centre of mass."""

FAINTEST = 0.05
"""Rows and columns whose ink stays below this share of the strongest do not count for the size of the digit."""

Network: TypeAlias = "Classifier | Run | StrPath"
"""A classifier, or what `Classifier.load` takes: a run's folder or a ``.keras`` file."""


def to_mnist_format(ink: np.ndarray) -> np.ndarray:
    """Bring a digit of any size into MNIST's format.

    As Y. LeCun, C. Cortes and C. Burges describe it on the MNIST page: "size
    normalized to fit in a 20x20 pixel box while preserving their aspect ratio",
    with grey levels from anti-aliasing, then moved so that "the center of mass
    of the pixels" is at the centre of 28 x 28. The move is by whole pixels, as
    theirs, and the strongest pixel becomes 255, so that a digit of MNIST comes
    back as it was, but for a grey level or two (unless its outermost row is
    fainter than `FAINTEST`).

    Parameters
    ----------
    ink : numpy.ndarray
        Float, shape (height, width), 0 is paper and 1 is ink; other numbers
        are cut off there, and NaN is paper.

    Returns
    -------
    numpy.ndarray
        uint8, shape (28, 28), bright ink on black; all black if there is no ink.

    Raises
    ------
    ValueError
        If `ink` doesn't have two dimensions.

    Examples
    --------
    >>> stroke = np.zeros((100, 100))
    >>> stroke[20:60, 70:74] = 1
    >>> image = to_mnist_format(stroke)
    >>> np.flatnonzero(image.any(axis=1))  # 20 rows, as many above the centre as below
    array([ 4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
           21, 22, 23])
    """
    if np.ndim(ink) != 2:
        raise ValueError(f"ink has shape {np.shape(ink)}: give one digit, (height, width).")
    values = np.clip(np.nan_to_num(np.asarray(ink, np.float32), posinf=1), 0, 1)
    image = np.zeros((SIDE, SIDE), np.uint8)
    if values.any():
        digit = _sized(values)
        top, left = (_start(digit.sum(axis=axis)) for axis in (1, 0))
        height, width = digit.shape
        image[top : top + height, left : left + width] = np.rint(digit / digit.max() * 255)
    return image


def _sized(ink: np.ndarray) -> np.ndarray:
    """Cut out the ink and scale it so that its longer side is `BOX` pixels."""
    there = ink >= FAINTEST * ink.max()
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    # Whole pixels for the result, and what they cover exactly of the source:
    # rounding the shorter side would make a thin 1 a quarter thinner or thicker.
    height, width = (min(BOX, math.ceil(length * scale - 1e-6)) for length in ink.shape)
    above, beside = (height / scale - ink.shape[0]) / 2, (width / scale - ink.shape[1]) / 2
    rows_more, columns_more = math.ceil(above), math.ceil(beside)
    padded = Image.fromarray(np.pad(ink, ((rows_more, rows_more), (columns_more, columns_more))))
    x, y = columns_more - beside, rows_more - above
    # Rounding may put the window's edges outside of the image by 1e-15, which Pillow refuses.
    right, bottom = min(x + width / scale, padded.width), min(y + height / scale, padded.height)
    window = (max(x, 0), max(y, 0), right, bottom)
    return np.clip(np.asarray(padded.resize((width, height), Image.Resampling.HAMMING, window)), 0, None)


def _start(mass: np.ndarray) -> int:
    """Return where a digit begins along one side, its centre of mass at `CENTRE` unless that would cut it off."""
    centre = float(np.average(np.arange(len(mass)), weights=mass))
    return int(np.clip(round(CENTRE - centre), 0, SIDE - len(mass)))


def digit_predictor(network: Network, dark_on_light: bool | None = None) -> Callable[[np.ndarray], pd.DataFrame]:
    """Return what predicts images in MNIST's format, as `Classifier.predict` does.

    Parameters
    ----------
    network : Classifier, Run, str or path-like
        See `Network`.
    dark_on_light : bool, optional
        Whether the network was trained on dark digits on light paper, so that it gets the images inverted. By default
        as the images of its run are.
    """
    classifier = as_classifier(network)
    if dark_on_light is None:
        dark_on_light = classifier.run is not None and has_dark_on_light(classifier.run)
    return lambda images: classifier.predict(255 - images if dark_on_light else images)


def as_classifier(network: Network) -> Classifier:
    """Return a classifier as it is, or the one that a path leads to."""
    from digitlib.evaluation.classifier import Classifier

    return network if isinstance(network, Classifier) else Classifier.load(network)
