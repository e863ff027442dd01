"""One run's folder: what a notebook hands to the next."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from digitlib.errors import DigitError
from digitlib.project import project_root

# With pyarrow installed, pandas would keep texts in Arrow's memory, which holds no file name that is not UTF-8.
pd.set_option("mode.string_storage", "python")

WRITTEN_BY = {
    "source.json": "01_data_preparation",
    "split.csv": "01_data_preparation",
    "rejected.csv": "01_data_preparation",
    "recipe.json": "05_training_history",
    "history.csv": "05_training_history",
    "best_model.keras": "05_training_history",
    "metrics.json": "06_evaluation",
    "trust.json": "06_evaluation",
    "trust.npz": "06_evaluation",
    "predictions.csv": "07_sample_predictions",
    "label_issues.csv": "10_label_check",
}


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet may execute a cell that begins so."""

TEXTS = ("filename", "class", "label", "label_2", "label_3", "likely_label")
"""Columns that hold users' own names."""


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return `path` as an absolute path; a relative one starts from `project_root`.

    Raises
    ------
    DigitError
        If it can't be a path, such as ``~nobody/x``.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise DigitError(f"{os.fspath(path)!r} can't be found: {error} Write the whole path.") from error
    if "\0" in str(expanded):
        raise DigitError(f"{os.fspath(path)!r} holds a null character, which no path can.")
    return Path(os.path.normpath(expanded if expanded.is_absolute() else project_root() / expanded))


def shown(path: str | os.PathLike[str]) -> str:
    """Return `path` as a person should see it: relative to the project where it lies inside."""
    full = resolve(path)
    try:
        return full.relative_to(project_root().resolve()).as_posix() or "."
    except ValueError:
        return str(full)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, renamed to `path` at the end.

    A reader sees the old file or the new one, never half of one. On an error
    the temporary file is removed and `path` stays as it was.

    Raises
    ------
    DigitError
        If the folder can't be written to or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last, since writers such as Keras choose the format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # lest a power cut leave the new name on an empty file
        temporary.replace(path)
    except OSError as error:
        raise DigitError(
            f"Can't write {shown(path)}: {error.strerror or error}. Make room or choose another place."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary folders that a killed process left in `folder` a day or more ago; younger ones may be in use."""
    for path in folder.glob(".tmp-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > 86_400:
                shutil.rmtree(path)


def _umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextmanager
def told(what: str, way_out: str) -> Iterator[None]:
    """Tell a fault of the file system in one sentence and the way out of it.

    Raises
    ------
    DigitError
        ``what: the system's reason. way_out``
    """
    try:
        yield
    except OSError as error:
        raise DigitError(f"{what}: {error.strerror or error}. {way_out}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they are not there yet.

    Raises
    ------
    DigitError
        If it can't be made.
    """
    with told(f"{shown(folder)} can't be made", "Choose another run_dir."):
        folder.mkdir(parents=True, exist_ok=True)


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write `content` as indented JSON, atomically; file names that are not UTF-8 survive the round trip."""
    with atomic(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def inert(filenames: pd.Series) -> pd.Series:
    """Return file names so that no spreadsheet takes one for a formula: ``=1+1.png`` becomes ``./=1+1.png``.

    That is another name of the same file, so programs that open it need not
    know; an apostrophe or a space in front would name a file that isn't there.
    """
    return filenames.mask(filenames.str.startswith(FORMULA), "./" + filenames)


def csv_options(table: pd.DataFrame) -> dict[str, Any]:
    """Return how `table` is written as CSV so that it can be read again, whatever its texts hold."""
    texts = (table[name] for name in TEXTS if name in table)
    # Before 3.13, Python leaves a lone carriage return without quotes, and readers take it for the end of the line.
    quoting = (
        csv.QUOTE_NONNUMERIC
        if any("\r" in text for column in texts for text in column)
        else csv.QUOTE_MINIMAL
    )
    return {"encoding": "utf-8", "errors": "surrogateescape", "lineterminator": "\n", "quoting": quoting}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write `table` as CSV in UTF-8, atomically; file names that are not UTF-8 survive the round trip."""
    if "filename" in table:
        table = table.assign(filename=inert(table["filename"]))
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, **csv_options(table))


def read_table(path: Path, encoding: str = "utf-8", **dtypes: Any) -> pd.DataFrame:
    """Read a CSV that `write_table` wrote; every column is text unless `dtypes` says otherwise."""
    table = pd.read_csv(
        path, dtype=str, keep_default_na=False, encoding=encoding, encoding_errors="surrogateescape"
    )
    if "filename" in table:
        table["filename"] = table["filename"].str.removeprefix("./")  # see `inert`
    return table.astype(dtypes)


@dataclass(frozen=True)
class Run:
    """The folder of one run.

    Attributes
    ----------
    folder : pathlib.Path
        Absolute path; ``run / "split.csv"`` is a file in it.
    """

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def __str__(self) -> str:
        return shown(self.folder)

    def require(self, *names: str) -> None:
        """Check that earlier notebooks have written the files `names`.

        Raises
        ------
        DigitError
            Naming the notebook to run first.
        """
        for name in names:
            if not (self / name).exists():
                first = WRITTEN_BY.get(name, "01_data_preparation")
                raise DigitError(
                    f"{self} has no {name}: run notebook {first}.ipynb first, with the same run_dir ({str(self)!r})."
                )

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file of this run.

        Raises
        ------
        DigitError
            If it is missing or not valid JSON.
        """
        self.require(name)
        try:
            return json.loads((self / name).read_text(encoding="utf-8", errors="surrogateescape"))
        except ValueError as error:
            raise DigitError(
                f"{shown(self / name)} is damaged ({error}): run {WRITTEN_BY.get(name)} again."
            ) from error

    def read_table(self, name: str, **dtypes: Any) -> pd.DataFrame:
        """Return a CSV file of this run; see `read_table`.

        Raises
        ------
        DigitError
            If it is missing, or is not as it was written.
        """
        self.require(name)
        try:
            return read_table(self / name, **dtypes)
        except (ValueError, KeyError) as error:
            raise DigitError(
                f"{shown(self / name)} is damaged ({error}): run {WRITTEN_BY.get(name, '01_data_preparation')} again."
            ) from error


def run_of(run_or_model: str | os.PathLike[str]) -> Run:
    """Return the run that a path names: its folder, or a model file in it."""
    path = resolve(run_or_model)
    return Run(path if path.is_dir() else path.parent)


def open_run(run_dir: str | os.PathLike[str]) -> Run:
    """Return the run in `run_dir`, relative to `project_root`; the folder is made by the first file written to it.

    Parameters
    ----------
    run_dir : str or path-like
        The run's folder, such as ``runs/default``.

    Returns
    -------
    Run
        The run; nothing has been written.

    Raises
    ------
    DigitError
        If the path is no folder.
    """
    folder = resolve(run_dir)
    if folder.exists() and not folder.is_dir():
        raise DigitError(f"run_dir {shown(folder)!r} is a file: choose a folder.")
    return Run(folder)
