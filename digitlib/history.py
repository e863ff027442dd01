"""What a training leaves of its epochs; TensorFlow is not needed to read it."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from digitlib.runs import Run


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
    """
    return run.read_table("history.csv").astype(float).astype({"epoch": int})


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
