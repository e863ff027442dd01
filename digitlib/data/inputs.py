"""Which files to predict: those of a folder, a zip archive, a list, a pattern, or one image."""

from __future__ import annotations

import codecs
import glob
import os
from functools import lru_cache
from pathlib import Path

import pandas as pd
from natsort import natsorted

from digitlib.data.datasets import unzipped
from digitlib.data.sources import is_litter, list_images
from digitlib.errors import DigitError
from digitlib.files import display_path, read_table, resolve

LISTS = {".txt", ".csv"}
"""Files that are lists of files; ``@`` before the name says so of any other."""


def find_inputs(source: str | os.PathLike[str]) -> tuple[Path, list[str]]:
    """Return the files that `source` stands for.

    Parameters
    ----------
    source : str or path-like
        A folder, with all below it; a zip archive, which is unpacked below
        ``data/`` first; a list of files: ``@list``, a text file with a name a
        line or a CSV file with a column ``filename``; a pattern such as
        ``"scans/**/*.png"`` (see `glob.glob`); or one image. What exists by
        that very name is taken as it is.

    Returns
    -------
    folder : pathlib.Path
        What the names are relative to: the folder, the unpacked archive, the
        folder of the list, the part of the pattern before its first sign.
    filenames : list of str
        In natural order (img_2 before img_10), those of a list in its own.
        Whether a file is an image shows when it is decoded.

    Examples
    --------
    >>> folder, names = find_inputs("scans/*.png")  # doctest: +SKIP
    """
    text = os.fspath(source)
    path = resolve(text)
    if path.is_dir():
        return path, list_images(path)
    if (path.is_file() and path.suffix.lower() in LISTS) or (text.startswith("@") and not path.is_file()):
        return _of_list(path if path.is_file() else resolve(text[1:]))
    if path.is_file() and path.suffix.lower() == ".zip":
        folder = unzipped(path)
        if not any(folder.iterdir()):
            raise DigitError(f"{display_path(path)} holds no files: give an archive of images.")
        return folder, list_images(folder)
    if path.is_file():
        return path.parent, [path.name]
    if glob.has_magic(text):
        return _of_pattern(text)
    ways = 'a folder, a zip archive, a list of files (@list.txt), a pattern in quotes ("scans/*.png"), or one image'
    raise DigitError(f"{display_path(path)!r} doesn't exist: give {ways}.")


def _of_list(path: Path) -> tuple[Path, list[str]]:
    """Return the files that a list names; relative names start from the list's own folder."""
    where = f"the list {display_path(path)}"
    if not path.is_file():
        raise DigitError(f"{where} doesn't exist: give a text file with a file name a line.")
    try:
        with path.open("rb") as file:  # UTF-8, or what Windows PowerShell writes
            utf_16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        read = _names_in_csv if path.suffix.lower() == ".csv" else _names_in_text
        names = list(filter(None, read(path, "utf-16" if utf_16 else "utf-8-sig")))
    except OSError as error:
        raise DigitError(f"{where} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DigitError(f"{where} isn't text ({error.reason}): save it again.") from error
    if not names:
        raise DigitError(f"{where} is empty: write a file name on each line.")
    if "\0" in "".join(names):
        raise DigitError(f"{where} holds a null character: give a text file with a file name a line.")
    if not any(os.path.lexists(path.parent / name) for name in names):
        what = f"none of the {len(names):,} files in {where} exists, for example {names[0][:200]!r}"
        raise DigitError(f"{what}: relative names start from the folder of the list.")
    return path.parent, names


def _names_in_text(path: Path, encoding: str) -> list[str]:
    """Return the lines of a text file; names that are not UTF-8 are kept as they are."""
    text = path.read_text(encoding, errors="surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _names_in_csv(path: Path, encoding: str) -> list[str]:
    try:
        table = read_table(path, encoding)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DigitError(f"{display_path(path)} isn't a table ({str(error).strip()[:100]}).") from error
    if "filename" not in table:
        columns = ", ".join(map(str, table.columns))[:200]
        raise DigitError(f"{display_path(path)} has no column 'filename', only {columns}: rename one.")
    return list(table["filename"])


def _of_pattern(pattern: str) -> tuple[Path, list[str]]:
    """Return the files that a pattern matches, without hidden ones and systems' litter."""
    parts = Path(pattern).parts
    magic = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    folder, rest = resolve(Path(*parts[:magic])), os.path.join(*parts[magic:])  # noqa: PTH118 - a pattern is no path
    linked = lru_cache(None)(Path.is_symlink)
    names = [
        Path(name).as_posix()
        for name in glob.iglob(rest, root_dir=folder, recursive=True)  # noqa: PTH207 - takes what a shell does
        if (folder / name).is_file()
        and not any(is_litter(part) for part in Path(name).parts if part != "..")
        # As in a shell, ** follows no links, which may go in circles.
        and not ("**" in rest and any(linked(folder / above) for above in list(Path(name).parents)[:-1]))
    ]
    if not names:
        raise DigitError(f"no file matches {pattern!r}: relative patterns start from {display_path(folder)!r}.")
    return folder, natsorted(names)
