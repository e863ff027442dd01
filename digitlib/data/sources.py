"""Which images there are, under which class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from natsort import natsorted

from digitlib.errors import DigitError
from digitlib.files import FORMULA, StrPath, display_path, reraise_os_error, resolve

LITTER = {"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db"}
"""Files and folders that systems leave behind; hidden ones are passed over as well."""

FORMS = (
    "'sample', 'mnist', a folder with one sub-folder of images a class, a zip of one, labelled images in Parquet or .npz, "
    "a CSV file of pixels or of file names and labels, a folder with such a train.csv and test.csv, or in Python a "
    "DataFrame or arrays (x, y)"
)
"""What labelled images may be given as."""

ROLES = {
    "train": {"trainingset", "training_set", "training", "train"},
    "test": {"testset", "test_set", "testing", "test"},
    "validation": {"validationset", "validation_set", "validation", "valid", "val"},
    "unlabelled": {"unlabelled", "unlabeled"},
}
"""What folders beside each other are called."""


@dataclass(frozen=True)
class Source:
    """A folder of images as found, before any file has been read.

    Attributes
    ----------
    root : pathlib.Path
        The folder that the file names start from.
    class_names : list of str
        Names of the class folders in natural order (2 before 10).
    files : pandas.DataFrame
        One row an image: ``filename`` (with ``/``, relative to `root`),
        ``class``, ``part`` ("train", "validation" or "test" where the folder
        is already divided, else empty).
    unlabelled : pathlib.Path or None
        Folder of images without classes.
    rejected : pandas.DataFrame
        ``filename``, ``reason`` of what was found but can't be an image of a class.

    Examples
    --------
    >>> find_images("scans").files["class"].value_counts()  # doctest: +SKIP
    """

    root: Path
    class_names: list[str]
    files: pd.DataFrame
    unlabelled: Path | None
    rejected: pd.DataFrame


def find_images(data: StrPath) -> Source:
    """Find the images of a folder whose sub-folders are the classes.

    Three shapes are understood, each also when wrapped in further folders: class folders directly, with or without a
    ``testSet/`` of unlabelled images beside them; Kaggle's, with ``trainingSet/`` (class folders) beside ``testSet/``; and
    ``train/``, ``test/`` and ``validation/``, or the first and one other, all with class folders.

    Parameters
    ----------
    data : str or path-like
        The folder; a relative path starts from `digitlib.files.project_root`.

    Examples
    --------
    >>> find_images("scans").class_names  # doctest: +SKIP
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
    """
    root = resolve(data)
    where = f"data {display_path(root)!r}"
    if not root.is_dir():
        what = "isn't a folder" if root.exists() else "doesn't exist"
        raise DigitError(f"{where} {what}: give {FORMS}.")
    with reraise_os_error(f"{where} can't be listed", "Try again, or give another folder."):
        labelled, others, unlabelled = _shape(root)
        used = [labelled, *others.values(), *([unlabelled] if unlabelled else [])]
        rows, rejected = _class_files(root, labelled, "train" if others else "", used[1:])
        for part, folder in others.items():
            more, bad = _class_files(root, folder, part)
            rows, rejected = rows + more, rejected + bad
        rejected += _passed_over(root, used)
    class_names = natsorted({row[1] for row in rows})
    if len(class_names) < 2:
        have = (
            f"only one class folder with images, {class_names[0]!r}" if class_names else "no class folders with images"
        )
        why = f" Passed over: {rejected[0][0]!r} ({rejected[0][1]})." if rejected else ""
        raise DigitError(f"{where} has {have}: it takes one sub-folder of images for each of two or more classes.{why}")
    for name in class_names:
        number = name[0] in "+-" and name[1:].replace(".", "", 1).isdecimal()
        if name.startswith(FORMULA) and len(name) > 1 and not number:
            what = f"class folder {name!r} begins like a formula, which a spreadsheet would execute"
            raise DigitError(f"{what} from the table of predictions: rename the folder.")
    if unlabelled and next(walk(unlabelled, root.resolve()), None) is None:
        unlabelled = None  # an empty folder
    files = pd.DataFrame(rows, columns=["filename", "class", "part"], dtype=str)
    left_out = pd.DataFrame(rejected, columns=["filename", "reason"], dtype=str)
    return Source(root, class_names, files, unlabelled, left_out)


def list_images(folder: StrPath) -> list[str]:
    """Return the files below `folder` in natural order (img_2 before img_10), relative to it, with ``/`` on every system.

    Hidden files and systems' litter are passed over; whether a file is an image shows when it is decoded.

    Examples
    --------
    >>> list_images("scans/testSet")[:2]  # doctest: +SKIP
    ['img_1.png', 'img_2.png']
    """
    root = resolve(folder)
    where = f"folder {display_path(root)!r}"
    if not root.is_dir():
        raise DigitError(f"{where} doesn't exist: give a folder of images.")
    names = dict(walk(root, root.resolve()))
    if list(names) == [""]:
        raise DigitError(f"{where} {names['']}. Allow it, or give another.")
    if not names:
        raise DigitError(f"{where} holds no files: give a folder of images.")
    return natsorted(names)


def is_litter(name: str) -> bool:
    """Tell whether a file or folder is hidden or left behind by a system."""
    return name.startswith(".") or name.lower() in LITTER


def _shape(root: Path) -> tuple[Path, dict[str, Path], Path | None]:
    """Return the folder of class folders, those of the sets that are given beside it, and the unlabelled one."""
    children = _folders(root)
    roles = {
        role: child for child in reversed(children) for role, names in ROLES.items() if child.name.lower() in names
    }
    if not roles.keys() & {"train", "unlabelled"} and (not roles or len(children) < 3):
        only = _only_folder(root)
        return _shape(only) if only else (root, {}, None)
    roles = {role: _unwrapped(folder) for role, folder in roles.items()}
    labelled = roles.pop("train", root)
    classes = {folder.name for folder in _folders(labelled)}
    unlabelled = roles.pop("unlabelled", None)
    others = {part: folder for part, folder in roles.items() if classes & {child.name for child in _folders(folder)}}
    return labelled, others, unlabelled or (None if "test" in others else roles.get("test"))


def _passed_over(root: Path, used: list[Path]) -> list[tuple[str, str]]:
    """List the folders beside one that holds the class folders, or around it, that nothing is taken from."""
    levels = [folder for folder in used[0].parents if folder.is_relative_to(root)]
    beside = [child for level in levels for child in _folders(level)]
    unused = [child for child in beside if not any(folder.is_relative_to(child) for folder in used)]
    return [(child.relative_to(root).as_posix(), "beside the folder of class folders") for child in unused]


def _unwrapped(folder: Path) -> Path:
    """Go down while a folder holds nothing but one other folder."""
    only = _only_folder(folder)
    return _unwrapped(only) if only else folder


def _only_folder(folder: Path) -> Path | None:
    """Return the folder that `folder` merely wraps: alone in it, or its one sub-folder and holding several itself."""
    folders = _folders(folder)
    if len(folders) != 1:
        return None
    alone, inner = len(_entries(folder)) == 1, len(_folders(folders[0]))
    return folders[0] if inner >= 2 or (alone and (inner or folders[0].name.lower() == folder.name.lower())) else None


def _entries(folder: StrPath) -> list[os.DirEntry[str]]:
    """Return what a folder holds, sorted, without hidden files and litter."""
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not is_litter(entry.name)), key=lambda entry: entry.name)


def _folders(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]
    except PermissionError:  # `walk` says so
        return []


def _class_files(
    root: Path, labelled: Path, part: str, beside: Sequence[Path] = ()
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """List the files of every class folder below `labelled` but `beside`, and what is no class folder or unusable."""
    rows, rejected = [], []
    top = root.resolve()
    for entry in _entries(labelled):
        name = Path(entry.path).relative_to(root).as_posix()
        if any(folder.is_relative_to(entry.path) for folder in beside):
            continue
        if _leads_out(entry, top):
            rejected.append((name, "link out of the data folder"))
        elif _kind(entry) != "folder":
            rejected.append((name, "not in a class folder"))
        else:
            found = list(walk(Path(entry.path), top, name))
            if not found:
                rejected.append((name, "empty class folder"))
            rows += [(filename, entry.name, part) for filename, reason in found if not reason]
            rejected += [(filename, reason) for filename, reason in found if reason]
    return rows, rejected


def walk(folder: Path, top: Path, name: str = "", above: tuple[Path, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the name of every file below `folder`, beginning with `name`, and the reason to reject it, if any.

    Links are followed only inside `top`, and never in circles. Links aside,
    nothing but the listing itself is asked of the file system: there may be millions.
    """
    here = folder.resolve()
    if here in above:
        yield name, "link in a circle"
        return
    try:
        entries = _entries(folder)
    except OSError as error:
        yield name, f"can't be read: {error.strerror}"
        return
    for entry in entries:
        inner = f"{name}/{entry.name}" if name else entry.name
        if _leads_out(entry, top):
            yield inner, "link out of the data folder"
        elif (kind := _kind(entry)) == "folder":
            yield from walk(Path(entry.path), top, inner, (*above, here))
        else:
            yield inner, "" if kind == "file" else kind


def _kind(entry: os.DirEntry[str]) -> str:
    """Return "file", "folder", or what else it is."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return "link to nothing" if entry.is_symlink() else "not a file"


def _leads_out(entry: os.DirEntry[str], top: Path) -> bool:
    # os.path.realpath, unlike Path.resolve, takes links in a circle as they are.
    return entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(top)
