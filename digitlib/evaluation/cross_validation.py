"""Cross-validation: for every image of a run, what networks say that were not trained on it."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digitlib.data.split import class_names_of, pixels_of, read_split, stratified_folds
from digitlib.errors import DigitError, is_whole
from digitlib.evaluation.metrics import answers_of
from digitlib.evaluation.statistics import spread, student_interval
from digitlib.files import atomic, display_path, read_table, write_table
from digitlib.progress import bar
from digitlib.run import Run
from digitlib.scale.cluster import Task, open_workers
from digitlib.training.backend import keras
from digitlib.training.generators import ImageBatches
from digitlib.training.models import build_model
from digitlib.training.recipes import Recipe
from digitlib.training.train import EpochBar, make_loss, make_optimizer

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
        As from `digitlib.data.split.read_split`, with the classes to train with; by default those of the run.
    folds : int
        From 2 to the number of images of the rarest class.
    repeats : int
        Times that all is done, with other folds and weights; the mean is returned, which is a better judge.
    scheduler, workers
        As of `digitlib.scale.cluster.open_workers`: a fold is a task there. The results are the same to the last bit where
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
                    f"what a worker said of fold {fold + 1} is not in {display_path(place)}: give a run_dir that all workers reach "
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
    recipe = recipe.scaled_to(train.samples)
    train.cooldown_from = recipe.cooldown_from
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


@dataclass(frozen=True)
class HeldOut:
    """What networks say of images that they were not trained on.

    Attributes
    ----------
    said : numpy.ndarray
        float32, shape (repeats, n, classes): probabilities, a row an image in the manifest's order.
    fold : numpy.ndarray
        int16, shape (repeats, n): the fold that each image was in, from 0.
    """

    said: np.ndarray
    fold: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Mean over the repeats: float64, shape (n, classes), each row with sum 1."""
        total = self.said.sum(axis=0, dtype=np.float64)
        return total / total.sum(axis=1, keepdims=True)

    def fold_table(self, labels: np.ndarray) -> pd.DataFrame:
        """Return how good each fold's network was on the images that it had not seen.

        Parameters
        ----------
        labels : numpy.ndarray
            int, shape (n,): the place of each image's class.

        Returns
        -------
        pandas.DataFrame
            ``repeat`` and ``fold`` (from 1), ``images``, ``right``, ``accuracy`` (0 to 1).
        """
        right = self.said.argmax(axis=2) == labels
        rows = [
            (repeat + 1, fold + 1, int((folds == fold).sum()), int(right[repeat][folds == fold].sum()))
            for repeat, folds in enumerate(self.fold)
            for fold in range(int(folds.max()) + 1)
        ]
        table = pd.DataFrame(rows, columns=["repeat", "fold", "images", "right"])
        return table.assign(accuracy=table["right"] / table["images"])


def fold_spread(table: pd.DataFrame, confidence: float = 0.95) -> dict[str, float]:
    """Return mean and spread of the folds' accuracies, and an interval that allows for what they share.

    The standard deviation says how far accuracies on different small test parts, by networks with largely the same
    training images, are apart. It is not how far trainings on fresh data would be apart, and nothing measured on the
    same images can say that without bias (Y. Bengio and Y. Grandvalet, 2004, Journal of Machine Learning Research
    5:1089). Divided by the root of the number of folds it gives an interval that is too narrow; so the variance of the
    mean is taken as that of one fold times 1 / J + n_fold / n_rest, with J folds in all repeats (C. Nadeau and
    Y. Bengio, 2003, https://doi.org/10.1023/A:1024068626366).

    Parameters
    ----------
    table : pandas.DataFrame
        As from `HeldOut.fold_table`.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    dict of str to float
        ``folds``, ``mean``, ``sd``, ``lowest``, ``highest``, ``mean_low``, ``mean_high``.

    Examples
    --------
    >>> folds = pd.DataFrame({"repeat": 1, "fold": [1, 2, 3, 4], "accuracy": [0.97, 0.98, 0.98, 0.99]})
    >>> round(fold_spread(folds)["mean_low"], 3)
    0.96
    """
    plain = spread(table["accuracy"].to_list(), confidence)
    number, a_repeat = len(table), int(table["fold"].max())
    error = plain["sd"] * (1 / number + 1 / (a_repeat - 1)) ** 0.5
    low, high = student_interval(plain["mean"], error, number, confidence)
    return {
        "folds": number,
        **{name: plain[name] for name in ("mean", "sd", "lowest", "highest")},
        "mean_low": max(0.0, low),
        "mean_high": min(1.0, high),
    }


def save_held_out(path: Path, held_out: HeldOut, key: str) -> None:
    """Write it with a key, a hash of all that it depends on."""
    with atomic(path) as temporary:
        np.savez_compressed(temporary, said=held_out.said, fold=held_out.fold, key=np.array(key))


def load_held_out(path: Path, key: str) -> HeldOut | None:
    """Return what `save_held_out` wrote under this key, or None; no code in the file is run."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return HeldOut(arrays["said"], arrays["fold"]) if str(arrays["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
