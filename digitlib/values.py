"""What values a parameter takes, for all who check what they are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from digitlib.errors import DigitError


def is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number, NumPy's too; True and False are none, though Python counts them as such."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a value is a whole or decimal number, and finite; see `is_whole`."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def as_size(image_size: Any) -> tuple[int, int]:
    """Return an image size as (height, width), in pixels; one side makes a square."""
    sides = (image_size, image_size) if is_whole(image_size) else image_size
    if (
        not isinstance(sides, Sequence)
        or len(sides) != 2
        or not all(is_whole(side) and side > 0 for side in sides)
    ):
        raise DigitError(
            f"image_size is {image_size!r}: give one side or (height, width) in pixels, such as 28."
        )
    return int(sides[0]), int(sides[1])
