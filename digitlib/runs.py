"""One run's folder: what a notebook hands to the next."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import read_table, resolve, shown

WRITTEN_BY = {
    "source.json": "01_data_preparation",
    "split.csv": "01_data_preparation",
    "rejected.csv": "01_data_preparation",
    "recipe.json": "05_training_history",
    "history.csv": "05_training_history",
    "best_model.keras": "05_training_history",
    "trained_on.json": "05_training_history",
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
        return DigitError(f"{shown(self / name)} is damaged ({error}): {again}.")


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
            f"{shown(path)} doesn't exist: give a run's folder, such as runs/default, or its best_model.keras."
        )
    if path.is_dir():
        Run(path).require("best_model.keras")
        return Run(path), path / "best_model.keras"
    return Run(path.parent), path


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
