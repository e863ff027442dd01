"""The notebooks that come along: beside the library in the repository, inside it when installed from a wheel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from digitlib.errors import DigitError
from digitlib.files import atomic, resolve, shown
from digitlib.project import project_root

SERIES = "0[1-9]_*.ipynb"
"""Names of the notebooks that hand on to each other."""

COPIED = ("[0-9][0-9]_*.ipynb", "photos/*")
"""What a reader needs to step through; ``tools/hatch_build.py`` puts the same into the wheel."""


def notebooks_folder() -> Path:
    """Return the folder that holds the series.

    A reader's own copy in ``notebooks/`` of `digitlib.project.project_root` comes first, so that what they have changed
    is what runs.

    Returns
    -------
    pathlib.Path
        With at least one of the notebooks 01 to 09 in it.

    Raises
    ------
    DigitError
        If there are none, as in a copy of the library's files alone.
    """
    package = Path(__file__).parent
    places = [project_root() / "notebooks", package.parent / "notebooks", package / "notebooks"]
    for place in places:
        if any(place.glob(SERIES)):
            return place
    raise DigitError(
        f"there is no notebook in {shown(places[0])}, and none came with this digitlib: install it from its wheel, or "
        "run this in the project's own folder."
    )


def copy_notebooks(folder: str | os.PathLike[str]) -> list[Path]:
    """Copy the notebooks, with the photos that they show, to a folder of one's own.

    Parameters
    ----------
    folder : str or path-like
        Made if need be. A relative path starts from `digitlib.project.project_root`.

    Returns
    -------
    list of pathlib.Path
        The copied notebooks, in order.

    Raises
    ------
    DigitError
        If one of the files is already there, before any has been copied, or if the folder can't be written to.
    """
    source, target = notebooks_folder(), resolve(folder)
    files = sorted(path.relative_to(source) for pattern in COPIED for path in source.glob(pattern))
    there = [name for name in files if (target / name).exists()]
    if there:
        raise DigitError(
            f"{shown(target / there[0])} is already there and may hold changes of yours: choose another folder."
        )
    for name in files:
        with atomic(target / name) as temporary:
            shutil.copyfile(source / name, temporary)
    return [target / name for name in files if name.suffix == ".ipynb"]
