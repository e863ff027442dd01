"""A folder of images in, a table of predictions out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from digitlib.data.datasets import find_inputs, is_address
from digitlib.data.split import paths_of, read_split
from digitlib.errors import DigitError, needs
from digitlib.files import StrPath, atomic, csv_options, display_path, inert, resolve
from digitlib.run import Run, open_run

if TYPE_CHECKING:
    from digitlib.evaluation.classifier import Classifier


def predict_to_files(
    classifier: Classifier | StrPath,
    source: StrPath,
    out: StrPath = "predictions.csv",
    *,
    submission: StrPath | None = None,
    gallery: StrPath | None = None,
) -> dict[str, int]:
    """Predict the classes of many images and write a table of them, 1,024 images at a time.

    Parameters
    ----------
    classifier : Classifier or path-like
        Or what `Classifier.load` takes: a run's folder, a ``.keras`` file or an export.
    source : path-like
        A folder, zip archive, list of files, pattern or image; see `digitlib.data.datasets.find_inputs`.
    out, submission
        See `write_predictions`.
    gallery : path-like, optional
        Where to write a page of the 200 images with the lowest confidence.

    Returns
    -------
    dict of str to int
        ``images``, how many of them are ``unreadable``, and how many are ``rejected`` (read, but not accepted).

    Raises
    ------
    DigitError
        If a file or folder can't be used; nothing has been written then.

    Examples
    --------
    >>> predict_to_files("runs/default", "scans", "predictions.parquet")  # doctest: +SKIP
    {'images': 28000, 'unreadable': 0, 'rejected': 160}
    """
    form_of(out)
    targets = [resolve(path) for path in (out, submission, gallery) if path]
    if len(set(targets)) < len(targets):
        raise DigitError("--out, --submission and --gallery name the same file: give each its own.")
    if gallery and Path(gallery).suffix.lower() not in (".html", ".htm"):
        raise DigitError(f"--gallery {os.fspath(gallery)!r} must end in .html.")
    folder, found = find_inputs(source)
    names = [name for name in found if folder / name not in targets]  # what an earlier call has written there
    if not names:
        raise DigitError(f"{display_path(folder)} holds only tables that digitlib wrote: give a folder of images.")
    # TensorFlow takes seconds to load: what can't work has been refused by now.
    from digitlib.evaluation.classifier import Classifier

    if gallery:
        with needs("a gallery"):
            import jinja2  # noqa: F401 - it writes the page

            from digitlib.pipeline.report import least_confident, write_gallery  # Matplotlib takes a second

    if not isinstance(classifier, Classifier):
        classifier = Classifier.load(classifier)
    rest, least = iter(names), pd.DataFrame()

    def tables() -> Iterator[pd.DataFrame]:
        nonlocal least
        for table in classifier.predict_batches([folder / name for name in names]):
            table["filename"] = list(islice(rest, len(table)))
            if gallery:
                least = least_confident(pd.concat([least, table]) if len(least) else table)
            yield table

    counts = write_predictions(out, tables(), submission)
    if gallery:
        write_gallery(resolve(gallery), folder, least, counts=counts)
    return counts


def unlabelled_images(run: Run | StrPath) -> str | list[str]:
    """Return what `Classifier.predict` takes: the folder of unlabelled images beside a run's data, else its test images.

    Examples
    --------
    >>> clf.predict(unlabelled_images("runs/default"))  # doctest: +SKIP
    """
    run = open_run(run)
    if folder := run.read_json("source.json")["unlabelled"]:
        return str(folder)
    split = read_split(run)
    return [display_path(path) for path in paths_of(run, split[split["part"] == "test"])]


def is_bulk(source: StrPath, out: StrPath | None) -> bool:
    """Tell whether a prediction is done in partitions: an address or Parquet is read, or a folder is written.

    Examples
    --------
    >>> is_bulk("scans", "predictions.csv"), is_bulk("scans", "predictions.parquet/")
    (False, True)
    """
    text, target = os.fspath(source), os.fspath(out or "")
    if is_address(text) or is_address(target) or target.endswith(("/", os.sep)):
        return True
    return text.lower().endswith(".parquet") or any(resolve(text).glob("*.parquet"))


def form_of(path: StrPath) -> str:
    """Return the form that predictions are written in, by the file's name: "csv", "parquet" or "kaggle".

    Examples
    --------
    >>> form_of("p.parquet"), form_of("submission.csv")
    ('parquet', 'kaggle')
    """
    name = Path(path).name.lower()
    if name.endswith(".parquet"):
        return "parquet"
    if name.endswith(".csv"):
        return "kaggle" if name.startswith("submission") else "csv"
    raise DigitError(f"{os.fspath(path)!r} must end in .csv or .parquet, or be submission.csv for Kaggle's form.")


def write_predictions(
    path: StrPath, predictions: pd.DataFrame | Iterable[pd.DataFrame], submission: StrPath | None = None
) -> dict[str, int]:
    """Write predictions in the form that the file's name says, atomically, and count them.

    In CSV, a file name that a spreadsheet would take for a formula begins with ``./``. In Parquet, bytes of file names that
    are not UTF-8 stand as numbers.

    Parameters
    ----------
    path : path-like
        Ends in ``.csv`` or ``.parquet``; a name like ``submission.csv`` gets Kaggle's form, ``ImageId`` from 1 and ``Label``.
    predictions : pandas.DataFrame or iterable of pandas.DataFrame
        As from `Classifier.predict` or `Classifier.predict_batches`.
    submission : path-like, optional
        Where to write Kaggle's form as well.

    Returns
    -------
    dict of str to int
        See `predict_to_files`.

    Examples
    --------
    >>> write_predictions("predictions.csv", clf.predict("scans"))  # doctest: +SKIP
    """
    tables = [predictions] if isinstance(predictions, pd.DataFrame) else predictions
    counts = {"images": 0, "unreadable": 0, "rejected": 0}
    with ExitStack() as files:
        adds = [files.enter_context(_WRITERS[form_of(path)](resolve(path)))]
        if submission:
            adds.append(files.enter_context(_csv(resolve(submission), kaggle=True)))
        for table in tables:
            for add in adds:
                add(table)
            readable = table["reason"] == ""
            counts["images"] += len(table)
            counts["unreadable"] += int((~readable).sum())
            counts["rejected"] += int((readable & ~table["accepted"]).sum()) if "accepted" in table else 0
        if not counts["images"]:
            raise DigitError(f"there are no predictions to write to {display_path(path)}.")
    return counts


Add = Callable[[pd.DataFrame], None]


@contextmanager
def _csv(path: Path, kaggle: bool = False) -> Iterator[Add]:
    with atomic(path) as temporary:
        done = 0

        def add(table: pd.DataFrame) -> None:
            nonlocal done
            if kaggle:
                rows = pd.DataFrame({"ImageId": range(done + 1, done + len(table) + 1), "Label": table["label"].array})
            else:
                rows = table.assign(filename=inert(table["filename"]))
            head = temporary.stat().st_size == 0
            rows.to_csv(temporary, mode="a", index=False, header=head, float_format="%.6f", **csv_options(table))
            done += len(table)

        yield add


@contextmanager
def _parquet(path: Path) -> Iterator[Add]:
    with needs("Parquet files"):
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    with atomic(path) as temporary, ExitStack() as files:
        writers: list[ParquetWriter] = []

        def add(table: pd.DataFrame) -> None:
            texts = table.select_dtypes(["object", "string"]).map(
                lambda text: text.encode("utf-8", "backslashreplace").decode()
            )
            rows = pyarrow.Table.from_pandas(table.assign(**texts), preserve_index=False)
            if not writers:
                writers.append(files.enter_context(ParquetWriter(temporary, rows.schema, compression="zstd")))
            writers[0].write_table(rows)

        yield add


_WRITERS: dict[str, Callable[[Path], AbstractContextManager[Add]]] = {
    "csv": _csv,
    "kaggle": partial(_csv, kaggle=True),
    "parquet": _parquet,
}
