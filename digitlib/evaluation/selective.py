"""When to believe a network: calibrated confidence, and an answer only to what is familiar and sure enough."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digitlib.data.decoding import rims_are_light
from digitlib.data.split import class_names_of, read_split
from digitlib.errors import DigitError, is_number
from digitlib.evaluation.calibration import apply_temperature, fit_temperature
from digitlib.evaluation.metrics import load_best_model
from digitlib.evaluation.out_of_distribution import (
    OutlierDetector,
    extract_features,
    feature_extractor,
    fit_outlier_detector,
    matplotlib_font,
    with_limits,
    write_glyphs,
)
from digitlib.files import atomic, file_hash, write_json
from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.generators import ImageBatches
from digitlib.training.recipes import Recipe
from digitlib.training.train import as_batches, eval_generator

OTHER_SCRIPTS = (
    "ЖЯЮФШДЛПЫЭЦЩЙИджлфцшъюяωψξπλςΓΔΛΞΠΣΦΨΩ&@#%?+=*€£$"  # Cyrillic, Greek, signs
    "ԱԲԳԴԵԹԺԽԾԿՁՂՃՄՆՈՉՊՋՌՍՎՏՓՔՖաբգդեթժխծկձղճմնպջռվտփքֆ"  # Armenian
    "აბგდევზთკლმნპჟრსტუფქღყშჩცძწჭხჯჰ"  # Georgian
    "אבגדהחטלמנפצקשת"  # Hebrew
    "ⴱⴲⴳⴴⴵⴶⴷⴸⴹⴻⴼⴽⴾⵀⵂⵃⵅⵇⵉⵊⵌⵍⵎⵐⵓⵖⵛⵞⵟⵡⵣⵥ"  # Tifinagh
    "ᐁᐂᐄᐅᐆᐊᐋᐯᐱᐲᐳᐴᐸᐹᑌᑎᑏᑐᑑᑕᑖᑫᑭᑮᑯᑰᑲᑳ"  # Canadian syllabics
)
"""Characters that are none of the Latin letters or digits, all in DejaVu Sans."""

KNOWN, DRAWN, OTHER = 12_000, 2_000, 3_000
"""Training images that familiarity is learned from at most; characters of the classes, and others, drawn for it."""


@dataclass(frozen=True)
class Trust:
    """What decides whether an answer of a network is given.

    Attributes
    ----------
    wanted_accuracy : float
        Share of the answers given that shall be right, 0 to 1.
    temperature : float
        See `digitlib.evaluation.calibration.apply_temperature`.
    threshold : float
        Lowest calibrated confidence that is an answer, 0 to 1.
    familiarity : OutlierDetector
        What counts as like the training images.
    """

    wanted_accuracy: float
    temperature: float
    threshold: float
    familiarity: OutlierDetector

    def judged(
        self, probabilities: np.ndarray, features: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what to make of what an observer gives; see `digitlib.evaluation.out_of_distribution.feature_extractor`.

        Parameters
        ----------
        probabilities, features : numpy.ndarray
            Shapes (n, classes) and (n, d).

        Returns
        -------
        calibrated : numpy.ndarray
            The probabilities made to mean what they say: float64, shape (n, classes).
        familiar, answered : numpy.ndarray
            Whether each image is like the training images, and whether moreover its calibrated confidence reaches the
            threshold: bool, shape (n,).
        """
        calibrated = apply_temperature(probabilities, self.temperature)
        familiar = self.familiarity.familiar(features, probabilities.argmax(axis=1))
        return calibrated, familiar, familiar & (calibrated.max(axis=1) >= self.threshold)


class Judge:
    """Names images, with a confidence that means what it says, and says which names to trust.

    Parameters
    ----------
    trust : Trust
        As from `fit_trust` or `load_trust`.
    model : keras.Model
        The network it was fitted to.
    class_names : list of str
        Its classes in order.
    """

    def __init__(self, trust: Trust, model: keras.Model, class_names: list[str]) -> None:
        self.trust, self.class_names = trust, class_names
        self._observer = feature_extractor(model)

    def __call__(self, batches: ImageBatches) -> pd.DataFrame:
        """Return what it says of each image of an unshuffled generator, such as `digitlib.training.train.as_batches` gives.

        Returns
        -------
        pandas.DataFrame
            ``predicted`` (class name), ``raw_confidence`` (as the network gives it), ``confidence`` (calibrated),
            ``familiar`` (bool), ``score`` (the confidence, 0 if unfamiliar), ``answered`` (bool: the score reaches the
            threshold).
        """
        probabilities, features = extract_features(self._observer, batches)
        predicted = probabilities.argmax(axis=1)
        calibrated, familiar, answered = self.trust.judged(probabilities, features)
        confidence = calibrated.max(axis=1)
        return pd.DataFrame(
            {
                "predicted": np.array(self.class_names, dtype=object)[predicted],
                "raw_confidence": probabilities.max(axis=1).astype(float),
                "confidence": confidence,
                "familiar": familiar,
                "score": np.where(familiar, confidence, 0.0),
                "answered": answered,
            }
        )

    def part(self, run: Run, recipe: Recipe, part: str) -> pd.DataFrame:
        """Return the same of a part of a run's split, with ``filename``, ``true`` (class name) and ``correct`` (bool)."""
        generator = eval_generator(run, recipe, part)
        table = self(generator)
        true = np.array(list(generator.class_indices), dtype=object)[generator.classes]
        table.insert(0, "filename", generator.filenames)
        table.insert(1, "true", true)
        return table.assign(correct=table["true"] == table["predicted"])


def fit_trust(
    run: Run, recipe: Recipe, model: keras.Model, wanted_accuracy: float = 0.999, seed: int = 0
) -> Trust:
    """Find temperature, familiarity and threshold of a network.

    OutlierDetector is learned from training images and drawn characters; temperature, limits and threshold are chosen on
    the validation images. The test images are not looked at. (The recipe `seed` trains on the validation images as well,
    like the classic notebook: there all three come out too sure.)

    Parameters
    ----------
    run, recipe, model
        The run, what it was trained with, and its network.
    wanted_accuracy : float
        Share of the answers given that shall be right, between 0 and 1.
    seed : int
        Of what is drawn and chosen at random.

    Returns
    -------
    Trust
        Not saved yet: `save_trust` does that.

    Raises
    ------
    DigitError
        If `wanted_accuracy` is no such share.
    """
    check_wanted(wanted_accuracy)
    observer, class_names = feature_extractor(model), class_names_of(run)
    familiarity = _learn(run, recipe, observer, class_names, seed)
    validation = eval_generator(run, recipe, "validation")
    probabilities, features = extract_features(observer, validation)
    predicted = probabilities.argmax(axis=1)
    temperature = fit_temperature(probabilities, validation.classes)
    familiarity = with_limits(familiarity, features, predicted)
    confidence = apply_temperature(probabilities, temperature).max(axis=1)
    familiar, correct = familiarity.familiar(features, predicted), predicted == validation.classes
    threshold = threshold_for(confidence[familiar], correct[familiar], wanted_accuracy)
    return Trust(wanted_accuracy, temperature, threshold, familiarity)


def save_trust(run: Run, trust: Trust) -> None:
    """Write ``trust.json`` and ``trust.npz`` beside the network they belong to.

    Parameters
    ----------
    run : Run
        The run whose network was judged.
    trust : Trust
        As from `fit_trust`.
    """
    with atomic(run / "trust.npz") as temporary:
        arrays: dict[str, Any] = trust.familiarity.arrays()
        np.savez_compressed(temporary, **arrays)
    numbers = {name: getattr(trust, name) for name in ("wanted_accuracy", "temperature", "threshold")}
    write_json(run / "trust.json", numbers | {"model_sha256": _sha256(run / "best_model.keras")})


def load_trust(run: Run) -> Trust:
    """Return what `save_trust` wrote; no code in the files is run.

    Parameters
    ----------
    run : Run
        A run that notebook 06 has evaluated.

    Returns
    -------
    Trust
        Temperature, threshold, and what is familiar to the network.

    Raises
    ------
    DigitError
        If notebook 06 has not written it yet, it is damaged, or the network has been trained again since.
    """
    again = "run notebook 06_evaluation.ipynb again."
    kept = (run / "trust.json").exists() or not (run / "split.csv").exists()
    if not kept and "validation" not in set(read_split(run)["part"]):
        raise DigitError(
            f"{run} has no validation images, on which it would be found out when to believe it (an ensemble made with "
            "--rotate has none): leave --trust out."
        )
    run.require("trust.npz", "trust.json")
    numbers = run.read_json("trust.json")
    if numbers.pop("model_sha256", None) != _sha256(run / "best_model.keras"):
        raise DigitError(f"trust.json of {run} belongs to another network than its best_model.keras: {again}")
    try:
        with np.load(run / "trust.npz", allow_pickle=False) as arrays:
            return Trust(**numbers, familiarity=OutlierDetector(**arrays))
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DigitError(f"trust.npz or trust.json of {run} is damaged ({error}): {again}") from error


def open_judge(run: Run) -> Judge:
    """Return the judge of a run that notebook 06 has evaluated.

    Parameters
    ----------
    run : Run
        A run that notebook 06 has evaluated.

    Returns
    -------
    Judge
        With the run's network and trust.

    Raises
    ------
    DigitError
        As from `load_trust` and `digitlib.evaluation.metrics.load_best_model`.
    """
    return Judge(load_trust(run), load_best_model(run), class_names_of(run))


def _learn(
    run: Run, recipe: Recipe, observer: keras.Model, class_names: list[str], seed: int
) -> OutlierDetector:
    """Return what is familiar, from training images, characters of the classes, and others."""
    random = np.random.default_rng(seed)
    train = eval_generator(run, recipe, "train")
    chosen = np.sort(random.permutation(train.samples)[:KNOWN])
    images, labels = train.originals(chosen), train.classes[chosen]
    own = "".join(name for name in class_names if len(name) == 1)
    fonts = [matplotlib_font(name) for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")]
    drawn = write_glyphs(own or " ", fonts, DRAWN if own else 1, random)
    other = write_glyphs("".join(sorted(set(OTHER_SCRIPTS) - set(own))), fonts[:1], OTHER, random)
    if rims_are_light(images):
        drawn, other = 255 - drawn, 255 - other
    known, drawn, other = (
        extract_features(observer, as_batches(pixels, recipe))[1] for pixels in (images, drawn, other)
    )
    return fit_outlier_detector(known, labels, drawn if own else drawn[:0], other, len(class_names), seed)


def _sha256(path: Path) -> str:
    return file_hash(path) if path.exists() else ""


def risk_coverage(score: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
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
        As in `risk_coverage`.
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
    table = risk_coverage(score, correct)
    enough = table[table["accuracy"] >= wanted_accuracy]
    return float(enough["threshold"].min() if len(enough) else np.nextafter(np.max(score), np.inf))


def rejection_table(judged: Mapping[str, pd.DataFrame], digits: str = "test images") -> pd.DataFrame:
    """Return how many pictures of each kind are declined, and how many a bare confidence would have declined.

    The two are compared at equal cost: bare confidence declines as many of the digits.

    Parameters
    ----------
    judged : mapping of str to pandas.DataFrame
        Name of each kind, and what a `digitlib.evaluation.selective.Judge` says of its pictures.
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
