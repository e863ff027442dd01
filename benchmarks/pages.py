"""Composed photos of numbers read by a trained network, counted against what was written on them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from benchmarks.common import comparison
from benchmarks.paper import compose, lengths
from benchmarks.training import trained
from digitlib import Classifier, read_photo, wilson_interval
from digitlib.data.decoding import read_files
from digitlib.data.split import paths_of
from digitlib.handwriting import text_lines

PAGES = 200
BOX = ["x", "y", "width", "height"]


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Share of digits read right on 200 composed photos, from images of the test set.

    A trained run of the same data is taken from the environment variable RUN; else `fast`, with --full `accurate`, is
    trained first.
    """
    run = trained(data, full, seed)
    classifier = Classifier.load(run)
    table = run.split[run.split["part"] == "test"].reset_index(drop=True)
    images = np.stack([one.image[..., 0] for one in read_files(list(paths_of(run, table)), "grayscale")])
    rng = np.random.default_rng(seed)
    counts = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PAGES):
            written = lengths(rng)
            chosen = rng.choice(len(images), sum(written), replace=False)
            page = compose(images[chosen], table["class"].iloc[chosen].tolist(), written, rng)
            photo = Path(folder) / f"{number}.jpg"
            photo.write_bytes(page.jpeg)
            try:
                found = read_photo(classifier, photo)
            except Exception as error:  # any crash is a figure of its own
                click.echo(f"page {number}: {type(error).__name__}: {error}", err=True)
                counts.append({"digits": len(page.truth), "crashed": 1})
            else:
                counts.append(count(page.truth, found))
    return {"network": classifier.model.name} | figures(pd.DataFrame(counts).fillna(0))


def match(truth: pd.DataFrame, found: pd.DataFrame, least: float = 0.5) -> pd.DataFrame:
    """Return `truth` with ``found`` (row of the box with the largest overlap, -1 if below `least`) and ``right``.

    Overlap is the area that both boxes share over the area that either covers.
    """
    overlap = overlaps(truth, found)
    best = overlap.argmax(axis=1) if len(found) else np.full(len(truth), -1)
    hit = overlap.max(axis=1, initial=0) >= least
    labels = np.append(found["label"].to_numpy(object), "")
    best = np.where(hit, best, -1)
    return truth.assign(found=best, right=hit & (labels[best] == truth["label"].to_numpy(object)))


def overlaps(truth: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
    """Return the overlap of every pair of boxes, shape (len(truth), len(found))."""
    x, y, width, height = (truth[name].to_numpy(float)[:, None] for name in BOX)
    x2, y2, width2, height2 = (found[name].to_numpy(float)[None] for name in BOX)
    across = np.minimum(x + width, x2 + width2) - np.maximum(x, x2)
    down = np.minimum(y + height, y2 + height2) - np.maximum(y, y2)
    both = np.clip(across, 0, None) * np.clip(down, 0, None)
    return both / (width * height + width2 * height2 - both)


def count(truth: pd.DataFrame, found: pd.DataFrame) -> dict[str, float]:
    """Return what one page adds to the sums."""
    marked = match(truth, found)
    written = ["".join(labels) for _, labels in truth.groupby("line")["label"]]
    return {
        "digits": len(truth),
        "boxes": int((marked["found"] >= 0).sum()),
        "right": int(marked["right"].sum()),
        "false": len(found) - marked.loc[marked["found"] >= 0, "found"].nunique(),
        "same_text": len(found) > 0 and written == text_lines(found),
        "crashed": 0,
    }


def figures(counts: pd.DataFrame) -> dict[str, Any]:
    """Return shares of all pages, the first with its 95 % interval."""
    total = counts.sum()
    low, high = wilson_interval(int(total["right"]), int(total["digits"]))
    return {
        "pages": len(counts),
        "digits": int(total["digits"]),
        "digits read right": total["right"] / total["digits"],
        "digits read right, low": low,
        "digits read right, high": high,
        "boxes right": total["boxes"] / total["digits"],
        "false boxes": int(total["false"]),
        "pages read right": float(counts["same_text"].mean()),
        "crashes": int(total["crashed"]),
    }


if __name__ == "__main__":
    main()
