"""From a folder of images to an accuracy: the classic pipeline, and digitlib's recipes, in one run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from sklearn.neighbors import NearestNeighbors

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison, timed
from benchmarks.peers import load
from digitlib.data.cache import cache_folder
from digitlib.data.datasets import find_inputs
from digitlib.data.decoding import read_files
from digitlib.pipeline import unlabelled_images
from digitlib.training import refit_run
from digitlib.training.callbacks import trace_once

GOAL = 0.9524
"""The classic notebook's own result."""

STEPS = 44
SETTINGS: dict[str, Any] = {
    "batch_size": 64, "epochs": 1, "cooldown_epochs": 0, "learning_rate": 4e-2, "augmentation": {},
}  # fmt: skip


def to_goal(data: str, seed: int) -> dict[str, float]:
    """Return the seconds from a folder that nobody has looked at to the classic accuracy on its test set.

    A short run of `fast` without augmentation, its schedule fitted to a number of steps that was fixed beforehand on
    validation images. The test set chooses nothing here, and a miss would show in the figures.
    """
    start = time.perf_counter()
    run = d.prepare(data, f"runs/target{seed}", mode="none")
    recipe = d.get_recipe("fast", seed=seed, **SETTINGS)
    train, _ = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, run.class_names)
    model.compile(d.make_optimizer(recipe, STEPS), d.make_loss(recipe), metrics=["accuracy"])
    trace_once(model, train)
    model.fit(train, steps_per_epoch=min(STEPS, len(train)), verbose=0)
    accuracy = model.evaluate(d.eval_generator(run, recipe, "test"), verbose=0, return_dict=True)["accuracy"]
    return {"seconds": time.perf_counter() - start, "test_accuracy": accuracy}


def train(data: str, name: str, seed: int) -> dict[str, float]:
    """Return what a recipe reaches and the seconds it takes from the folder to the test accuracy."""
    start = time.perf_counter()
    run = d.prepare(data, f"runs/{name}{seed}", mode="none")
    d.train_run(run, d.get_recipe(name, seed=seed))
    accuracy = d.Classifier.load(run).evaluate("test").metrics["accuracy"]
    history = d.read_history(run)
    return {
        "seconds": time.perf_counter() - start,
        "first_epoch": float(history["seconds"].iloc[0]),
        "epochs": len(history),
        "test_accuracy": accuracy,
    }


def trained(data: str, full: bool, seed: int) -> d.Run:
    """Return the run in the folder $RUN, which is only read, or a new one of `accurate` (`fast` in the quick form)."""
    if given := os.environ.get("RUN"):
        return d.open_run(Path(given).absolute())
    name = "accurate" if full else "fast"
    train(data, name, seed)
    return d.open_run(f"runs/{name}{seed}")


def development_images(run: d.Run, mnist: str) -> d.ImageBatches:
    """Return the images that the folder leaves unlabelled, with their labels from MNIST's own file.

    So many that they tell networks apart which the validation images can't; in no part of the split. An image's label is
    that of the nearest of all MNIST: JPEG changes a pixel by two or three grey values.
    """
    folder, names = find_inputs(unlabelled_images(run))
    pixels = np.stack([one.image for one in read_files([str(folder / name) for name in names])])
    arrays = load(mnist)
    known = np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(-1, 784).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(known)
    found = nearest.kneighbors(pixels.reshape(-1, 784).astype(np.float32), return_distance=False)[:, 0]
    labels = np.concatenate([arrays["y_train"], arrays["y_test"]])[found].astype(str)
    return d.ImageBatches.from_array(pixels, labels, run.class_names, shuffle=False, batch_size=256)


def errors(probabilities: np.ndarray, images: d.ImageBatches) -> int:
    """Return how many images are misclassified."""
    return int((probabilities.argmax(axis=1) != images.classes).sum())


def development_errors(name: str, seed: int, refit: bool) -> dict[str, int]:
    """Return the errors of a trained run on the development images, and those after its refit."""
    run = d.open_run(f"runs/{name}{seed}")
    images = development_images(run, os.environ["MNIST"])
    before = errors(d.Classifier.load(run).predict_proba(images), images)
    if not refit:
        return {"development errors": before}
    d.evaluate_run(run)
    with timed(f"{name}, seed {seed}, refit"):
        after = d.Classifier.load(refit_run(run))
    return {"development errors": before, "development errors after refit": errors(after.predict_proba(images), images)}


def summary(name: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and spread of several seeds, and the share of the classic pipeline's time."""
    accuracy = np.array([one["test_accuracy"] for one in rounds])
    faster = [one["classic"] / one["seconds"] for one in rounds]
    means = {
        f"{name} {key}": float(np.mean([one[key] for one in rounds if key in one]))
        for key in rounds[0]
        if key.startswith("development")
    }
    return means | {
        f"{name} test_accuracy mean": float(accuracy.mean()),
        f"{name} test_accuracy sd": float(accuracy.std(ddof=1)) if len(accuracy) > 1 else None,
        f"{name} seconds": float(np.mean([one["seconds"] for one in rounds])),
        f"{name} times faster than classic": float(np.mean(faster)),
        f"{name} runs": rounds,
    }


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Time the classic pipeline's ten epochs (extrapolated), the way to its accuracy, and the recipes' accuracies.

    With further draws of the folder in $DRAWS, each seed has a draw of its own; with MNIST's own file in $MNIST, errors on
    the images that a draw leaves unlabelled are counted too, for the first seed also after a refit. The classic pipeline
    is measured again after each round, and a round is compared with the mean of the measurements before and after it:
    others use the machine as well.
    """
    draws = [data, *os.environ.get("DRAWS", "").split()]
    ten_epochs = classic.TenEpochs(d.prepare(data, "runs/classic"))
    before = ten_epochs.seconds(100)
    figures: dict[str, Any] = {"classic ten epochs": before}
    plan = [("target", one) for one in range(seed, seed + 3)]
    for name in ("fast", "accurate") if full else ("fast",):
        plan += [(name, one) for one in range(seed, seed + (3 if full else 1))]
    rounds: dict[str, list[dict[str, float]]] = {}
    for name, one in plan:
        shutil.rmtree(cache_folder(), ignore_errors=True)  # every round decodes anew
        with timed(f"{name}, seed {one}"):
            place = draws[(one - seed) % len(draws)]
            result = to_goal(place, one) if name == "target" else train(place, name, one)
        after = ten_epochs.seconds(30)
        result |= {"classic": (before + after) / 2, "draw": Path(place).name}
        if name == "accurate" and "MNIST" in os.environ:
            result |= development_errors(name, one, refit=one == seed)
        rounds.setdefault(name, []).append(result)
        before = ten_epochs.seconds(30) if name == "accurate" else after
        click.echo(f"  {rounds[name][-1]}", err=True)
    for name, results in rounds.items():
        figures |= summary(name, results)
    figures["target reached"] = sum(one["test_accuracy"] >= GOAL for one in rounds["target"])
    return figures | {"classic steps measured": ten_epochs.measured}


if __name__ == "__main__":
    main()
