"""A whole training without notebooks: what notebook 05 does, in the same order; and once more on all labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from digitlib.files import write_json
from digitlib.run import Run, check_training, open_run
from digitlib.training.backend import keras
from digitlib.training.callbacks import callbacks_for
from digitlib.training.generators import ImageBatches, generator_from_split, train_options, train_val_generators
from digitlib.training.models import build_model
from digitlib.training.optimizers import make_loss, make_optimizer
from digitlib.training.recipes import SETS, Recipe, load_recipe


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
    _fit(recipe, train, [*callbacks_for(run, train, recipe), *callbacks], validation)
    keras.backend.clear_session()
    return recipe


def refit_run(run: Run | str) -> Run:
    """Train a run's recipe once more, on all labelled images, and return ``refit/`` in its folder.

    That is the network for images whose labels nobody knows: it has seen a third more. It keeps the last epoch. Nothing is
    left to measure it on, so ``metrics.json`` beside it holds what the network before reached, and says ``refit``. It is
    trained again only if recipe or split have changed.

    Examples
    --------
    >>> Classifier.load(refit_run("runs/default")).predict("scans/")  # doctest: +SKIP
    """
    run = open_run(run)
    refit = Run(run / "refit")
    before = run.read_json("metrics.json") | {"refit": True, "made_from": run.hashes()}
    if (refit / "metrics.json").exists() and refit.read_json("metrics.json") == before:
        return refit
    check_training(run)
    recipe = replace(load_recipe(run), train_on=SETS, checkpoint="last", patience=0)
    train = generator_from_split(run, SETS, **train_options(recipe))
    _fit(recipe, train, callbacks_for(refit, train, recipe))
    write_json(refit / "metrics.json", before)
    return refit


def _fit(
    recipe: Recipe,
    train: ImageBatches,
    callbacks: Sequence[keras.callbacks.Callback],
    validation: ImageBatches | None = None,
) -> None:
    model = build_model(recipe, train.class_names)
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe), metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=recipe.epochs, callbacks=callbacks, verbose=0)
