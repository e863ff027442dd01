"""Answer only when sure: what a threshold costs in answers and gains in accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from digitlib.errors import DigitError
from digitlib.values import is_number


def coverage_table(score: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Return coverage and accuracy for each threshold that makes a difference.

    Parameters
    ----------
    score : numpy.ndarray
        float, shape (n,): an image is answered if its score reaches the threshold.
    correct : numpy.ndarray
        bool, shape (n,): whether the answer is right.

    Returns
    -------
    pandas.DataFrame
        From the highest threshold to the lowest: ``threshold``, ``answered`` (images), ``coverage`` (their share of
        all), ``wrong`` (of those answered), ``accuracy`` (of those answered).
    """
    order = np.argsort(-np.asarray(score, float), kind="stable")
    ordered, wrong = np.asarray(score, float)[order], np.cumsum(~np.asarray(correct, bool)[order])
    answered = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            "threshold": ordered, "answered": answered, "coverage": answered / max(1, len(order)),
            "wrong": wrong, "accuracy": 1 - wrong / answered,
        }
    )  # fmt: skip
    return table.drop_duplicates("threshold", keep="last").reset_index(drop=True)


def check_wanted(wanted_accuracy: float) -> None:
    """Refuse an accuracy to be wanted of the answers that is no share between 0 and 1."""
    if not (is_number(wanted_accuracy) and 0 < wanted_accuracy < 1):
        raise DigitError(f"wanted_accuracy is {wanted_accuracy!r}: give a share below 1, such as 0.999.")


def threshold_for(score: np.ndarray, correct: np.ndarray, wanted_accuracy: float) -> float:
    """Return the lowest threshold at which the answers reach an accuracy, to be chosen on validation images.

    Parameters
    ----------
    score, correct : numpy.ndarray
        As in `coverage_table`.
    wanted_accuracy : float
        Share of the answers that shall be right, between 0 and 1.

    Returns
    -------
    float
        Just above the highest score, so that nothing is answered, if even the surest answer is wrong.

    Raises
    ------
    DigitError
        If the accuracy is no share, or there is no image.
    """
    check_wanted(wanted_accuracy)
    if len(score) == 0:
        raise DigitError("a threshold can't be chosen without validation images: give the split some.")
    table = coverage_table(score, correct)
    enough = table[table["accuracy"] >= wanted_accuracy]
    return float(enough["threshold"].min() if len(enough) else np.nextafter(np.max(score), np.inf))


def declined_table(judged: Mapping[str, pd.DataFrame], digits: str = "test images") -> pd.DataFrame:
    """Return how many pictures of each kind are declined, and how many a bare confidence would have declined.

    The two are compared at equal cost: bare confidence declines as many of the digits.

    Parameters
    ----------
    judged : mapping of str to pandas.DataFrame
        Name of each kind, and what a `digitlib.trust.Judge` says of its pictures.
    digits : str
        The kind that should be answered.

    Returns
    -------
    pandas.DataFrame
        Index: the kinds. ``pictures`` (how many), and shares from 0 to 1: ``declined``, ``unfamiliar``, and
        ``declined by raw confidence``.

    Raises
    ------
    DigitError
        If no digits were judged.
    """
    if digits not in judged:
        raise DigitError(
            f"no {digits!r} were judged: name the kind of pictures that should be answered as `digits`."
        )
    least = judged[digits]["raw_confidence"].quantile(1 - judged[digits]["answered"].mean())
    rows = {
        kind: {
            "pictures": len(table),
            "declined": 1 - table["answered"].mean(),
            "unfamiliar": 1 - table["familiar"].mean(),
            "declined by raw confidence": (table["raw_confidence"] < least).mean(),
        }
        for kind, table in judged.items()
    }
    return pd.DataFrame(rows).T.astype({"pictures": int})
