"""Train again and again, each time in a fork of this process, so that TensorFlow is imported only once.

Arguments: the project's top, then one JSON object a training: ``run``, ``data``, ``recipe`` and what to do to it:
``kill_step`` (after that many steps), ``kill_change`` (before that change of the file system), ``interrupt_step`` (Ctrl-C).
Prints one JSON object a training: ``status`` as from `os.waitpid`, and what it printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from faults import _kill_before

import digitlib as d
from digitlib.training import generator_from_split
from digitlib.training.backend import keras, tensorflow

layers = keras.layers


class Stop(keras.callbacks.Callback):
    """Send this process a signal after a number of steps."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__()
        self.left, self.number = step, number

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def mlp(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Two dense layers, in words of Keras alone."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )


def convnet(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """The network of keras.io's mnist_convnet."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )


def mobilenet(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """A nested network of keras.applications, without weights to download."""
    image = keras.Input(image_shape)
    backbone = keras.applications.MobileNetV3Small(image_shape, include_top=False, weights=None, pooling="avg")
    outputs = layers.Dense(n_classes, activation="softmax")(layers.Dropout(0.2)(backbone(image)))
    return keras.Model(image, outputs)


OWN = {"mlp": (mlp, (28, 28, 1)), "convnet": (convnet, (28, 28, 1)), "mobilenet": (mobilenet, (32, 32, 3))}


def of_recipe(run: d.Run, trial: dict[str, Any]) -> tuple[Any, ...]:
    """Return network, generators, epochs and callbacks of a recipe."""
    recipe = d.get_recipe("tiny", **trial["recipe"])
    train, validation = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, train.class_names, deterministic=True)
    model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe), metrics=["accuracy"], jit_compile=False)
    return model, train, validation, recipe.epochs, d.callbacks_for(run, train, recipe)


def of_ones_own(run: d.Run, trial: dict[str, Any]) -> tuple[Any, ...]:
    """Return the same of a network that no recipe knows, with an optimizer, a loss and a callback of its own."""
    build, shape = OWN[trial["network"]]
    options = {"image_size": shape[:2], "color_mode": "rgb" if shape[2] == 3 else "grayscale"}
    options |= {"batch_size": 64, "class_mode": "sparse"}
    train = generator_from_split(run, "train", rotation_range=10, **options)
    validation = generator_from_split(run, "validation", shuffle=False, **options)
    for _ in range(trial.get("networks_before", 0)):  # Keras gives layers numbers, one after the other in a process
        build(shape, 10)
    keras.utils.set_random_seed(3)
    tensorflow.config.experimental.enable_op_determinism()
    model = build(shape, 10)
    loss = "sparse_categorical_crossentropy"
    model.compile(trial.get("optimizer", "adam"), loss, metrics=["accuracy"], jit_compile=False)
    slower = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 * 0.5**epoch)
    return model, train, validation, 3, [*d.callbacks_for(run, train), slower]


def train(trial: dict[str, Any]) -> None:
    run = d.prepare(trial["data"], trial["run"], mode="none")
    made = of_ones_own(run, trial) if "network" in trial else of_recipe(run, trial)
    model, training, validation, epochs, callbacks = made
    if "kill_step" in trial:
        callbacks.append(Stop(trial["kill_step"], signal.SIGKILL))
    if "interrupt_step" in trial:
        callbacks.append(Stop(trial["interrupt_step"], signal.SIGINT))
    if "kill_change" in trial:
        _kill_before(trial["kill_change"], sys.argv[1])
    model.fit(training, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)
    print("steps", int(model.optimizer.iterations), "rate", float(model.optimizer.learning_rate))


def main() -> None:
    for text in sys.argv[2:]:
        out = Path(sys.argv[1]) / "printed"
        pid = os.fork()
        if not pid:
            with out.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(io.StringIO()):
                status = 0
                try:
                    train(json.loads(text))
                except KeyboardInterrupt:
                    status = 130
                except Exception as error:
                    print(type(error).__name__, error)
                    status = 1
            os._exit(status)
        print(json.dumps({"status": os.waitpid(pid, 0)[1], "printed": out.read_text()}), flush=True)


if __name__ == "__main__":
    main()
