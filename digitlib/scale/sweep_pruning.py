"""A training that tells Optuna after every epoch how it goes, and may be stopped by it."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import optuna

from digitlib.evaluation.unattended import evaluate_run, train_run
from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.callbacks import past_epochs
from digitlib.training.recipes import Recipe, load_recipe


class Report(keras.callbacks.Callback):
    """Report the validation accuracy of every epoch to a trial, and stop the training when its pruner says so.

    Parameters
    ----------
    trial : optuna.Trial
        As asked for.
    run : Run
        Where the training is, of which an earlier process may have done some epochs.
    """

    def __init__(self, trial: optuna.Trial, run: Run) -> None:
        super().__init__()
        self.trial, self.run, self.stopped = trial, run, False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Report the epochs that an earlier process has done, of which this trial knows nothing yet."""
        for row in past_epochs(self.run, load_recipe(self.run)):
            self.trial.report(row["val_accuracy"], int(row["epoch"]))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Report, and stop after the epoch rather than within it: what is on disk stays whole; after the last, it is done."""
        self.trial.report((logs or {})["val_accuracy"], epoch + 1)
        if epoch + 1 < self.params["epochs"] and self.trial.should_prune():
            self.stopped = self.model.stop_training = True


def train_reporting(run: Run, recipe: Recipe, trial: optuna.Trial) -> bool:
    """Train and, unless the trial's pruner stopped it, look at the test part; tell whether it was stopped."""
    report = Report(trial, run)
    with redirect_stdout(StringIO()):
        train_run(run, recipe, [report])
        if not report.stopped:
            evaluate_run(run)
    return report.stopped
