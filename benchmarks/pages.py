"""Composed photos of numbers read by a trained network, counted against what was written on them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

import digitlib as d
from benchmarks.common import comparison
from benchmarks.paper import Page, compose, lengths
from benchmarks.training import trained
from digitlib.data.decoding import read_files
from digitlib.data.split import paths_of
from digitlib.evaluation.out_of_distribution import matplotlib_font

PAGES = 200
PICTURE = Path(__file__).parents[1] / "docs" / "pages_failed.png"
BOX = ["x", "y", "width", "height"]


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Share of digits read right on 200 composed photos, from images of the test part.

    A trained run of the same data is taken from the environment variable RUN;
    else `fast`, with --full `accurate`, is trained first.
    """
    run = trained(data, full, seed)
    results, failed = measure(run, "test", PAGES, seed)
    PICTURE.parent.mkdir(exist_ok=True)
    sheet(failed).save(PICTURE, optimize=True)
    return {"recipe": d.load_recipe(run).name} | results


def measure(run: d.Run, part: str, pages: int, seed: int) -> tuple[dict[str, Any], list[Image.Image]]:
    """Return the figures on pages composed of images of `part`, and pictures of each digit that went wrong."""
    network = (d.load_best_model(run), d.load_recipe(run), d.class_names_of(run))
    manifest = d.read_split(run)
    manifest = manifest[manifest["part"] == part].reset_index(drop=True)
    pictures = np.stack([one.image[..., 0] for one in read_files(list(paths_of(run, manifest)), "grayscale")])  # type: ignore[index]
    rng = np.random.default_rng(seed)
    counts: list[dict[str, float]] = []
    failed: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(pages):
            written = lengths(rng)
            chosen = rng.choice(len(pictures), sum(written), replace=False)
            page = compose(pictures[chosen], manifest["class"].iloc[chosen].tolist(), written, rng)
            photo = Path(folder) / f"{number}.jpg"
            photo.write_bytes(page.jpeg)
            try:
                found = d.read_photo(*network, photo)
            except Exception as error:  # any crash is a figure of its own
                click.echo(f"page {number}: {type(error).__name__}: {error}", err=True)
                found, crashed = d.find_digits(np.zeros((9, 9), np.uint8)).assign(label="", confidence=0.0), 1
            else:
                crashed = 0
            marked = match(page.truth, found)
            counts.append(count(page, found, marked) | {"crashed": crashed})
            failed += [crop(page, found, row) for row in marked[~marked["right"]].itertuples()]
    return figures(pd.DataFrame(counts)), failed


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


def count(page: Page, found: pd.DataFrame, marked: pd.DataFrame) -> dict[str, float]:
    """Return what one page adds to the sums."""
    text = ["".join(labels) for _, labels in page.truth.groupby("line")["label"]]
    read = d.text_lines(found) if len(found) else []
    same = len(text) == len(read)
    return {
        "digits": len(page.truth),
        "boxes": int((marked["found"] >= 0).sum()),
        "right": int(marked["right"].sum()),
        "false": len(found) - marked.loc[marked["found"] >= 0, "found"].nunique(),
        "lines": len(text),
        "lines_right": sum(one == other for one, other in zip(text, read, strict=False)) if same else 0,
        "number_of_lines_right": same,
        "light_on_dark": page.traits["light_on_dark"],
    }


def figures(counts: pd.DataFrame) -> dict[str, Any]:
    """Return shares of all pages, the first with its 95 % interval."""
    total = counts.sum()
    low, high = d.wilson_interval(int(total["right"]), int(total["digits"]))
    by_light = counts.groupby("light_on_dark")[["right", "digits"]].sum()
    shares = by_light["right"] / by_light["digits"]
    return {
        "pages": len(counts),
        "digits": int(total["digits"]),
        "digits read right": total["right"] / total["digits"],
        "digits read right, low": low,
        "digits read right, high": high,
        "boxes right": total["boxes"] / total["digits"],
        "false boxes": int(total["false"]),
        "lines read right": total["lines_right"] / total["lines"],
        "pages with all lines found": float(counts["number_of_lines_right"].mean()),
        "read right, dark on light": float(shares.get(False, np.nan)),
        "read right, light on dark": float(shares.get(True, np.nan)),
        "crashes": int(total["crashed"]),
    }


def crop(page: Page, found: pd.DataFrame, row: Any) -> Image.Image:
    """Return a digit that was not read right with its surroundings, and above it what is true and what was read."""
    room = 0.5 * max(row.width, row.height)
    box = (row.x - room, row.y - room, row.x + row.width + room, row.y + row.height + room)
    picture = Image.new("RGB", (104, 124), "white")
    picture.paste(Image.fromarray(page.image).crop([round(side) for side in box]).resize((104, 104)), (0, 20))
    if row.found >= 0:
        label, sure = found["label"].iloc[row.found], found["confidence"].iloc[row.found]
        text = f"{row.label} → {label} ({sure:.0%})"
    else:
        text = f"{row.label}: not found"
    ImageDraw.Draw(picture).text((3, 3), text, fill="black", font=matplotlib_font().font_variant(size=11))
    return picture


def sheet(pictures: list[Image.Image], columns: int = 10, most: int = 60) -> Image.Image:
    """Return small pictures side by side, 60 at most, in 64 colours, so that the file stays small."""
    rows = max(1, -(-min(len(pictures), most) // columns))
    whole = Image.new("RGB", (columns * 110, rows * 130), "white")
    for number, picture in enumerate(pictures[:most]):
        whole.paste(picture, (number % columns * 110 + 3, number // columns * 130 + 3))
    return whole.quantize(64)


if __name__ == "__main__":
    main()
