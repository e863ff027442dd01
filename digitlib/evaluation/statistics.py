"""What may be chance: the interval of an accuracy, one network against another, and what it costs to choose on the test images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, t

from digitlib.data.split import class_names_of
from digitlib.errors import DigitError
from digitlib.progress import bar
from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.generators import ImageBatches
from digitlib.training.models import build_model
from digitlib.training.recipes import get_recipe
from digitlib.training.train import eval_generator, make_loss, make_optimizer, train_val_generators


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval in which the true accuracy lies with the given confidence.

    Wilson's interval (E. B. Wilson, 1927), which stays inside 0 to 1 and holds near 1.

    Parameters
    ----------
    correct, total : int
        Images named right, and all.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    low, high : float
        0 to 1; just these where there are no images.

    Examples
    --------
    >>> low, high = wilson_interval(890, 900)
    >>> round(low, 4), round(high, 4)
    (0.9797, 0.994)
    """
    if not total:
        return 0.0, 1.0
    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare two networks on the same images by McNemar's test, in its exact form.

    Only images on which they differ say anything: if both were equally good, each of these would be for one or the
    other as a coin falls (Q. McNemar, 1947, https://doi.org/10.1007/BF02295996).

    Parameters
    ----------
    first, second : numpy.ndarray
        bool, shape (n,): which images each named right, in the same order.

    Returns
    -------
    dict of str to float
        ``both``, ``only_first``, ``only_second``, ``neither`` (images named right) and ``p_value`` (two-sided).

    Raises
    ------
    DigitError
        If they are not about equally many images.

    Examples
    --------
    >>> mcnemar(np.array([True] * 8), np.array([True] * 2 + [False] * 6))["p_value"]
    0.03125
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape:
        raise DigitError(
            f"mcnemar needs both networks' answers to the same images, not {a.size} and {b.size} of them."
        )
    one, other = int((a & ~b).sum()), int((b & ~a).sum())
    p = binomtest(one, one + other).pvalue if one + other else 1.0
    return {
        "both": int((a & b).sum()), "only_first": one, "only_second": other, "neither": int((~a & ~b).sum()),
        "p_value": float(p),
    }  # fmt: skip


def spread(accuracies: Sequence[float], confidence: float = 0.95) -> dict[str, float]:
    """Return mean, standard deviation and interval of the mean (Student's t) of several trainings.

    Parameters
    ----------
    accuracies : sequence of float
        One for each seed, two or more.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    dict of str to float
        ``seeds``, ``mean``, ``sd``, ``lowest``, ``highest``, ``mean_low``, ``mean_high``.

    Raises
    ------
    DigitError
        If there are fewer than two.
    """
    values = np.asarray(accuracies, float)
    if len(values) < 2:
        raise DigitError(f"a spread needs two trainings or more, not {len(values)}: give more seeds.")
    sd = float(values.std(ddof=1))
    mean, error = float(values.mean()), sd / len(values) ** 0.5
    low, high = student_interval(mean, error, len(values), confidence)
    return {
        "seeds": len(values), "mean": mean, "sd": sd, "lowest": float(values.min()),
        "highest": float(values.max()), "mean_low": low, "mean_high": high,
    }  # fmt: skip


def student_interval(mean: float, error: float, number: int, confidence: float) -> tuple[float, float]:
    """Return Student's interval of the mean of `number` values, whose standard error is `error`."""
    low, high = t.interval(confidence, number - 1, mean, error or 1e-300)  # SciPy knows no error of 0
    return float(low), float(high)


def choose_and_report(correct: np.ndarray, repeats: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return what an epoch seems to reach on the images that chose it, and what it reaches on others.

    The images are cut into halves at random. The epoch that is best on one half is looked at on both: the first look
    is the one of a checkpoint that watches the test, the second an honest one.

    Parameters
    ----------
    correct : numpy.ndarray
        bool, shape (epochs, n): which images each epoch named right.
    repeats : int
        How often to cut.
    seed : int
        Of the cuts.

    Returns
    -------
    pandas.DataFrame
        A row a cut: ``chosen_on`` (accuracy on the half that chose), ``fresh`` (on the other), ``leak`` (difference).
    """
    random, rows = np.random.default_rng(seed), []
    for _ in range(repeats):
        order = random.permutation(correct.shape[1])
        choosing, fresh = np.array_split(order, 2)
        best = correct[:, choosing].mean(axis=1).argmax()
        rows.append((correct[best, choosing].mean(), correct[best, fresh].mean()))
    table = pd.DataFrame(rows, columns=["chosen_on", "fresh"])
    return table.assign(leak=table["chosen_on"] - table["fresh"])


@dataclass(frozen=True)
class Trial:
    """One training, looked at after every epoch.

    Attributes
    ----------
    seed : int
        Of weights, order and augmentation.
    validation_accuracy : numpy.ndarray
        float, shape (epochs,).
    correct : numpy.ndarray
        bool, shape (epochs, n): which test images each epoch named right.
    """

    seed: int
    validation_accuracy: np.ndarray
    correct: np.ndarray

    @property
    def chosen(self) -> int:
        """The epoch that is best on validation images, counted from 0."""
        return int(self.validation_accuracy.argmax())


class _Watch(keras.callbacks.Callback):
    """Keep which images are named right after every epoch."""

    def __init__(self, validation: ImageBatches, test: ImageBatches) -> None:
        super().__init__()
        self.parts = {"validation": validation, "test": test}
        self.right: dict[str, list[np.ndarray]] = {name: [] for name in self.parts}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Name all images."""
        for name, batches in self.parts.items():
            named = self.model.predict(batches, verbose=0).argmax(axis=1)
            self.right[name].append(named == batches.classes)


def train_seeds(run: Run, recipe: str, seeds: Iterable[int], epochs: int) -> list[Trial]:
    """Train a recipe from each seed, at a constant learning rate, without writing into the run.

    The rate is a quarter of the recipe's and stays, as in the classic notebook, so that epochs differ by chance.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    recipe : {"tiny", "fast", "accurate"}
        What to train.
    seeds : iterable of int
        One training each; two or more, to be compared.
    epochs : int
        Passes over the training part.

    Returns
    -------
    list of Trial
        One a seed, in the given order.

    Raises
    ------
    DigitError
        If there are fewer than two seeds, or the recipe can't be.
    """
    seeds, trials = list(seeds), []
    if len(seeds) < 2:
        raise DigitError(
            f"what chance does shows in two trainings or more, not {len(seeds)}: give more seeds."
        )
    with bar(len(seeds) * epochs, "Training seeds", unit="epoch") as shown_bar:
        for seed in seeds:
            one = get_recipe(recipe, seed=seed, epochs=epochs)
            one = get_recipe(
                recipe, seed=seed, epochs=epochs, schedule="constant", learning_rate=one.learning_rate / 4
            )
            train, validation = train_val_generators(run, one)
            watch = _Watch(validation, eval_generator(run, one, "test"))
            model = build_model(one, class_names_of(run))
            model.compile(make_optimizer(one, len(train)), make_loss(one), metrics=["accuracy"])
            step = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: shown_bar.update())
            model.fit(train, epochs=epochs, callbacks=[watch, step], shuffle=False, verbose=0)
            means = np.array([right.mean() for right in watch.right["validation"]])
            trials.append(Trial(seed, means, np.array(watch.right["test"])))
    return trials


def choices_table(trials: list[Trial]) -> pd.DataFrame:
    """Return, for each seed, the test accuracy of the epoch that validation chose, and of the one that the test chose.

    Parameters
    ----------
    trials : list of Trial
        As from `train_seeds`.

    Returns
    -------
    pandas.DataFrame
        ``seed``, ``epoch_by_validation``, ``chosen_on_validation`` (test accuracy), ``epoch_by_test``,
        ``chosen_on_test`` (test accuracy), ``difference``.
    """
    rows = []
    for trial in trials:
        accuracy = trial.correct.mean(axis=1)
        best = int(accuracy.argmax())
        rows.append((trial.seed, trial.chosen + 1, accuracy[trial.chosen], best + 1, accuracy[best]))
    columns = ["seed", "epoch_by_validation", "chosen_on_validation", "epoch_by_test", "chosen_on_test"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(difference=table["chosen_on_test"] - table["chosen_on_validation"])
