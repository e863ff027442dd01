"""What `model.compile` and `model.fit` are given: images, optimizer, loss, callbacks; and the history they leave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from digitlib.files import write_table
from digitlib.progress import bar
from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.callbacks import Backup, BestModel, Patience, backup_folder, past_epochs
from digitlib.training.generators import ImageBatches, generator_from_split
from digitlib.training.recipes import Recipe


def train_val_generators(run: Run, recipe: Recipe) -> tuple[ImageBatches, ImageBatches]:
    """Return the generators that a recipe trains on and chooses its best epoch by.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    recipe : Recipe
        Gives size, colours, augmentation, batches, and the parts to train and validate on.

    Returns
    -------
    train, validation : ImageBatches
        The first shuffled and augmented, the second only rescaled, in the order of the split. The first begins with
        the epoch that an unfinished training of this recipe has to do next.
    """
    shared = {"image_size": recipe.image_size, "color_mode": recipe.color_mode, "seed": recipe.seed}
    train = generator_from_split(
        run, recipe.train_on, batch_size=recipe.batch_size, **shared, **dict(recipe.augmentation)
    )
    whole = recipe.scaled_to(train.samples)
    train.cooldown_from = whole.cooldown_from
    train.start_at(len(past_epochs(run, whole)))
    return train, eval_generator(run, recipe, recipe.validate_on)


def eval_generator(run: Run, recipe: Recipe, parts: str | tuple[str, ...]) -> ImageBatches:
    """Return parts of the split as the network is judged on: rescaled, not augmented, in order.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    recipe : Recipe
        Gives size, colours and batches.
    parts : str or tuple of str
        "train", "validation" or "test", or several of them.

    Returns
    -------
    ImageBatches
        Not shuffled, so that its rows are the manifest's.
    """
    return generator_from_split(
        run,
        parts,
        image_size=recipe.image_size,
        color_mode=recipe.color_mode,
        batch_size=max(recipe.batch_size, 32),
        shuffle=False,
        rescale=recipe.augmentation["rescale"],
    )


def as_batches(images: np.ndarray, recipe: Recipe, batch_size: int = 256) -> ImageBatches:
    """Return images without a class as a network of this recipe takes them.

    Parameters
    ----------
    images : numpy.ndarray
        uint8, shape (n, height, width, 1 or 3).
    recipe : Recipe
        Gives size, colours and scale.
    batch_size : int
        Images a batch.

    Returns
    -------
    ImageBatches
        Without labels, in the order of `images`.
    """
    nothing = pd.DataFrame({"filename": "", "class": "?"}, index=range(len(images)))
    return ImageBatches(
        images, np.arange(len(images)), nothing, ["?"], image_size=recipe.image_size,
        color_mode=recipe.color_mode, batch_size=batch_size, class_mode=None, shuffle=False,
        rescale=recipe.augmentation["rescale"],
    )  # fmt: skip


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return Adam, or AdamW where the recipe has weight decay, with the recipe's schedule.

    "one_cycle" warms up over the first fifth of all steps from a tenth of the
    peak and decays along a cosine to nearly zero (after Smith and Topin, 2018,
    https://arxiv.org/abs/1708.07120).

    Parameters
    ----------
    recipe : Recipe
        See `digitlib.training.recipes.Recipe`.
    steps_per_epoch : int
        Batches an epoch, ``len(train)``.

    Returns
    -------
    keras.optimizers.Optimizer
        New, with its schedule at the beginning.
    """
    rate: Any = recipe.learning_rate
    if recipe.schedule == "one_cycle":
        steps = recipe.epochs * steps_per_epoch
        warmup = max(1, steps // 5)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, max(1, steps - warmup), alpha=0.002, warmup_target=rate, warmup_steps=warmup
        )
    if recipe.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
        # Decay is for kernels: shrinking biases and batch-norm's scales only fights the data.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer
    return keras.optimizers.Adam(rate)


def make_loss(recipe: Recipe) -> keras.losses.Loss:
    """Return categorical cross-entropy with the recipe's label smoothing.

    Parameters
    ----------
    recipe : Recipe
        Gives ``label_smoothing`` (0 to 1).

    Returns
    -------
    keras.losses.Loss
        For one-hot labels.
    """
    return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)


def callbacks_for(run: Run, recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Return the callbacks of a training run.

    A training that was stopped, with the same recipe and split, goes on after its last whole epoch; a finished one
    starts from scratch.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    recipe : Recipe
        What is trained; it decides whether a stopped training is the same one.

    Returns
    -------
    list of keras.callbacks.Callback
        A progress bar for epochs that take long, a history table on disk after every epoch, the best epoch's network in
        ``best_model.keras``, an early stop where the recipe says so, and what a stopped training needs to go on.
    """
    past = past_epochs(run, recipe)
    callbacks = [EpochBar(), HistoryTable(run, past), BestModel(run / "best_model.keras", past, recipe.keep)]
    if recipe.patience:
        callbacks.append(Patience(recipe.patience, past))
    # Last, since what it keeps is what the others have seen.
    return [*callbacks, Backup(backup_folder(run, recipe), recipe.epochs, bool(past))]


class EpochBar(keras.callbacks.Callback):
    """Show how far an epoch is once it has taken two seconds; ``verbose=2`` alone is silent until its end."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begin a bar."""
        self._bar = bar(self.params["steps"], f"Epoch {epoch + 1}", unit="step")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Go one step on."""
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Take the bar away."""
        self._bar.close()


class HistoryTable(keras.callbacks.Callback):
    """Write ``history.csv`` after every epoch: epoch (from 1), the metrics, learning rate, seconds since the start.

    Keras's CSVLogger counts epochs from 0, knows no time, and leaves half a
    line when it is killed.

    Parameters
    ----------
    run : Run
        Where to.
    past : sequence of dict
        Rows of epochs that were done before.
    """

    def __init__(self, run: Run, past: Sequence[dict[str, float]] = ()) -> None:
        super().__init__()
        self.run, self.past = run, past

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Start the clock, with the time that earlier epochs took on it."""
        self.rows = list(self.past)
        self._start = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add one row and write the table."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        seconds = time.perf_counter() - self._start
        self.rows.append(
            {"epoch": epoch + 1, **(logs or {}), "learning_rate": rate, "seconds": round(seconds, 3)}
        )
        write_table(self.run / "history.csv", pd.DataFrame(self.rows))
