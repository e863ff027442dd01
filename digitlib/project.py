"""Where the project is: what relative paths start from, and where its notebooks are."""

from __future__ import annotations

import os
from pathlib import Path

from digitlib.errors import DigitError


def project_root() -> Path:
    """Return the folder that relative paths of notebooks and commands start from.

    It is ``$DIGITLIB_ROOT`` if set, else the folder above ``notebooks/`` when
    working in there (as Jupyter does), else the current folder.

    Raises
    ------
    DigitError
        If the current folder has been removed.
    """
    if root := os.environ.get("DIGITLIB_ROOT"):
        return Path(root)
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise DigitError(
            "The current folder no longer exists: change to one that does and try again."
        ) from error
    return here.parent if here.name == "notebooks" else here


def of_notebooks(pattern: str) -> list[Path]:
    """Return the files below ``notebooks/`` that match `pattern`, sorted: the project's, else those beside the library."""
    places = [project_root() / "notebooks", Path(__file__).parents[1] / "notebooks"]
    return next((found for place in places if (found := sorted(place.glob(pattern)))), [])
