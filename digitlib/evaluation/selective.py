"""When to accept a prediction: calibrated confidence, a threshold on it, and abstention from outliers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digitlib.data.class_counts import AnyRun
from digitlib.errors import DigitError, is_number, require
from digitlib.evaluation.calibration import apply_temperature
from digitlib.evaluation.out_of_distribution import OutlierDetector
from digitlib.files import atomic, file_hash, write_json
from digitlib.run import CALIBRATION, Run, open_run

NUMBERS = ("target_accuracy", "temperature", "threshold")

PRIOR_ERRORS = 10.0
"""See `threshold_for`: 3,000 validation images have about three errors at 99.9 %, too few to count alone."""


@dataclass(frozen=True)
class SelectiveClassifier:
    """What decides whether a network's prediction is accepted; `digitlib.evaluation.Classifier.calibrate` makes it.

    Attributes
    ----------
    temperature : float
        See `digitlib.evaluation.apply_temperature`.
    threshold : float
        Lowest calibrated confidence that is accepted, 0 to 1.
    target_accuracy : float
        Share of the accepted predictions that should be right, 0 to 1.
    outliers : OutlierDetector or None
        What counts as in-distribution; None if abstention goes by confidence alone.

    Examples
    --------
    >>> chooser = SelectiveClassifier(temperature=1.0, threshold=0.8, target_accuracy=0.99)
    >>> chooser.judge(np.array([[0.9, 0.1], [0.4, 0.6]]))["accepted"].tolist()
    [True, False]
    """

    temperature: float
    threshold: float
    target_accuracy: float
    outliers: OutlierDetector | None = None

    def judge(self, probabilities: np.ndarray, features: np.ndarray | None = None) -> pd.DataFrame:
        """Return which predictions to accept.

        Parameters
        ----------
        probabilities, features : numpy.ndarray
            Shapes (n, classes) and (n, d), see `digitlib.evaluation.out_of_distribution.feature_extractor`; features
            are needed where there is an `OutlierDetector`.

        Returns
        -------
        pandas.DataFrame
            ``raw_confidence`` (softmax), ``confidence`` (calibrated), ``in_distribution`` (bool), ``score`` (the
            confidence, 0 if out-of-distribution), ``accepted`` (bool: in-distribution, and the confidence reaches the
            threshold).
        """
        confidence = apply_temperature(probabilities, self.temperature).max(axis=1)
        inside = np.ones(len(confidence), bool)
        if self.outliers is not None and features is not None:
            inside = self.outliers.in_distribution(features, probabilities.argmax(axis=1))
        return pd.DataFrame(
            {
                "raw_confidence": probabilities.max(axis=1).astype(float), "confidence": confidence, "in_distribution": inside,
                "score": np.where(inside, confidence, 0.0), "accepted": inside & (confidence >= self.threshold),
            }
        )  # fmt: skip

    def save(self, run: AnyRun) -> None:
        """Write ``calibration.json`` and ``calibration.npz`` beside the ``best_model.keras`` that it belongs to."""
        run = open_run(run)
        numbers = self.numbers(run / CALIBRATION[1])
        write_json(run / CALIBRATION[0], numbers | {"model_sha256": file_hash(run / "best_model.keras")})

    def numbers(self, file: Path) -> dict[str, Any]:
        """Write the outlier detector to a ``.npz`` file, and return all else with the file's hash."""
        arrays: dict[str, Any] = {} if self.outliers is None else self.outliers.arrays()
        with atomic(file) as temporary:
            np.savez_compressed(temporary, **arrays)
        return {name: getattr(self, name) for name in NUMBERS} | {"outliers_sha256": file_hash(file)}

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any], file: Path) -> SelectiveClassifier:
        """Return what `numbers` was written for, without running any code in the file."""
        run = Run(file.parent)
        if numbers.get("outliers_sha256", now := file_hash(file)) != now:
            raise run.damaged(file.name, f"it has other bytes than {file.with_suffix('.json').name} says")
        try:
            with np.load(file, allow_pickle=False) as arrays:
                outliers = OutlierDetector(**arrays) if arrays.files else None
        except Exception as error:  # zip, zlib and NumPy each raise their own
            raise run.damaged(file.name, error) from error
        return cls(**{name: numbers[name] for name in NUMBERS}, outliers=outliers)

    @classmethod
    def load(cls, run: AnyRun) -> SelectiveClassifier | None:
        """Return what `save` wrote, None where there is nothing; no code in the files is run.

        Raises
        ------
        DigitError
            If it is damaged, or the network has been trained again since.
        """
        run = open_run(run)
        if not (run / CALIBRATION[0]).exists():
            return None
        numbers = run.read_json(CALIBRATION[0])
        if numbers.get("model_sha256") != file_hash(run / "best_model.keras"):
            what = f"calibration.json of {run} belongs to another network than best_model.keras"
            raise DigitError(f"{what}. Run notebook 06_evaluation.ipynb again, or delete calibration.json.")
        run.require(CALIBRATION[1])
        return cls.from_numbers(numbers, run / CALIBRATION[1])


def risk_coverage(score: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    """Return coverage and accuracy for each threshold that makes a difference: the numbers of a risk-coverage curve.

    Parameters
    ----------
    score, correct : numpy.ndarray
        float and bool, shape (n,): a prediction is accepted if its score reaches the threshold.

    Returns
    -------
    pandas.DataFrame
        From the highest threshold to the lowest: ``threshold``, ``accepted`` (images), ``coverage`` (their share of
        all), ``wrong`` and ``accuracy`` (of those accepted).

    Examples
    --------
    >>> risk_coverage(np.array([0.9, 0.6]), np.array([True, False]))["accuracy"].tolist()
    [1.0, 0.5]
    """
    order = np.argsort(-np.asarray(score, float), kind="stable")
    ordered, wrong = np.asarray(score, float)[order], np.cumsum(~np.asarray(correct, bool)[order])
    accepted = np.arange(1, len(order) + 1)
    table = pd.DataFrame(
        {
            "threshold": ordered, "accepted": accepted, "coverage": accepted / max(1, len(order)),
            "wrong": wrong, "accuracy": 1 - wrong / accepted,
        }
    )  # fmt: skip
    return table.drop_duplicates("threshold", keep="last").reset_index(drop=True)


def threshold_for(score: np.ndarray, correct: np.ndarray, target_accuracy: float, prior_errors: float = 0.0) -> float:
    """Return the lowest threshold at which accepted predictions reach an accuracy, to be chosen on validation images.

    Parameters
    ----------
    score, correct : numpy.ndarray
        As in `risk_coverage`.
    target_accuracy : float
        Share of the accepted predictions that should be right, between 0 and 1.
    prior_errors : float
        0 counts errors alone, which is noisy where few are expected. Otherwise scores are calibrated confidences, whose
        mean weighs as much as the count on so many images that they would have this many errors at the target accuracy
        (the mean of a beta posterior).

    Returns
    -------
    float
        Just above the highest score, so that nothing is accepted, if even the most confident prediction is wrong.

    Examples
    --------
    >>> threshold_for(np.array([0.9, 0.8, 0.7]), np.array([True, True, False]), 0.99)
    0.8
    """
    check_target(target_accuracy)
    table, prior = risk_coverage(score, correct), prior_errors / (1 - target_accuracy)
    accepted = table["accepted"].to_numpy()
    confidence = np.cumsum(np.sort(score)[::-1])[accepted - 1] / accepted
    weight = prior / (accepted + prior)
    enough = table[(1 - weight) * table["accuracy"] + weight * confidence >= target_accuracy]
    return float(enough["threshold"].min() if len(enough) else np.nextafter(np.max(score), np.inf))


def check_target(target_accuracy: float) -> None:
    """Refuse a target accuracy that is not a share between 0 and 1."""
    share = is_number(target_accuracy) and 0 < target_accuracy < 1
    require("target_accuracy", target_accuracy, share, "a number between 0 and 1, for example 0.999")


def rejection_table(judged: Mapping[str, pd.DataFrame], reference: str = "test images") -> pd.DataFrame:
    """Return the share of each kind of images that is rejected, and what raw confidence alone would reject.

    The two are compared at equal cost: raw confidence rejects as many of the reference images.

    Parameters
    ----------
    judged : mapping of str to pandas.DataFrame
        Tables of `digitlib.evaluation.Classifier.judge` by the name of the kind.
    reference : str
        The kind that should be accepted.

    Returns
    -------
    pandas.DataFrame
        Index: the kinds. ``images`` (how many), and shares from 0 to 1: ``rejected``, ``out-of-distribution`` and
        ``rejected by raw confidence``.

    Examples
    --------
    >>> digits = pd.DataFrame({"accepted": [True, True], "in_distribution": True, "raw_confidence": [0.99, 0.9]})
    >>> letters = pd.DataFrame({"accepted": [False, True], "in_distribution": False, "raw_confidence": [0.95, 0.5]})
    >>> rejection_table({"test images": digits, "letters": letters})["rejected"].to_dict()
    {'test images': 0.0, 'letters': 0.5}
    """
    least = judged[reference]["raw_confidence"].quantile(1 - judged[reference]["accepted"].mean())
    rows = {
        kind: {
            "images": len(table), "rejected": 1 - table["accepted"].mean(),
            "out-of-distribution": 1 - table["in_distribution"].mean(),
            "rejected by raw confidence": (table["raw_confidence"] < least).mean(),
        }
        for kind, table in judged.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T.astype({"images": int})
