"""Cross-validation: for every image of a run, the prediction of networks that were not trained on it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from digitlib.data.split import pixels_of, stratified_folds
from digitlib.errors import is_whole, require
from digitlib.evaluation.classifier import Classifier
from digitlib.files import atomic
from digitlib.progress import progress
from digitlib.run import Run, open_run
from digitlib.training.backend import keras
from digitlib.training.generators import ImageBatches, image_form, train_options
from digitlib.training.models import build_model
from digitlib.training.optimizers import make_loss, make_optimizer
from digitlib.training.recipes import Recipe

VERSION = 4
"""Increase this whenever folds change, so that the results of earlier ones are not used."""


@dataclass(frozen=True)
class CrossValidation:
    """Predictions for all images by networks that were not trained on them.

    Attributes
    ----------
    repeats : numpy.ndarray
        float32, shape (repeats, n, classes): probabilities, a row an image in the manifest's order.
    fold : numpy.ndarray
        int16, shape (repeats, n): the fold that each image was in, from 0.

    Examples
    --------
    >>> done = CrossValidation(np.array([[[0.9, 0.1]], [[0.7, 0.3]]]), fold=np.array([[0], [2]]))
    >>> done.probabilities.round(2)  # the mean of two repeats for one image
    array([[0.8, 0.2]])
    """

    repeats: np.ndarray
    fold: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Mean over the repeats: float64, shape (n, classes), each row with sum 1."""
        total = self.repeats.sum(axis=0, dtype=np.float64)
        return total / total.sum(axis=1, keepdims=True)


def cross_validate(
    run: Run | str, recipe: Recipe, manifest: pd.DataFrame | None = None, *, folds: int = 5, repeats: int = 2
) -> CrossValidation:
    """Train without each fold in turn, and predict the fold.

    The images of all sets are divided into stratified folds (`sklearn.model_selection.StratifiedKFold`). Folds run one
    after another, or on the workers of the active joblib backend, see `digitlib.scale.workers`. A fold whose result
    stands in the run's ``folds/`` is not trained again.

    Parameters
    ----------
    run : Run or path-like
        Prepared by notebook 01.
    recipe : Recipe
        What each network is trained with; its seed also decides the folds. All its epochs are done: nothing is chosen
        on the fold left out.
    manifest : pandas.DataFrame, optional
        As ``run.split``, with the classes to train with; by default those of the run.
    folds : int
        From 2 to the number of images of the rarest class.
    repeats : int
        Times that all is done, with other folds and weights; the mean of several networks predicts better.

    Examples
    --------
    >>> done = cross_validate("runs/default", get_recipe("tiny"), folds=5)  # doctest: +SKIP
    >>> done.probabilities.shape  # doctest: +SKIP
    (4500, 10)
    """
    run = open_run(run)
    recipe = recipe.adapted_to(run)
    manifest = run.split if manifest is None else manifest.reset_index(drop=True)
    _check(manifest, recipe, folds, repeats)
    place = run / "folds" / _key(recipe, manifest, folds)
    numbered = [
        (repeat, fold, held, place / f"{repeat}-{fold}.npy")
        for repeat in range(repeats)
        for fold, held in enumerate(stratified_folds(manifest, folds, recipe.seed + repeat))
    ]
    todo = [one for one in numbered if not one[3].exists()]
    tasks = (
        joblib.delayed(predict_fold)(run.folder, manifest, held, replace(recipe, seed=recipe.seed + repeat))
        for repeat, _, held, _ in todo
    )
    trained = joblib.Parallel(return_as="generator")(tasks) if todo else []
    for (*_, file), found in zip(todo, progress(trained, len(todo), "Training folds", "fold"), strict=True):
        with atomic(file) as temporary:
            np.save(temporary, found)
    probabilities = np.zeros((repeats, len(manifest), len(run.class_names)), np.float32)
    number = np.zeros((repeats, len(manifest)), np.int16)
    for repeat, fold, held, file in numbered:
        probabilities[repeat, held], number[repeat, held] = np.load(file), fold
    return CrossValidation(probabilities, number)


def predict_fold(folder: Path, manifest: pd.DataFrame, held: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Train on all images but those held out (bool, shape (n,)), and return the probabilities of these: float32."""
    run = Run(folder)
    images, rows = pixels_of(run, manifest, recipe.image_size, recipe.resize)
    train = ImageBatches(images, rows[~held], manifest[~held], run.class_names, **train_options(recipe))
    options = image_form(recipe) | {"batch_size": 256, "shuffle": False}
    test = ImageBatches(images, rows[held], manifest[held], run.class_names, **options)
    model = build_model(recipe, run.class_names)
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe))
    model.fit(train, epochs=recipe.epochs, verbose=0)
    found = Classifier(model, run.class_names).predict_proba(test)
    keras.backend.clear_session()
    return found


def _key(recipe: Recipe, manifest: pd.DataFrame, folds: int) -> str:
    """Return a hash of all that a fold's result depends on; it names the folder of the results."""
    digest = hashlib.sha256(json.dumps([VERSION, recipe.as_dict(), folds], sort_keys=True).encode())
    for name in ("filename", "class", "sha256"):
        digest.update("\n".join(manifest[name]).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _check(manifest: pd.DataFrame, recipe: Recipe, folds: int, repeats: int) -> None:
    unique = manifest.drop_duplicates("sha256")["class"].value_counts()
    counts = unique.reindex(manifest["class"].unique(), fill_value=0)
    rarest = f"an integer from 2 to the {counts.min()} different images of class {counts.idxmin()!r}"
    require("folds", folds, is_whole(folds) and 2 <= folds <= counts.min(), rarest)
    require("repeats", repeats, is_whole(repeats) and repeats >= 1, "an integer ≥ 1")
    most = 2**32 - repeats
    require("seed", recipe.seed, recipe.seed <= most, f"at most {most}, with {repeats} repeats")
