"""From a folder of images to an accuracy: the classic pipeline, and digitlib's recipes, in one run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison, timed
from digitlib.data.cache import cache_folder

TARGET = 0.9524
"""The classic notebook's own result."""

TARGET_STEPS = 90
TARGET_SETTINGS: dict[str, Any] = {
    "batch_size": 64, "epochs": 1, "cooldown_epochs": 0, "learning_rate": 6e-3, "augmentation": {"rescale": 1 / 255},
}  # fmt: skip


def to_target(data: str, seed: int) -> dict[str, float]:
    """Return the seconds from a folder that nobody has looked at to the target accuracy, as measured on its test part.

    A short run of `fast` without augmentation, its schedule fitted to a number
    of steps that was fixed beforehand on validation images. The test chooses
    nothing here, and a miss would show in the figures.
    """
    start = time.perf_counter()
    run = d.prepare(data, f"runs/target{seed}", mode="none")
    found = time.perf_counter()
    recipe = d.get_recipe("fast", seed=seed, **TARGET_SETTINGS)
    train, _ = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, d.class_names_of(run))
    model.compile(d.make_optimizer(recipe, TARGET_STEPS), d.make_loss(recipe), metrics=["accuracy"])
    model.fit(train, epochs=1, steps_per_epoch=min(TARGET_STEPS, len(train)), shuffle=False, verbose=0)
    fitted = time.perf_counter()
    accuracy = model.evaluate(d.eval_generator(run, recipe, "test"), verbose=0, return_dict=True)["accuracy"]
    ended = time.perf_counter()
    return {
        "folder_to_arrays": found - start,
        "fit": fitted - found,
        "test": ended - fitted,
        "seconds": ended - start,
        "test_accuracy": accuracy,
    }


def train(data: str, name: str, seed: int) -> dict[str, float]:
    """Return what a recipe reaches and the seconds it takes from the folder to the test accuracy."""
    start = time.perf_counter()
    run = d.prepare(data, f"runs/{name}{seed}", mode="none")
    recipe = d.get_recipe(name, seed=seed)
    train, validation = d.train_val_generators(run, recipe)
    recipe = recipe.scaled_to(train.samples)
    d.save_recipe(run, recipe)
    model = d.build_model(recipe, d.class_names_of(run))
    model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe), metrics=["accuracy"])
    model.fit(
        train,
        validation_data=validation,
        epochs=recipe.epochs,
        callbacks=d.callbacks_for(run, recipe),
        shuffle=False,
        verbose=0,
    )
    best = d.load_best_model(run)
    predictions = d.predict_generator(best, d.eval_generator(run, recipe, "test"))
    history = d.read_history(run)
    return {
        "seconds": time.perf_counter() - start,
        "first_epoch": float(history["seconds"].iloc[0]),
        "epochs": len(history),
        "parameters": best.count_params(),
        "validation_accuracy": float(history["val_accuracy"].iloc[d.best_epoch(history, recipe.keep) - 1]),
        "test_accuracy": float(predictions["correct"].mean()),
        "n_test": len(predictions),
    }


def trained(data: str, full: bool, seed: int) -> d.Run:
    """Return the run in the folder $RUN, which is only read, or a new one of `accurate` (`fast` in the quick form)."""
    if given := os.environ.get("RUN"):
        return d.open_run(Path(given).absolute())
    name = "accurate" if full else "fast"
    train(data, name, seed)
    return d.open_run(f"runs/{name}{seed}")


def summary(name: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and spread of several seeds, and the share of the classic pipeline's time."""
    accuracy = np.array([one["test_accuracy"] for one in rounds])
    return {
        f"{name} test_accuracy mean": float(accuracy.mean()),
        f"{name} test_accuracy sd": float(accuracy.std(ddof=1)) if len(accuracy) > 1 else None,
        f"{name} seeds": len(rounds),
        f"{name} seconds": float(np.mean([one["seconds"] for one in rounds])),
        f"{name} times faster than classic": float(
            np.mean([one["classic"] / one["seconds"] for one in rounds])
        ),
        f"{name} runs": rounds,
    }


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Time the classic pipeline's ten epochs (extrapolated), the way to its accuracy, and the recipes' accuracies.

    The classic pipeline is measured again after each round, and a round is
    compared with the mean of the measurements before and after it: others use
    the machine as well.
    """
    classic_epochs = classic.TenEpochs(d.prepare(data, "runs/classic"))
    before = classic_epochs.seconds(100)
    figures: dict[str, Any] = {"classic ten epochs": before}
    plan = [("target", one) for one in range(seed, seed + 3)]
    for name in ("fast", "accurate") if full else ("fast",):
        plan += [(name, one) for one in range(seed, seed + (3 if full else 1))]
    rounds: dict[str, list[dict[str, float]]] = {}
    for name, one in plan:
        shutil.rmtree(cache_folder(), ignore_errors=True)  # every round decodes anew
        with timed(f"{name}, seed {one}"):
            result = to_target(data, one) if name == "target" else train(data, name, one)
        after = classic_epochs.seconds(30)
        rounds.setdefault(name, []).append(result | {"classic": (before + after) / 2})
        before = after
        click.echo(f"  {rounds[name][-1]}", err=True)
    for name, results in rounds.items():
        figures |= summary(name, results)
    figures["target reached"] = sum(one["test_accuracy"] >= TARGET for one in rounds["target"])
    return figures | {"classic steps measured": classic_epochs.measured}


if __name__ == "__main__":
    main()
