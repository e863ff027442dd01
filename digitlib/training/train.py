"""A whole training without notebooks: what notebook 05 does, in the same order."""

from __future__ import annotations

from collections.abc import Sequence

from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.callbacks import callbacks_for
from digitlib.training.generators import train_val_generators
from digitlib.training.models import build_model
from digitlib.training.optimizers import make_loss, make_optimizer
from digitlib.training.recipes import Recipe


def train_run(run: Run | str, recipe: Recipe, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Recipe:
    """Train a recipe in a run that has its split, or go on where an earlier training was stopped.

    Parameters
    ----------
    run : Run or path
        As from `digitlib.prepare`.
    recipe : Recipe
        What to train it with.
    callbacks : sequence of keras.callbacks.Callback
        In addition to those of `digitlib.training.callbacks.callbacks_for`.

    Returns
    -------
    Recipe
        With the size and colours that the images ask for, as written to ``recipe.json``.

    Examples
    --------
    >>> train_run("runs/default", get_recipe("fast")).epochs  # doctest: +SKIP
    10
    """
    recipe = recipe.adapted_to(run)
    train, validation = train_val_generators(run, recipe)
    model = build_model(recipe, train.class_names)
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe), metrics=["accuracy"])
    model.fit(
        train,
        validation_data=validation,
        epochs=recipe.epochs,
        callbacks=[*callbacks_for(run, train, recipe), *callbacks],
        verbose=0,
    )
    keras.backend.clear_session()
    return recipe
