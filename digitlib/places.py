"""Where a split may work: refused before anything has been written."""

from __future__ import annotations

from pathlib import Path

from digitlib.errors import DigitError
from digitlib.files import shown
from digitlib.placing import Mode
from digitlib.runs import Run
from digitlib.sources import Source, is_litter

SIGNS = ("source.json", "recipe.json")
"""A folder with one of these is a run's."""

BEGUN = {"notebooks", "split.csv", "rejected.csv"}
"""All that a run can hold that was killed before it had a sign."""


def check_places(source: Source, run: Run, mode: Mode) -> None:
    """Refuse places where a split would do harm.

    Raises
    ------
    DigitError
        If the run's folder lies inside the source, or the other way round; if
        it holds somebody else's files; or if links would have to be moved.
    """
    a, b = source.root.resolve(), run.folder.resolve()
    if a.is_relative_to(b) or b.is_relative_to(a):
        raise DigitError(
            f"run_dir {shown(run.folder)!r} and data {shown(source.root)!r} lie one inside the other: choose a run_dir "
            "elsewhere."
        )
    _refuse_strangers(run.folder)
    if mode == "move":
        _refuse_links(source)


def _refuse_strangers(folder: Path) -> None:
    """Refuse a folder that holds files and is no run's: some of them could have the names of our results."""
    if not folder.is_dir() or any((folder / name).exists() for name in SIGNS):
        return
    for path in sorted(folder.iterdir()):
        ours = path.name in BEGUN or path.suffix == ".ipynb" or is_litter(path.name)
        if path.name.endswith(".csv") and path.name in BEGUN:
            with path.open(encoding="utf-8", errors="replace") as file:
                ours = file.readline().startswith("filename,")
        if not ours:
            raise DigitError(
                f"{shown(folder)} is no run's folder and holds {path.name!r}: choose a run_dir that is new or empty."
            )


def _refuse_links(source: Source) -> None:
    """Refuse to move links: what they lead to may be moved as well, and a relative one leads nowhere from its new place."""
    top = source.root.resolve()
    names = source.files["filename"]
    folders = {name.rpartition("/")[0] for name in names}
    linked = [name for name in folders if (source.root / name).resolve() != top / name]
    linked += [name for name in names if (source.root / name).is_symlink()]
    if linked:
        raise DigitError(
            f"{shown(source.root / min(linked))} is reached by a link, and only real files can be moved: use mode='copy'."
        )
