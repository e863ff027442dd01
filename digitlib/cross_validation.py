"""Cross-validation: for every image of a run, what networks say that were not trained on it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digitlib.backend import keras
from digitlib.cluster import Task, open_workers
from digitlib.errors import DigitError
from digitlib.evaluation import answers_of
from digitlib.files import atomic, read_table, shown, write_table
from digitlib.generators import ImageBatches
from digitlib.held_out import HeldOut, load_held_out, save_held_out
from digitlib.models import build_model
from digitlib.progress import bar
from digitlib.recipes import Recipe
from digitlib.runs import Run
from digitlib.split import class_names_of, pixels_of, read_split, stratified_folds
from digitlib.training import EpochBar, make_loss, make_optimizer
from digitlib.values import is_whole

VERSION = 2
"""Increase this whenever the folds change, so that kept ones are not used."""


def held_out_probabilities(
    run: Run,
    recipe: Recipe,
    manifest: pd.DataFrame | None = None,
    *,
    folds: int = 5,
    repeats: int = 2,
    scheduler: str | None = None,
    workers: int = 0,
) -> np.ndarray:
    """Return each image's class probabilities by a network that has not seen it.

    Parameters
    ----------
    run, recipe, manifest, folds, repeats, scheduler, workers
        See `cross_validate`, which also says what is raised.

    Returns
    -------
    numpy.ndarray
        float64, shape (n, classes): a row an image in the manifest's order, summing to 1; the mean of all repeats.
    """
    done = cross_validate(
        run, recipe, manifest, folds=folds, repeats=repeats, scheduler=scheduler, workers=workers
    )
    return done.probabilities


def cross_validate(
    run: Run,
    recipe: Recipe,
    manifest: pd.DataFrame | None = None,
    *,
    folds: int = 5,
    repeats: int = 2,
    scheduler: str | None = None,
    workers: int = 0,
) -> HeldOut:
    """Train without each fold in turn, and have the network name the fold.

    The images of all parts are divided into stratified folds
    (`sklearn.model_selection.StratifiedKFold`); each fold is named by a network
    trained on the others. A network that had seen an image could have learned
    its label by heart, right or wrong.

    What has been done for the run's own labels is kept in ``held_out.npz`` and not done again. Folds that are done
    when it is stopped are kept in ``held_out/``, and it goes on from there.

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
    scheduler, workers
        As of `digitlib.cluster.open_workers`: a fold is a task there. The results are the same to the last bit where
        as many threads compute, since sums of floating-point numbers depend on how they are divided.

    Returns
    -------
    HeldOut
        What each image was named by networks that had not seen it, and each fold's accuracy.

    Raises
    ------
    DigitError
        If there are too few images of a class for so many folds, a file has changed since the split, or the workers
        can't be reached.
    """
    own = manifest is None
    manifest = read_split(run) if manifest is None else manifest
    _check(manifest, recipe, folds, repeats)
    key = _key(recipe, manifest, folds, repeats)
    kept_in = run / ("held_out.npz" if own else "held_out_given.npz")
    if kept := load_held_out(kept_in, key):
        return kept
    place = run / "held_out" / key
    write_table(place / "manifest.csv", manifest)
    tasks: list[Task] = [
        (f"{place}-{repeat}-{fold}", (str(run.folder), str(place), recipe, folds, repeat, fold))
        for repeat in range(repeats)
        for fold in range(folds)
    ]
    with (
        open_workers(scheduler, workers) as connected,
        bar(len(tasks), "Training without one fold", unit="fold") as shown_bar,
    ):
        for outcome in connected.run(train_fold, tasks):
            outcome.result()
            shown_bar.update()
    done = _joined(place, manifest, len(class_names_of(run)), recipe, folds, repeats)
    save_held_out(kept_in, done, key)
    shutil.rmtree(place, ignore_errors=True)
    return done


def train_fold(folder: str, place: str, recipe: Recipe, folds: int, repeat: int, fold: int) -> None:
    """Train without one fold and write what the network says of it, unless that has been done.

    Parameters
    ----------
    folder : str
        The run's.
    place : str
        Folder with ``manifest.csv``; gets ``REPEAT-FOLD.npy``, float32, shape (images of the fold, classes).
    recipe, folds
        As of `cross_validate`.
    repeat, fold : int
        Which one, from 0.
    """
    if _file(place, repeat, fold).exists():
        return
    run, settings = Run(Path(folder)), replace(recipe, seed=recipe.seed + repeat)
    manifest, class_names = read_table(Path(place) / "manifest.csv"), class_names_of(run)
    rest, held = list(_folds(manifest, folds, settings.seed))[fold]
    images, rows = pixels_of(run, manifest, recipe.image_size)
    model = _trained(images, rows[rest], manifest.iloc[rest], class_names, settings)
    said = _said(model, images, rows[held], manifest.iloc[held], class_names, settings)
    with atomic(_file(place, repeat, fold)) as temporary:
        np.save(temporary, said)


def _file(place: str | Path, repeat: int, fold: int) -> Path:
    return Path(place) / f"{repeat}-{fold}.npy"


def _key(recipe: Recipe, manifest: pd.DataFrame, folds: int, repeats: int) -> str:
    """Return what stands for all that the result depends on."""
    digest = hashlib.sha256(json.dumps([VERSION, recipe.as_dict(), folds, repeats], sort_keys=True).encode())
    for name in ("filename", "class", "sha256"):
        digest.update("\n".join(manifest[name]).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _joined(
    place: Path, manifest: pd.DataFrame, n_classes: int, recipe: Recipe, folds: int, repeats: int
) -> HeldOut:
    """Put together what the folds' networks said."""
    said = np.zeros((repeats, len(manifest), n_classes), np.float32)
    number = np.zeros((repeats, len(manifest)), np.int16)
    for repeat in range(repeats):
        for fold, (_, held) in enumerate(_folds(manifest, folds, recipe.seed + repeat)):
            if not _file(place, repeat, fold).exists():
                raise DigitError(
                    f"what a worker said of fold {fold + 1} is not in {shown(place)}: give a run_dir that all workers reach "
                    "under the same name."
                )
            said[repeat, held], number[repeat, held] = np.load(_file(place, repeat, fold)), fold
    return HeldOut(said, number)


def _folds(manifest: pd.DataFrame, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows to train on and those to judge."""
    for held in stratified_folds(manifest, folds, seed):
        yield np.flatnonzero(~held), np.flatnonzero(held)


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
    return answers_of(model, batches, "Naming the fold")


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


def _check(manifest: pd.DataFrame, recipe: Recipe, folds: int, repeats: int) -> None:
    counts = (
        manifest.drop_duplicates("sha256")["class"]
        .value_counts()
        .reindex(manifest["class"].unique(), fill_value=0)
    )
    if counts.min() < 2:
        raise DigitError(
            f"class {counts.idxmin()!r} has only {counts.min()} image of its own: to judge a label, others of the class are needed."
        )
    if not is_whole(folds) or not 2 <= folds <= counts.min():
        raise DigitError(
            f"folds is {folds!r}: give a whole number from 2 to {counts.min()}, the number of images of class "
            f"{counts.idxmin()!r}."
        )
    if not is_whole(repeats) or repeats < 1:
        raise DigitError(f"repeats is {repeats!r}: give a whole number from 1 on.")
    if recipe.seed + repeats > 2**32:
        raise DigitError(
            f"seed is {recipe.seed!r}: with {repeats} repeats, give a whole number up to {2**32 - repeats}."
        )
