"""Random affine transforms, drawn for a whole batch and applied in one resampling, from stored images to network input."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numba import njit, prange

from digitlib.errors import DigitError, did_you_mean, is_number

FillMode = Literal["constant", "nearest", "reflect", "wrap"]
FILL_MODES = ("constant", "nearest", "reflect", "wrap")
"""How pixels outside an image are filled, with scipy.ndimage's meanings, as in `ImageDataGenerator`."""

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
    maps: np.ndarray,
    image_shape: tuple[int, int, int],
    *,
    fill_mode: FillMode = "nearest",
    cval: float = 0.0,
    scale: float = 1.0,
) -> np.ndarray:
    r"""Look up the pixels of many images, each through its own affine map, on all cores.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (n, height, width, 1 or 3).
    maps : numpy.ndarray
        float32, shape (n, 2, 3), as from `affine_maps`.
    image_shape : tuple of int
        (height, width, channels) of the result; one stored channel is copied to three.
    cval : float
        Value outside for ``fill_mode="constant"``, in units of the stored pixels.
    scale : float
        Factor on all values.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, \*image_shape).

    Examples
    --------
    >>> half = np.array([[[2, 0, 0.5], [0, 2, 0.5]]], np.float32)
    >>> resample(np.full((1, 4, 4, 1), 7, np.uint8), half, (2, 2, 1))[0, ..., 0]
    array([[7., 7.],
           [7., 7.]], dtype=float32)
    """
    if min(images.shape[1:3]) < 2:  # neighbours are read in pairs
        thin = [(0, 0), *((0, int(side < 2)) for side in images.shape[1:3]), (0, 0)]
        images = np.pad(images, thin, mode="edge")
    (n, h, w, stored), (height, width, channels) = images.shape, image_shape
    out = np.empty((n, height, width, channels), np.float32)
    plane = out[..., 0] if channels == 1 else np.empty((n, height, width), np.float32)
    fours = np.empty((n, (h - 1) * (w - 1)), np.uint32)
    fill = FILL_MODES.index(fill_mode)
    with _ONE_AT_A_TIME:
        for channel in range(stored):
            _look_up(images[..., channel], maps, fill, f32(cval), f32(scale), fours, plane)
            if channels > 1:
                _put(plane, out, channel, channel + 1 if stored > 1 else channels)
    return out


@_compiled(inline="always")
def _folded(position, side, fill):  # type: ignore[no-untyped-def]
    """Bring a position outside the image back in, as scipy.ndimage's modes do."""
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

    A thousandth of a pixel always does, since positions are float32; of an enlarged image, all that its outermost pixels
    cover does.
    """
    if fill != CONSTANT:
        return f32(np.finfo(np.float32).max)  # infinity is not defined in fast arithmetic
    return max(f32(0.5) - f32(0.5) * f32(side) / f32(shown), f32(0)) + f32(1e-3)


@_compiled(parallel=True)
def _look_up(images, maps, fill, cval, scale, fours, out):  # type: ignore[no-untyped-def]
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
    for k in prange(len(images)):
        for r in range(h - 1):
            for c in range(w - 1):
                above = u32(images[k, r, c]) | u32(images[k, r, c + 1]) << u32(8)
                below = u32(images[k, r + 1, c]) | u32(images[k, r + 1, c + 1]) << u32(8)
                fours[k, r * (w - 1) + c] = above | below << u32(16)
        xx, yx = maps[k, 0, 0], maps[k, 1, 0]
        for r in range(height):
            x0, y0 = maps[k, 0, 1] * f32(r) + maps[k, 0, 2], maps[k, 1, 1] * f32(r) + maps[k, 1, 2]
            for c in range(width):
                x, y = xx * f32(i32(c)) + x0, yx * f32(i32(c)) + y0
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


Range = float | int | Sequence[float]

PARAMETERS = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")
"""Names as in `ImageDataGenerator.get_random_transform`: degrees, pixels, factors.

Whatever Keras's comments say, its `apply_transform` moves along the columns by `tx` and zooms them by `zx`.
"""


@dataclass(frozen=True)
class Augmentation:
    """How images are augmented, with the names and meanings of Keras's `ImageDataGenerator`.

    Attributes
    ----------
    rescale : float, optional
        Factor on the pixels; without it they stay 0 to 255.
    rotation_range : float
        Largest rotation either way, in degrees.
    width_shift_range, height_shift_range : float, int or sequence
        Largest shift either way: a share of the side below 1, pixels from 1 on; of a sequence one element is taken,
        with either sign. Width is sideways here; Keras 3.15's generator uses the width's range up and down and the
        height's sideways, which shows only where the two differ.
    shear_range : float
        Largest shear angle either way, in degrees (0.2 is next to nothing).
    zoom_range : float or pair
        ``[1 - zoom_range, 1 + zoom_range]``, or lower and upper bound; drawn for height and width apart; above 1 the
        image shrinks.
    horizontal_flip, vertical_flip : bool
        Mirror every second image at random. A mirrored 2 is not a digit.
    fill_mode : {"nearest", "constant", "reflect", "wrap"}
        How pixels outside the image are filled.
    cval : float
        The value outside for ``fill_mode="constant"``, before `rescale`.

    Examples
    --------
    >>> Augmentation(rotation_range=15).changes_places
    True
    """

    rescale: float | None = None
    rotation_range: float = 0.0
    width_shift_range: Range = 0.0
    height_shift_range: Range = 0.0
    shear_range: float = 0.0
    zoom_range: Range = 0.0
    horizontal_flip: bool = False
    vertical_flip: bool = False
    fill_mode: FillMode = "nearest"
    cval: float = 0.0

    def __post_init__(self) -> None:
        if self.fill_mode not in FILL_MODES:
            raise DigitError(f"fill_mode is {self.fill_mode!r}: choose one of {', '.join(FILL_MODES)}.")
        for name in ("rescale", "rotation_range", "shear_range", "cval"):
            value = getattr(self, name)
            if not is_number(value) and not (name == "rescale" and value is None):
                raise DigitError(f"{name} is {value!r}: it must be a number.")
        for name in ("width_shift_range", "height_shift_range", "zoom_range"):
            value = getattr(self, name)
            several = isinstance(value, (Sequence, np.ndarray)) and len(value) > 0 and all(map(is_number, value))
            if not is_number(value) and not several:
                raise DigitError(f"{name} is {value!r}: it must be a number, or several.")
        bounds = _zoom_bounds(self.zoom_range)
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
            raise DigitError(
                f"zoom_range is {self.zoom_range!r}: it must be a number below 1, or a pair above 0, the smaller first."
            )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Augmentation:
        """Return the augmentation with these settings, and refuse names that don't exist."""
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise DigitError(f"the generator has no setting {name!r}: {did_you_mean(name, known)}")
        return cls(**options)

    @property
    def changes_places(self) -> bool:
        """Whether pixels change place at all."""
        ranges = (self.rotation_range, self.shear_range, self.width_shift_range, self.height_shift_range)
        return (
            any(np.any(np.asarray(value) != 0) for value in ranges)
            or _zoom_bounds(self.zoom_range) != (1, 1)
            or self.horizontal_flip
            or self.vertical_flip
        )


def sample_parameters(
    augmentation: Augmentation, n: int, image_size: tuple[int, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the transform parameters of `n` images: an array of shape (n,) for each of `PARAMETERS`.

    Examples
    --------
    >>> drawn = sample_parameters(Augmentation(rotation_range=10), 3, (28, 28), np.random.default_rng(0))
    >>> drawn["theta"].round(1)
    array([ 2.7, -4.6, -9.2])
    """
    theta, tx, ty, shear, zx, zy = rng.uniform(-1, 1, (6, n))
    low, high = _zoom_bounds(augmentation.zoom_range)
    middle, half = (high + low) / 2, (high - low) / 2
    flips = rng.random((2, n)) < 0.5
    return {
        "theta": theta * augmentation.rotation_range, "shear": shear * augmentation.shear_range,
        "tx": _shift(tx, augmentation.width_shift_range, image_size[1], rng),
        "ty": _shift(ty, augmentation.height_shift_range, image_size[0], rng),
        "zx": middle + half * zx, "zy": middle + half * zy,
        "flip_horizontal": flips[0] & augmentation.horizontal_flip, "flip_vertical": flips[1] & augmentation.vertical_flip,
    }  # fmt: skip


def scale_parameters(parameters: dict[str, np.ndarray], strength: float) -> dict[str, np.ndarray]:
    """Return drawn parameters with every movement scaled by `strength` (0 to 1); flips stay as they are.

    Examples
    --------
    >>> drawn = {"theta": np.array([10.0]), "zx": np.array([1.2]), "zy": np.array([1.0])}
    >>> scale_parameters(drawn, 0.5)["theta"]
    array([5.])
    """
    weaker = {name: values * strength for name, values in parameters.items() if "flip" not in name}
    zooms = {name: 1 + (parameters[name] - 1) * strength for name in ("zx", "zy")}
    return {**parameters, **weaker, **zooms}


def affine_maps(
    parameters: dict[str, np.ndarray], image_size: tuple[int, int], stored_size: tuple[int, int]
) -> np.ndarray:
    """Compose each image's transform into one affine map, the scaling from its stored size included.

    The order is that of Keras's `apply_affine_transform` (rotation, shift, shear, zoom about the centre, then flips),
    multiplied out by hand.

    Parameters
    ----------
    parameters : dict of str to numpy.ndarray
        As from `sample_parameters`.
    image_size, stored_size : tuple of int
        (height, width) of the result and of the images as stored.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, 2, 3): maps (column, row, 1) of a result pixel to the column and row where it is looked up
        in the stored image.

    Examples
    --------
    >>> drawn = sample_parameters(Augmentation(), 1, (14, 14), np.random.default_rng(0))
    >>> affine_maps(drawn, (14, 14), (28, 28))[0]
    array([[ 2. , -0. ,  0.5],
           [ 0. ,  2. ,  0.5]], dtype=float32)
    """
    theta, shear = np.deg2rad(parameters["theta"]), np.deg2rad(parameters["shear"])
    across = parameters["zx"] * (1.0 - 2.0 * parameters["flip_horizontal"])
    down = parameters["zy"] * (1.0 - 2.0 * parameters["flip_vertical"])
    cos, sin = np.cos(theta), np.sin(theta)
    linear = np.array([[cos * across, -np.sin(theta + shear) * down], [sin * across, np.cos(theta + shear) * down]])
    shift = np.array([cos * parameters["tx"] - sin * parameters["ty"], sin * parameters["tx"] + cos * parameters["ty"]])
    sides, stored = np.array(image_size[::-1]), np.array(stored_size[::-1])
    centre, scale = sides / 2 - 0.5, stored / sides
    offset = centre[:, None] + shift - np.einsum("ijn,j->in", linear, centre)
    # A result pixel's centre (i + 1/2) lies at the same share of the side in the stored image.
    maps = np.concatenate([linear, (offset + 0.5)[:, None]], axis=1) * scale[:, None, None]
    maps[:, 2] -= 0.5
    return np.ascontiguousarray(maps.transpose(2, 0, 1), dtype=np.float32)


def _shift(drawn: np.ndarray, limit: Range, side: int, rng: np.random.Generator) -> np.ndarray:
    """Turn numbers of -1 to 1 into shifts in pixels as Keras does: a share is a bound, an int is range(int)."""
    if isinstance(limit, (int, np.integer)) and limit >= 1:
        return rng.integers(0, limit, len(drawn)) * np.sign(drawn)
    if isinstance(limit, (Sequence, np.ndarray)):
        return (
            rng.choice(np.asarray(limit, float), len(drawn))
            * np.sign(drawn)
            * (side if max(map(abs, limit)) < 1 else 1)
        )
    return drawn * limit * (side if abs(limit) < 1 else 1)


def _zoom_bounds(zoom_range: Range) -> tuple[float, ...]:
    if isinstance(zoom_range, (Sequence, np.ndarray)):
        return tuple(zoom_range)
    return 1 - zoom_range, 1 + zoom_range
