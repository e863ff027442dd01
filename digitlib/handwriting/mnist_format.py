"""The form in which MNIST holds a digit: what a drawing or a photo is brought to before a network sees it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

SIDE = 28
"""Pixels a side of an MNIST image."""

BOX = 20
"""Pixels of the longer side of the digit itself."""

CENTRE = 14
"""Index of the row and the column where the centre of mass lies, to the nearest whole pixel."""

FAINTEST = 0.05
"""Rows and columns whose ink stays below this share of the strongest do not count for the size of the digit."""


def to_mnist_format(ink: np.ndarray) -> np.ndarray:
    """Bring a digit of any size into MNIST's own form.

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
        If `ink` has not two dimensions.

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
    if not values.any():
        return image
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
    margins = [
        (pixels / scale - length) / 2 for pixels, length in zip((height, width), ink.shape, strict=True)
    ]
    above, beside = (math.ceil(margin) for margin in margins)
    picture = Image.fromarray(np.pad(ink, ((above, above), (beside, beside))))
    x, y = beside - margins[1], above - margins[0]
    window = (x, y, x + width / scale, y + height / scale)
    sized = picture.resize((width, height), Image.Resampling.HAMMING, _inside(window, picture.size))
    return np.clip(np.asarray(sized), 0, None)


def _inside(
    window: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return `window` without the rounding error by which it may stick out of a picture."""
    return max(window[0], 0), max(window[1], 0), min(window[2], size[0]), min(window[3], size[1])


def _start(mass: np.ndarray) -> int:
    """Return where a digit begins along one side, its centre of mass at `CENTRE` unless that would cut it off."""
    centre = float(np.average(np.arange(len(mass)), weights=mass))
    return int(np.clip(round(CENTRE - centre), 0, SIDE - len(mass)))
