"""Confidences that match accuracy: how far they are apart, and temperature scaling to bring them together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from digitlib.evaluation.statistics import wilson_interval

PRIOR = 0.5
"""Standard deviation of the normal prior on the logarithm of a temperature; it weighs about as much as one image."""


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return less confident probabilities (temperature above 1) or more confident ones (below 1).

    The logarithms of probabilities are the network's logits up to a constant, which softmax takes out again.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Shape (n, classes), each row with sum 1.

    Returns
    -------
    numpy.ndarray
        float64, shape (n, classes), each row with sum 1; the largest class stays the same.

    Examples
    --------
    >>> apply_temperature(np.array([[0.9, 0.1]]), 2.0).round(2)
    array([[0.75, 0.25]])
    """
    logits = _logarithms(probabilities) / temperature
    parts = np.exp(logits - logits.max(axis=1, keepdims=True))
    return parts / parts.sum(axis=1, keepdims=True)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature under which the labels of validation images are likeliest.

    C. Guo et al., 2017, "On calibration of modern neural networks", https://arxiv.org/abs/1706.04599. A network
    trained with label smoothing is less confident than it could be: its temperature is below 1. Where every prediction
    is right, the likelihood alone would have it 0; the prior on its logarithm keeps it away from there.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Shape (n, classes), from softmax.
    labels : numpy.ndarray
        int, shape (n,): the true classes.

    Returns
    -------
    float
        Between 0.05 and 20.

    Examples
    --------
    >>> probabilities = np.tile([0.99, 0.01], (100, 1))
    >>> round(fit_temperature(probabilities, np.repeat([0, 1], [80, 20])), 1)  # only 80 of 100 are correct
    2.9
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits, rows = _logarithms(probabilities), np.arange(len(labels))

    def loss(logarithm: float) -> float:
        scaled = logits / np.exp(logarithm)
        prior = (logarithm / PRIOR) ** 2 / 2
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[rows, labels]) + prior / len(labels))

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").x))


def calibration_table(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Return the accuracy of predictions of similar confidence: the numbers of a reliability diagram.

    Parameters
    ----------
    confidence, correct : numpy.ndarray
        float (0 to 1) and bool, shape (n,).
    bins : int
        Bins of equal width between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        A row for each bin with images: ``low`` and ``high`` (its bounds), ``images``, ``confidence`` (mean),
        ``accuracy``, ``accuracy_low`` and ``accuracy_high`` (95 % Wilson interval).

    Examples
    --------
    >>> table = calibration_table(np.array([0.55, 0.58, 0.95, 0.97]), np.array([True, False, True, True]), bins=10)
    >>> table["accuracy"].tolist()
    [0.5, 1.0]
    """
    place = np.clip(np.ceil(np.asarray(confidence) * bins).astype(int) - 1, 0, bins - 1)
    table = pd.DataFrame({"place": place, "confidence": confidence, "correct": correct}).groupby("place")
    rows = table.agg(images=("correct", "size"), confidence=("confidence", "mean"), right=("correct", "sum"))
    bounds = [wilson_interval(int(right), int(n)) for right, n in zip(rows["right"], rows["images"], strict=True)]
    return pd.DataFrame(
        {
            "low": rows.index / bins, "high": (rows.index + 1) / bins, "images": rows["images"],
            "confidence": rows["confidence"], "accuracy": rows["right"] / rows["images"],
            "accuracy_low": [low for low, _ in bounds], "accuracy_high": [high for _, high in bounds],
        }
    ).reset_index(drop=True)  # fmt: skip


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Return how far confidence and accuracy are apart (0 to 1), as a mean over images; see `calibration_table`.

    Guo et al. (2017) use 15 bins of equal width. Chance alone makes it larger than 0.

    Examples
    --------
    >>> round(expected_calibration_error(np.array([0.9, 0.9]), np.array([True, False])), 4)
    0.4
    """
    table = calibration_table(confidence, correct, bins)
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["images"]))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    smallest = np.finfo(np.float32).tiny  # stands for 0, which has no logarithm
    return np.log(np.maximum(np.asarray(probabilities, np.float64), smallest))
