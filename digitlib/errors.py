"""The one exception that a user of digitlib is meant to read, and what its sentences have in common."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any


class DigitError(Exception):
    """Something the user can mend, told in one sentence that names the way out.

    Jupyter shows the sentence alone, without the traceback; the command line
    prints it and exits with status 1.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the way out for a name that does not exist: the one that it is nearest to, or all that there are."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}."


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
