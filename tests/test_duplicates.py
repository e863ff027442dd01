"""Images that are in two sets are found by name, whatever was done to the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import digitlib as d

COLUMNS = ["filename", "class", "part", "twin", "twin_class", "twin_part", "correlation"]


def first_of(run: d.Run, part: str, class_name: str) -> str:
    """Return the first file of a class in a set."""
    split = d.read_split(run)
    return str(split[(split["part"] == part) & (split["class"] == class_name)]["filename"].iloc[0])


def test_real_digits_have_no_twins(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    table = d.data.near_duplicates(run)
    assert list(table) == COLUMNS
    assert table.empty
    similar = d.data.near_duplicates(run, least=0.5)
    assert similar["correlation"].is_monotonic_decreasing
    assert (similar["part"] != similar["twin_part"]).all()


@pytest.mark.parametrize(
    ("change", "form"),
    [(lambda image: image, "JPEG"), (lambda image: image.point(lambda value: value * 0.7), "PNG"),
     (lambda image: image.convert("RGB"), "PNG")],
    ids=["jpeg", "darker", "coloured"],
)  # fmt: skip
def test_an_image_saved_again_is_found_in_the_other_set(digits: Path, change, form: str) -> None:
    before = d.prepare(digits, "runs/a", mode="none")
    test, train = first_of(before, "test", "3"), first_of(before, "train", "3")
    changed = change(Image.open(digits / test))
    (digits / train).unlink()  # in its place, and so in the same set, comes the other one
    changed.save(digits / train, form, quality=75)
    run = d.prepare(digits, "runs/b", mode="none")
    found = d.data.near_duplicates(run)
    assert found[COLUMNS[:-1]].to_numpy().tolist() == [[test, "3", "test", train, "3", "train"]]
    assert found["correlation"].item() > 0.99


def test_one_file_with_two_labels_is_left_out_and_told(digits: Path) -> None:
    before = d.prepare(digits, "runs/a", mode="none")
    first, second = first_of(before, "train", "4"), first_of(before, "test", "9")
    shutil.copy2(digits / first, digits / second)
    run = d.prepare(digits, "runs/b", mode="none")
    assert not {first, second} & set(run.split["filename"])
    rejected = run.read_table("rejected.csv").set_index("filename")["reason"]
    assert rejected[first] == rejected[second] == "same bytes under the classes '4' and '9'"


def test_blank_images_are_like_nothing(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / "scans" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (8, 8), np.uint8) if number else np.full((8, 8), ord(name), np.uint8)
            Image.fromarray(pixels).save(root / "scans" / name / f"{number}.png")
    run = d.prepare("scans", "runs/a", mode="none")
    assert d.data.near_duplicates(run).empty
    assert d.data.near_duplicates(run, least=-1)["correlation"].between(-1, 1).all()
