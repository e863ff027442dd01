"""The classic notebook's pipeline, written plainly: the peer of the other comparisons."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from digitlib import Run
from digitlib.training.backend import keras

EPOCHS, BATCH, SIDE = 10, 32, 128

AUGMENTATION: dict[str, Any] = {
    "rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2, "zoom_range": 0.2,
    "horizontal_flip": True,
}  # fmt: skip


def generator(folder: Path, *, augment: bool, **options: Any) -> Any:
    """Return ImageDataGenerator's batches of TRAIN/ or TEST/, at the classic settings unless `options` differ."""
    # Deprecated and no longer exported, but what the classic notebook used.
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    settings = AUGMENTATION if augment else {}
    options = {"target_size": (SIDE, SIDE), "batch_size": BATCH, "seed": 0} | options
    return ImageDataGenerator(rescale=1 / 255, **settings).flow_from_directory(str(folder), **options)


def network() -> keras.Model:
    """Return the classic network, compiled as in the classic notebook."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3))])
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, 3, activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(100, activation="relu"))
    model.add(layers.Dense(50, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


class TenEpochs:
    """The classic pipeline's ten epochs on a run's TRAIN/ and TEST/, extrapolated from some of their steps."""

    def __init__(self, run: Run) -> None:
        self._train, self._test = (generator(run / name, augment=name == "TRAIN") for name in ("TRAIN", "TEST"))
        self._model = network()
        self.measured = 0

    def seconds(self, steps: int, test_steps: int = 20) -> float:
        """Measure so many steps now, and return what the ten epochs would take at that speed."""
        step = fit_seconds_a_step(self._model, self._train, steps)
        self._model.test_on_batch(*self._test[0])
        start = time.perf_counter()
        for index in range(test_steps):
            self._model.test_on_batch(*self._test[index])
        test_step = (time.perf_counter() - start) / test_steps
        self.measured += steps
        return EPOCHS * (len(self._train) * step + len(self._test) * test_step)


def fit_seconds_a_step(model: keras.Model, batches: Any, steps: int) -> float:
    """Return the time of one step of `model.fit`, from the end of the tenth to the end of the last."""
    ends: list[float] = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(batches, steps_per_epoch=steps + 10, epochs=1, verbose=0, callbacks=[note])
    return (ends[-1] - ends[9]) / (len(ends) - 10)


def one_at_a_time(paths: list[str]) -> float:
    """Return the seconds that an image takes when loaded and predicted by itself."""
    model, load = network(), keras.utils.load_img
    model.predict(np.zeros((1, SIDE, SIDE, 3)), verbose=0)
    start = time.perf_counter()
    for path in paths:
        pixels = keras.utils.img_to_array(load(path, target_size=(SIDE, SIDE))) / 255
        model.predict(pixels[np.newaxis], verbose=0).argmax()
    return (time.perf_counter() - start) / len(paths)
