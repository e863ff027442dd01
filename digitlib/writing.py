"""Predictions as files, written while the rest is still being named: CSV, Parquet and Kaggle's form."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import atomic, csv_options, inert, shown

if TYPE_CHECKING:
    import pyarrow

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
            raise DigitError(f"there are no predictions to write to {shown(path)}.")
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
