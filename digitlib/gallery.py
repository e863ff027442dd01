"""The images that a network was least sure of, as a page of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from digitlib.pages import Card, write_page

LIMIT = 200
"""Pictures on a page unless said otherwise."""


class LeastSure:
    """The least sure of many predictions, kept while the others pass: memory depends on `limit` alone.

    Parameters
    ----------
    limit : int
        How many to keep, and how many unreadable files.

    Attributes
    ----------
    table : pandas.DataFrame
        The least sure ones, least sure first.
    rejected : pandas.DataFrame
        The first unreadable ones.
    images, unreadable : int
        How many there were of each.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.table, self.rejected = pd.DataFrame(), pd.DataFrame()
        self.images = self.unreadable = 0

    def note(self, part: pd.DataFrame) -> None:
        """Look at some predictions, as from `predict_files`."""
        bad = part["reason"] != ""
        self.images += len(part) - int(bad.sum())
        self.unreadable += int(bad.sum())
        least = part[~bad].nsmallest(self.limit, "confidence")
        # An empty table beside a full one would change the types of its columns.
        self.table = (
            pd.concat([self.table, least]).nsmallest(self.limit, "confidence") if len(self.table) else least
        )
        self.rejected = pd.concat([self.rejected, part[bad]]).head(self.limit)

    def noting(self, parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yield `parts` as they are, having looked at each."""
        for part in parts:
            self.note(part)
            yield part


def write_gallery(
    path: Path, folder: Path, predictions: pd.DataFrame | LeastSure, limit: int = LIMIT
) -> None:
    """Write a page of the images that the network was least sure of, and of the files it could not read.

    Parameters
    ----------
    path : pathlib.Path
        Where to; see `digitlib.pages.write_page`.
    folder : pathlib.Path
        What the file names are relative to.
    predictions : pandas.DataFrame or LeastSure
        As from `predict_files`, or what has looked at them.
    limit : int
        How many pictures, where `predictions` is a table.

    Raises
    ------
    DigitError
        If the file can't be written.
    """
    if isinstance(predictions, LeastSure):
        least = predictions
    else:
        least = LeastSure(limit)
        least.note(predictions)
    cards = [
        Card(folder / row["filename"], row["label"], _shares(row), row["filename"])
        for row in least.table.to_dict("records")
    ]
    rejected = [(row["filename"], row["reason"]) for row in least.rejected.to_dict("records")]
    write_page(path, "Images the network was least sure of", _notes(least), cards, rejected)


def guess_titles(predictions: pd.DataFrame) -> list[str]:
    """Return the likeliest classes of each prediction and how likely they are, a line each.

    Parameters
    ----------
    predictions : pandas.DataFrame
        As from `digitlib.prediction.predict_files`.

    Returns
    -------
    list of str
        As many as rows.
    """
    return [
        "\n".join(f"{name}  {share:.0%}" for name, share in _shares(row))
        for row in predictions.to_dict("records")
    ]


def _shares(row: dict[str, str | float]) -> list[tuple[str, float]]:
    """Return the named classes with their confidences, as many as there are."""
    names = [(f"label{end}", f"confidence{end}") for end in ("", "_2", "_3")]
    return [(str(row[label]), float(row[share])) for label, share in names if row.get(label)]


def _notes(least: LeastSure) -> list[str]:
    """Say how many there are and how many of them are shown."""
    pictures, bad = len(least.table), len(least.rejected)
    notes = [
        f"{least.images:,} images named; these are the {pictures:,} with the lowest confidence, lowest first."
    ]
    if pictures == least.images:
        notes = [f"{least.images:,} images named; all are shown, lowest confidence first."]
    if least.unreadable:
        notes.append(f"{least.unreadable:,} files could not be read; {bad:,} of them stand at the end.")
    return notes
