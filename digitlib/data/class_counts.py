"""How many images of each class stand in which part, counted from the files themselves."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
import pandas as pd
from digitlib.run import Run
from digitlib.data.sources import is_litter
from digitlib.data.split import class_names_of, read_split


def class_counts(run: Run) -> pd.DataFrame:
    """Return the classic table of images per class.

    Counted from the files in TRAIN/ and TEST/; from the manifest if the run
    was made without these folders.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.

    Returns
    -------
    pandas.DataFrame
        ``Classes`` (str), ``Train_images`` (validation included),
        ``Test_images``, and ``Share`` of all images (0 to 1), in natural order of the classes.
    """
    class_names = class_names_of(run)
    if (run / "TRAIN").is_dir():
        train, test = _files_per_class(run, "TRAIN"), _files_per_class(run, "TEST")
    else:
        manifest = read_split(run)
        in_test = manifest["part"] == "test"
        train, test = Counter(manifest["class"][~in_test]), Counter(manifest["class"][in_test])
    table = pd.DataFrame(
        {
            "Classes": class_names,
            "Train_images": [train[name] for name in class_names],
            "Test_images": [test[name] for name in class_names],
        }
    )
    total = table["Train_images"] + table["Test_images"]
    return table.assign(Share=total / total.sum())


def split_counts(run: Run) -> pd.DataFrame:
    """Return the number of images per class (rows) and part (columns) by the manifest, with totals.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.

    Returns
    -------
    pandas.DataFrame
        int64; the last row and column, ``total``, are sums.
    """
    manifest = read_split(run)
    table = pd.crosstab(manifest["class"], manifest["part"])
    parts = [part for part in ("train", "validation", "test") if part in table]
    table = table.loc[class_names_of(run), parts].rename_axis(index=None, columns=None)
    sums = table.sum().to_frame("total").T  # not as crosstab's margins: a class may be called "total" itself
    return pd.concat([table, sums]).assign(total=lambda whole: whole.sum(axis=1))


def repeated_images(run: Run) -> pd.DataFrame:
    """Return images that stand in more than one part, byte for byte.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``class``, ``part``, ``sha256``; empty if there are none, as should be.
    """
    manifest = read_split(run)
    parts = manifest.groupby("sha256")["part"].transform("nunique")
    return manifest.loc[parts > 1, ["filename", "class", "part", "sha256"]].sort_values("sha256")


def _files_per_class(run: Run, top: str) -> Counter[str]:
    """Count the files below each class folder."""
    counts: Counter[str] = Counter()
    for folder, _, names in os.walk(run / top):
        parts = Path(folder).relative_to(run / top).parts or ("",)
        counts[parts[0]] += sum(not is_litter(name) for name in names)
    return counts
