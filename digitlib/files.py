"""Files: paths as a person gives and sees them, and writing that leaves the old file or the new one, never half of one."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitlib.errors import DigitError

if TYPE_CHECKING:  # the command line begins with this module, and should not wait for pandas
    import pandas as pd


StrPath = str | os.PathLike[str]
"""A path as text or as an object of pathlib."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet may execute a cell that begins so."""

DISK = (None, *(getattr(errno, name, None) for name in ("ENOSPC", "EDQUOT", "EROFS", "EFBIG", "EIO")))
"""Error numbers of a disk that can't be written to; libraries' own errors have no number."""

TEXTS = ("filename", "class", "label", "label_2", "label_3", "likely_label", "given_label", "new_label")
"""Columns that hold users' own names."""

WINDOWS = os.name == "nt"

NOT_ON_WINDOWS = re.compile(r'(?i)(^|/)(con|prn|aux|nul|(com|lpt)[0-9¹²³]) *(\.[^/]*)?(/|$)|[^/][. ](/|$)|[:*?"<>|]')
"""``a.`` and ``a`` are one there, and ``nul.png`` is a device in every folder."""

UMASK = os.umask(0o022)  # it can be read only by setting it
os.umask(UMASK)


def project_root() -> Path:
    """Return the folder that relative paths start from.

    It is ``$DIGITLIB_ROOT`` if set, else the folder above ``notebooks/`` when working in there or in its ``solutions/`` (as
    Jupyter does), else the current folder.
    """
    if root := os.environ.get("DIGITLIB_ROOT"):
        return Path(root).expanduser().absolute()
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        raise DigitError("The current folder no longer exists: change to one that does and try again.") from error
    return next((folder.parent for folder in (here, here.parent) if folder.name == "notebooks"), here)


def storage(name: str) -> Path:
    """Return the folder for what can be made again: ``$DIGITLIB_CACHE/NAME`` if set, else one that can be written to."""
    if folder := os.environ.get("DIGITLIB_CACHE"):
        return resolve(folder) / name
    root = project_root()
    return (
        root if os.access(root, os.W_OK) or (root / name).exists() else Path("~/.cache/digitlib").expanduser()
    ) / name


def resolve(path: StrPath) -> Path:
    """Return `path` as an absolute path; a relative one starts from `project_root`.

    Examples
    --------
    >>> resolve("/data/../scans").as_posix()
    '/scans'
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise DigitError(
            f"a path is {path!r}, perhaps from a variable that is not set: give a file or folder, as text."
        )
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise DigitError(f"{os.fspath(path)!r} can't be found: {error} Write the whole path.") from error
    if "\0" in str(expanded):
        raise DigitError(f"{os.fspath(path)!r} holds a null character, which no path can.")
    return Path(os.path.normpath(expanded if expanded.is_absolute() else project_root() / expanded))


def display_path(path: StrPath) -> str:
    """Return `path` for a person to read: relative to the project where it lies inside."""
    full, root = resolve(path), project_root()
    for top in (root, root.resolve()):
        if full.is_relative_to(top):
            return full.relative_to(top).as_posix()
    return str(full)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, renamed to `path` at the end.

    A reader sees the old file or the new one, never half of one. A full disk or a forbidden folder raises a `DigitError`;
    after any error the temporary file is gone and `path` is as it was.

    Examples
    --------
    >>> import tempfile
    >>> with atomic(Path(tempfile.mkdtemp()) / "greeting.txt") as temporary:
    ...     _ = temporary.write_text("hello")
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last, since writers such as Keras choose the format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path.parent), suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~UMASK)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a power cut must not leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        at = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        # The block may have failed at something else than writing `path`.
        if error.errno not in DISK if at is None else at.parent != path.parent and at not in path.parents:
            raise
        raise DigitError(
            f"Can't write {display_path(path)}: {error.strerror or error}. Make room or choose another place."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


MARK = f".tmp-{re.sub('[^A-Za-z0-9]', '', platform.node())[:20]}-"
"""How names of temporary files begin; the number of their process follows."""


def temporary_prefix(folder: Path) -> str:
    """Return how a temporary name in `folder` begins, having removed there what killed processes left."""
    _remove_stale(folder, os.getpid())
    return f"{MARK}{os.getpid()}-"


@lru_cache(100)
def _remove_stale(folder: Path, process: int) -> None:
    for path in folder.glob(".tmp-*"):
        with suppress(OSError):
            owner = path.name.removeprefix(MARK).partition("-")[0] if path.name.startswith(MARK) else ""
            if time.time() - path.stat().st_mtime > 86_400 or (owner.isdecimal() and _has_ended(int(owner))):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _has_ended(process: int) -> bool:
    try:
        if os.name == "posix":  # elsewhere this call would end it
            os.kill(process, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


@contextmanager
def reraise_os_error(what: str, way_out: str) -> Iterator[None]:
    """Turn an OSError into a `DigitError`: ``what: the system's reason. way_out``."""
    try:
        yield
    except OSError as error:
        raise DigitError(f"{what}: {error.strerror or error}. {way_out}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there yet."""
    with reraise_os_error(f"{display_path(folder)} can't be made", "Choose another run_dir."):
        folder.mkdir(parents=True, exist_ok=True)


def odd_here(name: str) -> bool:
    """Tell whether this system takes a name with ``/`` between its parts for a device, an error or another name."""
    return WINDOWS and NOT_ON_WINDOWS.search(name) is not None


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write `content` as indented JSON, atomically; file names that are not UTF-8 survive the round trip."""
    with atomic(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def inert(filenames: pd.Series) -> pd.Series:
    """Return file names so that no spreadsheet takes one for a formula: ``=1+1.png`` becomes ``./=1+1.png``.

    That is another name of the same file, which an apostrophe or a space in front would not be.
    """
    return filenames.mask(filenames.str.startswith(FORMULA), "./" + filenames)


def csv_options(table: pd.DataFrame) -> dict[str, Any]:
    """Return the arguments of `to_csv` with which `table` can be read again, whatever its texts hold."""
    # Before 3.13, Python leaves a lone carriage return without quotes, and readers take it for the end of the line.
    returns = any("\r" in text for name in TEXTS if name in table for text in table[name])
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    return {"encoding": "utf-8", "errors": "surrogateescape", "lineterminator": "\n", "quoting": quoting}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write `table` as CSV in UTF-8, atomically; file names that are not UTF-8 survive the round trip."""
    if "filename" in table:
        table = table.assign(filename=inert(table["filename"]))
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, **csv_options(table))


def read_table(path: Path, encoding: str = "utf-8", **dtypes: Any) -> pd.DataFrame:
    """Read a CSV that `write_table` wrote; every column is text unless `dtypes` says otherwise."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding=encoding, encoding_errors="surrogateescape")
    if "filename" in table:
        table["filename"] = table["filename"].str.removeprefix("./")  # see `inert`
    return table.astype(dtypes)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
