"""The same training from several seeds, each epoch looked at on validation and test images: for studies, not for results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from digitlib.backend import keras
from digitlib.errors import DigitError
from digitlib.generators import ImageBatches
from digitlib.models import build_model
from digitlib.progress import bar
from digitlib.recipes import get_recipe
from digitlib.runs import Run
from digitlib.split import class_names_of
from digitlib.training import generators_for, make_loss, make_optimizer, plain_generator


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
            train, validation = generators_for(run, one)
            watch = _Watch(validation, plain_generator(run, one, "test"))
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
