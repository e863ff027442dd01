"""Looking pixels up: one pass over a whole batch, from the stored images straight to what the network sees."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numba import njit, prange

FillMode = Literal["constant", "nearest", "reflect", "wrap"]
FILL_MODES = ("constant", "nearest", "reflect", "wrap")
"""What stands outside a picture, with scipy.ndimage's meanings, as `ImageDataGenerator` has them."""

CONSTANT, _, REFLECT, WRAP = range(len(FILL_MODES))

_ONE_AT_A_TIME = threading.Lock()
"""Not all of numba's thread pools may be entered from two threads at once."""

f32, i32, u32 = np.float32, np.int32, np.uint32


def _compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile with numba, keeping the machine code for later processes where there is a folder to keep it in."""

    def compile_lazily(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(fastmath=True, cache=True, **options)(function)
        except RuntimeError:  # neither the package nor the user has a folder that can be written to
            return njit(fastmath=True, **options)(function)

    return compile_lazily


def resample(
    images: np.ndarray,
    rows: np.ndarray,
    maps: np.ndarray,
    image_shape: tuple[int, int, int],
    *,
    fill_mode: FillMode = "nearest",
    cval: float = 0.0,
    scale: float = 1.0,
    interpolation: Literal["bilinear", "nearest"] = "bilinear",
) -> np.ndarray:
    r"""Look up the pixels of many images, each through its own affine map, on all cores.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (m, height, width, 1 or 3); may be mapped from disk.
    rows : numpy.ndarray
        int, shape (n,): which of `images` to take.
    maps : numpy.ndarray
        float32, shape (n, 2, 3): see `digitlib.affine.maps_of`.
    image_shape : tuple of int
        (height, width, channels) of the result; one stored channel is copied to three.
    fill_mode, cval
        What stands outside the picture; `cval` in units of the stored pixels.
    scale : float
        Factor on all values.
    interpolation : {"bilinear", "nearest"}
        How values between pixels are found.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, \*image_shape).
    """
    if min(images.shape[1:3]) < 2:  # neighbours are read in pairs
        thin = [(0, 0), *((0, int(side < 2)) for side in images.shape[1:3]), (0, 0)]
        images, rows = np.pad(images[rows], thin, mode="edge"), np.arange(len(rows))
    n, (h, w, stored), (height, width, channels) = len(rows), images.shape[1:], image_shape
    out = np.empty((n, height, width, channels), np.float32)
    plane = out[..., 0] if channels == 1 else np.empty((n, height, width), np.float32)
    fours = np.empty((n, (h - 1) * (w - 1)), np.uint32)
    fill, nearest = FILL_MODES.index(fill_mode), interpolation == "nearest"
    with _ONE_AT_A_TIME:
        for channel in range(stored):
            _look_up(images[..., channel], rows, maps, fill, f32(cval), f32(scale), nearest, fours, plane)
            if channels > 1:
                _put(plane, out, channel, channel + 1 if stored > 1 else channels)
    return out


@_compiled(inline="always")
def _folded(position, side, fill):  # type: ignore[no-untyped-def]
    """Bring a position outside the picture back in, as scipy.ndimage's modes do."""
    if fill == REFLECT:
        period = f32(2 * side)
        place = position + f32(0.5)
        place -= np.floor(place / period) * period
        return min(place, period - place) - f32(0.5)
    if fill == WRAP:
        last = f32(side - 1)
        return position - np.floor(position / last) * last
    return position


@_compiled(inline="always")
def _slack(side, shown, fill):  # type: ignore[no-untyped-def]
    """Return how far beyond the outermost pixels' centres a position still counts as inside.

    A thousandth of a pixel always does, since positions are float32; of an enlarged picture, all that its outermost pixels
    cover does.
    """
    if fill != CONSTANT:
        return f32(np.finfo(np.float32).max)  # infinity is not defined in fast arithmetic
    return max(f32(0.5) - f32(0.5) * f32(side) / f32(shown), f32(0)) + f32(1e-3)


@_compiled(parallel=True)
def _look_up(images, rows, maps, fill, cval, scale, nearest, fours, out):  # type: ignore[no-untyped-def]
    """Fill `out`, shape (n, height, width), from one channel of the images.

    Each pixel and its neighbours right, below and both are first put into one
    number (`fours`, one row an image), to be fetched at once. All arrays are
    indexed from the top, since a view of one within the loop would leave the
    compiler unsure whether they overlap, and it would do one pixel at a time
    where it now does sixteen.
    """
    h, w = images.shape[1:]
    height, width = out.shape[1:]
    right, bottom, stride = f32(w - 1), f32(h - 1), i32(w - 1)
    slack_x, slack_y = _slack(w, width, fill), _slack(h, height, fill)
    for k in prange(len(rows)):
        n = rows[k]
        for r in range(h - 1):
            for c in range(w - 1):
                above = u32(images[n, r, c]) | u32(images[n, r, c + 1]) << u32(8)
                below = u32(images[n, r + 1, c]) | u32(images[n, r + 1, c + 1]) << u32(8)
                fours[k, r * (w - 1) + c] = above | below << u32(16)
        xx, yx = maps[k, 0, 0], maps[k, 1, 0]
        for r in range(height):
            x0, y0 = maps[k, 0, 1] * f32(r) + maps[k, 0, 2], maps[k, 1, 1] * f32(r) + maps[k, 1, 2]
            for c in range(width):
                x, y = xx * f32(i32(c)) + x0, yx * f32(i32(c)) + y0
                if nearest:
                    x, y = np.floor(x + f32(0.5)), np.floor(y + f32(0.5))
                x, y = _folded(x, w, fill), _folded(y, h, fill)
                inner_x, inner_y = min(max(x, f32(0)), right), min(max(y, f32(0)), bottom)
                outside = (abs(x - inner_x) > slack_x) | (abs(y - inner_y) > slack_y)
                column, row = min(np.floor(inner_x), right - f32(1)), min(np.floor(inner_y), bottom - f32(1))
                dx, dy = inner_x - column, inner_y - row
                four = fours[k, i32(row) * stride + i32(column)]
                a, b = f32(i32(four & u32(255))), f32(i32(four >> u32(8) & u32(255)))
                d, e = f32(i32(four >> u32(16) & u32(255))), f32(i32(four >> u32(24)))
                upper, lower = a + (b - a) * dx, d + (e - d) * dx
                out[k, r, c] = (cval if outside else upper + (lower - upper) * dy) * scale


@_compiled(parallel=True)
def _put(plane, out, first, end):  # type: ignore[no-untyped-def]
    """Copy one plane to the channels from `first` to before `end`."""
    for k in prange(len(plane)):
        for r in range(plane.shape[1]):
            for i in range(plane.shape[2]):
                for channel in range(first, end):
                    out[k, r, i, channel] = plane[k, r, i]
