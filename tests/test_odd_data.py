"""Data that are not MNIST, each through the whole series: words, other scripts, rare classes, few images, colour, a table."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from natsort import natsorted
from PIL import Image

from digitlib import run_series
from digitlib.run import Run

pytestmark = pytest.mark.slow

WORDS = "airplane automobile bird cat deer dog frog horse ship truck".split()
SCRIPTS = ["एक", "दो", "तीन", "চার", "পাঁচ", "零", "一", "二", "αλφα", "$x_1$"]


def folder_of(top: Path, sample: Path, sizes: dict[str, int]) -> Path:
    """Write so many different real digits in each class folder: the k-th class has the digit k, or k's last one."""
    left = {
        digit: iter(natsorted(path for path in (sample / "trainingSet" / str(digit)).iterdir())) for digit in range(10)
    }
    for number, (name, size) in enumerate(sizes.items()):
        (top / name).mkdir(parents=True)
        for path in islice(left[number % 10], size):
            (top / name / path.name).write_bytes(path.read_bytes())
    return top


def colour(top: Path, sample: Path) -> Path:
    """Write cuts of photos in several shapes."""
    from skimage import data

    rng = np.random.default_rng(0)
    for name in ("astronaut", "coffee", "chelsea"):
        photo = getattr(data, name)()
        (top / name).mkdir(parents=True)
        for number in range(30):
            height, width = rng.integers(40, 120, 2)
            y, x = rng.integers(0, photo.shape[0] - height), rng.integers(0, photo.shape[1] - width)
            Image.fromarray(photo[y : y + height, x : x + width]).save(top / name / f"{number}.jpg")
    return top


def table(top: Path, sample: Path) -> Path:
    """Write Kaggle's train.csv and test.csv."""
    top.mkdir()
    rows, labels = [], []
    for digit in range(10):
        for path in islice(natsorted((sample / "trainingSet" / str(digit)).iterdir()), 20):
            rows.append(np.asarray(Image.open(path)).ravel())
            labels.append(digit)
    pixels = pd.DataFrame(np.array(rows), columns=[f"pixel{number}" for number in range(784)])
    pixels.assign(label=labels)[["label", *pixels.columns]].to_csv(top / "train.csv", index=False)
    pixels.head(12).rsub(255).to_csv(top / "test.csv", index=False)
    return top


DATA: dict[str, Callable[[Path, Path], Path]] = {
    "words, one rare": lambda top, sample: folder_of(top, sample, dict.fromkeys(WORDS, 40) | {"truck": 5}),
    "scripts, six images each": lambda top, sample: folder_of(top, sample, dict.fromkeys(SCRIPTS, 6)),
    "hundred classes": lambda top, sample: folder_of(top, sample, {f"class_{n:02d}": 6 for n in range(100)}),
    "colour": colour,
    "train.csv": table,
}


@pytest.mark.parametrize("name", DATA)
def test_odd_data_go_through_the_whole_series(root: Path, sample: Path, name: str) -> None:
    run = Run(root / "runs" / "odd")
    data = DATA[name](root / "odd data", sample)
    executed = run_series(run, {"data": str(data), "recipe": "tiny", "epochs": 1, "validation_size": 0.2})
    assert len(executed) == 7
    metrics = run.read_json("metrics.json")
    assert 0 <= metrics["lowest_recall"] <= metrics["balanced_accuracy"] <= 1
    for path in executed:
        outputs = [one for cell in nbformat.read(path, 4).cells for one in cell.get("outputs", ())]
        assert [one["text"] for one in outputs if one.get("name") == "stderr"] == []
    assert (run / "report.html").stat().st_size > 10_000
    predictions = pd.read_csv(run / "predictions.csv", dtype=str, keep_default_na=False)
    assert set(predictions["label"]) <= set(run.class_names)
    if name == "words, one rare":
        assert "Warning: truck is rare, 5 images" in str(nbformat.read(executed[1], 4))
    if name == "colour":
        assert run.read_json("training.json")["color_mode"] == "rgb"
    if name == "train.csv":
        assert len(predictions) == 12
