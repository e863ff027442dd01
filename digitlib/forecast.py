"""How long the rest of a series will take: from how long its notebooks took before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

MEASURED = {"01": 8.4, "02": 1.1, "03": 14.8, "04": 1.0, "05": 66.8, "06": 17.3, "07": 2.2}
"""Seconds for the sample with the recipe `fast` on two cores, as papermill noted them in a run on 2026-11-24; only
their proportions count, since `Forecast` learns how fast this machine is."""

SURE_AFTER = 5
"""Expected seconds that must be behind us before this machine's speed is taken from them."""


def seconds_before(output: Path, parameters: Mapping[str, Any]) -> float | None:
    """Return how many seconds an executed notebook took, or None if it did not end or had other parameters."""
    try:
        about = nbformat.read(output, 4).metadata.papermill
    except (OSError, ValueError, AttributeError, nbformat.reader.NotJSONError):
        return None
    if about.get("exception") or not about.get("end_time") or about.get("parameters") != parameters:
        return None
    return float(about.get("duration") or 0)


def expected_seconds(outputs: Sequence[Path], parameters: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """Return how long each notebook will take, in seconds, or None if that can't be told yet.

    Parameters
    ----------
    outputs : sequence of pathlib.Path
        Where the executed notebooks will be; those of an earlier run may be there.
    parameters : sequence of mapping
        What each will be given.
    """
    known = [seconds_before(path, given) for path, given in zip(outputs, parameters, strict=True)]
    if None not in known:
        return [float(seconds) for seconds in known if seconds is not None]
    together = {name: value for given in parameters for name, value in given.items()}
    if (together.get("data"), together.get("recipe")) == ("sample", "fast") and not set(together) - PLAIN:
        return [MEASURED.get(path.name[:2], 0.0) for path in outputs]
    return None


PLAIN = {"run_dir", "data", "recipe"}
"""With any other parameter a run is not the one that was measured."""


class Forecast:
    """Says how much time is left, and learns from each notebook how fast this machine is.

    Parameters
    ----------
    expected : list of float or None
        Seconds for each notebook; None for a forecast that stays silent.
    """

    def __init__(self, expected: list[float] | None) -> None:
        self._left = list(expected or [])
        self._expected = self._took = 0.0

    def ended(self, seconds: float) -> None:
        """Take note that the first of those left has ended, after so many seconds."""
        if self._left:
            self._expected += self._left.pop(0)
            self._took += seconds

    def left(self, since: float = 0.0) -> float:
        """Return the seconds left, the first of those left having begun `since` seconds ago."""
        speed = self._took / self._expected if self._expected > SURE_AFTER else 1.0
        return max(self._left[0] * speed - since, 0.0) + speed * sum(self._left[1:]) if self._left else 0.0

    def said(self, since: float = 0.0) -> str:
        """Return the time left in words with a comma before them, empty where nothing is known or it is all but over."""
        seconds = self.left(since)
        if seconds < 5:
            return ""
        return (
            f", about {round(seconds / 60)} min left"
            if seconds >= 90
            else f", about {-(-seconds // 10) * 10:.0f} s left"
        )
