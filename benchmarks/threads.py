"""Two workers of one thread each against one process with two threads: trainings a minute, and images predicted a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import digitlib as d
from benchmarks.common import comparison, timed
from digitlib.run import Run
from digitlib.scale.cluster import Workers

PARTS = ("train", "validation", "test")
WAYS = {"two_workers": (2, 1), "one_process": (1, 2)}
"""Processes, and threads of each."""


@contextmanager
def workers(processes: int, threads: int) -> Iterator[Workers]:
    """Start processes that stay for all rounds, so that none pays for its imports."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=processes, threads_per_worker=threads, dashboard_address=None, silence_logs=40
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield Workers(client)


def train_once(prepared: str, folder: str, name: str, seed: int, epochs: int) -> None:
    """Train one network in a run of its own."""
    run = Run(Path(folder))
    d.share_split(Run(Path(prepared)), run)
    d.train_run(run, d.get_recipe(name, seed=seed, epochs=epochs))


def predict_once(folder: str, repeats: int) -> int:
    """Name all images of a run some times and return how many that were."""
    run = Run(Path(folder))
    recipe, model = d.load_recipe(run), d.load_best_model(run)
    images = d.generator_from_split(
        run, PARTS, image_size=recipe.image_size, color_mode=recipe.color_mode, batch_size=1024, shuffle=False,
        rescale=recipe.augmentation["rescale"],
    )  # fmt: skip
    for _ in range(repeats):
        model.predict(images, verbose=0)
    return repeats * images.samples


def seconds(
    connected: Workers, function: Callable[..., Any], tasks: list[tuple[str, tuple[Any, ...]]]
) -> float:
    """Return how long some tasks take together."""
    start = time.perf_counter()
    for outcome in connected.run(function, tasks):
        outcome.result()
    return time.perf_counter() - start


def contest(
    prepared: Run, name: str, ways: dict[str, Workers], rounds: int, epochs: int, seed: int
) -> dict[str, Any]:
    """Return rates and ratios of one recipe, the ways taking turns in each round."""
    images = len(d.read_split(prepared))
    repeats = -(-40_000 // images)
    trainings: dict[str, list[float]] = {way: [] for way in ways}
    predictions: dict[str, list[float]] = {way: [] for way in ways}
    for one in range(rounds + 1):  # the first warms up
        for way, connected in ways.items():
            folders = [str(prepared.folder.parent / f"{name}-{way}-{one}-{number}") for number in range(2)]
            tasks = [
                (folder, (str(prepared.folder), folder, name, seed + number, epochs))
                for number, folder in enumerate(folders)
            ]
            with timed(f"{name}, {way}, round {one}"):
                trainings[way].append(2 * 60 / seconds(connected, train_once, tasks))
                asked = [(f"{folder}-predict", (folder, repeats)) for folder in folders]
                predictions[way].append(2 * repeats * images / seconds(connected, predict_once, asked))
    figures: dict[str, Any] = {}
    for what, rates in (("trainings_a_minute", trainings), ("images_predicted_a_second", predictions)):
        kept = {way: np.array(values[1:]) for way, values in rates.items()}
        figures |= {f"{name} {what} {way}": float(np.median(values)) for way, values in kept.items()}
        ratios = kept["two_workers"] / kept["one_process"]
        figures[f"{name} {what} ratio"] = float(np.median(ratios))
        figures[f"{name} {what} ratios"] = ratios.round(3).tolist()
    return figures


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Rates of two one-thread workers, and of one process with two threads, taking turns; the ratio is of each round."""
    prepared = d.prepare(data, "runs/split", mode="none")
    d.generator_from_split(prepared, PARTS)  # decodes the images
    with workers(*WAYS["two_workers"]) as two, workers(*WAYS["one_process"]) as one:
        figures: dict[str, Any] = {}
        for name, epochs in (("tiny", 4), ("fast", 2)):
            figures |= contest(
                prepared, name, {"two_workers": two, "one_process": one}, 5 if full else 2, epochs, seed
            )
    return figures


if __name__ == "__main__":
    main()
