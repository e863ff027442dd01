"""How time and memory grow with the number of images, from 4,200 to 420,000."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

import digitlib as d
from benchmarks.common import RESULTS, comparison
from digitlib.data.cache import cache_folder
from digitlib.plots import plot_growth, use_style

SIZES = (4_200, 42_000, 420_000)
AGAIN = 3
"""Rounds through all sizes: the machine's speed is not constant."""

STEPS = ("split", "decode", "epoch", "predict")


def grow(data: str, target: Path, n: int) -> None:
    """Fill a folder with `n` images of `data`, each with other bytes behind the picture where one comes again."""
    source = d.find_images(d.as_folder(data))
    files = source.files.sample(frac=1, random_state=0)
    for number in range(n):
        row = files.iloc[number % len(files)]
        folder = target / str(row["class"])
        folder.mkdir(parents=True, exist_ok=True)
        content = (source.root / row["filename"]).read_bytes()
        (folder / f"{number}{Path(row['filename']).suffix}").write_bytes(
            content + bytes(number // len(files))
        )


def step(what: str, data: str) -> dict[str, float]:
    """Do one step in this process and return images, seconds and the peak of anonymous memory in bytes."""
    run = d.open_run("runs/growth")
    prepared: Callable[[], int]
    if what == "split":
        prepared = lambda: len(d.assign_parts(d.find_images(data).files))  # noqa: E731
    elif what == "decode":
        prepared = lambda: len(d.read_split(d.prepare(data, "runs/growth", mode="none")))  # noqa: E731
    else:
        recipe = d.get_recipe("tiny", epochs=1)
        train, _ = d.train_val_generators(run, recipe)
        model = d.build_model(recipe, d.class_names_of(run))
        model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe), metrics=["accuracy"])
        warm_up = [model.train_on_batch(*train[0]) for _ in range(3)] and model.predict_on_batch(train[0][0])
        assert len(warm_up)
        prepared = (
            (lambda: _epoch(model, train))
            if what == "epoch"
            else (lambda: _predict(model, recipe, run, data))
        )
    peak, over = Peak(), threading.Event()
    watcher = threading.Thread(target=peak.watch, args=(over,), daemon=True)
    watcher.start()
    start = time.perf_counter()
    n = prepared()
    seconds = time.perf_counter() - start
    over.set()
    watcher.join()
    return {"n": n, "seconds": seconds, "peak": peak.bytes}


class Peak:
    """The largest anonymous memory seen: what a process holds itself, without files that are only mapped."""

    bytes = 0

    def watch(self, over: threading.Event) -> None:
        """Look twenty times a second."""
        while not over.wait(0.05):
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("RssAnon"):
                    self.bytes = max(self.bytes, 1024 * int(line.split()[1]))


def _epoch(model: Any, train: d.ImageBatches) -> int:
    model.fit(train, epochs=1, shuffle=False, verbose=0)
    return train.samples


def _predict(model: Any, recipe: d.Recipe, run: d.Run, data: str) -> int:
    names = d.list_images(data)
    d.write_predictions(
        run / "all.csv", d.predict_batches(model, recipe, d.class_names_of(run), Path(data), names)
    )
    return len(names)


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds and peak memory of each step at growing sizes, each in a process of its own; writes growth.png too."""
    sizes = SIZES if full else SIZES[:2]
    folders = {n: Path(os.environ["DIGITLIB_ROOT"]) / f"images{n}" for n in sizes}
    for n, folder in folders.items():
        grow(data, folder, n)
    os.sync()  # writing the folders to the disk is not what is measured
    rows = []
    for _ in range(AGAIN):
        for n, folder in folders.items():
            shutil.rmtree(
                cache_folder(), ignore_errors=True
            )  # the same images were decoded in an earlier round
            for what in STEPS:
                code = f"import json; from benchmarks.growth import step; print(json.dumps(step({what!r}, {str(folder)!r})))"
                told = subprocess.run(
                    [sys.executable, "-c", code], check=True, capture_output=True, text=True
                )
                rows.append({"step": what, "size": n, **json.loads(told.stdout.splitlines()[-1])})
                click.echo(f"  {rows[-1]}", err=True)
    return summary(rows)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of all rounds, slopes, and how time and memory grow from the last size but one; draw them.

    Times an image are compared within a round, since the machine's speed differs between rounds; of the ratios the
    median counts.
    """
    table = pd.DataFrame(rows).groupby(["step", "size"], sort=False).median().reset_index()
    sizes = sorted(table["size"].unique())
    figures: dict[str, Any] = {"rows": table.to_dict("records"), "measurements": rows}
    for what in STEPS:
        mine = table[table["step"] == what].sort_values("n")
        figures[f"{what} slope"] = float(np.polyfit(np.log(mine["n"]), np.log(mine["seconds"]), 1)[0])
        a, b = mine.iloc[-2], mine.iloc[-1]
        each = {
            n: [row["seconds"] / row["n"] for row in rows if (row["step"], row["size"]) == (what, n)]
            for n in sizes
        }
        ratios = np.divide(each[sizes[-1]], each[sizes[-2]])
        figures[f"{what} time an image, largest to the one before"] = float(np.median(ratios))
        figures[f"{what} the same, by round"] = ratios.tolist()
        figures[f"{what} peak bytes a further image"] = float((b["peak"] - a["peak"]) / (b["n"] - a["n"]))
    use_style()
    plot_growth(table).figure.savefig(RESULTS / "growth.png", dpi=100)
    return figures


if __name__ == "__main__":
    main()
