"""A Keras layer that sets digits upright, or gives them all the same width, before a network sees them."""

from __future__ import annotations

from typing import Any

from digitlib.backend import keras

ops = keras.ops

MOST_SLANT = 1.0
"""Pixels aside for a pixel down that a digit is set upright by, at most: 45 degrees."""

SCALES = (0.6, 1.6)
"""Least and most that a digit is made narrower and wider by: with more, a 1 would become as wide as a 0."""


@keras.saving.register_keras_serializable("digitlib")
class Normalised(keras.layers.Layer):
    """From images to images whose digit stands upright, or is as wide as all others.

    Slant and width are those of the ink as a distribution over the picture: its covariance of column and row, and the
    standard deviation of its columns. What is not as the picture's edge is ink, light or dark. Rows are moved and
    stretched along themselves, linear between pixels, about the ink's centre, which stays. A network that sees digits
    so makes other mistakes than one that doesn't: the two belong in one ensemble (after D. Ciresan et al., "Convolutional
    neural network committees for handwritten character classification", ICDAR 2011). It has no weights.

    Parameters
    ----------
    upright : bool
        Take the slant away.
    width : float, optional
        Standard deviation of the ink's columns afterwards, as a share of the picture's width; without it widths stay.
    **options
        Of any Keras layer.
    """

    def __init__(self, *, upright: bool = False, width: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.upright, self.width = upright, width

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Return the images, looked up anew."""
        _, rows, columns, channels = images.shape
        x, y = ops.arange(columns, dtype=images.dtype), ops.arange(rows, dtype=images.dtype)[:, None]
        ink = _ink(images)
        middle_x, middle_y = _mean(ink, x), _mean(ink, y)
        slant = ops.zeros_like(middle_x)
        if self.upright:
            together = _mean(ink, (x - middle_x) * (y - middle_y))
            slant = ops.clip(together / (_mean(ink, (y - middle_y) ** 2) + 1e-3), -MOST_SLANT, MOST_SLANT)
        aside = slant * (y - middle_y)
        scale = ops.ones_like(middle_x)
        if self.width:
            spread = ops.sqrt(_mean(ink, (x - middle_x - aside) ** 2) + 1e-3)
            scale = ops.clip(spread / (self.width * columns), 1 / SCALES[1], 1 / SCALES[0])
        places = ops.clip(middle_x + scale * (x - middle_x) + aside, 0, columns - 1)
        left = ops.floor(places)
        share = (places - left)[..., None]
        left = ops.cast(left, "int32")
        right = ops.minimum(left + 1, columns - 1)
        beside = [
            ops.take_along_axis(images, ops.repeat(at[..., None], channels, axis=-1), axis=2)
            for at in (left, right)
        ]
        return beside[0] * (1 - share) + beside[1] * share

    def get_config(self) -> dict[str, Any]:
        """Return what `keras.saving` writes."""
        return {**super().get_config(), "upright": self.upright, "width": self.width}


def _ink(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return each pixel's share of a picture's ink, shape (n, rows, columns)."""
    grey = ops.mean(images, axis=-1)
    across, down = (grey[:, 0, :] + grey[:, -1, :]) / 2, (grey[:, :, 0] + grey[:, :, -1]) / 2
    edge = (ops.mean(across, axis=1) + ops.mean(down, axis=1)) / 2
    ink = ops.abs(grey - edge[:, None, None])
    return ink / (ops.sum(ink, axis=(1, 2), keepdims=True) + 1e-6)


def _mean(ink: keras.KerasTensor, of: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean of a quantity over the ink, shape (n, 1, 1)."""
    return ops.sum(ink * of, axis=(1, 2), keepdims=True)
