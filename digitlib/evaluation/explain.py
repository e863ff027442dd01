"""Which pixels decided: maps that lie over a picture."""

from __future__ import annotations

from itertools import product

import numpy as np

from digitlib.data.decoding import rim_of
from digitlib.errors import DigitError
from digitlib.training.backend import keras, tensorflow
from digitlib.training.models import as_graph


def grad_cam(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return where the last convolution saw what speaks for the predicted class.

    Grad-CAM (R. Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391): the channels behind the last convolution,
    weighted by how much each moves the class's logarithmic probability. It is as coarse as that layer: 4 x 4 places
    for the recipes `fast` and `accurate`. Of an ensemble, the maps of all members are added.

    Parameters
    ----------
    model : keras.Model
        A network of `digitlib.training.models`, or an ensemble of them.
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
    graph = as_graph(model) if isinstance(model, keras.Sequential) else model
    ends = [layer.input for layer in graph.layers if _leaves_the_picture(layer)]
    inner = keras.Model(graph.inputs, [*ends, graph.outputs[0]])
    shown = tensorflow.constant(images, tensorflow.float32)
    with tensorflow.GradientTape() as tape:
        tape.watch(shown)
        *seen, answer = inner(shown, training=False)
        loss = tensorflow.math.log(tensorflow.reduce_max(answer, axis=1) + 1e-12)
    heat = np.zeros(images.shape[:3])
    for channels, slopes in zip(seen, tape.gradient(loss, seen), strict=True):
        weights = tensorflow.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        coarse = tensorflow.nn.relu(tensorflow.reduce_sum(weights * channels, axis=3, keepdims=True))
        heat += tensorflow.image.resize(
            tensorflow.cast(coarse, tensorflow.float32), images.shape[1:3]
        ).numpy()[..., 0]
    return _to_one(heat)


def occlusion(model: keras.Model, images: np.ndarray, patch: int = 5, stride: int = 2) -> np.ndarray:
    """Return how much the predicted class loses where a patch covers the picture.

    After M. Zeiler and R. Fergus, 2014 (https://arxiv.org/abs/1311.2901). The patch has the usual value of the image's
    rim, the ground of a digit: it takes ink away. It asks the network alone, so it fits any.

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
    corners = list(product(_steps(height, patch, stride), _steps(width, patch, stride)))
    times = np.full((height, width), 1e-9)
    for top, left in corners:
        times[top : top + patch, left : left + patch] += 1
    for image, map_ in zip(images, heat, strict=True):
        covered = np.repeat(image[None], len(corners) + 1, axis=0)
        ground = np.median(rim_of(image), axis=0)
        for place, (top, left) in enumerate(corners):
            covered[place, top : top + patch, left : left + patch] = ground
        said = np.log(model.predict(covered, batch_size=256, verbose=0) + 1e-12)
        label = said[-1].argmax()
        for place, (top, left) in enumerate(corners):
            map_[top : top + patch, left : left + patch] += max(0.0, said[-1, label] - said[place, label])
    return _to_one(heat / times)


def _steps(side: int, patch: int, stride: int) -> list[int]:
    """Return where a patch is put along a side, so that the whole of it is covered at some time."""
    last = max(0, side - patch)
    return sorted({*range(0, last + 1, stride), last})


def _leaves_the_picture(layer: keras.layers.Layer) -> bool:
    """Say whether a layer takes channels of a picture, and gives something that has no height and width any more."""
    taken = layer.input
    return not isinstance(taken, list) and len(taken.shape) == 4 > len(layer.output.shape)


def _to_one(heat: np.ndarray) -> np.ndarray:
    """Return maps whose largest value is 1 each; one without any stays 0."""
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
