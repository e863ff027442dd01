"""One run's folder: what a notebook hands to the next."""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import fastjsonschema
import pandas as pd
from filelock import FileLock, Timeout

from digitlib.errors import DigitError
from digitlib.files import StrPath, display_path, file_hash, make_folder, read_table, resolve

# With pyarrow installed, pandas would keep texts in Arrow's memory, which holds no file name that is not UTF-8.
pd.set_option("mode.string_storage", "python")

CALIBRATION = ("calibration.json", "calibration.npz")
EVALUATION = ("metrics.json", "test_predictions.csv", *CALIBRATION)
"""What tells of one network: another one in its place removes it."""

WRITTEN_BY = {
    **dict.fromkeys(("recipe.json", "history.csv", "best_model.keras", "training.json"), "05_training_history"),
    **dict.fromkeys(EVALUATION, "06_evaluation"),
    "predictions.csv": "07_sample_predictions", "label_issues.csv": "10_label_check",
}  # fmt: skip
"""The notebook that writes a file; the others are 01's."""


@dataclass(frozen=True)
class Run:
    """The folder of one run.

    Attributes
    ----------
    folder : pathlib.Path
        Absolute path; ``run / "split.csv"`` is a file in it.

    Examples
    --------
    >>> open_run("runs/default") / "split.csv"  # doctest: +SKIP
    """

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def __str__(self) -> str:
        return display_path(self.folder)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes in natural order (2 before 10)."""
        return list(self.read_json("source.json")["class_names"])

    @property
    def split(self) -> pd.DataFrame:
        """The table of images: ``filename``, ``class``, ``part`` (the set), ``sha256``, ``size`` (bytes, int64)."""
        table, about = self.read_table("split.csv", size="int64"), self.read_json("source.json")
        written = about.get("split_sha256") in (None, file_hash(self / "split.csv"))
        if not written or set(table["class"].unique()) != set(about["class_names"]):
            raise self.damaged("split.csv", "it is not as it was written with source.json")
        return table

    def require(self, *names: str) -> None:
        """Raise a `DigitError` that names the notebook to run first, unless the files `names` exist."""
        for name in names:
            if not (self / name).exists():
                first = WRITTEN_BY.get(name, "01_data_preparation")
                what = f"{self} has no {name}: run notebook {first}.ipynb first"
                raise DigitError(f"{what}, with the same run_dir ({str(self)!r}).")

    def read_json(self, name: str, form: str = "") -> dict[str, Any]:
        """Return the content of a JSON file; a `DigitError` names file and field if it is not as schemas.json has `form`."""
        self.require(name)
        try:
            text = (self / name).read_text("utf-8", errors="surrogateescape")
            return _schema(form or name)(json.loads(text, parse_constant=str))
        except (ValueError, RecursionError) as error:
            raise self.damaged(name, error) from error

    def read_table(self, name: str, **dtypes: Any) -> pd.DataFrame:
        """Return a CSV file, see `digitlib.files.read_table`, with the same check of its columns."""
        self.require(name)
        try:
            table = read_table(self / name)
            _schema(name)({column: table[column].unique().tolist() for column in table})
            return table.astype(dtypes)
        except (ValueError, KeyError) as error:
            raise self.damaged(name, error) from error

    def damaged(self, name: str, error: object) -> DigitError:
        """Return the error for a file that does not hold what it must."""
        why, by = str(error).strip(".\n"), WRITTEN_BY.get(name, "01_data_preparation")
        by = "digitlib export" if ".onnx." in name else by
        if isinstance(error, fastjsonschema.JsonSchemaValueException):
            field = ".".join(part for part in error.path[1:] if not part.isdigit()) or "it"
            must = error.definition.get("description", "")
            why = f"{field} must be {must}" if must else error.message.replace(str(error.name), field, 1)
            why += "" if isinstance(error.value, dict) else f", not {reprlib.repr(error.value)}"
        return DigitError(f"{display_path(self / name)} is damaged ({why}): move it away and run {by} again.")

    def hashes(self) -> dict[str, str]:
        """Return short hashes of the recipe and the split, "" where there is none: what a result was made from."""
        files = {"recipe": self / "recipe.json", "split": self / "split.csv"}
        return {name: file_hash(path)[:16] if path.exists() else "" for name, path in files.items()}

    def is_done(self, name: str) -> bool:
        """Tell whether a JSON result exists and was made from the recipe and split that the run has now."""
        return (self / name).exists() and self.read_json(name).get("made_from") == self.hashes()


@cache
def _schema(name: str) -> Callable[[Any], Any]:
    """Return what checks the content of a file, and takes any where schemas.json does not know the file."""
    known = json.loads(Path(__file__).with_name("data").joinpath("schemas.json").read_text("utf-8"))
    return fastjsonschema.compile(known | known["definitions"].get(name, {}))


def open_run(run: StrPath | Run) -> Run:
    """Return the run in a folder, which is made when the first file is written to it.

    Parameters
    ----------
    run : str, path-like or Run
        The folder, relative to `digitlib.files.project_root`; a Run is returned as it is.

    Examples
    --------
    >>> run = open_run("runs/default")
    """
    if isinstance(run, Run):
        return run
    folder = resolve(run)
    if folder.exists() and not folder.is_dir():
        raise DigitError(f"run_dir {display_path(folder)!r} is a file: choose a folder.")
    return Run(folder)


class InUse(DigitError):
    """Another command works in a run's folder."""


@contextmanager
def run_lock(run: StrPath | Run, *, wait: bool = False) -> Iterator[None]:
    """Keep other digitlib commands out of a run's folder; the system frees it when the process ends, however it does.

    Parameters
    ----------
    run : str, path-like or Run
        The folder.
    wait : bool
        Wait until the folder is free, rather than raise `InUse`.

    Examples
    --------
    >>> with run_lock("runs/default"):  # doctest: +SKIP
    ...     prepare("scans", "runs/default")
    """
    run = open_run(run)
    make_folder(run.folder)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        if not wait:
            raise InUse(f"{run} is in use by another digitlib command: wait for it or choose another.") from error
        print(f"Another digitlib command works in {run}: waiting for it.", file=sys.stderr)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise DigitError(f"{run} can't be locked ({error}): choose a folder on another disk.") from error
    try:
        yield
    finally:
        lock.release()


def read_history(run: StrPath | Run) -> pd.DataFrame:
    """Return the history of a trained run.

    Returns
    -------
    pandas.DataFrame
        ``epoch`` (int, from 1), ``accuracy``, ``loss``, ``val_accuracy``, ``val_loss``, ``learning_rate``,
        ``seconds`` (since the start), float.

    Examples
    --------
    >>> read_history("runs/default")["val_accuracy"].max()  # doctest: +SKIP
    """
    run = open_run(run)
    history = run.read_table("history.csv").replace("", "nan").astype(float).astype({"epoch": int})
    if history["epoch"].tolist() != list(range(1, len(history) + 1)):
        raise run.damaged("history.csv", "epoch must be 1, 2, 3 …")
    return history


def best_epoch(history: pd.DataFrame, checkpoint: Literal["best", "last"] = "best") -> int:
    """Return the epoch, from 1, whose network is kept: the first of the highest validation accuracy, or the last.

    Examples
    --------
    >>> best_epoch(pd.DataFrame({"epoch": [1, 2, 3], "val_accuracy": [0.9, 0.95, 0.95]}))
    2
    """
    if checkpoint == "last":
        return int(history["epoch"].iloc[-1])
    if "val_accuracy" not in history or history["val_accuracy"].isna().all():
        raise DigitError("the history has no val_accuracy to choose an epoch by: train again with notebook 05.")
    return int(history.loc[history["val_accuracy"].idxmax(), "epoch"])


def check_training(run: Run) -> None:
    """Refuse a network whose record, recipe, history or split are not those that it was trained with."""
    record = run.read_json("training.json") if (run / "training.json").exists() else {}
    for name, expected in (record.get("sha256", {}) | {"split.csv": record.get("split_sha256")}).items():
        if expected and (run / name).exists() and expected != file_hash(run / name):
            what = f"{name} of {run} has changed since best_model.keras was trained"
            if name == "split.csv":  # the network may know the test images
                raise DigitError(f"{what}: train again with notebook 05, or split as before with notebook 01.")
            raise DigitError(f"{what}, or a training was stopped while it wrote its result: run notebook 05 again.")
