"""Which pixels decided: maps that lie over a picture."""

from __future__ import annotations

import numpy as np

from digitlib.backend import keras, tensorflow
from digitlib.errors import DigitError


def grad_cam(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return where the last convolution saw what speaks for the predicted class.

    Grad-CAM (R. Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391): the channels behind the last convolution,
    weighted by how much each moves the class's logarithmic probability. It is as coarse as that layer: 4 x 4 places
    for the recipes `fast` and `accurate`.

    Parameters
    ----------
    model : keras.Model
        A network in one row of layers, as those of `digitlib.models`.
    images : numpy.ndarray
        float, shape (n, height, width, channels), as the network takes them.

    Returns
    -------
    numpy.ndarray
        float, shape (n, height, width), 0 (no part in it) to 1 (most, of this image).

    Raises
    ------
    DigitError
        If the network has no convolution.
    """
    if not any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers):
        raise DigitError("this network has no convolution, which Grad-CAM looks at: use occlusion instead.")
    # In two halves, so that the tape can watch what passes from one to the other.
    last = max(place for place, layer in enumerate(model.layers) if len(layer.output.shape) == 4)
    seen = tensorflow.constant(images, tensorflow.float32)
    for layer in model.layers[: last + 1]:
        seen = layer(seen, training=False) if _knows_training(layer) else layer(seen)
    with tensorflow.GradientTape() as tape:
        tape.watch(seen)
        answer = seen
        for layer in model.layers[last + 1 :]:
            answer = layer(answer, training=False) if _knows_training(layer) else layer(answer)
        loss = tensorflow.math.log(tensorflow.reduce_max(answer, axis=1) + 1e-12)
    slopes = tape.gradient(loss, seen)
    weights = tensorflow.reduce_mean(slopes, axis=(1, 2), keepdims=True)
    heat = tensorflow.nn.relu(tensorflow.reduce_sum(weights * seen, axis=3, keepdims=True))
    heat = tensorflow.image.resize(tensorflow.cast(heat, tensorflow.float32), images.shape[1:3])
    return _to_one(np.asarray(heat)[..., 0])


def occlusion(model: keras.Model, images: np.ndarray, patch: int = 5, stride: int = 2) -> np.ndarray:
    """Return how much the predicted class loses where a patch covers the picture.

    After M. Zeiler and R. Fergus, 2014 (https://arxiv.org/abs/1311.2901). The patch has the image's darkest value,
    the ground of a digit: it takes ink away. It asks the network alone, so it fits any.

    Parameters
    ----------
    model : keras.Model
        Any classifier of images.
    images : numpy.ndarray
        float, shape (n, height, width, channels), as the network takes them.
    patch, stride : int
        Side of the patch, and from one place to the next, in pixels.

    Returns
    -------
    numpy.ndarray
        float, shape (n, height, width), 0 to 1: mean loss of logarithmic probability over the patches that covered a
        pixel, as a share of the image's largest.
    """
    height, width = images.shape[1:3]
    heat = np.zeros((len(images), height, width))
    corners = [
        (top, left)
        for top in range(0, height - patch + 1, stride)
        for left in range(0, width - patch + 1, stride)
    ]
    times = np.full((height, width), 1e-9)
    for top, left in corners:
        times[top : top + patch, left : left + patch] += 1
    for image, map_ in zip(images, heat, strict=True):
        covered = np.repeat(image[None], len(corners) + 1, axis=0)
        for place, (top, left) in enumerate(corners):
            covered[place, top : top + patch, left : left + patch] = image.min()
        said = np.log(model.predict(covered, batch_size=256, verbose=0) + 1e-12)
        label = said[-1].argmax()
        for place, (top, left) in enumerate(corners):
            map_[top : top + patch, left : left + patch] += max(0.0, said[-1, label] - said[place, label])
    return _to_one(heat / times)


def _knows_training(layer: keras.layers.Layer) -> bool:
    """Say whether a layer behaves otherwise in training."""
    return isinstance(layer, (keras.layers.BatchNormalization, keras.layers.Dropout))


def _to_one(heat: np.ndarray) -> np.ndarray:
    """Return maps whose largest value is 1 each; one without any stays 0."""
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
