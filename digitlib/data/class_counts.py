"""How many images of each class are in which set, counted from the files themselves."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pandas as pd

from digitlib.data.sources import is_litter
from digitlib.files import StrPath
from digitlib.run import Run, open_run

AnyRun = StrPath | Run


def class_counts(run: AnyRun) -> pd.DataFrame:
    """Return the classic table of images per class, from the files in TRAIN/ and TEST/ or, without them, from the split.

    Returns
    -------
    pandas.DataFrame
        ``Classes`` (str), ``Train_images`` (validation included), ``Test_images``, and ``Share`` of all images (0 to 1), in
        natural order of the classes.

    Examples
    --------
    >>> class_counts("runs/default")  # doctest: +SKIP
    """
    run = open_run(run)
    class_names = run.class_names
    if (run / "TRAIN").is_dir():
        train, test = _files_per_class(run / "TRAIN"), _files_per_class(run / "TEST")
    else:
        split = run.split
        in_test = split["part"] == "test"
        train, test = Counter(split["class"][~in_test]), Counter(split["class"][in_test])
    table = pd.DataFrame(
        [(name, train[name], test[name]) for name in class_names], columns=["Classes", "Train_images", "Test_images"]
    )
    total = table["Train_images"] + table["Test_images"]
    return table.assign(Share=total / total.sum())


def split_counts(run: AnyRun) -> pd.DataFrame:
    """Return the number of images per class (rows) and set (columns) by the split, int64, with sums called ``total``.

    Examples
    --------
    >>> split_counts("runs/default")  # doctest: +SKIP
    """
    run = open_run(run)
    split = run.split
    table = pd.crosstab(split["class"], split["part"])
    parts = [part for part in ("train", "validation", "test") if part in table]
    table = table.loc[run.class_names, parts].rename_axis(index=None, columns=None)
    sums = table.sum().to_frame("total").T  # not as crosstab's margins: a class may be called "total" itself
    return pd.concat([table, sums]).assign(total=lambda whole: whole.sum(axis=1))


def _files_per_class(top: Path) -> Counter[str]:
    """Count the files below each class folder."""
    counts: Counter[str] = Counter()
    for folder, _, names in os.walk(top):
        parts = Path(folder).relative_to(top).parts or ("",)
        counts[parts[0]] += sum(not is_litter(name) for name in names)
    return counts
