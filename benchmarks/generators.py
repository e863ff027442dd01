"""Images a second: ImageDataGenerator, Keras's preprocessing layers, and digitlib."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison, timed
from digitlib.training.backend import keras
from digitlib.training.recipes import CLASSIC_AUGMENTATION


def rate(next_batch: Callable[[], Any], images_a_batch: int, seconds: float) -> float:
    """Return images a second, over at least so many seconds, after two batches that don't count."""
    next_batch(), next_batch()
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next_batch()
        n += images_a_batch
    return n / (time.perf_counter() - start)


def ours(run: d.Run, side: int, color_mode: str, batch_size: int) -> Callable[[], Any]:
    """Return what makes digitlib's next batch."""
    batches = d.generator_from_split(
        run,
        "train",
        image_size=(side, side),
        color_mode=color_mode,
        batch_size=batch_size,
        **CLASSIC_AUGMENTATION,
    )
    numbers = iter(range(10**9))
    return lambda: _next(batches, next(numbers))


def _next(batches: d.ImageBatches, number: int) -> Any:
    full = batches.samples // batches.batch_size  # the last, smaller batch is left out
    if number and number % full == 0:
        batches.start_at(batches.epoch + 1)
    return batches[number % full]


def layers(run: d.Run, side: int, color_mode: str, batch_size: int) -> Callable[[], Any]:
    """Return what makes the next batch of `image_dataset_from_directory` with preprocessing layers, in tf.data."""
    augment = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomFlip("horizontal", data_format="channels_last"),
            keras.layers.RandomRotation(40 / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),
            keras.layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2), fill_mode="nearest"),
        ]
    )
    images = keras.utils.image_dataset_from_directory(
        str(run / "TRAIN"),
        image_size=(side, side),
        color_mode=color_mode,
        batch_size=batch_size,
        verbose=False,
    )
    batches = images.cache().map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=-1)
    stream = iter(batches.repeat().prefetch(4))
    for _ in range(len(images)):  # the first epoch decodes
        next(stream)
    return lambda: next(stream)


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Images a second at the classic augmentation, at 28 x 28 x 1 and at 128 x 128 x 3."""
    run = d.prepare(data, "runs/generators")
    seconds = 10.0 if full else 3.0
    figures: dict[str, Any] = {}
    for side, color_mode, large in ((28, "grayscale", 1024), (128, "rgb", 256)):
        size = f"{side}x{side}x{1 if color_mode == 'grayscale' else 3}"
        rounds: dict[str, list[float]] = {}
        theirs = classic.generator(
            run / "TRAIN", augment=True, target_size=(side, side), color_mode=color_mode
        )
        small, big = ours(run, side, color_mode, 32), ours(run, side, color_mode, large)
        for _ in range(3):  # in turns, since other users of the machine come and go
            rounds.setdefault("image_data_generator", []).append(rate(lambda: next(theirs), 32, seconds))  # noqa: B023
            rounds.setdefault("ours_batch_32", []).append(rate(small, 32, seconds))
            rounds.setdefault(f"ours_batch_{large}", []).append(rate(big, large, seconds))
        if full or side == 28:
            with timed("image_dataset_from_directory with layers"):
                rounds["preprocessing_layers"] = [rate(layers(run, side, color_mode, 256), 256, seconds)]
        medians = {name: float(np.median(values)) for name, values in rounds.items()}
        figures |= {f"{size} {name} images_per_second": value for name, value in medians.items()}
        peer = medians["image_data_generator"]
        figures |= {
            f"{size} {name} ratio": value / peer
            for name, value in medians.items()
            if name != "image_data_generator"
        }
    return figures


if __name__ == "__main__":
    main()
