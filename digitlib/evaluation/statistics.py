"""What may be chance: intervals of accuracies, one network against another, and choosing an epoch on the test set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from digitlib.errors import DigitError


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the range of true accuracies that this many correct predictions are compatible with.

    Wilson's interval (E. B. Wilson, 1927), which stays inside 0 to 1 and is right near 1; 0 to 1 without any image.

    Examples
    --------
    >>> low, high = wilson_interval(890, 900)
    >>> round(low, 4), round(high, 4)
    (0.9797, 0.994)
    """
    if not total:
        return 0.0, 1.0
    share, z = correct / total, NormalDist().inv_cdf((1 + confidence) / 2)
    middle, half = share + z**2 / (2 * total), z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low, high = (middle - half) / (1 + z**2 / total), (middle + half) / (1 + z**2 / total)
    return low if correct else 0.0, high if correct < total else 1.0


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare two networks on the same images by McNemar's test, in its exact form.

    Only images on which they differ count: if both were equally good, each of these would favour one or the other as a
    coin falls (Q. McNemar, 1947, https://doi.org/10.1007/BF02295996).

    Parameters
    ----------
    first, second : numpy.ndarray
        bool, shape (n,): which images each network predicted correctly, in the same order.

    Returns
    -------
    dict of str to float
        ``both``, ``only_first``, ``only_second``, ``neither`` (images predicted correctly), ``p_value`` (two-sided).

    Examples
    --------
    >>> mcnemar(np.array([True] * 8), np.array([True] * 2 + [False] * 6))["p_value"]
    0.03125
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape:
        raise DigitError(f"mcnemar needs predictions of both networks for the same images, not {a.size} and {b.size}.")
    from scipy.stats import binomtest

    one, other = int((a & ~b).sum()), int((b & ~a).sum())
    p = binomtest(one, one + other).pvalue if one + other else 1.0
    return {
        "both": int((a & b).sum()), "only_first": one, "only_second": other, "neither": int((~a & ~b).sum()),
        "p_value": float(p),
    }  # fmt: skip


def spread(accuracies: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Return mean, standard deviation and interval of the mean (Student's t) of several trainings.

    Returns
    -------
    dict of str to float
        ``seeds``, ``mean``, ``sd``, ``lowest``, ``highest``, ``mean_low``, ``mean_high``.

    Examples
    --------
    >>> round(spread([0.98, 0.99, 1.0])["sd"], 3)
    0.01
    """
    values = np.asarray(accuracies, float)
    if len(values) < 2:
        raise DigitError(f"a spread needs at least 2 trainings, not {len(values)}: give more seeds.")
    from scipy.stats import t

    mean, sd = float(values.mean()), float(values.std(ddof=1))
    error = sd / len(values) ** 0.5 or 1e-300  # SciPy refuses 0
    low, high = np.clip(t.interval(confidence, len(values) - 1, mean, error), 0, 1)
    return {
        "seeds": len(values), "mean": mean, "sd": sd, "lowest": float(values.min()),
        "highest": float(values.max()), "mean_low": float(low), "mean_high": float(high),
    }  # fmt: skip
