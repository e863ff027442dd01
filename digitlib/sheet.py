"""Where the sheet of paper lies on a photo that also shows the table under it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, label, median_filter
from skimage.filters import threshold_otsu
from skimage.morphology import convex_hull_image

from digitlib.decoding import rim_of

SMALLEST_SHARE = 0.1
"""A sheet covers this share of the photo at least."""

LEAST_RATIO = 1.4
"""Sheet and table differ in brightness by this factor at least."""

SOLID = 0.92
"""A sheet fills this share of its convex hull at least."""

SHARP = 0.7
"""Of the difference in brightness, this share lies within three pixels at the edge of a sheet."""

EDGE = 3
"""Pixels at the sheet's edge that are left out, since they mix sheet and table."""


def find_sheet(grey: np.ndarray) -> np.ndarray:
    """Return where the sheet is; everywhere, where no table is seen around it.

    Two brightnesses (N. Otsu, 1979); the sheet is the one in a large convex
    piece with sharp edges that touches little of the photo's edge. A shadow
    that reaches in touches more, and its edge is soft.

    Parameters
    ----------
    grey : numpy.ndarray
        Float, shape (height, width), 0 to 1, a few hundred pixels a side.

    Returns
    -------
    numpy.ndarray
        bool, same shape.
    """
    everywhere = np.ones(grey.shape, bool)
    smooth = np.log(median_filter(grey, max(3, max(grey.shape) // 24 | 1)) + 0.03)
    if min(grey.shape) < 16 or np.ptp(smooth) < np.log(LEAST_RATIO):
        return everywhere
    light = smooth > threshold_otsu(smooth)
    apart = smooth[light].mean() - smooth[~light].mean()
    if apart < np.log(LEAST_RATIO):
        return everywhere
    for part in (light, ~light):
        piece = _largest(part)
        if _is_sheet(piece) and _step(np.log(grey + 0.03), piece) > SHARP * apart:
            return binary_erosion(piece, iterations=EDGE)
    return everywhere


def _largest(part: np.ndarray) -> np.ndarray:
    """Return the largest connected piece, with its holes filled."""
    pieces, number = label(part)
    if not number:
        return np.zeros_like(part)
    return binary_fill_holes(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]))


def _is_sheet(piece: np.ndarray) -> bool:
    """Tell whether a piece is as large, as convex and as far from the photo's edge as a sheet on a table."""
    share = piece.mean()
    if share < SMALLEST_SHARE:
        return False
    edge = rim_of(piece)
    short, long = sorted(piece.shape)
    # Of the photo's edge, a straight shadow that covers as much touches this share, from a side or over a corner.
    from_side, over_corner = (short + 2 * share * long) / (2 * (short + long)), np.sqrt(2 * share) / 2
    if edge.mean() > 0.95 * min(from_side, over_corner):
        return False
    return bool(piece.sum() > SOLID * convex_hull_image(piece).sum())


def _step(logarithm: np.ndarray, piece: np.ndarray) -> float:
    """Return the usual difference in brightness just inside and just outside a piece."""
    inside = binary_erosion(piece, border_value=1) & ~binary_erosion(piece, iterations=2, border_value=1)
    outside = binary_dilation(piece, iterations=2) & ~binary_dilation(piece)
    if not inside.any() or not outside.any():
        return 0.0
    return abs(float(np.median(logarithm[inside]) - np.median(logarithm[outside])))
