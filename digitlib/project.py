"""Where the project is: what relative paths start from."""

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
        return Path(root).expanduser().absolute()
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise DigitError(
            "The current folder no longer exists: change to one that does and try again."
        ) from error
    return here.parent if here.name == "notebooks" else here
