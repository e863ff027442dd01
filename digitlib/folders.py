"""TRAIN/ and TEST/ as folders of image files, made so that a killed run can be finished or undone."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from digitlib.errors import DigitError
from digitlib.progress import progress
from digitlib.runs import Run, make_folder, read_table, shown, write_json, write_table

Mode = Literal["copy", "link", "move", "none"]

FOLDER_OF = {"train": "TRAIN", "validation": "TRAIN", "test": "TEST"}
"""As in the classic notebook: validation images are part of the training folder."""

TEMPORARY = ".tmp-"


def place_of(run: Run, part: str, class_name: str, filename: str) -> Path:
    """Return where an image stands in TRAIN/ or TEST/ of a run."""
    names = filename.split("/")
    return run.folder.joinpath(FOLDER_OF[part], class_name, *names[names.index(class_name) + 1 :])


def check_places(source: Path, destination: Path) -> None:
    """Refuse a run inside its own source, where its results would be taken for images, and the reverse.

    Raises
    ------
    DigitError
        Naming both.
    """
    a, b = source.resolve(), destination.resolve()
    if a.is_relative_to(b) or b.is_relative_to(a):
        raise DigitError(
            f"run_dir {shown(destination)!r} and data {shown(source)!r} lie one inside the other: choose a run_dir elsewhere."
        )


def moved_already(run: Run, root: Path, options: dict[str, Any]) -> bool:
    """Tell whether this run has already taken, or begun to take, the images of `root` by moving them.

    Raises
    ------
    DigitError
        If it has moved images under other options: they can't be split anew from where they are.
    """
    if not (run / "folders.json").exists() or run.read_json("folders.json")["mode"] != "move":
        return False
    about = run.read_json("source.json")
    if about["root"] == str(root) and all(about[name] == value for name, value in options.items()):
        return True
    raise DigitError(
        f"{run} holds images moved out of {shown(about['root'])} by another split: put them back with "
        f"`digitlib undo {run}`, or choose another run_dir."
    )


def fill_folders(run: Run, manifest: pd.DataFrame | None = None, about: dict[str, Any] | None = None) -> None:
    """Bring TRAIN/ and TEST/ to what the manifest says.

    Each file appears under its name only when it is whole. What an earlier
    split of this run put there and this one does not want is taken away first.

    Parameters
    ----------
    run : Run
        Where to.
    manifest, about
        Content of ``split.csv`` and ``source.json`` to write; without them
        those on disk are carried to their end.

    Raises
    ------
    DigitError
        If somebody else's files are in the way, or a file can't be written.
    """
    if manifest is None or about is None:
        about, manifest = run.read_json("source.json"), run.read_table("split.csv", size="int64")
    mode, root = about["mode"], Path(about["root"])
    targets = _targets(run, manifest)
    before = _ours(run)
    wanted = set() if mode == "none" else set(targets)
    _refuse_strangers(run, wanted | before)
    other_way = (run / "folders.json").exists() and run.read_json("folders.json")["mode"] != mode
    for target in before if other_way else before - wanted:
        target.unlink(missing_ok=True)
    write_table(run / "split.csv", manifest)
    write_json(run / "source.json", about)
    write_json(run / "folders.json", {"mode": mode, "finished": False})
    if mode != "none":
        _place_all(root, manifest, targets, mode)
    _remove_empty(run)
    write_json(run / "folders.json", {"mode": mode, "finished": True})


def undo(run: Run) -> list[Path]:
    """Put moved images back where they were and remove what the split made, and nothing else.

    Returns
    -------
    list of pathlib.Path
        Files left in TRAIN/ and TEST/, since they have changed, are not
        ours, or have lost their original.
    """
    about, manifest = run.read_json("source.json"), run.read_table("split.csv", size="int64")
    root = Path(about["root"])
    kept = []
    rows = zip(_targets(run, manifest), manifest.itertuples(), strict=True)
    for target, row in progress(rows, len(manifest), "Undoing the split", unit="file"):
        original = root / row.filename
        if not target.exists():
            continue
        if about["mode"] == "move" and not original.exists():
            original.parent.mkdir(parents=True, exist_ok=True)
            _move(target, original, row.sha256)
        elif (
            original.exists()
            and original.stat().st_size == target.stat().st_size == row.size
            and _hash(target) == row.sha256
        ):
            target.unlink()
        else:
            kept.append(target)
    _remove_empty(run)
    if not kept:
        for name in ("folders.json", "split.csv", "source.json", "rejected.csv"):
            (run / name).unlink(missing_ok=True)
    return kept


def _targets(run: Run, manifest: pd.DataFrame) -> list[Path]:
    columns = zip(manifest["part"], manifest["class"], manifest["filename"], strict=True)
    return [place_of(run, part, class_name, filename) for part, class_name, filename in columns]


def _ours(run: Run) -> set[Path]:
    """Return the files that an earlier split of this run has put into its folders."""
    if not (run / "folders.json").exists() or run.read_json("folders.json")["mode"] == "none":
        return set()
    return set(_targets(run, read_table(run / "split.csv")))


def _refuse_strangers(run: Run, expected: set[Path]) -> None:
    """Remove our own unfinished files and refuse to work beside anybody else's."""
    for top in ("TRAIN", "TEST"):
        for folder, _, names in os.walk(run / top):
            for name in names:
                path = Path(folder, name)
                if name.startswith(TEMPORARY):
                    path.unlink(missing_ok=True)
                elif path not in expected:
                    raise DigitError(
                        f"{shown(path)} was not put there by this split: choose another run_dir, or move the file away."
                    )


def _place_all(root: Path, manifest: pd.DataFrame, targets: list[Path], mode: Mode) -> None:
    """Copy, link or move every image to its target unless it is there already."""
    place: Callable[[Path, Path, str], None] = {"copy": _copy, "link": _link, "move": _move}[mode]
    for folder in sorted({target.parent for target in targets}):
        make_folder(folder)
    rows = zip(targets, manifest["filename"], manifest["sha256"], manifest["size"], strict=True)
    for target, filename, sha256, size in progress(
        rows, len(targets), f"Filling TRAIN and TEST ({mode})", unit="file"
    ):
        if mode == "move" or not _has_size(target, size):
            try:
                place(root / filename, target, sha256)
            except OSError as error:
                raise DigitError(
                    f"{shown(root / filename)} can't be put at {shown(target)}: {error.strerror or error}. Mend that and "
                    "run notebook 01 again: it goes on where it stopped."
                ) from error


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _copy(source: Path, target: Path, sha256: str) -> None:
    temporary = target.parent / f"{TEMPORARY}{os.getpid()}"
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def _link(source: Path, target: Path, sha256: str) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP):
            raise OSError(
                error.errno, "hard links don't work between these two folders, use mode='copy'"
            ) from error
        raise


def _move(source: Path, target: Path, sha256: str) -> None:
    """Move a file; between file systems only after the copy has been read back."""
    if not source.exists():
        if target.exists():
            return
        raise OSError(errno.ENOENT, "the file is neither here nor there")
    if target.exists() and _hash(target) != sha256:
        raise OSError(errno.EEXIST, "another file stands there")
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target, sha256)
        with target.open("rb") as file:
            os.fsync(file.fileno())
        if _hash(target) != sha256:
            raise OSError(errno.EIO, "the copy differs from the original, which is kept") from error
        source.unlink()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _remove_empty(run: Run) -> None:
    """Remove the folders in TRAIN/ and TEST/ that hold nothing any more."""
    for top in ("TRAIN", "TEST"):
        for folder, _, _ in os.walk(run / top, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                continue  # not empty
