"""Names for images without a class: a folder in, a table out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from digitlib.backend import keras
from digitlib.decoding import Decoded, read_files
from digitlib.errors import DigitError
from digitlib.evaluation import load_best_model, load_model
from digitlib.familiarity import observer_of
from digitlib.files import resolve, shown
from digitlib.gallery import LIMIT, LeastSure, write_gallery
from digitlib.progress import progress
from digitlib.recipes import Recipe, load_recipe
from digitlib.runs import Run, run_and_model
from digitlib.sources import list_images
from digitlib.split import class_names_of, paths_of, read_split
from digitlib.training import as_batches
from digitlib.trust import Trust, load_trust
from digitlib.writing import write_predictions

BATCH = 1024
"""Images a prediction step; memory does not grow with the folder."""

TOP = 3
"""How many classes an image is named with, most likely first."""


def unlabelled_files(run: Run) -> tuple[Path, list[str]]:
    """Return the folder of unlabelled images beside a run's data and the names in it, in natural order.

    Without such a folder it is the test part that is named.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.

    Returns
    -------
    folder : pathlib.Path
        Where they are.
    filenames : list of str
        Relative to `folder`.
    """
    folder = run.read_json("source.json")["unlabelled"]
    if folder:
        return Path(folder), list_images(folder)
    manifest = read_split(run)
    paths = paths_of(run, manifest[manifest["part"] == "test"])
    root = Path(os.path.commonpath(paths))
    return root, [Path(path).relative_to(root).as_posix() for path in paths]


def predict_files(
    model: keras.Model,
    recipe: Recipe,
    class_names: list[str],
    folder: Path,
    filenames: list[str],
    trust: Trust | None = None,
) -> pd.DataFrame:
    """Name the class of every file, in batches.

    Parameters
    ----------
    model, recipe, class_names
        The network, what it was trained with, and its classes in order.
    folder : pathlib.Path
        Where the files are.
    filenames : list of str
        Relative to `folder`.
    trust : Trust, optional
        As from `digitlib.trust.load_trust`: confidences are calibrated, and the table tells which answers to believe.

    Returns
    -------
    pandas.DataFrame
        A row a file, in the given order: ``filename``, ``label`` (class name,
        empty if unreadable), ``confidence`` (0 to 1, NaN if unreadable),
        ``reason`` (empty unless unreadable); with `trust`, ``answered`` (bool,
        False also if unreadable); then the second and third most
        likely class, ``label_2``, ``confidence_2``, ``label_3``,
        ``confidence_3`` (empty and NaN where there are no more classes).

    Raises
    ------
    DigitError
        If there are no files.
    """
    if not filenames:
        raise DigitError(f"there are no files of {shown(folder)} to name: give `filenames` one at least.")
    tables = predict_batches(model, recipe, class_names, folder, filenames, trust)
    return pd.concat(tables, ignore_index=True)


def predict_batches(
    model: keras.Model,
    recipe: Recipe,
    class_names: list[str],
    folder: Path,
    filenames: list[str],
    trust: Trust | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield what `predict_files` returns in parts, while the next files are being decoded by other processes.

    Parameters
    ----------
    model, recipe, class_names
        The network, what it was trained with, and its classes in order.
    folder : pathlib.Path
        Where the files are.
    filenames : list of str
        Relative to `folder`.
    trust : Trust, optional
        See `predict_files`.

    Yields
    ------
    pandas.DataFrame
        The next rows, in the given order.
    """
    results = read_files(
        [str(folder / name) for name in filenames],
        recipe.color_mode,
        recipe.image_size,
        min(recipe.image_size),
    )
    network = observer_of(model) if trust else model
    start = 0
    for batch in _batches(progress(results, len(filenames), "Naming images")):
        table = name_batch(network, recipe, class_names, batch, trust)
        table.insert(0, "filename", filenames[start : start + len(batch)])
        yield table
        start += len(batch)


def _batches(results: Iterator[Decoded]) -> Iterator[list[Decoded]]:
    while batch := list(islice(results, BATCH)):
        yield batch


def name_batch(
    network: keras.Model,
    recipe: Recipe,
    class_names: list[str],
    batch: list[Decoded],
    trust: Trust | None = None,
) -> pd.DataFrame:
    """Return labels, confidences and reason of some decoded files; columns in the order of the table of predictions.

    With `trust`, the network is an observer, see `digitlib.familiarity.observer_of`.
    """
    names = np.full((len(batch), TOP), "", dtype=object)
    shares = np.full((len(batch), TOP), np.nan)
    answered = np.zeros(len(batch), dtype=bool)
    good = [number for number, result in enumerate(batch) if result.image is not None]
    if good:
        pixels = _as_input([batch[number].image for number in good], recipe)
        said = network.predict_on_batch(pixels)
        if trust:
            said, _, answered[good] = trust.judged(*said)
        best = np.argsort(-said, axis=1, kind="stable")[:, :TOP]
        names[good, : best.shape[1]] = np.array(class_names, dtype=object)[best]
        shares[good, : best.shape[1]] = np.take_along_axis(said, best, axis=1)
    table = pd.DataFrame(
        {"label": names[:, 0], "confidence": shares[:, 0], "reason": [result.reason for result in batch]}
    )
    if trust:
        table["answered"] = answered
    for place in range(1, TOP):
        table[f"label_{place + 1}"], table[f"confidence_{place + 1}"] = names[:, place], shares[:, place]
    return table


def _as_input(images: list[np.ndarray | None], recipe: Recipe) -> np.ndarray:
    """Scale images to the network's size by the same code that training used."""
    arrays = [image for image in images if image is not None]
    if len({array.shape for array in arrays}) > 1:
        arrays = [_resized(array, recipe.image_size) for array in arrays]
    return np.asarray(as_batches(np.stack(arrays), recipe, batch_size=len(arrays))[0][0])


def _resized(image: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Resize as `digitlib.decoding.decode` does for images of different sizes."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(picture.resize(image_size[::-1], Image.Resampling.BILINEAR)).reshape(*image_size, -1)


def open_model(run_or_model: str | os.PathLike[str]) -> tuple[keras.Model, Recipe, list[str]]:
    """Return the network, recipe and class names of a run's folder, or of a model file inside one.

    Parameters
    ----------
    run_or_model : str or path-like
        A run's folder, or its ``best_model.keras``.

    Returns
    -------
    model : keras.Model
        The network, ready to predict.
    recipe : Recipe
        What it was trained with.
    class_names : list of str
        Its classes, in the order of its outputs.

    Raises
    ------
    DigitError
        If there is no such run or model.
    """
    run, path = run_and_model(run_or_model)
    model = load_best_model(run) if path.name == "best_model.keras" else load_model(path)
    return model, load_recipe(run), class_names_of(run)


def open_trust(run_or_model: str | os.PathLike[str]) -> Trust:
    """Return what notebook 06 found out about the network that `open_model` returns.

    Parameters
    ----------
    run_or_model : str or path-like
        See `open_model`.

    Returns
    -------
    Trust
        For `predict_files`.

    Raises
    ------
    DigitError
        As from `digitlib.trust.load_trust`, and if the model is not the run's own.
    """
    run, path = run_and_model(run_or_model)
    if path.name != "best_model.keras":
        raise DigitError(f"nothing is known of when to trust {shown(path)}: give a run's folder.")
    return load_trust(run)


def predict_to_files(
    run_or_model: str | os.PathLike[str],
    folder: Path,
    filenames: list[str],
    out: str | os.PathLike[str],
    *,
    submission: str | os.PathLike[str] | None = None,
    gallery: str | os.PathLike[str] | None = None,
    limit: int = LIMIT,
    trust: bool = False,
) -> dict[str, int]:
    """Name files and write what came of it, while the rest is still being named.

    Parameters
    ----------
    run_or_model : str or path-like
        See `open_model`.
    folder, filenames
        As from `digitlib.inputs.find_inputs`.
    out, submission : str or path-like
        See `digitlib.writing.write_predictions`.
    gallery : str or path-like, optional
        Where to write a page of the least sure ones; see `digitlib.gallery.write_gallery`.
    limit : int
        Pictures on that page.
    trust : bool
        Whether to calibrate confidences and tell which answers to believe; see `predict_files`.

    Returns
    -------
    dict of str to int
        As from `digitlib.writing.write_predictions`.

    Raises
    ------
    DigitError
        If a file or folder can't be used; see there.
    """
    least = LeastSure(limit)
    judge = open_trust(run_or_model) if trust else None
    tables = least.noting(predict_batches(*open_model(run_or_model), folder, filenames, judge))
    done = write_predictions(resolve(out), tables, resolve(submission) if submission else None)
    if gallery:
        write_gallery(resolve(gallery), folder, least)
    return done
