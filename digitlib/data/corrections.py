"""Labels corrected by hand: the table ``corrections.csv``, read, checked and applied to a split."""

from __future__ import annotations

from typing import Any

import pandas as pd

from digitlib.data.sources import Source
from digitlib.errors import DigitError, did_you_mean
from digitlib.files import StrPath, display_path, file_hash, read_table, resolve

COLUMNS = ["filename", "label", "action", "new_label"]
"""Of ``corrections.csv``: the file as in ``split.csv``, its label as given, what to do, and the class to relabel it to."""

ACTIONS = ("keep", "relabel", "drop")


def read_corrections(path: StrPath, source: Source | None = None) -> pd.DataFrame:
    """Return the corrections of a CSV file, a row an image.

    Parameters
    ----------
    source : Source, optional
        The data: without it, only what needs no data is checked.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``label``, ``action`` ("keep", "relabel" or "drop") and ``new_label``, which is empty unless it is
        "relabel".

    Raises
    ------
    DigitError
        With the line: a column is missing, an action, file or class unknown, a label not the file's, or lines contradict.

    Examples
    --------
    >>> read_corrections("runs/default/corrections.csv")  # doctest: +SKIP
    """
    file, needs = resolve(path), f"it needs the columns {', '.join(COLUMNS)}"
    try:
        table = read_table(file, encoding="utf-8-sig")  # as spreadsheets write it
    except (ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise DigitError(f"corrections {display_path(file)!r} can't be read ({why}): {needs}.") from error
    if missing := [name for name in COLUMNS if name not in table]:
        raise DigitError(f"{display_path(file)} has no column {missing[0]!r}: {needs}.")
    table, seen = table[COLUMNS], dict[str, tuple[int, list[str]]]()
    names, labels = (
        (source.files[name] for name in ("filename", "class")) if source else (table["filename"], table["label"])
    )
    given, classes = dict(zip(names, labels, strict=True)), source.class_names if source else set(table["new_label"])
    for line, (name, *row) in enumerate(table.itertuples(index=False), start=2):
        label, action, to = row
        first, before = seen.setdefault(name, (line, row))
        needed = "needs a" if action == "relabel" else "takes no"
        faults = {
            f"action is {action!r}: {did_you_mean(action, ACTIONS)}": action not in ACTIONS,
            f"action {action!r} {needed} class in new_label.": (action == "relabel") != bool(to),
            f"{name!r} has another correction in line {first}: remove one of them.": row != before,
            f"there is no image {name!r} in the data: were the corrections made for other data?": name not in given,
            f"{name!r} has the label {given.get(name)!r} now, not {label!r}: remove the line.": label
            != given.get(name),
            f"there is no class {to!r}: {did_you_mean(to, classes)}": bool(to) and to not in classes,
        }
        if wrong := next((fault for fault, holds in faults.items() if holds), ""):
            raise DigitError(f"{display_path(file)}, line {line}: {wrong}")
    return table[~table["filename"].duplicated()]


def corrected_classes(files: pd.DataFrame, corrections: pd.DataFrame) -> pd.Series:
    """Return the class of each of a source's files after the corrections, None for one that is dropped."""
    rows = corrections.set_index("filename")
    new = rows["new_label"].where(rows["action"] == "relabel", rows["label"]).astype(object)
    new = new.mask(rows["action"] == "drop", None).to_dict()
    pairs = zip(files["filename"], files["class"], strict=True)
    return pd.Series([new.get(name, label) for name, label in pairs], files.index, dtype=object)


def apply_corrections(manifest: pd.DataFrame, path: StrPath) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Give the images of a split their corrected classes; an image keeps the set that it has by its given label.

    Parameters
    ----------
    manifest : pandas.DataFrame
        With ``class`` as given, ``corrected`` from `corrected_classes`, and ``part``.

    Returns
    -------
    manifest : pandas.DataFrame
        Without dropped images; ``given_label`` is the label as given, and there only if a class differs from it.
    dropped : pandas.DataFrame
        ``filename``, ``reason``.
    about : dict
        For ``source.json``.
    """
    given, new = manifest["class"], manifest["corrected"]
    gone, test = new.isna(), manifest["part"] == "test"
    moved = ~gone & (new != given)
    if empty := sorted(set(given) - set(new)):
        raise DigitError(f"{display_path(path)} leaves no image in class {empty[0]!r}: keep some of them.")
    about = {"file": display_path(path), "sha256": file_hash(resolve(path)), "relabelled": int(moved.sum())}
    about |= {"dropped": int(gone.sum()), "in_test": int((test & (moved | gone)).sum())}
    dropped = manifest.loc[gone, ["filename"]].assign(reason=f"dropped by {display_path(path)}")
    columns = {"class": new} | ({"given_label": given} if moved.any() else {})
    return manifest.assign(**columns)[~gone].drop(columns="corrected").reset_index(drop=True), dropped, about


def corrections_text(source: dict[str, Any]) -> str:
    """Return in words what corrections a split was made with, from its ``source.json``; empty if with none.

    Examples
    --------
    >>> corrections_text({"corrections": {"file": "c.csv", "sha256": "1f" * 32, "relabelled": 3, "dropped": 1, "in_test": 0}})
    'c.csv (sha256 1f1f1f1f): relabelled 3, dropped 1; none of these in the test set'
    """
    if "corrections" not in source:
        return ""
    test = "{in_test} of these in the test set, so that results do not compare with those before"
    test = test if source["corrections"]["in_test"] else "none of these in the test set"
    text = "{file} (sha256 {sha256:.8}): relabelled {relabelled}, dropped {dropped}; "
    return (text + test).format(**source["corrections"])
