"""Confidences that mean what they say: how far they are from the share of right answers, and one number to mend them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from digitlib.errors import DigitError
from digitlib.evaluation.statistics import wilson_interval

SMALLEST = np.finfo(np.float32).tiny
"""Stands for a probability of 0, whose logarithm there is not."""

USUAL = 0.5
"""How far from 0 the logarithm of a temperature is expected: the standard deviation of a normal prior."""


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities made less sure (temperature above 1) or surer (below 1); which class is largest stays.

    The logarithms of probabilities are the network's logits up to a constant, which softmax takes out again.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Shape (n, classes), each row with sum 1.
    temperature : float
        Above 0; 1 changes nothing.

    Returns
    -------
    numpy.ndarray
        float64, shape (n, classes), each row with sum 1.
    """
    return softmax(_logarithms(probabilities) / temperature, axis=1)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature that makes these labels likeliest, and is not far from 1 without need.

    To be fitted on validation images (C. Guo et al., 2017, "On calibration of modern neural networks",
    https://arxiv.org/abs/1706.04599). A network trained with label smoothing is less sure than it could be: its
    temperature is below 1. Where all labels are named right, the likelihood alone would have it 0. So its logarithm has a
    normal prior, mean 0 and standard deviation a half, which weighs about as much as one image.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Shape (n, classes), as the network gives them.
    labels : numpy.ndarray
        int, shape (n,): the true classes.

    Returns
    -------
    float
        Between 0.05 and 20.

    Raises
    ------
    DigitError
        Without any image.
    """
    if len(labels) == 0:
        raise DigitError("a temperature can't be fitted without validation images: give the split some.")
    logits, rows = _logarithms(probabilities), np.arange(len(labels))

    def loss(logarithm: float) -> float:
        scaled = logits / np.exp(logarithm)
        unlikely = (logarithm / USUAL) ** 2 / 2
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[rows, labels]) + unlikely / len(labels))

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").x))


def calibration_table(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Return how often answers of a like confidence were right.

    Parameters
    ----------
    confidence : numpy.ndarray
        float, shape (n,), 0 to 1.
    correct : numpy.ndarray
        bool, shape (n,).
    bins : int
        Parts of equal width that 0 to 1 is cut into.

    Returns
    -------
    pandas.DataFrame
        A row for each part with an image in it: ``low`` and ``high`` (its bounds), ``images``, ``confidence`` (their
        mean), ``accuracy``, ``accuracy_low`` and ``accuracy_high`` (95 % Wilson interval).
    """
    place = np.clip(np.ceil(np.asarray(confidence) * bins).astype(int) - 1, 0, bins - 1)
    table = pd.DataFrame({"place": place, "confidence": confidence, "correct": correct}).groupby("place")
    rows = table.agg(images=("correct", "size"), confidence=("confidence", "mean"), right=("correct", "sum"))
    bounds = [
        wilson_interval(int(right), int(n)) for right, n in zip(rows["right"], rows["images"], strict=True)
    ]
    return pd.DataFrame(
        {
            "low": rows.index / bins, "high": (rows.index + 1) / bins, "images": rows["images"],
            "confidence": rows["confidence"], "accuracy": rows["right"] / rows["images"],
            "accuracy_low": [low for low, _ in bounds], "accuracy_high": [high for _, high in bounds],
        }
    ).reset_index(drop=True)  # fmt: skip


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error: how far confidence and accuracy are apart, weighted by images.

    Guo et al. (2017) use 15 parts of equal width. Chance alone makes it larger than 0.

    Parameters
    ----------
    confidence : numpy.ndarray
        Probability of the answer given, shape (n,), 0 to 1.
    correct : numpy.ndarray
        Whether it was right, bool, shape (n,).
    bins : int
        Parts of equal width, from 1.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    DigitError
        Without any image.
    """
    if len(confidence) == 0:
        raise DigitError("a calibration error can't be measured without images: give at least one.")
    table = calibration_table(confidence, correct, bins)
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["images"]))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))
