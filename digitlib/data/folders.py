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
from digitlib.files import file_hash
from digitlib.files import make_folder, read_table, display_path, reraise_os_error, write_json, write_table
from digitlib.progress import progress
from digitlib.run import Run
from digitlib.data.sources import VALIDATION_NAMES, is_litter
import errno
import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Literal
from pathlib import Path
from digitlib.errors import DigitError
from digitlib.files import display_path
from digitlib.run import Run
from digitlib.data.sources import Source, is_litter


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


def target_path(run: Run, part: str, class_name: str, filename: str) -> Path:
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
        f"{run} holds images moved out of {display_path(about['root'])} by another split: put them back with "
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
        with reraise_os_error(f"{display_path(target)} can't be put back", GO_ON):
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
        target_path(run, part, class_name, name): Placed(root / name, sha256, int(size))
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
                        f"{display_path(path)} was not put there by this split: choose another run_dir, or move the file away."
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
        with reraise_os_error(f"{display_path(target)} can't be taken away", GO_ON):
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
    print(f"{display_path(target)} has changed or lost its original: kept as {display_path(aside)}.")


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
            with reraise_os_error(f"{display_path(file.original)} can't be put at {display_path(target)}", GO_ON):
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


Mode = Literal["copy", "link", "move", "none"]

TEMPORARY = re.compile(r"\.tmp-\d+")
"""Name of a copy that is still being written; what a killed process leaves under it is swept away by the next."""


def place_file(mode: Mode, source: Path, target: Path, sha256: str) -> None:
    """Copy, link or move `source` to `target`.

    Raises
    ------
    OSError
        If it can't be done; then nothing has been lost.
    """
    if mode == "copy":
        copy_file(source, target)
    elif mode == "link":
        link_file(source, target)
    else:
        move_file(source, target, sha256)


def copy_file(source: Path, target: Path) -> None:
    """Copy under a temporary name, then rename."""
    temporary = target.parent / f".tmp-{os.getpid()}"
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def link_file(source: Path, target: Path) -> None:
    """Make a hard link, which takes no space."""
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EINVAL):
            raise OSError(
                error.errno, "hard links don't work between these two folders, use mode='copy'"
            ) from error
        raise


def move_file(source: Path, target: Path, sha256: str) -> None:
    """Move a file; between file systems only after the copy has been read back."""
    if not source.exists():
        if target.exists():
            return
        raise OSError(errno.ENOENT, "the file is neither here nor there")
    if target.exists():
        if not file_hash(target) == sha256 == file_hash(source):
            raise OSError(errno.EEXIST, "another file stands there")
        source.unlink()  # an earlier move was stopped after its copy had been made
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
        if file_hash(target) != sha256:
            raise OSError(errno.EIO, "the copy differs from the original, which is kept") from error
        source.unlink()


def is_spare(target: Path, original: Path, sha256: str) -> bool:
    """Tell whether `target` may be removed: nobody has changed it, and its original stands where it was."""
    try:
        return target.samefile(original) or file_hash(target) == sha256 == file_hash(original)
    except OSError:
        return False




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
            f"run_dir {display_path(run.folder)!r} and data {display_path(source.root)!r} lie one inside the other: choose a run_dir "
            "elsewhere."
        )
    _refuse_strangers_places(run.folder)
    if mode == "move":
        _refuse_links(source)


def _refuse_strangers_places(folder: Path) -> None:
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
                f"{display_path(folder)} is no run's folder and holds {path.name!r}: choose a run_dir that is new or empty."
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
            f"{display_path(source.root / min(linked))} is reached by a link, and only real files can be moved: use mode='copy'."
        )
