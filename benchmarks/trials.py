"""How the recipes were chosen: one setting changed at a time, three seeds each, judged on validation images."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import click
import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

import digitlib as d
from benchmarks.common import RESULTS
from benchmarks.peers import load
from digitlib.data.datasets import find_inputs
from digitlib.data.decoding import read_files
from digitlib.files import write_table
from digitlib.pipeline import unlabelled_images
from digitlib.training.backend import keras
from digitlib.training.recipes import Recipe

TABLE = RESULTS / "trials.csv"

BASE = Recipe("trial", model="small", epochs=5, label_smoothing=0.05, cooldown_epochs=2)
"""Short runs, so that many fit into an evening; the others differ from this one by what their name says."""

FAST, ACCURATE = (replace(d.get_recipe(name), name="trial") for name in ("fast", "accurate"))

TRIALS: dict[str, Recipe] = {
    "base": BASE,
    "aug strong": replace(BASE, augmentation=FAST.augmentation),
    "no cooldown": replace(BASE, cooldown_epochs=0),
    "lr 2e-3": replace(BASE, learning_rate=2e-3),
    "lr 8e-3": replace(BASE, learning_rate=8e-3),
    "ls 0": replace(BASE, label_smoothing=0.0),
    "ls 0.1": replace(BASE, label_smoothing=0.1),
    "batch 64": replace(BASE, batch_size=64),
    "batch 256": replace(BASE, batch_size=256),
    "fast": FAST,
    "accurate": ACCURATE,
    "accurate wd 1e-2": replace(ACCURATE, weight_decay=1e-2),
    "accurate14": replace(ACCURATE, epochs=14),
}


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
    return d.ImageBatches.from_array(pixels, labels, run.class_names, shuffle=False)


def judged(model: keras.Model, images: d.ImageBatches, name: str) -> dict[str, float]:
    """Return accuracy and cross-entropy on images that the network was not trained on."""
    probabilities = model.predict(images, verbose=0)
    right = np.maximum(probabilities[np.arange(len(probabilities)), images.classes], 1e-9)
    return {
        f"{name}_accuracy": float((probabilities.argmax(axis=1) == images.classes).mean()),
        f"{name}_cross_entropy": float(-np.log(right).mean()),
    }


def trial(run: d.Run, name: str, seed: int, development: d.ImageBatches | None) -> dict[str, Any]:
    """Train once and return what the network is worth after its last epoch, and after its best."""
    recipe = replace(TRIALS[name], seed=seed)
    train, validation = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, run.class_names)
    model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe), metrics=["accuracy"])
    best = keras.callbacks.ModelCheckpoint(str(run / "best.keras"), "val_accuracy", save_best_only=True, mode="max")
    model.fit(train, validation_data=validation, epochs=recipe.epochs, callbacks=[best], verbose=0)
    row = {"trial": name, "seed": seed, "epochs": recipe.epochs, "parameters": model.count_params()}
    row |= judged(model, validation, "val")
    if development:
        row |= judged(model, development, "dev")
        row |= judged(keras.models.load_model(run / "best.keras"), development, "dev_best")
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
