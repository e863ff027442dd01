"""How the recipes were chosen: one setting changed at a time, three seeds each, judged on validation images alone."""

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
from benchmarks.keras_example import load
from digitlib.data.decoding import read_files
from digitlib.files import write_table
from digitlib.training.backend import keras
from digitlib.training.models import MODELS, layers
from digitlib.training.models import _answer as answer
from digitlib.training.models import _block as block
from digitlib.training.models import _dropouts as dropouts
from digitlib.training.recipes import HAND_AUGMENTATION, MILD_AUGMENTATION, Recipe, get_recipe

TABLE = RESULTS / "trials.csv"

BASE = Recipe("trial", model="small", epochs=5, label_smoothing=0.05, cooldown_epochs=2)
"""Short runs, so that many fit into an evening; the others differ from this one by what their name says."""

WEAK = MILD_AUGMENTATION | {
    "rotation_range": 8, "width_shift_range": 0.05, "height_shift_range": 0.05, "shear_range": 6, "zoom_range": 0.08,
}  # fmt: skip
LONG: dict[str, Any] = {"epochs": 16, "cooldown_epochs": 4}


def settings_of(name: str) -> dict[str, Any]:
    """Return what a recipe does otherwise than `BASE`, from the one place where it stands."""
    recipe = get_recipe(name)
    return {
        field: getattr(recipe, field)
        for field in ("model", "epochs", "weight_decay", "cooldown_epochs", "precision", "augmentation")
    }


FAST, ACCURATE = settings_of("fast"), settings_of("accurate")
TWENTY: dict[str, Any] = {"epochs": 20, "cooldown_epochs": 5, "augmentation": HAND_AUGMENTATION}

VARIATIONS: dict[str, dict[str, Any]] = {
    "base": {},
    "constant rate": {"schedule": "constant", "learning_rate": 1e-3},
    "old net": {"model": "old"},
    "thin x2.5": {"model": "thin", "epochs": 12, "cooldown_epochs": 3},
    "aug strong": {"augmentation": HAND_AUGMENTATION},
    "aug weak": {"augmentation": WEAK},
    "no calm": {"cooldown_epochs": 0},
    "lr 2e-3": {"learning_rate": 2e-3},
    "lr 8e-3": {"learning_rate": 8e-3},
    "ls 0": {"label_smoothing": 0.0},
    "ls 0.1": {"label_smoothing": 0.1},
    "batch 64": {"batch_size": 64},
    "batch 256": {"batch_size": 256},
    "wd 5e-2": {"weight_decay": 5e-2},
    "ema": {"average": 0.99},
    "fast16": LONG,
    "fast16 strong": {**LONG, "augmentation": HAND_AUGMENTATION},
    "fast": FAST,
    "accurate": ACCURATE,
    "deep10": {**FAST, "model": "deep"},
    "deep20": {**TWENTY, "model": "deep"},
    "dropouts20": {**TWENTY, "model": "dropouts"},
    "accurate wd 1e-2": {**ACCURATE, "weight_decay": BASE.weight_decay},
    "accurate14": {**ACCURATE, "epochs": 14},
}
FLOAT32 = {f"{name} float32": {**changes, "precision": "float32"} for name, changes in VARIATIONS.items()}
"""The same without bfloat16; only those that are named with --only."""


def old_net(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return the network tried first: full size in its first layer, channels that oneDNN has to pad."""
    return keras.Sequential(
        [
            keras.Input(image_shape), *block(24, 5, "valid"), layers.MaxPooling2D(2, padding="same"),
            *block(48, 3, "valid"), *block(48, 3, "valid"), layers.MaxPooling2D(2, padding="same"),
            *block(96, 3, "same"), layers.GlobalAveragePooling2D(), layers.Dense(n_classes, activation="softmax"),
        ]
    )  # fmt: skip


def thin_net(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a network of a quarter of the work, for more epochs in the same time."""
    return keras.Sequential(
        [
            keras.Input(image_shape), *block(32, 6, "valid", 2), *block(32, 3, "valid"),
            layers.MaxPooling2D(2, padding="same"), *block(64, 3, "same"), layers.GlobalAveragePooling2D(),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )  # fmt: skip


def dropouts_net(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return what `digitlib.training.models` puts behind its normalising layers, with nothing before it."""
    return keras.Sequential([keras.Input(image_shape), *dropouts(), answer(n_classes)])


def shifted(images: np.ndarray) -> list[np.ndarray]:
    """Return the images as they are and moved by one pixel each way, for test-time augmentation."""
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [framed[:, y : y + 28, x : x + 28] for y, x in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]


def averaged(model: keras.Model, train: d.ImageBatches) -> None:
    """Give the network its averaged weights, and batch normalisation the statistics that belong to them."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for index in range(min(60, len(train))):
        model(train[index][0], training=True)


def development_images(run: d.Run, mnist: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images that the folder leaves unlabelled, and their labels from MNIST's own file.

    So many that they tell networks apart between which the validation images are silent; in no part of the split. An
    image's label is that of the nearest of all MNIST: JPEG changes a pixel by two or three grey values.
    """
    folder, names = d.unlabelled_files(run)
    pixels = np.stack([one.image for one in read_files([str(folder / name) for name in names])])
    arrays = load(mnist)
    known = np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(-1, 784).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(known)
    found = nearest.kneighbors(pixels.reshape(-1, 784).astype(np.float32), return_distance=False)[:, 0]
    return pixels, np.concatenate([arrays["y_train"], arrays["y_test"]])[found]


def judged(said: np.ndarray, labels: np.ndarray, part: str) -> dict[str, float]:
    """Return accuracy and cross-entropy of probabilities."""
    right = np.maximum(said[np.arange(len(said)), labels], 1e-9)
    return {
        f"{part}_accuracy": float((said.argmax(axis=1) == labels).mean()),
        f"{part}_cross_entropy": float(-np.log(right).mean()),
    }


def trial(
    run: d.Run, name: str, seed: int, development: tuple[np.ndarray, np.ndarray] | None
) -> dict[str, Any]:
    """Train once and return accuracy and cross-entropy on images that it was not trained on."""
    changes = dict((VARIATIONS | FLOAT32)[name])
    average = changes.pop("average", None)
    recipe = replace(BASE, seed=seed, **changes)
    train, validation = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, d.class_names_of(run))
    optimizer = d.make_optimizer(recipe, len(train))
    if average:
        optimizer.use_ema, optimizer.ema_momentum = True, average
    model.compile(optimizer, d.make_loss(recipe), metrics=["accuracy"])
    best = keras.callbacks.ModelCheckpoint(
        str(run / "best_epoch.keras"), "val_accuracy", save_best_only=True, mode="max"
    )
    watched: dict[str, Any] = {"validation_data": validation, "callbacks": [best]} if development else {}
    history = model.fit(train, epochs=recipe.epochs, shuffle=False, verbose=0, **watched).history
    if average:
        averaged(model, train)
    images = np.concatenate([validation[index][0] for index in range(len(validation))])
    answers = [model.predict(view, batch_size=512, verbose=0) for view in shifted(images)]
    row = {"trial": name, "seed": seed, "epochs": recipe.epochs, "parameters": model.count_params()}
    row |= judged(answers[0], validation.classes, "val") | judged(
        np.mean(answers, axis=0), validation.classes, "val_moved"
    )
    if development:
        pixels, labels = development
        chosen = keras.models.load_model(run / "best_epoch.keras")  # what keep="best" would have kept
        for part, network in (("dev", model), ("dev_best", chosen)):
            said = network.predict(d.as_batches(pixels, recipe), verbose=0)
            row |= judged(said, labels, part) | {"n_dev": len(labels)}
    return row | {"train_accuracy": history["accuracy"][-1]}


@click.command()
@click.option("--data", default="sample", show_default=True, help="Folder of class folders.")
@click.option("--only", default="", help="Names of trials, with commas between; all by default.")
@click.option("--seeds", default=3, show_default=True, help="How often each, with seeds 1, 2, 3 ...")
def main(data: str, only: str, seeds: int) -> None:
    """Run the trials that results/trials.csv does not hold yet, and print all with mean and spread.

    With MNIST's own file in $MNIST, DATA's unlabelled images are named too.
    """
    MODELS.update(old=old_net, thin=thin_net, dropouts=dropouts_net)
    run = d.prepare(data, "runs/trials", mode="none")
    mnist = os.environ.get("MNIST")
    development = development_images(run, mnist) if mnist else None
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    done = {(row["trial"], row["seed"]) for row in rows}
    for name in only.split(",") if only else VARIATIONS:
        for seed in range(1, seeds + 1):
            if (name, seed) not in done:
                rows.append(trial(run, name, seed, development))
                write_table(TABLE, pd.DataFrame(rows))
                click.echo(rows[-1], err=True)
    table = pd.DataFrame(rows).groupby("trial", sort=False).agg(
        seeds=("seed", "size"), epochs=("epochs", "first"), parameters=("parameters", "first"),
        val_accuracy=("val_accuracy", "mean"), sd=("val_accuracy", "std"), moved=("val_moved_accuracy", "mean"),
        cross_entropy=("val_cross_entropy", "mean"), dev_accuracy=("dev_accuracy", "mean"),
        dev_best_accuracy=("dev_best_accuracy", "mean"),
    )  # fmt: skip
    click.echo(table.round(4).to_string())


if __name__ == "__main__":
    main()
