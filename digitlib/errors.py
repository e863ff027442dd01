"""The one exception that a user of digitlib is meant to read, and the checks of values that lead to it."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from numbers import Integral, Real
from typing import Any
from urllib.parse import unquote, urlparse


class DigitError(Exception):
    """Something the user can fix: one sentence that says what is wrong and what to do.

    Jupyter shows the sentence without a traceback; the command line prints it and exits with status 1.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def require(name: str, value: Any, ok: bool, what: str) -> None:
    """Raise a `DigitError` unless a value is `ok`: ``epochs is 0: it must be an integer ≥ 1.``."""
    if not ok:
        raise DigitError(f"{name} is {value!r}: it must be {what}.")


def missing_extra(what: str, extra: str, error: Exception | None = None) -> DigitError:
    """Return the error for a package that is not installed, with the command that installs the extra that brings it."""
    try:
        place = json.loads(distribution("digitlib").read_text("direct_url.json") or "{}").get("url", "")
    except PackageNotFoundError:
        place = ""
    here = unquote(urlparse(place).path) if place.startswith("file:") else "digitlib"
    lacking = f" ({error.name} is not installed)" if isinstance(error, ImportError) and error.name else ""
    return DigitError(f'{what} needs more packages{lacking}: python -m pip install "{here}[{extra}]".')


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the known name nearest to an unknown one as a question, or the list of all."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}."


def is_whole(value: Any) -> bool:
    """Tell whether a value is an integer, NumPy's too, but not True or False."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number, but not True or False."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def as_size(image_size: Any) -> tuple[int, int]:
    """Return an image size as (height, width) in pixels; one number makes a square."""
    sides = (image_size, image_size) if is_whole(image_size) else image_size
    ok = isinstance(sides, Sequence) and len(sides) == 2 and all(is_whole(side) and side > 0 for side in sides)
    require("image_size", image_size, ok, "one side or (height, width) in pixels, for example 28")
    return int(sides[0]), int(sides[1])
