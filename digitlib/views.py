"""Several views of each image for a network to name: moved, turned, resized and slanted a little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from digitlib.affine import PARAMETERS, maps_of
from digitlib.backend import keras

ops = keras.ops

STEP = 1 / 28
"""Share of the side that a view is moved by: a pixel of MNIST's."""

VIEWS: tuple[dict[str, float], ...] = (
    {},
    *({"tx": STEP * sign} for sign in (1, -1)),
    *({"ty": STEP * sign} for sign in (1, -1)),
    *({"theta": 8.0 * sign} for sign in (1, -1)),
    *({"zx": zoom, "zy": zoom} for zoom in (0.9, 1.1)),
    *({"shear": 10.0 * sign} for sign in (1, -1)),
)
"""The image as it is and ten others, named as in `digitlib.affine.PARAMETERS`, shifts as shares of the side.

Each is well within what networks see in training (`digitlib.recipes.HAND_AUGMENTATION`). Chosen on images outside the
split, see benchmarks/.
"""


@keras.saving.register_keras_serializable("digitlib")
class Views(keras.layers.Layer):
    """From images to their views: shape (n, height, width, channels) to (n * views, height, width, channels).

    Views of one image follow one another. It has no weights; what lies outside the picture is as its edge.

    Parameters
    ----------
    views : sequence of dict
        As `VIEWS`.
    **options
        Of any Keras layer.
    """

    def __init__(self, views: Sequence[dict[str, float]] = VIEWS, **options: Any) -> None:
        super().__init__(**options)
        self.views = [dict(view) for view in views]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Find out once where each pixel of each view is looked up."""
        _, height, width, _ = input_shape
        self._places, self._shares = _look_ups(self.views, (int(height or 0), int(width or 0)))

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return the views, bilinear."""
        height, width, channels = images.shape[1:]
        corners = ops.take(ops.reshape(images, (-1, height * width, channels)), self._places.ravel(), axis=1)
        corners = ops.reshape(corners, (-1, *self._shares.shape, channels))
        seen = ops.sum(corners * ops.cast(self._shares[..., None], corners.dtype), axis=2)
        return ops.reshape(seen, (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """Return what `keras.saving` writes."""
        return {**super().get_config(), "views": self.views}


@keras.saving.register_keras_serializable("digitlib")
class MeanOfViews(keras.layers.Layer):
    """From one row a view to one row an image, the mean of its views: shape (n * views, d) to (n, d).

    Parameters
    ----------
    number : int
        Views of each image.
    **options
        Of any Keras layer.
    """

    def __init__(self, number: int, **options: Any) -> None:
        super().__init__(**options)
        self.number = number

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        """Return the means."""
        return ops.mean(ops.reshape(rows, (-1, self.number, rows.shape[-1])), axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return what `keras.saving` writes."""
        return {**super().get_config(), "number": self.number}


def views_of(model: keras.Model) -> int:
    """Return how many views of each image a network names: 1 for all but an ensemble made with views."""
    return next((layer.number for layer in model.layers if isinstance(layer, MeanOfViews)), 1)


def _look_ups(
    views: Sequence[dict[str, float]], image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the four pixels that each pixel of each view lies between, and the share of each.

    int32 and float32, both of shape (views * height * width, 4); a pixel is its place in the flattened picture.
    """
    height, width = image_size
    still = {name: 1.0 if name in ("zx", "zy") else 0.0 for name in PARAMETERS}
    drawn = {name: np.array([{**still, **view}[name] for view in views]) for name in PARAMETERS}
    drawn |= {"tx": drawn["tx"] * width, "ty": drawn["ty"] * height}
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
    x, y = np.moveaxis(maps_of(drawn, image_size, image_size) @ pixels, 1, 0).reshape(2, -1)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = x - left, y - top
    places = [top * width + left, top * width + right, bottom * width + left, bottom * width + right]
    shares = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
    return np.stack(places, axis=1).astype(np.int32), np.stack(shares, axis=1).astype(np.float32)
