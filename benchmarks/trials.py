"""How the recipes were chosen: one setting changed at a time, judged on validation and development images."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import click
import numpy as np
import pandas as pd

import digitlib as d
from benchmarks.common import RESULTS
from benchmarks.training import development_images
from digitlib.files import write_table
from digitlib.training.backend import keras
from digitlib.training.recipes import Recipe

TABLE = RESULTS / "trials.csv"

BASE = Recipe(
    "trial", model="small", epochs=3, learning_rate=1e-2, optimizer="muon", label_smoothing=0.05, cooldown_epochs=1,
    augmentation=d.get_recipe("fast").augmentation,
)  # fmt: skip
"""Short runs, so that many fit into an evening; the others differ from this one by what their name says."""

MOMENTUM = {"momentum": 0.95}
"""Muon's own; the recipes have 0.9, and so has every trial that does not say otherwise."""

LARGE = replace(BASE, batch_size=256, learning_rate=1.5e-2)
WIDE = replace(LARGE, model="wide", cooldown_epochs=5)

TRIALS: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "base": (BASE, {}),
    "momentum 0.95": (BASE, MOMENTUM),
    "momentum 0.95, lr 5e-3": (replace(BASE, learning_rate=5e-3), MOMENTUM),
    "momentum 0.95, no cooldown": (replace(BASE, cooldown_epochs=0), MOMENTUM),
    "momentum 0.95, ls 0": (replace(BASE, label_smoothing=0.0), MOMENTUM),
    "momentum 0.95, weight decay 0.1": (replace(BASE, weight_decay=0.1), MOMENTUM),
    "lr 2e-2": (replace(BASE, learning_rate=2e-2), {}),
    "4 epochs": (replace(BASE, epochs=4), {}),
    "batch 256, 4 epochs, lr 1.5e-2": (replace(LARGE, epochs=4), {}),
    "batch 256, 5 epochs, lr 1.5e-2": (replace(LARGE, epochs=5), {}),
    "batch 256, 5 epochs, lr 2.5e-2": (replace(LARGE, epochs=5, learning_rate=2.5e-2), {}),
    "wide, momentum 0.95, 18 epochs": (replace(WIDE, epochs=18, cooldown_epochs=4), MOMENTUM),
    "wide, 24 epochs": (replace(WIDE, epochs=24), {}),
}  # fmt: skip


def judged(model: keras.Model, images: d.ImageBatches, name: str) -> dict[str, float]:
    """Return accuracy and cross-entropy on images that the network was not trained on."""
    probabilities = model.predict(images, verbose=0)
    right = np.maximum(probabilities[np.arange(len(probabilities)), images.classes], 1e-9)
    return {
        f"{name}_accuracy": float((probabilities.argmax(axis=1) == images.classes).mean()),
        f"{name}_cross_entropy": float(-np.log(right).mean()),
    }


def trial(run: d.Run, name: str, seed: int, development: d.ImageBatches | None) -> dict[str, Any]:
    """Train once and return what the network is worth after its last epoch."""
    recipe, changes = TRIALS[name]
    recipe = replace(recipe, seed=seed)
    train, validation = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, run.class_names)
    optimizer = d.make_optimizer(recipe, len(train))
    vars(optimizer).update(changes)
    model.compile(optimizer, d.make_loss(recipe), metrics=["accuracy"])
    model.fit(train, epochs=recipe.epochs, verbose=0)
    row = {"trial": name, "seed": seed, "epochs": recipe.epochs, "parameters": model.count_params()}
    row |= judged(model, validation, "val")
    if development:
        row |= judged(model, development, "dev")
        row["dev_errors"] = round((1 - row["dev_accuracy"]) * development.samples)
    return row


@click.command()
@click.option("--data", default="sample", show_default=True, help="Folder of class folders.")
@click.option("--only", default=",".join(TRIALS), help="Names of trials, with commas between; all by default.")
@click.option("--seeds", default=3, show_default=True, help="How often each, with seeds 1, 2, 3 ...")
def main(data: str, only: str, seeds: int) -> None:
    """Run the trials that results/trials.csv does not hold yet.

    With MNIST's own file in $MNIST, DATA's unlabelled images judge too.
    """
    run = d.prepare(data, "runs/trials", mode="none")
    development = development_images(run, os.environ["MNIST"]) if "MNIST" in os.environ else None
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    done = {(row["trial"], row["seed"]) for row in rows}
    for name in only.split(","):
        for seed in range(1, seeds + 1):
            if (name, seed) not in done:
                rows.append(trial(run, name, seed, development))
                write_table(TABLE, pd.DataFrame(rows))
                click.echo(rows[-1], err=True)


if __name__ == "__main__":
    main()
