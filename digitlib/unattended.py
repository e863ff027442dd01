"""One run trained without notebooks, as a worker does it: what notebooks 05 and 06 do, in the same order."""

from __future__ import annotations

import shutil
from typing import Any

from digitlib.backend import keras
from digitlib.errors import DigitError
from digitlib.evaluation import load_best_model, predict_generator, save_metrics
from digitlib.models import build_model
from digitlib.recipes import Recipe, load_recipe, save_recipe
from digitlib.runs import Run, atomic, make_folder
from digitlib.split import class_names_of
from digitlib.training import callbacks_for, generators_for, make_loss, make_optimizer, plain_generator


def share_split(prepared: Run, run: Run) -> None:
    """Give `run` the split of another run, so that both are judged on the same images.

    Parameters
    ----------
    prepared : Run
        A run that notebook 01 has prepared.
    run : Run
        Gets copies of ``source.json``, ``rejected.csv`` and ``split.csv``; the images stay where they are.

    Raises
    ------
    DigitError
        If `prepared` has no split, its images were moved into it, or nothing can be written.
    """
    prepared.require("split.csv")
    if prepared.read_json("source.json").get("mode") == "move":
        raise DigitError(
            f"{prepared} holds the images itself: split them with mode 'copy' to share the split."
        )
    make_folder(run.folder)
    for name in (
        "source.json",
        "rejected.csv",
        "split.csv",
    ):  # the split last: with it the run counts as prepared
        if (prepared / name).exists():
            with atomic(run / name) as temporary:
                shutil.copyfile(prepared / name, temporary)


def train_run(run: Run, recipe: Recipe) -> Recipe:
    """Train a recipe in a run that has its split; a training that was stopped goes on.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    recipe : Recipe
        What to train.

    Returns
    -------
    Recipe
        With the epochs that so many images ask for, as kept in ``recipe.json``.
    """
    train, validation = generators_for(run, recipe)
    recipe = recipe.for_images(train.samples)
    save_recipe(run, recipe)
    model = build_model(recipe, class_names_of(run))
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe), metrics=["accuracy"])
    callbacks = callbacks_for(run, recipe)
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
    images = plain_generator(run, recipe, "test")
    test = model.evaluate(images, verbose=0, return_dict=True)
    return save_metrics(run, recipe, model, test, predict_generator(model, images))
