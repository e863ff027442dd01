"""Other people's best on MNIST's own split, side by side with ours: Keras's documented convnet, and PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.common import comparison
from digitlib import Classifier, ImageBatches, build_model, get_recipe, make_loss, make_optimizer
from digitlib.training.backend import keras
from digitlib.training.callbacks import trace_once

layers = keras.layers
BATCH, EPOCHS = 128, 15
DIGITS = [str(digit) for digit in range(10)]

STEPS = (100, 120, 160, 235)
"""Batches of 256 that our short trainings take; 235 are one epoch."""

SHORT: dict[str, Any] = {
    "batch_size": 256,
    "epochs": 1,
    "cooldown_epochs": 0,
    "learning_rate": 2e-2,
    "augmentation": {},
}
"""What they change in `fast`."""


def load(path: str) -> dict[str, np.ndarray]:
    """Return MNIST's four arrays from a local copy of Keras's mnist.npz, or as Keras downloads it."""
    if path:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def example(mnist: dict[str, np.ndarray], seed: int) -> tuple[float, float]:
    """Return seconds and test accuracy of the example (keras.io/examples/vision/mnist_convnet), as documented."""
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    x = {part: mnist[f"x_{part}"].astype("float32")[..., None] / 255 for part in ("train", "test")}
    y = {part: keras.utils.to_categorical(mnist[f"y_{part}"], 10) for part in ("train", "test")}
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x["train"], y["train"], batch_size=BATCH, epochs=EPOCHS, validation_split=0.1, verbose=0)
    seconds = time.perf_counter() - start
    return seconds, model.evaluate(x["test"], y["test"], verbose=0)[1]


def ours(mnist: dict[str, np.ndarray], seed: int, steps: int) -> tuple[float, float]:
    """Return seconds and test accuracy of `fast` in so many steps, without augmentation, on the same images."""
    start = time.perf_counter()
    recipe = get_recipe("fast", seed=seed, **SHORT)
    train = batches(mnist, "train", shuffle=True, batch_size=recipe.batch_size, seed=seed)
    model = build_model(recipe, DIGITS)
    model.compile(make_optimizer(recipe, steps), make_loss(recipe), metrics=["accuracy"])
    trace_once(model, train)
    model.fit(train, steps_per_epoch=steps, verbose=0)
    seconds = time.perf_counter() - start
    return seconds, model.evaluate(batches(mnist, "test", batch_size=256), verbose=0, return_dict=True)["accuracy"]


def batches(mnist: dict[str, np.ndarray], part: str, **options: Any) -> ImageBatches:
    """Return the training or test set of MNIST as a generator."""
    labels = mnist[f"y_{part}"].astype(str)
    return ImageBatches.from_array(mnist[f"x_{part}"], labels, DIGITS, **{"shuffle": False} | options)


def step(mnist: dict[str, np.ndarray], precision: str) -> float:
    """Return the median seconds of a step of `fast` with its images, in batches of 128."""
    recipe = get_recipe("fast", precision=precision, batch_size=128)
    options: dict[str, Any] = {"batch_size": 128, "shuffle": True, **recipe.augmentation}
    model, train = build_model(recipe, DIGITS), batches(mnist, "train", **options)
    model.compile(make_optimizer(recipe, len(train)), make_loss(recipe), metrics=["accuracy"])
    ends: list[float] = []
    ended = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(train, steps_per_epoch=150, verbose=0, callbacks=[ended])
    return float(np.median(np.diff(ends)[20:]))


def torch_figures(path: str, seeds: int) -> dict[str, Any]:
    """Return what ``torch_peer.py`` measures with the interpreter in $TORCH, nothing where that has no torch."""
    if not path:
        return {}
    command = [
        os.environ.get("TORCH", sys.executable),
        str(Path(__file__).with_name("torch_peer.py")),
        path,
        str(seeds),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        click.echo("PyTorch is not compared: give an interpreter that has it as $TORCH.", err=True)
        return {}
    return dict(json.loads(done.stdout))


def onnx_times(mnist: dict[str, np.ndarray]) -> float:
    """Return the seconds that ONNX Runtime takes to predict 10,000 images in memory, as a multiple of ours."""
    import onnxruntime

    classifier = Classifier(build_model(get_recipe("fast"), DIGITS), DIGITS)
    session = onnxruntime.InferenceSession(str(classifier.export("onnx", file="runs/peers/model.onnx")))
    images, pixels = mnist["x_test"], mnist["x_test"].astype(np.float32)[..., None]
    name = session.get_inputs()[0].name
    took: dict[str, list[float]] = {"onnx": [], "ours": []}
    for _ in range(4):
        start = time.perf_counter()
        for first in range(0, len(pixels), 256):
            session.run(None, {name: pixels[first : first + 256]})
        took["onnx"].append(time.perf_counter() - start)
        start = time.perf_counter()
        classifier.predict_proba(images)
        took["ours"].append(time.perf_counter() - start)
    return float(np.median(took["onnx"][1:]) / np.median(took["ours"][1:]))


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds to their accuracy, medians of three; a copy of mnist.npz may be given as $MNIST.

    All run in turn on one machine. Ours is the smallest number of steps whose mean test accuracy is at least theirs.
    """
    path = os.environ.get("MNIST", "")
    mnist, seeds = load(path), range(seed, seed + 3)
    peer = torch_figures(path, len(seeds))
    tries: dict[int, tuple[float, float]] = {}
    for steps in STEPS:
        runs = np.array([ours(mnist, one, steps) for one in seeds])
        tries[steps] = float(np.median(runs[:, 0])), float(runs[:, 1].mean())
        click.echo(f"  {steps} steps: {tries[steps][1]:.4f} in {tries[steps][0]:.1f} s", err=True)
    seconds, goal = np.array([example(mnist, one) for one in (seeds if full else seeds[:1])]).T
    click.echo(f"  Keras's example: {goal.mean():.4f} in {np.median(seconds):.1f} s", err=True)
    figures: dict[str, Any] = {
        "example test_accuracy": float(goal.mean()),
        "example seconds": float(np.median(seconds)),
    }
    figures |= {
        "tries": tries,
        "times faster": figures["example seconds"] / first(tries, figures["example test_accuracy"]),
    }
    if peer:
        again = torch_figures(path, len(seeds))
        theirs = np.array(peer["one_epoch"] + again["one_epoch"])
        figures |= {
            "torch one epoch seconds": float(np.median(theirs[:, 0])),
            "torch one epoch": float(theirs[:, 1].mean()),
        }
        figures["99 %: times faster than torch"] = figures["torch one epoch seconds"] / first(tries, 0.99)
        for name, precision in (("bfloat16", "auto"), ("float32", "float32")):
            mine = [step(mnist, precision) for _ in range(3)]
            figures[f"step {name}: times torch's"] = float(
                np.median(mine) / np.mean([peer["step"][name], again["step"][name]])
            )
    return figures | {"ONNX Runtime's time to predict, times ours": onnx_times(mnist), "torch": peer.get("torch")}


def first(tries: dict[int, tuple[float, float]], goal: float) -> float:
    """Return the seconds of the shortest training whose mean accuracy is at least `goal`, else infinity."""
    return next((seconds for seconds, accuracy in tries.values() if accuracy >= goal), float("inf"))


if __name__ == "__main__":
    main()
