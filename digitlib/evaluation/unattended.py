"""One run trained without notebooks, as a worker does it: what notebooks 05 and 06 do, in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from digitlib.data.split import class_names_of
from digitlib.evaluation.metrics import load_best_model, predict_generator, save_metrics
from digitlib.run import Run
from digitlib.training.backend import keras
from digitlib.training.models import build_model
from digitlib.training.recipes import Recipe, load_recipe, save_recipe
from digitlib.training.train import (
    callbacks_for,
    eval_generator,
    make_loss,
    make_optimizer,
    train_val_generators,
)


def train_run(run: Run, recipe: Recipe, also: Sequence[keras.callbacks.Callback] = ()) -> Recipe:
    """Train a recipe in a run that has its split; a training that was stopped goes on.

    Parameters
    ----------
    run : Run
        A run that notebook 01 or `digitlib.data.split.share_split` has prepared.
    recipe : Recipe
        What to train it with.
    also : sequence of keras.callbacks.Callback
        Callbacks beyond those of `digitlib.training.train.callbacks_for`.

    Returns
    -------
    Recipe
        With the epochs that so many images ask for, as kept in ``recipe.json``.
    """
    train, validation = train_val_generators(run, recipe)
    recipe = recipe.scaled_to(train.samples)
    save_recipe(run, recipe)
    model = build_model(recipe, class_names_of(run))
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe), metrics=["accuracy"])
    callbacks = [*callbacks_for(run, recipe), *also]
    model.fit(
        train, validation_data=validation, epochs=recipe.epochs, callbacks=callbacks, shuffle=False, verbose=0
    )
    keras.backend.clear_session()
    return recipe


def evaluate_run(run: Run) -> dict[str, Any]:
    """Look at the test part once, write ``metrics.json`` and return it.

    Parameters
    ----------
    run : Run
        A run that notebook 05 has trained.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    recipe, model = load_recipe(run), load_best_model(run)
    images = eval_generator(run, recipe, "test")
    test = model.evaluate(images, verbose=0, return_dict=True)
    return save_metrics(run, recipe, model, test, predict_generator(model, images))
