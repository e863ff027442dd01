"""Strokes made thicker or thinner: the pen is another one, the digit the same."""

from __future__ import annotations

import numpy as np
from numba import prange

from digitlib.resampling import ONE_AT_A_TIME, compiled

f32 = np.float32


def thicken(images: np.ndarray, amounts: np.ndarray) -> None:
    """Make the light strokes of each image thicker or thinner, in place, on all cores.

    A pixel goes some of the way to the brightest (thicker) or darkest (thinner) of itself and the four beside it:
    grey dilation and erosion with a cross of three by three (J. Serra, 1982), in parts. On a light ground it is the
    dark strokes that become thinner where `amounts` is positive.

    Parameters
    ----------
    images : numpy.ndarray
        float32, shape (n, height, width, channels).
    amounts : numpy.ndarray
        Shape (n,), -1 (all the way to the darkest) to 1 (to the brightest); 0 leaves an image as it is.
    """
    with ONE_AT_A_TIME:
        _thicken(images, amounts.astype(np.float32))


@compiled(parallel=True)
def _thicken(images, amounts):  # type: ignore[no-untyped-def]
    _, height, width, channels = images.shape
    for k in prange(len(images)):
        amount = amounts[k]
        if amount == 0:
            continue
        before = images[k].copy()
        sign, share = f32(1) if amount > 0 else f32(-1), abs(amount)
        for r in range(height):
            above, below = max(r - 1, 0), min(r + 1, height - 1)
            for c in range(width):
                left, right = max(c - 1, 0), min(c + 1, width - 1)
                for channel in range(channels):
                    own = before[r, c, channel]
                    across = max(sign * before[r, left, channel], sign * before[r, right, channel])
                    down = max(sign * before[above, c, channel], sign * before[below, c, channel])
                    most = sign * max(max(across, down), sign * own)
                    images[k, r, c, channel] = own + (most - own) * share
