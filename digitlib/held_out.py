"""What cross-validation gives: each image named by networks that have not seen it, and what the folds' spread means."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from digitlib.comparing import spread, student_interval
from digitlib.files import atomic


@dataclass(frozen=True)
class HeldOut:
    """What networks say of images that they were not trained on.

    Attributes
    ----------
    said : numpy.ndarray
        float32, shape (repeats, n, classes): probabilities, a row an image in the manifest's order.
    fold : numpy.ndarray
        int16, shape (repeats, n): the fold that each image was in, from 0.
    """

    said: np.ndarray
    fold: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Mean over the repeats: float64, shape (n, classes), each row with sum 1."""
        total = self.said.sum(axis=0, dtype=np.float64)
        return total / total.sum(axis=1, keepdims=True)

    def fold_table(self, labels: np.ndarray) -> pd.DataFrame:
        """Return how good each fold's network was on the images that it had not seen.

        Parameters
        ----------
        labels : numpy.ndarray
            int, shape (n,): the place of each image's class.

        Returns
        -------
        pandas.DataFrame
            ``repeat`` and ``fold`` (from 1), ``images``, ``right``, ``accuracy`` (0 to 1).
        """
        right = self.said.argmax(axis=2) == labels
        rows = [
            (repeat + 1, fold + 1, int((folds == fold).sum()), int(right[repeat][folds == fold].sum()))
            for repeat, folds in enumerate(self.fold)
            for fold in range(int(folds.max()) + 1)
        ]
        table = pd.DataFrame(rows, columns=["repeat", "fold", "images", "right"])
        return table.assign(accuracy=table["right"] / table["images"])


def fold_spread(table: pd.DataFrame, confidence: float = 0.95) -> dict[str, float]:
    """Return mean and spread of the folds' accuracies, and an interval that allows for what they share.

    The standard deviation says how far accuracies on different small test parts, by networks with largely the same
    training images, are apart. It is not how far trainings on fresh data would be apart, and nothing measured on the
    same images can say that without bias (Y. Bengio and Y. Grandvalet, 2004, Journal of Machine Learning Research
    5:1089). Divided by the root of the number of folds it gives an interval that is too narrow; so the variance of the
    mean is taken as that of one fold times 1 / J + n_fold / n_rest, with J folds in all repeats (C. Nadeau and
    Y. Bengio, 2003, https://doi.org/10.1023/A:1024068626366).

    Parameters
    ----------
    table : pandas.DataFrame
        As from `HeldOut.fold_table`.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    dict of str to float
        ``folds``, ``mean``, ``sd``, ``lowest``, ``highest``, ``mean_low``, ``mean_high``.

    Examples
    --------
    >>> folds = pd.DataFrame({"repeat": 1, "fold": [1, 2, 3, 4], "accuracy": [0.97, 0.98, 0.98, 0.99]})
    >>> round(fold_spread(folds)["mean_low"], 3)
    0.96
    """
    plain = spread(table["accuracy"].to_list(), confidence)
    number, a_repeat = len(table), int(table["fold"].max())
    error = plain["sd"] * (1 / number + 1 / (a_repeat - 1)) ** 0.5
    low, high = student_interval(plain["mean"], error, number, confidence)
    return {
        "folds": number,
        **{name: plain[name] for name in ("mean", "sd", "lowest", "highest")},
        "mean_low": max(0.0, low),
        "mean_high": min(1.0, high),
    }


def save_held_out(path: Path, held_out: HeldOut, key: str) -> None:
    """Write it with a key, a hash of all that it depends on."""
    with atomic(path) as temporary:
        np.savez_compressed(temporary, said=held_out.said, fold=held_out.fold, key=np.array(key))


def load_held_out(path: Path, key: str) -> HeldOut | None:
    """Return what `save_held_out` wrote under this key, or None; no code in the file is run."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return HeldOut(arrays["said"], arrays["fold"]) if str(arrays["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
