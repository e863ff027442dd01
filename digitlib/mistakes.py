"""Where a network goes wrong: which classes it confuses, and how that depends on its confidence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from digitlib.errors import DigitError
from digitlib.values import is_whole


def confused_pairs(predictions: pd.DataFrame, n: int = 4) -> pd.DataFrame:
    """Return the pairs of classes that are taken for each other most often.

    Parameters
    ----------
    predictions : pandas.DataFrame
        ``true``, ``predicted`` and ``correct``, as from `digitlib.evaluation.predict_generator`.
    n : int
        At most so many pairs.

    Returns
    -------
    pandas.DataFrame
        ``first`` and ``second`` (class names), ``first_as_second`` and ``second_as_first`` (images), ``images`` (both
        together); most images first. Pairs without any are left out.
    """
    wrong = predictions[~predictions["correct"]]
    order = {name: place for place, name in enumerate(pd.unique(predictions["true"].sort_values()))}
    rows: dict[tuple[str, str], list[int]] = {}
    for true, predicted in zip(wrong["true"], wrong["predicted"], strict=True):
        forward = order.get(true, -1) < order.get(predicted, len(order))
        pair = (true, predicted) if forward else (predicted, true)
        rows.setdefault(pair, [0, 0])[0 if forward else 1] += 1
    table = pd.DataFrame(
        [(*pair, *counts, sum(counts)) for pair, counts in rows.items()],
        columns=["first", "second", "first_as_second", "second_as_first", "images"],
    )
    return table.sort_values("images", ascending=False, kind="stable").head(n).reset_index(drop=True)


def mistaken_for(predictions: pd.DataFrame, true: str, predicted: str, n: int = 4) -> pd.DataFrame:
    """Return up to `n` images of class `true` that were named `predicted`, the surest first.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `digitlib.evaluation.predict_generator`.
    true : str
        The class that they are of.
    predicted : str
        The class that they were taken for.
    n : int
        How many at most.

    Returns
    -------
    pandas.DataFrame
        Rows of `predictions`; none if it never happened.
    """
    wanted = (predictions["true"] == true) & (predictions["predicted"] == predicted)
    return predictions[wanted].nlargest(n, "confidence").reset_index(drop=True)


def accuracy_by_confidence(predictions: pd.DataFrame, parts: int = 10) -> pd.DataFrame:
    """Return the share of right answers in parts of equally many images, from least to most sure.

    Parameters
    ----------
    predictions : pandas.DataFrame
        With ``confidence`` and ``correct``.
    parts : int
        How many; from 1 on.

    Returns
    -------
    pandas.DataFrame
        ``from_confidence`` and ``to_confidence``, ``images``, ``wrong``, ``accuracy``.

    Raises
    ------
    DigitError
        If `parts` is no whole number from 1 on.
    """
    if not is_whole(parts) or parts < 1:
        raise DigitError(f"parts is {parts!r}: give a whole number from 1 on.")
    ordered = predictions.sort_values("confidence", kind="stable").reset_index(drop=True)
    part = np.arange(len(ordered)) * parts // max(1, len(ordered))
    return (
        ordered.groupby(part)
        .agg(
            from_confidence=("confidence", "min"),
            to_confidence=("confidence", "max"),
            images=("correct", "size"),
            wrong=("correct", lambda right: int((~right).sum())),
            accuracy=("correct", "mean"),
        )
        .reset_index(drop=True)
    )
