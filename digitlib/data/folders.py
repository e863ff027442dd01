"""TRAIN/ and TEST/ as folders of image files: one loop over the split fills them, the same loop backwards empties them.

``split.csv`` and ``source.json`` are on disk before the first file is touched, so that both loops can be run again after
a kill. Only ``mode="move"`` touches a file of the user's: it is removed when its copy has been read and compared.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from digitlib.data.sources import ROLES, Source, is_litter
from digitlib.errors import DigitError
from digitlib.files import StrPath, display_path, file_hash, reraise_os_error, write_json, write_table
from digitlib.progress import progress
from digitlib.run import Run, open_run

Mode = Literal["copy", "link", "move", "none"]

Files = dict[Path, tuple[Path, str, int]]
"""For each place in TRAIN/ and TEST/: the original, its sha256 and its length in bytes."""

FOLDER_OF = {"train": "TRAIN", "validation": "TRAIN", "test": "TEST"}
"""As in the classic notebook, validation images are in the training folder."""

TABLES = ("source.json", "rejected.csv", "split.csv")
"""The files of a split, in the order in which `undo` removes them."""

TOPS = ("TRAIN", "TEST")

ELSEWHERE = "move it away or choose another run_dir."
GO_ON = "Fix that and run the same command again: it continues where it stopped."


def target_path(run: Run, part: str, class_name: str, filename: str, label: str = "") -> Path:
    """Return the place of an image in TRAIN/ or TEST/ of a run.

    The name of a validation folder that the data came with is kept: its images often have the names of training images;
    and so is the label as given, where `class_name` has been corrected.
    """
    names, label = filename.split("/"), label or class_name
    if label not in names:
        raise run.damaged("split.csv", f"{filename} is in no folder {label!r}")
    at = names.index(label)
    given = [name for name in names[:at] if part == "validation" and name.lower() in ROLES["validation"]]
    given += [f"relabelled from {label}"] * (label != class_name)
    return run.folder.joinpath(FOLDER_OF[part], class_name, *given, *names[at + 1 :])


def with_labels(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return a split with the labels as given in ``given_label``, which it has only after corrections."""
    return manifest if "given_label" in manifest else manifest.assign(given_label=manifest["class"])


def holds_moved(run: Run) -> bool:
    """Tell whether a run has moved images out of their folder."""
    return (run / "source.json").exists() and run.read_json("source.json")["mode"] == "move"


def fill_folders(run: Run, manifest: pd.DataFrame, about: dict[str, Any], rejected: pd.DataFrame) -> None:
    """Write a run's split and bring TRAIN/ and TEST/ to what it says; files of others there are refused.

    Parameters
    ----------
    run : Run
        Where to.
    manifest, about, rejected
        Content of ``split.csv``, ``source.json`` and ``rejected.csv``.
    """
    before, wanted = _files_of(run), _places(run, manifest, about)
    for path in (path for top in TOPS for path in (run / top).rglob("*")):
        if path not in before and not path.is_dir() and not is_litter(path.name):
            raise DigitError(f"{display_path(path)} was not put there by this split: {ELSEWHERE}")
    if before and run.read_json("source.json")["mode"] == about["mode"]:
        before = {path: file for path, file in before.items() if wanted.get(path) != file}
    if left := _empty(run, before):
        raise DigitError(f"{display_path(left[0])} has changed or lost its original: {ELSEWHERE}")
    write_table(run / "rejected.csv", rejected)
    write_table(run / "split.csv", manifest)
    write_json(run / "source.json", about | {"split_sha256": file_hash(run / "split.csv")})
    place_files(run, wanted)


def place_files(run: Run, files: Files | None = None) -> None:
    """Copy, link or move every image of a run's split to its place, unless it is there."""
    files, mode = _files_of(run) if files is None else files, run.read_json("source.json")["mode"]
    if mode == "move":
        print(f"Moving {len(files):,} images to TRAIN and TEST of {run}. `digitlib undo {run}` moves them back.")
    what = f"Filling TRAIN and TEST ({mode})"
    for place, (original, sha256, size) in progress(files.items(), len(files), what, unit="file"):
        with reraise_os_error(f"{display_path(original)} can't be put at {display_path(place)} ({mode})", GO_ON):
            _bring(original, place, sha256, mode)
            if place.stat().st_size != size:
                raise OSError(f"{place.name} has changed there")
    _tidy(run)


def undo(run: StrPath | Run) -> list[Path]:
    """Move moved images back, remove copies and links, and then the files of the split; nothing else.

    Returns
    -------
    list of pathlib.Path
        Files left in TRAIN/ and TEST/ since they have changed or lost their original; the split is kept then.

    Examples
    --------
    >>> undo("runs/default")  # doctest: +SKIP
    []
    """
    run = open_run(run)
    if not any((run / name).exists() for name in TABLES):
        run.require("source.json")
    left = _empty(run, _files_of(run))
    for name in () if left else TABLES:
        (run / name).unlink(missing_ok=True)
    return left


def _files_of(run: Run) -> Files:
    """Return the files that a run's split on disk puts into its folders."""
    whole = (run / "source.json").exists() and (run / "split.csv").exists()
    # Not `run.split`: a process killed between the writing of the two leaves tables that don't agree.
    return _places(run, run.read_table("split.csv", size="int64"), run.read_json("source.json")) if whole else {}


def _places(run: Run, manifest: pd.DataFrame, about: dict[str, Any]) -> Files:
    root, columns = Path(about["root"]), ["part", "class", "filename", "given_label", "sha256", "size"]
    rows = () if about["mode"] == "none" else with_labels(manifest)[columns].itertuples(index=False, name=None)
    return {target_path(run, *place): (root / place[2], sha256, size) for *place, sha256, size in rows}


def _bring(source: Path, target: Path, sha256: str, mode: Mode) -> None:
    """Bring a file to `target` under a temporary name, compare it, rename it; to move, only then remove `source`."""
    temporary = target.with_name(f".tmp-{sha256[:16]}")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        try:
            if mode == "copy":
                shutil.copyfile(source, temporary)
            elif mode == "link":
                os.link(source.resolve(), temporary)
            else:
                _link_or_copy(source, temporary)
            if file_hash(temporary) != sha256:
                raise OSError("the copy differs from the original, which is kept")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    if mode == "move":
        source.with_name(temporary.name).unlink(missing_ok=True)  # of the way back, if that was killed
        if source.exists() and file_hash(source) == file_hash(target):
            source.unlink()


def _link_or_copy(source: Path, target: Path) -> None:
    """Make another name of a file or, on another disk, a copy that a power cut can't take away."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())


def _empty(run: Run, files: Files) -> list[Path]:
    """Take files out of TRAIN/ and TEST/; return those that can't go: they have changed or lost their original."""
    move = holds_moved(run)
    for place, (original, sha256, _) in progress(files.items(), len(files), "Emptying TRAIN and TEST", unit="file"):
        with reraise_os_error(f"{display_path(place)} can't be taken back", GO_ON):
            if move and place.exists():
                _bring(place, original, file_hash(place), "move")
            elif place.exists() and original.exists() and (place.samefile(original) or file_hash(place) == sha256):
                place.unlink()
    _tidy(run)
    return [place for place in files if place.exists()]


def _tidy(run: Run) -> None:
    """Remove what a killed process was writing, and the folders in TRAIN/ and TEST/ that are empty."""
    for path in run.folder.glob(".tmp-*"):
        path.unlink(missing_ok=True)
    for folder, _, names in (found for top in TOPS for found in os.walk(run / top, topdown=False)):
        for name in names:
            if re.fullmatch(r"\.tmp-[0-9a-f]{16}", name):  # as `_bring` names them
                Path(folder, name).unlink()
        with suppress(OSError):  # not empty
            Path(folder).rmdir()


def check_places(source: Source, run: Run, mode: Mode) -> None:
    """Refuse a run inside its source or around it, a folder of somebody else's files, and links that would be moved."""
    a, b, here = source.root.resolve(), run.folder.resolve(), display_path(run.folder)
    if a.is_relative_to(b) or b.is_relative_to(a):
        what = f"run_dir {here!r} and data {display_path(source.root)!r} lie one inside the other"
        raise DigitError(f"{what}: choose a run_dir elsewhere.")
    if not any((run / name).exists() for name in ("source.json", "recipe.json")):
        for path in sorted(run.folder.iterdir()) if run.folder.is_dir() else ():
            if not _may_be_ours(path):
                raise DigitError(f"{here} isn't a run's folder and holds {path.name!r}: choose a new run_dir.")
    for name in source.files["filename"] if mode == "move" else ():
        path = source.root / name
        if path.is_symlink() or path.parent.resolve() != (a / name).parent:
            raise DigitError(f"{display_path(path)} is reached by a link and can't be moved: use mode='copy'.")


def _may_be_ours(path: Path) -> bool:
    """Tell whether a run that was killed at its beginning can have left a file."""
    if path.name in TABLES:
        return path.read_bytes().startswith(b"filename,")
    return path.name == "notebooks" or path.suffix == ".ipynb" or is_litter(path.name)
