"""TRAIN/ and TEST/ as folders of image files, made so that a killed run can be finished or undone.

``split.csv`` and ``source.json`` are on disk before the first file is
touched, and ``folders.json`` says how files are put: together they are the
journal from which a second run, or `undo`, goes on after a kill.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import make_folder, read_table, shown, told, write_json, write_table
from digitlib.placing import TEMPORARY, Mode, file_hash, is_spare, move_file, place_file
from digitlib.progress import progress
from digitlib.runs import Run
from digitlib.sources import VALIDATION_NAMES, is_litter

FOLDER_OF = {"train": "TRAIN", "validation": "TRAIN", "test": "TEST"}
"""As in the classic notebook: validation images are part of the training folder."""

TABLES = ("folders.json", "rejected.csv", "source.json", "split.csv")
"""What the split writes, in the order in which `undo` may remove it: killed between two of them, it can go on."""


GO_ON = "Mend that and do the same again: it goes on where it stopped."


@dataclass(frozen=True)
class Placed:
    """A file that the split has put, or is about to put, into TRAIN/ or TEST/."""

    original: Path
    sha256: str
    size: int


def place_of(run: Run, part: str, class_name: str, filename: str) -> Path:
    """Return where an image stands in TRAIN/ or TEST/ of a run.

    Where the validation images were given in a folder of their own, its name stays: they often have the same file names.
    """
    names = filename.split("/")
    at = names.index(class_name)
    given = [name for name in names[:at] if part == "validation" and name.lower() in VALIDATION_NAMES]
    return run.folder.joinpath(FOLDER_OF[part], class_name, *given, *names[at + 1 :])


def moved_already(run: Run, root: Path, options: dict[str, Any]) -> bool:
    """Tell whether this run has already taken, or begun to take, the images of `root` by moving them.

    Raises
    ------
    DigitError
        If it has moved images under other options: they can't be split anew from where they are.
    """
    if not holds_moved(run):
        return False
    about = run.read_json("source.json")
    if about["root"] == str(root) and all(about[name] == value for name, value in options.items()):
        return True
    raise DigitError(
        f"{run} holds images moved out of {shown(about['root'])} by another split: put them back with "
        f"`digitlib undo {run}`, or choose another run_dir."
    )


def holds_moved(run: Run) -> bool:
    """Tell whether a run has taken images out of their folder."""
    return _mode_of(run) == "move"


def holds_files(run: Run) -> bool:
    """Tell whether a run has copies of images, links to them, or the images themselves."""
    return _mode_of(run) not in (None, "none")


def fill_folders(
    run: Run,
    manifest: pd.DataFrame | None = None,
    about: dict[str, Any] | None = None,
    rejected: pd.DataFrame | None = None,
) -> None:
    """Bring TRAIN/ and TEST/ to what the manifest says.

    Each file appears under its name only when it is whole. What an earlier
    split of this run put there and this one does not want is taken away
    first; a file that has been changed there, or has lost its original, is
    the only one of its kind and goes to KEPT/ instead.

    Parameters
    ----------
    run : Run
        Where to.
    manifest, about, rejected
        Content of ``split.csv``, ``source.json`` and ``rejected.csv`` to
        write; without them those on disk are carried to their end.

    Raises
    ------
    DigitError
        If somebody else's files are in the way, or a file can't be written.
    """
    before = _placed_by(run)
    _refuse_strangers(run, before)
    if manifest is None or about is None:
        about, manifest = run.read_json("source.json"), run.read_table("split.csv", size="int64")
        before = {}
    mode = about["mode"]
    wanted = {} if mode == "none" else _placed(run, manifest, Path(about["root"]))
    _take_away(run, before, wanted if _mode_of(run) == mode else {})
    if rejected is not None:
        write_table(run / "rejected.csv", rejected)
    write_table(run / "split.csv", manifest)
    write_json(run / "source.json", about)
    write_json(run / "folders.json", {"mode": mode, "finished": False})
    _place_all(run, wanted, mode)
    _remove_empty(run)
    write_json(run / "folders.json", {"mode": mode, "finished": True})


def undo(run: Run) -> list[Path]:
    """Put moved images back where they were and remove what the split made, and nothing else.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared, also one that was stopped while it did.

    Returns
    -------
    list of pathlib.Path
        Files left in TRAIN/ and TEST/, since they have changed, are not
        ours, or have lost their original.

    Raises
    ------
    DigitError
        If the run has no split, or a file can't be put back.
    """
    if not any((run / name).exists() for name in TABLES):
        run.require("source.json")
    placed = _placed_by(run)
    _sweep(run)
    move = holds_moved(run)
    kept = []
    for target, file in progress(placed.items(), len(placed), "Undoing the split", unit="file"):
        with told(f"{shown(target)} can't be put back", GO_ON):
            if not _put_back(target, file, move):
                kept.append(target)
    _remove_empty(run)
    if not kept:
        for name in TABLES:
            (run / name).unlink(missing_ok=True)
    return kept


def _mode_of(run: Run) -> Mode | None:
    """Return how this run has filled its folders, None if it has not begun to."""
    return run.read_json("folders.json")["mode"] if (run / "folders.json").exists() else None


def _placed(run: Run, manifest: pd.DataFrame, root: Path) -> dict[Path, Placed]:
    """Return each target of a manifest with what belongs there."""
    rows = manifest[["part", "class", "filename", "sha256", "size"]].itertuples(index=False, name=None)
    return {
        place_of(run, part, class_name, name): Placed(root / name, sha256, int(size))
        for part, class_name, name, sha256, size in rows
    }


def _placed_by(run: Run) -> dict[Path, Placed]:
    """Return what an earlier split of this run has put, or begun to put, into its folders."""
    if _mode_of(run) in (None, "none"):
        return {}
    return _placed(run, read_table(run / "split.csv"), Path(run.read_json("source.json")["root"]))


def _refuse_strangers(run: Run, ours: dict[Path, Placed]) -> None:
    """Refuse to work beside anybody else's files."""
    _sweep(run)
    for top in ("TRAIN", "TEST"):
        for folder, _, names in os.walk(run / top):
            for path in (Path(folder, name) for name in names if not is_litter(name)):
                if path not in ours:
                    raise DigitError(
                        f"{shown(path)} was not put there by this split: choose another run_dir, or move the file away."
                    )


def _sweep(run: Run) -> None:
    """Remove what a killed process left half-written."""
    for path in run.folder.glob(".tmp-*"):
        path.unlink(missing_ok=True)
    for top in ("TRAIN", "TEST"):
        for folder, _, names in os.walk(run / top):
            for name in filter(TEMPORARY.fullmatch, names):
                Path(folder, name).unlink(missing_ok=True)


def _take_away(run: Run, before: dict[Path, Placed], wanted: dict[Path, Placed]) -> None:
    """Clear the places of files that are no longer wanted as they are."""
    for target, file in before.items():
        stays = target in wanted and wanted[target].sha256 == file.sha256 and _has_size(target, file.size)
        if stays or not target.exists():
            continue
        with told(f"{shown(target)} can't be taken away", GO_ON):
            _remove_or_keep(run, target, file)


def _remove_or_keep(run: Run, target: Path, file: Placed) -> None:
    """Remove a copy that can be made again, and put anything else aside."""
    if is_spare(target, file.original, file.sha256):
        target.unlink()
        return
    aside = run / "KEPT" / target.relative_to(run.folder)
    while aside.exists():
        aside = aside.with_name("again-" + aside.name)
    make_folder(aside.parent)
    target.rename(aside)
    print(f"{shown(target)} has changed or lost its original: kept as {shown(aside)}.")


def _put_back(target: Path, file: Placed, move: bool) -> bool:
    """Undo one file; tell whether its place is empty now."""
    if not target.exists():
        return True
    if move and not file.original.exists():
        file.original.parent.mkdir(parents=True, exist_ok=True)
        move_file(target, file.original, file_hash(target))
    elif is_spare(target, file.original, file.sha256):
        target.unlink()
    return not target.exists()


def _place_all(run: Run, wanted: dict[Path, Placed], mode: Mode) -> None:
    """Copy, link or move every image to its target unless it is there already."""
    if mode == "move":
        print(
            f"Moving {len(wanted):,} images into TRAIN and TEST of {run}. `digitlib undo {run}` moves them back."
        )
    for folder in sorted({target.parent for target in wanted}):
        make_folder(folder)
    what = f"Filling TRAIN and TEST ({mode})"
    for target, file in progress(wanted.items(), len(wanted), what, unit="file"):
        if mode == "move" or not _has_size(target, file.size):
            with told(f"{shown(file.original)} can't be put at {shown(target)}", GO_ON):
                place_file(mode, file.original, target, file.sha256)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _remove_empty(run: Run) -> None:
    """Remove the folders in TRAIN/ and TEST/ that hold nothing any more."""
    for top in ("TRAIN", "TEST"):
        for folder, _, _ in os.walk(run / top, topdown=False):
            with suppress(OSError):  # not empty
                Path(folder).rmdir()
