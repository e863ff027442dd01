"""One run's folder: what a notebook hands to the next."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import display_path, file_hash, make_folder, read_table, resolve, write_json

WRITTEN_BY = {
    "source.json": "01_data_preparation",
    "split.csv": "01_data_preparation",
    "rejected.csv": "01_data_preparation",
    "recipe.json": "05_training_history",
    "history.csv": "05_training_history",
    "best_model.keras": "05_training_history",
    "training.json": "05_training_history",
    "metrics.json": "06_evaluation",
    "trust.json": "06_evaluation",
    "trust.npz": "06_evaluation",
    "predictions.csv": "07_sample_predictions",
    "label_issues.csv": "10_label_check",
}


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
        return display_path(self.folder)

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
            If it is missing or not valid JSON; later, if it is asked for what it does not hold.
        """
        self.require(name)
        try:
            return _Content(
                self, name, json.loads((self / name).read_text("utf-8", errors="surrogateescape"))
            )
        except (ValueError, TypeError) as error:
            raise self.damaged(name, error) from error

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
            raise self.damaged(name, error) from error

    def damaged(self, name: str, error: Exception) -> DigitError:
        """Return the sentence for a file that is not as it was written, and who writes it."""
        again = f"run {WRITTEN_BY[name]} again" if name in WRITTEN_BY else "remove it and make it again"
        return DigitError(f"{display_path(self / name)} is damaged ({error}): {again}.")


class _Content(dict[str, Any]):
    """What a run's JSON file holds; a name that was removed from it is told as the file's fault."""

    def __init__(self, run: Run, name: str, content: dict[str, Any]) -> None:
        super().__init__(content)
        self._run, self._name = run, name

    def __missing__(self, key: str) -> Any:
        raise self._run.damaged(self._name, ValueError(f"no {key!r} in it"))


def run_and_model(run_or_model: str | os.PathLike[str]) -> tuple[Run, Path]:
    """Return the run that a path names, and its network's file; the path is that of either.

    Raises
    ------
    DigitError
        If there is none.
    """
    path = resolve(run_or_model)
    if not path.exists():
        raise DigitError(
            f"{display_path(path)} doesn't exist: give a run's folder, such as runs/default, or its best_model.keras."
        )
    if path.is_dir():
        Run(path).require("best_model.keras")
        return Run(path), path / "best_model.keras"
    return Run(path.parent), path


def open_run(run_dir: str | os.PathLike[str] | Run) -> Run:
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
    if isinstance(run_dir, Run):
        return run_dir
    folder = resolve(run_dir)
    if folder.exists() and not folder.is_dir():
        raise DigitError(f"run_dir {display_path(folder)!r} is a file: choose a folder.")
    return Run(folder)


AGAIN_AFTER = 2
"""Seconds between two looks at whether a folder has become free."""


class InUse(DigitError):
    """Another process works in a run's folder."""


@contextmanager
def run_lock(run: Run) -> Iterator[None]:
    """Hold the run's folder, or say that another process does.

    The operating system gives the lock back when a process ends, however it
    ends: what a killed one leaves behind is in nobody's way.

    Raises
    ------
    InUse
        If another process holds it.
    DigitError
        If nothing can be written there.
    """
    make_folder(run.folder)
    path = run / ".lock"
    with ExitStack() as ended:
        if sys.platform == "win32":  # where a file can't be removed before it is closed
            ended.callback(_remove, path)
        file = ended.enter_context(_locked(run, path))
        if sys.platform != "win32":  # where it can, and must be while nobody else can have locked it
            ended.callback(_remove, path)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def in_turn(run: Run) -> Iterator[None]:
    """Hold the run's folder as `alone` does, once whoever holds it has ended; say so when that takes waiting."""
    told = False
    while True:
        with ExitStack() as held:
            try:
                held.enter_context(run_lock(run))
            except InUse:
                if not told:
                    print(f"Another digitlib works in {run}: waiting until it has ended.", file=sys.stderr)
                told = True
                time.sleep(AGAIN_AFTER)
                continue
            yield
            return


@contextmanager
def _locked(run: Run, path: Path) -> Iterator[TextIO]:
    """Open and lock a file that is still the one of that name when it is locked."""
    while True:
        try:
            file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise DigitError(
                f"{display_path(path)} can't be written: {error.strerror}. Choose another run_dir."
            ) from error
        with file:
            try:
                _lock(file)
            except (BlockingIOError, PermissionError) as error:
                file.seek(0)
                raise InUse(
                    f"{run} is in use by another digitlib (process {file.read() or 'unknown'}): wait until it has ended, "
                    "or choose another run_dir."
                ) from error
            except OSError as error:
                raise DigitError(
                    f"the file system of {run} can't lock files ({error.strerror}), so that two commands could write there at "
                    "once: choose a run_dir on another, or have this one mounted with locks (Lustre: -o flock)."
                ) from error
            if _same(file, path):
                yield file
                return


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _same(file: TextIO, path: Path) -> bool:
    """Tell whether `path` still is this file: whoever held it before may just have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _lock(file: TextIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(1000)  # a byte that is not there, so that the others can still be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


TRAINED_ON = "training.json"


def read_history(run: Run) -> pd.DataFrame:
    """Return the history of a run.

    Parameters
    ----------
    run : Run
        A run that notebook 05 has trained.

    Returns
    -------
    pandas.DataFrame
        ``epoch`` (int, from 1), ``accuracy``, ``loss``, ``val_accuracy``,
        ``val_loss``, ``learning_rate``, ``seconds`` (since the start, float).

    Raises
    ------
    DigitError
        If there is none, or it is damaged.
    """
    try:
        return run.read_table("history.csv").astype(float).astype({"epoch": int})
    except (ValueError, KeyError) as error:
        raise run.damaged("history.csv", error) from error


def best_epoch(history: pd.DataFrame, keep: Literal["best", "last"] = "best") -> int:
    """Return the epoch whose network a recipe keeps.

    Parameters
    ----------
    history : pandas.DataFrame
        As from `read_history`.
    keep : {"best", "last"}
        Of the recipe: the epoch with the highest validation accuracy, the first of several, as `ModelCheckpoint` has
        it, or the last.

    Returns
    -------
    int
        From 1.
    """
    if keep == "last":
        return int(history["epoch"].iloc[-1])
    return int(history.loc[history["val_accuracy"].idxmax(), "epoch"])


def note_split(run: Run) -> None:
    """Note beside a run's network what split it was trained on; see `check_split`."""
    if (run / "split.csv").exists():
        write_json(run / TRAINED_ON, {"split_sha256": file_hash(run / "split.csv")})


def check_split(run: Run) -> None:
    """Refuse a network whose run has been given another split since: it may have been trained on what is now the test.

    Parameters
    ----------
    run : Run
        A run that notebook 05 has trained.

    Raises
    ------
    DigitError
        If so. A network of which nothing is noted passes.
    """
    noted = run / TRAINED_ON
    if (
        noted.exists()
        and (run / "split.csv").exists()
        and run.read_json(TRAINED_ON).get("split_sha256") != file_hash(run / "split.csv")
    ):
        raise DigitError(
            f"best_model.keras of {run} was trained on another split than split.csv has now, so that it may know the test "
            "images: train again with notebook 05_training_history.ipynb, or split again as it was with notebook 01."
        )
