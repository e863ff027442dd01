"""What may be chance: intervals of accuracies, one network against another, and choosing an epoch on the test set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, t

from digitlib.errors import DigitError
from digitlib.progress import bar
from digitlib.run import Run, open_run
from digitlib.training.generators import eval_generator, train_val_generators
from digitlib.training.models import build_model
from digitlib.training.optimizers import make_loss, make_optimizer
from digitlib.training.recipes import get_recipe


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
    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


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
    one, other = int((a & ~b).sum()), int((b & ~a).sum())
    p = binomtest(one, one + other).pvalue if one + other else 1.0
    return {
        "both": int((a & b).sum()), "only_first": one, "only_second": other, "neither": int((~a & ~b).sum()),
        "p_value": float(p),
    }  # fmt: skip


def spread(accuracies: Sequence[float], confidence: float = 0.95, shared: float = 0.0) -> dict[str, float]:
    """Return mean, standard deviation and interval of the mean (Student's t) of several trainings.

    Parameters
    ----------
    shared : float
        Variance of the mean, as a share of that of one training, that comes from training on the same images.

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
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    error = sd * (1 / len(values) + shared) ** 0.5 or 1e-300  # SciPy refuses 0
    low, high = np.clip(t.interval(confidence, len(values) - 1, mean, error), 0, 1)
    return {
        "seeds": len(values), "mean": mean, "sd": sd, "lowest": float(values.min()),
        "highest": float(values.max()), "mean_low": float(low), "mean_high": float(high),
    }  # fmt: skip


def choose_and_report(correct: np.ndarray, repeats: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return what an epoch seems to reach on the images that chose it, and what it reaches on others.

    The images are cut into halves at random. The epoch that is best on one half is measured on both: the first is what
    a checkpoint that watches the test set reports, the second is honest.

    Parameters
    ----------
    correct : numpy.ndarray
        bool, shape (epochs, n): which images each epoch predicted correctly.
    repeats : int
        How often to cut.

    Returns
    -------
    pandas.DataFrame
        A row a cut: ``chosen_on`` (accuracy on the half that chose), ``fresh`` (on the other), ``leak`` (difference).
    """
    random, rows = np.random.default_rng(seed), []
    for _ in range(repeats):
        choosing, fresh = np.array_split(random.permutation(correct.shape[1]), 2)
        best = correct[:, choosing].mean(axis=1).argmax()
        rows.append((correct[best, choosing].mean(), correct[best, fresh].mean()))
    table = pd.DataFrame(rows, columns=["chosen_on", "fresh"])
    return table.assign(leak=table["chosen_on"] - table["fresh"])


@dataclass(frozen=True)
class SeedTrial:
    """One training, measured after every epoch.

    Attributes
    ----------
    seed : int
        Of weights, order and augmentation.
    validation_accuracy : numpy.ndarray
        float, shape (epochs,).
    correct : numpy.ndarray
        bool, shape (epochs, n): which test images each epoch predicted correctly.
    """

    seed: int
    validation_accuracy: np.ndarray
    correct: np.ndarray

    @property
    def chosen(self) -> int:
        """The epoch that is best on the validation set, counted from 0."""
        return int(self.validation_accuracy.argmax())


def train_seeds(run: Run | str, recipe: str, seeds: Iterable[int], epochs: int) -> list[SeedTrial]:
    """Train a recipe from each seed, at a constant learning rate, without writing into the run.

    The rate is a quarter of the recipe's and stays, as in the classic notebook, so that epochs differ by chance.

    Parameters
    ----------
    run : Run or path-like
        Prepared by notebook 01.
    recipe : str
        Name of a recipe.
    seeds : iterable of int
        One training each; two or more, to be compared.

    Examples
    --------
    >>> trials = train_seeds("runs/default", "tiny", seeds=[1, 2], epochs=3)  # doctest: +SKIP
    >>> choices_table(trials)  # doctest: +SKIP
    """
    run, seeds, trials = open_run(run), list(seeds), []
    if len(seeds) < 2:
        raise DigitError(f"chance shows in at least 2 trainings, not {len(seeds)}: give more seeds.")
    rate = get_recipe(recipe).learning_rate / 4
    with bar(len(seeds) * epochs, "Training seeds", unit="epoch") as shown:
        for seed in seeds:
            one = get_recipe(recipe, seed=seed, epochs=epochs, schedule="constant", learning_rate=rate)
            train, validation = train_val_generators(run, one)
            sets = {"validation": validation, "test": eval_generator(run, one, "test")}
            correct: dict[str, list[np.ndarray]] = {name: [] for name in sets}
            model = build_model(one, train.class_names)
            model.compile(make_optimizer(one, len(train)), make_loss(one))
            for epoch in range(epochs):
                train.start_at(epoch)
                model.fit(train, verbose=0)
                for name, images in sets.items():
                    correct[name].append(model.predict(images, verbose=0).argmax(axis=1) == images.classes)
                shown.update()
            trials.append(SeedTrial(seed, np.mean(correct["validation"], axis=1), np.array(correct["test"])))
    return trials


def choices_table(trials: list[SeedTrial]) -> pd.DataFrame:
    """Return, for each seed, the test accuracy of the epoch that validation chose, and of the one that the test chose.

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
