"""What a training leaves of its epochs and its split; TensorFlow is not needed to read it."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import write_json
from digitlib.placing import file_hash
from digitlib.runs import Run

TRAINED_ON = "trained_on.json"


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
