"""Labels corrected by hand: the table ``corrections.csv``, read, checked and applied to a split."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd

from digitlib.data.sources import Source
from digitlib.errors import DigitError, did_you_mean
from digitlib.files import display_path, file_hash, read_table, resolve

COLUMNS = ["filename", "label", "action", "new_label"]
"""Of ``corrections.csv``: the file as in ``split.csv``, its label as given, what to do, and the class to relabel it to."""

ACTIONS = ("keep", "relabel", "drop")


def read_corrections(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the corrections of a CSV file, a row an image, having checked what can be checked without the data.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``label``, ``action`` ("keep", "relabel" or "drop") and ``new_label``, which is empty unless it is
        "relabel". The index is the line of the file.

    Raises
    ------
    DigitError
        With the line, if a column is missing, an action is unknown, or two lines contradict each other.

    Examples
    --------
    >>> read_corrections("runs/default/corrections.csv")  # doctest: +SKIP
    """
    file = resolve(path)
    if not file.is_file():
        raise DigitError(
            f"corrections {display_path(file)!r} doesn't exist: give the CSV file that ImageCleaner wrote."
        )
    try:
        table = read_table(file, encoding="utf-8-sig")  # as spreadsheets write it
    except (ValueError, OSError) as error:
        what = f"corrections {display_path(file)!r} can't be read as a table ({str(error).strip()})"
        raise DigitError(f"{what}: it needs the columns {', '.join(COLUMNS)}.") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise DigitError(f"{display_path(file)} has no column {missing[0]!r}: it needs {', '.join(COLUMNS)}.")
    table = table[COLUMNS].set_axis(range(2, len(table) + 2))
    before: dict[str, tuple[int, tuple[str, ...]]] = {}
    for line, name, *row in table.itertuples():
        if row[1] not in ACTIONS:
            raise error_in(file, line, f"action is {row[1]!r}: {did_you_mean(row[1], ACTIONS)}")
        if (row[1] == "relabel") != bool(row[2]):
            needed = "needs a class in" if row[1] == "relabel" else "takes no class in"
            raise error_in(file, line, f"action {row[1]!r} {needed} new_label. Correct the line or remove it.")
        first, said = before.setdefault(name, (line, tuple(row)))
        if said != tuple(row):
            raise error_in(file, line, f"{name!r} has another correction in line {first}. Remove one of them.")
    return table[~table["filename"].duplicated()]


def error_in(file: str | os.PathLike[str], line: int, what: str) -> DigitError:
    """Return the error for a line of a file of corrections."""
    return DigitError(f"{display_path(file)}, line {line}: {what}")


def corrected_classes(source: Source, path: str | os.PathLike[str]) -> pd.Series:
    """Return the class that each of a source's files has after the corrections, None for one that is dropped.

    Raises
    ------
    DigitError
        With the line, if a file or class is not in the source, or the file's label is another one.
    """
    table, file = read_corrections(path), resolve(path)
    given = source.files.set_index("filename")["class"].to_dict()
    known, new = set(source.class_names), dict(given)
    for line, name, label, action, to in table.itertuples():
        if name not in given:
            what = f"there is no image {name!r} in data {display_path(source.root)!r}"
            raise error_in(file, line, f"{what}. Were the corrections made for other data?")
        if given[name] != label:
            raise error_in(file, line, f"{name!r} has the label {given[name]!r} now, not {label!r}. Remove the line.")
        if action == "relabel" and to not in known:
            raise error_in(file, line, f"there is no class {to!r}: {did_you_mean(to, source.class_names)}")
        new[name] = to if action == "relabel" else given[name] if action == "keep" else None
    return pd.Series([new[name] for name in source.files["filename"]], source.files.index, dtype=object)


def apply_corrections(
    manifest: pd.DataFrame, path: str | os.PathLike[str]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Give the images of a split their corrected classes; an image keeps the set that it has by its given label.

    Parameters
    ----------
    manifest : pandas.DataFrame
        With ``class`` as given, ``corrected`` from `corrected_classes`, and ``part``.

    Returns
    -------
    manifest : pandas.DataFrame
        Without dropped images; ``label`` is the label as given, and there only if a class differs from it.
    dropped : pandas.DataFrame
        ``filename``, ``reason``.
    about : dict
        For ``source.json``.
    """
    gone, test = manifest["corrected"].isna(), manifest["part"] == "test"
    moved = ~gone & (manifest["corrected"] != manifest["class"])
    about = {"file": display_path(path), "sha256": file_hash(resolve(path)), "relabelled": int(moved.sum())}
    about |= {"dropped": int(gone.sum()), "in_test": int((test & (moved | gone)).sum())}
    dropped = manifest.loc[gone, ["filename"]].assign(reason=f"dropped by {display_path(path)}")
    columns = {"class": manifest["corrected"]} | ({"label": manifest["class"]} if moved.any() else {})
    return manifest.assign(**columns)[~gone].drop(columns="corrected").reset_index(drop=True), dropped, about


def corrections_text(source: dict[str, Any]) -> str:
    """Return in words what corrections a split was made with, from its ``source.json``; empty if with none.

    Examples
    --------
    >>> corrections_text({"corrections": {"file": "c.csv", "sha256": "1f" * 32, "relabelled": 3, "dropped": 1, "in_test": 0}})
    'c.csv (sha256 1f1f1f1f): 3 images relabelled, 1 dropped; the test set is as it was'
    """
    if not (about := source.get("corrections")):
        return ""
    test = "the test set is as it was"
    if about["in_test"]:
        test = f"{about['in_test']} of these in the test set, so that results do not compare with those before"
    counts = f"{about['relabelled']} images relabelled, {about['dropped']} dropped"
    return f"{about['file']} (sha256 {about['sha256'][:8]}): {counts}; {test}"
