"""Compose the photos in notebooks/photos anew, from images of the sample's test part, and what is written on them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import digitlib as d
from benchmarks.paper import compose
from digitlib.data.decoding import read_files
from digitlib.data.split import paths_of

PHOTOS = Path(__file__).parents[1] / "notebooks" / "photos"
PLAIN: dict[str, Any] = {"digit_angle": 4.0, "touching": 0.0, "strength": 0.9, "weight": 0.45, "ruled": 0.0}
COMPOSED: dict[str, tuple[list[int], int, dict[str, Any]]] = {
    "shadow.jpg": ([6, 4, 7], 11, {"angle": -1.5, "light_on_dark": False, "table": False, "shadow": 0.45}),
    "board.jpg": ([5, 6], 12, {"angle": 2.0, "light_on_dark": True, "table": False, "shadow": 0.2}),
    "turned.jpg": (
        [7, 5, 6],
        13,
        {"angle": 8.0, "light_on_dark": False, "table": True, "shadow": 0.2, "ruled": 1.0},
    ),
}


def main() -> None:
    """Write the photos and ``truth.json``."""
    with tempfile.TemporaryDirectory() as root:
        os.environ["DIGITLIB_ROOT"] = root
        run = d.prepare("sample", "runs/default", mode="none")
        manifest = d.read_split(run)
        manifest = manifest[manifest["part"] == "test"].reset_index(drop=True)
        images = [one.image for one in read_files(list(paths_of(run, manifest)), "grayscale")]
    truth = {}
    PHOTOS.mkdir(exist_ok=True)
    for name, (counts, seed, traits) in COMPOSED.items():
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(images), sum(counts), replace=False)
        pictures = np.stack([images[number][..., 0] for number in chosen])  # type: ignore[index]
        page = compose(pictures, manifest["class"].iloc[chosen].tolist(), counts, rng, **PLAIN | traits)
        (PHOTOS / name).write_bytes(page.jpeg)
        truth[name] = ["".join(labels) for _, labels in page.truth.groupby("line")["label"]]
    (PHOTOS / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
