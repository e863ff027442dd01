"""Random affine transforms: parameters as `ImageDataGenerator` draws them, composed into one map an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from digitlib.errors import DigitError, meant
from digitlib.resampling import FILL_MODES, FillMode
from digitlib.values import is_number

Range = float | int | Sequence[float]

PARAMETERS = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")
"""Names as in `ImageDataGenerator.get_random_transform`: degrees, pixels, factors.

Whatever Keras's comments say, its `apply_transform` moves along the columns by `tx` and zooms them by `zx`.
"""


@dataclass(frozen=True)
class Augmentation:
    """How images are varied, with the names and meanings of Keras's `ImageDataGenerator`.

    Attributes
    ----------
    rotation_range : float
        Largest rotation either way, in degrees.
    width_shift_range, height_shift_range : float, int or sequence
        Largest shift either way: a share of the side below 1, pixels from 1
        on; of a sequence one element is taken, with either sign. Width is sideways here; Keras 3.15's generator uses
        the width's range up and down and the height's sideways, which shows only where the two differ.
    shear_range : float
        Largest shear angle either way, in degrees (0.2 is next to nothing).
    zoom_range : float or pair
        ``[1 - zoom_range, 1 + zoom_range]``, or lower and upper bound; drawn
        for height and width apart; above 1 the picture shrinks.
    horizontal_flip, vertical_flip : bool
        Mirror every second image at random. A mirrored 2 is no digit.
    fill_mode : {"nearest", "constant", "reflect", "wrap"}
        What stands outside the picture.
    cval : float
        The value outside for ``fill_mode="constant"``, before `rescale`.
    rescale : float, optional
        Factor on the pixels, such as 1/255.
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
                raise DigitError(f"{name} is {value!r}: give a number.")
        for name in ("width_shift_range", "height_shift_range", "zoom_range"):
            value = getattr(self, name)
            if not is_number(value) and not _are_numbers(value):
                raise DigitError(f"{name} is {value!r}: give a number, or several.")
        bounds = _zoom_bounds(self.zoom_range)
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
            raise DigitError(
                f"zoom_range is {self.zoom_range!r}: give a number below 1, or a pair above 0, the smaller first."
            )

    @classmethod
    def named(cls, options: dict[str, Any]) -> Augmentation:
        """Return the augmentation with these settings.

        Raises
        ------
        DigitError
            For a name that does not exist, with the nearest one that does.
        """
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise DigitError(f"the generator has no setting {name!r}: {meant(name, known)}")
        return cls(**options)

    def moves(self) -> bool:
        """Tell whether pixels change place at all."""
        ranges = (self.rotation_range, self.shear_range, self.width_shift_range, self.height_shift_range)
        still = all(np.all(np.asarray(value) == 0) for value in ranges)
        return (
            not still or _zoom_bounds(self.zoom_range) != (1, 1) or self.horizontal_flip or self.vertical_flip
        )


def draw(
    augmentation: Augmentation, n: int, image_size: tuple[int, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the transform parameters of `n` images.

    Parameters
    ----------
    augmentation : Augmentation
        The ranges.
    n : int
        Number of images.
    image_size : tuple of int
        (height, width) that shifts are shares of.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    dict of str to numpy.ndarray
        An array of shape (n,) for each of `PARAMETERS`.
    """
    low, high = _zoom_bounds(augmentation.zoom_range)
    return {
        "theta": rng.uniform(-1, 1, n) * augmentation.rotation_range,
        "tx": _draw_shift(augmentation.width_shift_range, image_size[1], n, rng),
        "ty": _draw_shift(augmentation.height_shift_range, image_size[0], n, rng),
        "shear": rng.uniform(-1, 1, n) * augmentation.shear_range,
        "zx": rng.uniform(low, high, n),
        "zy": rng.uniform(low, high, n),
        "flip_horizontal": (rng.random(n) < 0.5) & augmentation.horizontal_flip,
        "flip_vertical": (rng.random(n) < 0.5) & augmentation.vertical_flip,
    }


def weaken(parameters: dict[str, np.ndarray], strength: float) -> dict[str, np.ndarray]:
    """Return drawn parameters with every movement scaled by `strength` (0 to 1); flips stay as they are."""
    weaker = {name: values * strength for name, values in parameters.items() if "flip" not in name}
    zooms = {name: 1 + (parameters[name] - 1) * strength for name in ("zx", "zy")}
    return {**parameters, **weaker, **zooms}


def maps_of(
    parameters: dict[str, np.ndarray], image_size: tuple[int, int], stored_size: tuple[int, int]
) -> np.ndarray:
    """Compose all of each image's transform into one affine map, the scaling from its stored size included.

    The order is that of Keras's `apply_affine_transform` (rotation, shift,
    shear, zoom about the centre, then flips), multiplied out by hand.

    Parameters
    ----------
    parameters : dict of str to numpy.ndarray
        As from `draw`.
    image_size : tuple of int
        (height, width) of the result.
    stored_size : tuple of int
        (height, width) of the images as stored.

    Returns
    -------
    numpy.ndarray
        float32, shape (n, 2, 3): maps (column, row, 1) of a result pixel to the
        column and row where it is looked up in the stored image.
    """
    theta, shear = np.deg2rad(parameters["theta"]), np.deg2rad(parameters["shear"])
    across = parameters["zx"] * (1.0 - 2.0 * parameters["flip_horizontal"])
    down = parameters["zy"] * (1.0 - 2.0 * parameters["flip_vertical"])
    cos, sin = np.cos(theta), np.sin(theta)
    linear = np.array(
        [[cos * across, -np.sin(theta + shear) * down], [sin * across, np.cos(theta + shear) * down]]
    )
    shift = np.array(
        [cos * parameters["tx"] - sin * parameters["ty"], sin * parameters["tx"] + cos * parameters["ty"]]
    )
    sides, stored = np.array(image_size[::-1]), np.array(stored_size[::-1])
    centre, scale = sides / 2 - 0.5, stored / sides
    offset = centre[:, None] + shift - np.einsum("ijn,j->in", linear, centre)
    # A result pixel's centre (i + 1/2) lies at the same share of the side in the stored image.
    maps = np.concatenate([linear, (offset + 0.5)[:, None]], axis=1) * scale[:, None, None]
    maps[:, 2] -= 0.5
    return np.ascontiguousarray(maps.transpose(2, 0, 1), dtype=np.float32)


def _draw_shift(limit: Range, side: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw shifts in pixels as Keras does: a share is a bound, of a sequence one element is taken, an int is range(int)."""
    if isinstance(limit, (int, np.integer)) and limit >= 1:
        return rng.integers(0, limit, n).astype(float) * rng.choice([-1, 1], n)
    values = np.asarray(limit, dtype=float)
    signed = (
        rng.uniform(-1, 1, n) * values if values.ndim == 0 else rng.choice(values, n) * rng.choice([-1, 1], n)
    )
    return signed * side if np.max(np.abs(values)) < 1 else signed


def _zoom_bounds(zoom_range: Range) -> tuple[float, ...]:
    if isinstance(zoom_range, (Sequence, np.ndarray)):
        return tuple(zoom_range)
    return 1 - zoom_range, 1 + zoom_range


def _are_numbers(values: Any) -> bool:
    """Say whether a value is a sequence of one number or more."""
    return isinstance(values, (Sequence, np.ndarray)) and len(values) > 0 and all(map(is_number, values))
