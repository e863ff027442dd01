"""The images that a network was least sure of, as a page of pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from digitlib.data.decoding import read_file
from digitlib.files import atomic

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
        Where to; see `digitlib.pipeline.gallery.write_page`.
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
        As from `digitlib.pipeline.predict_folder.predict_files`.

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


LONGEST = 112
"""Pixels of a picture's longer side on a page; larger ones are made smaller, so that the page stays light."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --blue: #0072b2; --grey: #777; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .2rem 0; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .8rem;
     list-style: none; padding: 0; }
li { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; overflow: hidden; }
img { display: block; width: 112px; height: 112px; object-fit: contain; margin: 0 auto .5rem;
      background: #000; image-rendering: pixelated; }
.head { font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere; }
.name { color: var(--grey); font-size: .78rem; overflow-wrap: anywhere; margin-top: .3rem; }
.row { display: grid; grid-template-columns: minmax(1.2rem, auto) 1fr 3.2rem; gap: .4rem; align-items: center;
       font-size: .85rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.row span:last-child { text-align: right; }
.track { background: var(--line); height: .5rem; border-radius: .25rem; overflow: hidden; }
.track i { display: block; height: 100%; background: var(--blue); }
table { border-collapse: collapse; }
td, th { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--line);
         overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Card:
    """One picture and what stands below it.

    Attributes
    ----------
    path : pathlib.Path
        The image file.
    head : str
        In large letters.
    shares : list of (str, float)
        Names with a share from 0 to 1, each drawn as a bar.
    name : str
        In small letters, such as the file's name.
    """

    path: Path
    head: str
    shares: Sequence[tuple[str, float]]
    name: str


def write_page(
    path: Path,
    title: str,
    notes: Sequence[str],
    cards: Sequence[Card],
    rejected: Sequence[tuple[str, str]] = (),
) -> None:
    """Write a page of pictures, atomically.

    Pictures are inside, decoded and encoded anew as PNG; names are text
    whatever they hold; there is no script, and the page's own policy forbids
    the browser to load anything.

    Parameters
    ----------
    path : pathlib.Path
        Where to.
    title : str
        Stands above.
    notes : sequence of str
        Paragraphs below the title.
    cards : sequence of Card
        In order.
    rejected : sequence of (str, str)
        File names and reasons, as a table at the end.

    Raises
    ------
    DigitError
        If the file can't be written.
    """
    rows = "".join(f"<tr><td>{_text(name)}<td>{_text(reason)}" for name, reason in rejected)
    table = f"<h2>Unreadable</h2><table><tr><th>File<th>Reason{rows}</table>" if rejected else ""
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_text(title)}</title><style>{STYLE}</style><h1>{_text(title)}</h1>"
        f"{''.join(f'<p>{_text(note)}</p>' for note in notes)}"
        f"<ol>{''.join(map(_card, cards))}</ol>{table}</html>\n"
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _card(card: Card) -> str:
    result = read_file(card.path)
    picture = (
        f'<img alt="The image {_text(card.name)}" src="{_as_png(result.image)}">'
        if result.image is not None
        else ""
    )
    rows = "".join(
        f'<div class="row"><span>{_text(name)}</span><span class="track"><i style="width:{share:.1%}"></i></span>'
        f"<span>{share:.1%}</span></div>"
        for name, share in card.shares
    )
    return f'<li>{picture}<div class="head">{_text(card.head)}</div>{rows}<div class="name">{_text(card.name)}</div></li>'


def _as_png(image: np.ndarray) -> str:
    """Return a picture as a data URI."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture.thumbnail((LONGEST, LONGEST))
    store = io.BytesIO()
    picture.save(store, "PNG")
    return "data:image/png;base64," + base64.b64encode(store.getvalue()).decode("ascii")


def _text(text: str) -> str:
    """Return `text` so that it can't be read as HTML; bytes that are no UTF-8 stand as numbers."""
    return escape(text.encode("utf-8", "backslashreplace").decode())
