"""What networks say of images that they were not trained on, for every image of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from digitlib.backend import keras
from digitlib.errors import DigitError
from digitlib.generators import ImageBatches
from digitlib.models import build_model
from digitlib.pixels import pixels_for
from digitlib.progress import bar
from digitlib.recipes import Recipe
from digitlib.runs import Run
from digitlib.split import class_names_of, paths_of, read_split
from digitlib.training import EpochBar, make_loss, make_optimizer


def held_out_probabilities(
    run: Run,
    recipe: Recipe,
    manifest: pd.DataFrame | None = None,
    *,
    folds: int = 5,
    repeats: int = 2,
) -> np.ndarray:
    """Return each image's class probabilities by a network that has not seen it.

    The images of all parts are divided into stratified folds
    (`sklearn.model_selection.StratifiedKFold`); each fold is named by a network
    trained on the others. A network that had seen an image could have learned
    its label by heart, right or wrong.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    recipe : Recipe
        What each network is trained with; its seed also decides the folds. All
        its epochs are done: nothing is chosen on the fold left out.
    manifest : pandas.DataFrame, optional
        As from `digitlib.split.read_split`, with the classes to train with; by default those of the run.
    folds : int
        From 2 to the number of images of the rarest class.
    repeats : int
        Times that all is done, with other folds and weights; the mean is returned, which is a better judge.

    Returns
    -------
    numpy.ndarray
        float64, shape (n, classes): a row an image in the manifest's order, summing to 1.

    Raises
    ------
    DigitError
        If there are too few images of a class for so many folds, or a file has changed since the split.
    """
    manifest = read_split(run) if manifest is None else manifest
    _check(manifest, folds, repeats)
    class_names = class_names_of(run)
    hashes, first = manifest["sha256"].tolist(), run.read_json("source.json")["pixels"]
    images, rows = pixels_for(lambda: paths_of(run, manifest), hashes, recipe.image_size, first)
    total = np.zeros((len(manifest), len(class_names)))
    with bar(folds * repeats, "Training without one fold", unit="fold") as shown:
        for repeat in range(repeats):
            settings = replace(recipe, seed=recipe.seed + repeat)
            for rest, fold in _folds(manifest, folds, settings.seed):
                model = _trained(images, rows[rest], manifest.iloc[rest], class_names, settings)
                total[fold] += _said(model, images, rows[fold], manifest.iloc[fold], class_names, settings)
                shown.update()
    return total / total.sum(axis=1, keepdims=True)


def _folds(manifest: pd.DataFrame, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return StratifiedKFold(folds, shuffle=True, random_state=seed).split(manifest, manifest["class"])


def _trained(
    images: np.ndarray, rows: np.ndarray, files: pd.DataFrame, class_names: list[str], recipe: Recipe
) -> keras.Model:
    """Train a network of a recipe on some images."""
    options = {"batch_size": recipe.batch_size, "seed": recipe.seed, **dict(recipe.augmentation)}
    train = _batches(images, rows, files, class_names, recipe, options)
    recipe = recipe.for_images(train.samples)
    train.calm_from = recipe.calm_from
    model = build_model(recipe, class_names)
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe))
    model.fit(train, epochs=recipe.epochs, shuffle=False, verbose=0, callbacks=[EpochBar()])
    return model


def _said(
    model: keras.Model,
    images: np.ndarray,
    rows: np.ndarray,
    files: pd.DataFrame,
    class_names: list[str],
    recipe: Recipe,
) -> np.ndarray:
    """Return a network's probabilities of some images, in order."""
    options = {"batch_size": 256, "rescale": recipe.augmentation["rescale"], "shuffle": False}
    batches = _batches(images, rows, files, class_names, recipe, options)
    # model.predict would be traced anew for each of these networks, which takes longer than the answer.
    return np.concatenate([model(batches[place][0], training=False) for place in range(len(batches))])


def _batches(
    images: np.ndarray,
    rows: np.ndarray,
    files: pd.DataFrame,
    class_names: list[str],
    recipe: Recipe,
    options: dict[str, Any],
) -> ImageBatches:
    size, color_mode = recipe.image_size, recipe.color_mode
    return ImageBatches(images, rows, files, class_names, image_size=size, color_mode=color_mode, **options)


def _check(manifest: pd.DataFrame, folds: int, repeats: int) -> None:
    counts = manifest["class"].value_counts()
    if counts.min() < 2:
        raise DigitError(
            f"class {counts.idxmin()!r} has only one image: to judge a label, others of the class are needed."
        )
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= counts.min():
        raise DigitError(
            f"folds is {folds!r}: give a whole number from 2 to {counts.min()}, the number of images of class "
            f"{counts.idxmin()!r}."
        )
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise DigitError(f"repeats is {repeats!r}: give a whole number from 1 on.")
