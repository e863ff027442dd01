"""Names for images without a class: a folder in, a table out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digitlib.data.decoding import Decoded, read_files
from digitlib.data.sources import list_images
from digitlib.data.split import class_names_of, paths_of, read_split
from digitlib.errors import DigitError
from digitlib.evaluation.metrics import load_best_model, load_model
from digitlib.evaluation.out_of_distribution import feature_extractor
from digitlib.evaluation.selective import Trust, load_trust
from digitlib.files import atomic, csv_options, display_path, inert, resolve
from digitlib.pipeline.gallery import LIMIT, LeastSure, write_gallery
from digitlib.progress import progress
from digitlib.run import Run, run_and_model
from digitlib.training.backend import keras
from digitlib.training.recipes import Recipe, load_recipe
from digitlib.training.train import as_batches

if TYPE_CHECKING:
    import pyarrow


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
        As from `digitlib.evaluation.selective.load_trust`: confidences are calibrated, and the table tells which answers to believe.

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
        raise DigitError(
            f"there are no files of {display_path(folder)} to name: give `filenames` one at least."
        )
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
    network = feature_extractor(model) if trust else model
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

    With `trust`, the network is an observer, see `digitlib.evaluation.out_of_distribution.feature_extractor`.
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
    """Resize as `digitlib.data.decoding.decode` does for images of different sizes."""
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
        As from `digitlib.evaluation.selective.load_trust`, and if the model is not the run's own.
    """
    run, path = run_and_model(run_or_model)
    if path.name != "best_model.keras":
        raise DigitError(f"nothing is known of when to trust {display_path(path)}: give a run's folder.")
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
        As from `digitlib.data.sources.find_inputs`.
    out, submission : str or path-like
        See `digitlib.pipeline.predict_folder.write_predictions`.
    gallery : str or path-like, optional
        Where to write a page of the least sure ones; see `digitlib.pipeline.gallery.write_gallery`.
    limit : int
        Pictures on that page.
    trust : bool
        Whether to calibrate confidences and tell which answers to believe; see `predict_files`.

    Returns
    -------
    dict of str to int
        As from `digitlib.pipeline.predict_folder.write_predictions`.

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


FIRST = ["filename", "label", "confidence", "reason"]
"""Every table of predictions begins with these columns; what else a prediction holds follows."""

Add = Callable[[pd.DataFrame], None]


def form_of(path: str | os.PathLike[str]) -> str:
    """Return in which form predictions are written to `path`.

    Returns
    -------
    {"csv", "parquet", "kaggle"}
        By the extension; a CSV file whose name begins with ``submission`` gets Kaggle's form.

    Raises
    ------
    DigitError
        For any other extension.
    """
    name = Path(path).name.lower()
    if name.endswith(".parquet"):
        return "parquet"
    if name.endswith(".csv"):
        return "kaggle" if name.startswith("submission") else "csv"
    raise DigitError(
        f"{os.fspath(path)!r} is no table of predictions: end its name with .csv or .parquet, or call it submission.csv "
        "for Kaggle's form."
    )


def write_predictions(
    path: Path, predictions: pd.DataFrame | Iterable[pd.DataFrame], submission: Path | None = None
) -> dict[str, int]:
    """Write predictions in the form that the name of `path` says, and Kaggle's ``ImageId,Label`` if wanted, atomically.

    In CSV, a file name that a spreadsheet would take for a formula begins with
    ``./``; see `digitlib.files.inert`. Parquet holds names as they are, but for
    bytes that are no UTF-8, which stand as numbers.

    Parameters
    ----------
    path : pathlib.Path
        The table to write; see `form_of`. ``filename``, ``label``,
        ``confidence`` and ``reason`` (why a file could not be read) come first.
    predictions : pandas.DataFrame or iterable of pandas.DataFrame
        As from `predict_files` or, to write while the rest is still being named, `predict_batches`.
    submission : pathlib.Path, optional
        Where to write ``ImageId``, counted from 1 in the order given, and ``Label``.

    Returns
    -------
    dict of str to int
        ``images`` written, how many of them were ``unreadable``, and how many ``declined``: read, but not ``answered``.

    Raises
    ------
    DigitError
        If a file can't be written, its extension is unknown, or there are no predictions.
    """
    parts = [predictions] if isinstance(predictions, pd.DataFrame) else predictions
    done = {"images": 0, "unreadable": 0, "declined": 0}
    with ExitStack() as files:
        adds = [files.enter_context(_WRITERS[form_of(path)](path))]
        if submission:
            adds.append(files.enter_context(_kaggle(submission)))
        for part in parts:
            for add in adds:
                add(part[[*FIRST, *part.columns.difference(FIRST, sort=False)]])
            for name, number in counted(part).items():
                done[name] += number
        if not done["images"]:
            raise DigitError(f"there are no predictions to write to {display_path(path)}.")
    return done


def counted(part: pd.DataFrame) -> dict[str, int]:
    """Return how many images a table of predictions has, and of these how many unreadable and how many declined."""
    unreadable = part["reason"] != ""
    declined = ~part["answered"] & ~unreadable if "answered" in part else np.zeros(0)
    return {"images": len(part), "unreadable": int(unreadable.sum()), "declined": int(declined.sum())}


def summary_of(done: dict[str, int]) -> str:
    """Return in words how many images were named, unreadable and declined."""
    bad = f", {done['unreadable']:,} of them unreadable (see the column reason)" if done["unreadable"] else ""
    declined = (
        f", {done['declined']:,} not to be trusted (see the column answered)" if done["declined"] else ""
    )
    return f"{done['images']:,} images{bad}{declined}"


@contextmanager
def _csv(path: Path) -> Iterator[Add]:
    with atomic(path) as temporary:

        def add(part: pd.DataFrame) -> None:
            part = part.assign(filename=inert(part["filename"]))
            _append(temporary, part, float_format="%.6f")

        yield add


@contextmanager
def _kaggle(path: Path) -> Iterator[Add]:
    with atomic(path) as temporary:
        done = 0

        def add(part: pd.DataFrame) -> None:
            nonlocal done
            numbers = range(done + 1, done + len(part) + 1)
            _append(temporary, pd.DataFrame({"ImageId": numbers, "Label": part["label"].array}), part)
            done += len(part)

        yield add


def _append(
    path: Path, table: pd.DataFrame, texts: pd.DataFrame | None = None, float_format: str | None = None
) -> None:
    """Add rows to a CSV file; `texts` is the table that decides about quotes."""
    options = csv_options(table if texts is None else texts)
    empty = path.stat().st_size == 0
    table.to_csv(path, mode="a", index=False, header=empty, float_format=float_format, **options)


@contextmanager
def _parquet(path: Path) -> Iterator[Add]:
    from pyarrow.parquet import ParquetWriter

    with atomic(path) as temporary, ExitStack() as files:
        writers: list[ParquetWriter] = []

        def add(part: pd.DataFrame) -> None:
            table = as_arrow(part)
            if not writers:
                writers.append(
                    files.enter_context(ParquetWriter(temporary, table.schema, compression="zstd"))
                )
            writers[0].write_table(table)

        yield add


def as_arrow(part: pd.DataFrame) -> pyarrow.Table:
    """Return predictions as Parquet takes them: texts as UTF-8, columns in the order given."""
    import pyarrow as pa

    texts = part.select_dtypes(["object", "string"]).columns
    part = part.assign(**{name: part[name].map(as_utf8) for name in texts})
    types = {name: pa.from_numpy_dtype(part[name].dtype) for name in part.columns.difference(texts)}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in part])
    return pa.Table.from_pandas(part, schema, preserve_index=False)


def as_utf8(text: str) -> str:
    """Return a text with bytes that are no UTF-8 as their numbers."""
    return text.encode("utf-8", "backslashreplace").decode()


_WRITERS = {"csv": _csv, "kaggle": _kaggle, "parquet": _parquet}
