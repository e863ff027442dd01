"""Images a second: ImageDataGenerator, Keras's preprocessing layers, and digitlib."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import classic
from benchmarks.common import comparison, timed
from digitlib import ImageBatches, Run, prepare
from digitlib.training.backend import keras
from digitlib.training.generators import generator_from_split


def rate(batches: Iterator[Any], images_a_batch: int, seconds: float) -> float:
    """Return images a second, over at least so many seconds, after two batches that don't count."""
    next(batches), next(batches)
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        n += images_a_batch
    return n / (time.perf_counter() - start)


def ours(batches: ImageBatches) -> Iterator[Any]:
    """Yield digitlib's full batches, epoch after epoch."""
    for epoch in range(10**9):
        batches.start_at(epoch)
        yield from (batches[number] for number in range(batches.samples // batches.batch_size))


def layers(run: Run, side: int, color_mode: str, batch_size: int) -> Iterator[Any]:
    """Return the batches of `image_dataset_from_directory` with preprocessing layers, in tf.data."""
    same: dict[str, Any] = {"fill_mode": "nearest"}
    augment = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomFlip("horizontal", data_format="channels_last"),
            keras.layers.RandomRotation(40 / 360, **same),
            keras.layers.RandomTranslation(0.2, 0.2, **same),
            keras.layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2), **same),
        ]
    )
    images = keras.utils.image_dataset_from_directory(
        str(run / "TRAIN"), image_size=(side, side), color_mode=color_mode, batch_size=batch_size, verbose=False
    )
    batches = images.cache().map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=-1)
    stream = iter(batches.repeat().prefetch(4))
    for _ in range(len(images)):  # the first epoch decodes
        next(stream)
    return stream


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Images a second at the classic augmentation, at 28 x 28 x 1 and at 128 x 128 x 3."""
    run = prepare(data, "runs/generators")
    seconds = 10.0 if full else 3.0
    figures: dict[str, Any] = {}
    for side, color_mode, large in ((28, "grayscale", 1024), (128, "rgb", 256)):
        peer = classic.generator(run / "TRAIN", augment=True, target_size=(side, side), color_mode=color_mode)
        streams: dict[str, tuple[Iterator[Any], int]] = {"image_data_generator": (peer, 32)}
        for size in (32, large):
            batches = generator_from_split(
                run, "train", image_size=(side, side), color_mode=color_mode, batch_size=size, **classic.AUGMENTATION
            )
            streams[f"ours_batch_{size}"] = ours(batches), size
        rounds: dict[str, list[float]] = {name: [] for name in streams}
        for _ in range(3):  # in turns, since other users of the machine come and go
            for name, (stream, size) in streams.items():
                rounds[name].append(rate(stream, size, seconds))
        if full or side == 28:
            with timed("image_dataset_from_directory with layers"):
                rounds["preprocessing_layers"] = [rate(layers(run, side, color_mode, 256), 256, seconds)]
        shape = f"{side}x{side}x{1 if color_mode == 'grayscale' else 3}"
        medians = {name: float(np.median(values)) for name, values in rounds.items()}
        figures |= {f"{shape} {name} images_per_second": value for name, value in medians.items()}
        figures |= {
            f"{shape} {name} ratio": value / medians["image_data_generator"]
            for name, value in medians.items()
            if name != "image_data_generator"
        }
    return figures


if __name__ == "__main__":
    main()
