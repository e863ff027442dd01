"""Which pixels of a photo are ink: paper and light taken off, dark on light or light on dark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold, threshold_otsu
from skimage.filters.rank import median
from skimage.morphology import convex_hull_image
from skimage.transform import resize

from digitlib.data.decoding import rim_of

LONGEST = 1600
"""Pixels of the longer side at which a photo is worked on; larger ones are scaled down."""

SHORTEST = 320
"""Pixels of the longer side of the smallest images, which are scaled up: a scan of one digit may have 28."""

COARSE = 240
"""Pixels of the longer side at which the paper is estimated, since it varies slowly."""

TINY = 100
"""Pixels of the longer side of an image that a single digit may nearly fill; its paper is taken to be of one shade."""

FAINTEST = 0.1
"""Ink changes the light by this share of the paper's at least."""

DARKEST = 0.06
"""Added to the paper's brightness (0 to 1) before dividing by it, lest the noise of black grow without limit."""


@dataclass(frozen=True)
class Ink:
    """What is written, at the scale it is worked on.

    Attributes
    ----------
    contrast : numpy.ndarray
        float32, shape (height, width): how far each pixel is from the paper, as a share of the paper's brightness;
        positive towards ink.
    mask : numpy.ndarray
        bool, same shape: where there is ink.
    scale : float
        Pixels of the photo for one of these.
    """

    contrast: np.ndarray
    mask: np.ndarray
    scale: float


def find_inks(photo: np.ndarray) -> tuple[Ink, Ink]:
    """Tell the ink of a photo from its paper, once for ink darker than the paper and once for lighter ink.

    The paper is a wide median, then the mean of what is not ink around each
    pixel; the share of its light that is missing or added doesn't depend on
    shadows. Ink is what exceeds the noise and is connected to strong ink
    (hysteresis, J. Canny, 1986).

    Parameters
    ----------
    photo : numpy.ndarray
        uint8, shape (height, width), (height, width, 1) or (height, width, 3).

    Returns
    -------
    dark, light : Ink
    """
    grey = _grey(photo)
    longest = max(grey.shape)
    wanted = min(max(longest, SHORTEST), LONGEST)
    grey, scale = ndimage.gaussian_filter(_scaled(grey, wanted).astype(np.float32), 0.8), longest / wanted
    paper, sheet = _paper(grey, tiny=longest <= TINY)
    contrast = np.where(sheet, (paper - grey) / (paper + DARKEST), 0)
    return _ink(contrast, sheet, scale), _ink(-contrast, sheet, scale)


def _ink(contrast: np.ndarray, sheet: np.ndarray, scale: float) -> Ink:
    """Return what is stronger than the noise of the paper."""
    inside = contrast[sheet]
    noise = 1.4826 * float(np.median(np.abs(inside - np.median(inside))))
    threshold = max(FAINTEST, 4 * noise)
    some = inside[inside > threshold]
    strength = float(np.quantile(some, 0.8)) if some.size else 0.0
    low, high = max(threshold, 0.4 * strength), max(threshold, 0.65 * strength)
    return Ink(contrast, apply_hysteresis_threshold(contrast, low, high), scale)


def _grey(photo: np.ndarray) -> np.ndarray:
    """Return brightness, 0 to 1."""
    pixels = np.asarray(photo, np.float32) / 255
    weights = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as in ITU-R BT.601
    return pixels @ weights if pixels.shape[2:] == (3,) else pixels.reshape(pixels.shape[:2])


def _scaled(grey: np.ndarray, longest: int) -> np.ndarray:
    """Return an image with `longest` pixels on its longer side."""
    shape = tuple(max(1, round(length * longest / max(grey.shape))) for length in grey.shape)
    return grey if shape == grey.shape else resize(grey, shape, order=1, anti_aliasing=True)


def _paper(grey: np.ndarray, tiny: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the brightness of the paper at each pixel, as if nothing were written on it, and where the sheet is."""
    if tiny:
        return np.full(grey.shape, np.median(grey), np.float32), np.ones(grey.shape, bool)
    small = _scaled(grey, COARSE)
    sheet = find_sheet(small)
    side = COARSE // 3 | 1
    levels = (np.clip(small, 0, 1) * 255).astype(np.uint8)
    paper = median(levels, np.ones((side, side), np.uint8), mask=sheet) / np.float32(255)
    # Nearer to each pixel, without what differs from that: follows the edges of shadows.
    departure = np.abs(small - paper) / (paper + DARKEST)
    plain = departure < max(FAINTEST, 2 * float(np.median(departure[sheet])))
    plain = (plain & sheet).astype(np.float32)
    near = COARSE // 16 | 1
    weight = ndimage.uniform_filter(plain, near)
    mean = ndimage.uniform_filter(small * plain, near) / np.maximum(weight, 1e-6)
    paper = np.where(weight > 0.3, mean, paper)
    return resize(paper, grey.shape, order=1).astype(np.float32), resize(sheet, grey.shape, order=0)


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
    smooth = np.log(ndimage.median_filter(grey, max(3, max(grey.shape) // 24 | 1)) + 0.03)
    if min(grey.shape) < 16 or np.ptp(smooth) < np.log(LEAST_RATIO):
        return everywhere
    light = smooth > threshold_otsu(smooth)
    apart = smooth[light].mean() - smooth[~light].mean()
    if apart < np.log(LEAST_RATIO):
        return everywhere
    for part in (light, ~light):
        pieces, _ = ndimage.label(part)
        piece = ndimage.binary_fill_holes(pieces == np.bincount(pieces[part]).argmax())
        if _is_sheet(piece) and _step(np.log(grey + 0.03), piece) > SHARP * apart:
            return ndimage.binary_erosion(piece, iterations=EDGE)
    return everywhere


def _is_sheet(piece: np.ndarray) -> bool:
    """Tell whether a piece is as large, as convex and as far from the photo's edge as a sheet on a table."""
    share = piece.mean()
    if share < SMALLEST_SHARE:
        return False
    short, long = sorted(piece.shape)
    # Of the photo's edge, a straight shadow that covers as much touches this share, from a side or over a corner.
    from_side, over_corner = (short + 2 * share * long) / (2 * (short + long)), np.sqrt(2 * share) / 2
    far = rim_of(piece).mean() <= 0.95 * min(from_side, over_corner)
    return far and bool(piece.sum() > SOLID * convex_hull_image(piece).sum())


def _step(logarithm: np.ndarray, piece: np.ndarray) -> float:
    """Return the usual difference in brightness just inside and just outside a piece."""
    inside, outside = (logarithm[ndimage.distance_transform_cdt(part, "taxicab") == 2] for part in (piece, ~piece))
    return abs(float(np.median(inside) - np.median(outside))) if inside.size and outside.size else 0.0
