"""Which pixels decided: heat maps of a prediction, for any Keras model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from digitlib.data.decoding import rim_of
from digitlib.errors import DigitError
from digitlib.training.backend import keras, tensorflow

if TYPE_CHECKING:
    Pick = Callable[[keras.Operation, keras.KerasTensor, keras.KerasTensor], bool]


def tap(model: keras.Model, pick: Pick, before: bool = False) -> keras.Model:
    """Return a model whose outputs are the model's own and those of some of its layers, also inside nested models.

    Parameters
    ----------
    model : keras.Model
        A `Sequential` or functional model; a subclassed one inside it counts as one layer.
    pick : callable
        Called with a layer, its input and its output; says whether to add the tensor.
    before : bool
        Add the inputs of the layers in place of their outputs.

    Examples
    --------
    >>> inner = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    >>> outer = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Dense(2)])
    >>> [tuple(one.shape) for one in tap(outer, lambda layer, taken, given: len(given.shape) == 4).outputs]
    [(None, 2), (None, 6, 6, 4)]
    """
    seen: list[keras.KerasTensor] = []

    def call(layer: keras.Operation, taken: keras.KerasTensor, *args: object, **kwargs: object) -> keras.KerasTensor:
        if hasattr(layer, "operations") or isinstance(layer, keras.Sequential):
            given, *inner = tap(layer, pick, before)(taken)
            seen.extend(inner)
            return given
        given = layer(taken, *args, **kwargs)
        if pick(layer, taken, given):
            seen.append(taken if before else given)
        return given

    if isinstance(model, keras.Sequential):
        image = given = keras.Input(batch_shape=model.input_shape)
        for layer in model.layers:
            given = call(layer, given)
        return keras.Model(image, [given, *seen])
    copy = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(copy.inputs, [*copy.outputs, *seen])


def grad_cam(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return where the last convolution saw evidence for the predicted class.

    Grad-CAM (R. Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391): the channels behind the last convolution,
    weighted by how much each moves the log-probability of the class. The map is as coarse as that layer: 4 × 4 for the
    recipes `fast` and `accurate`. Nested models are walked; where several networks are joined, their maps are added.

    Parameters
    ----------
    images : numpy.ndarray
        float, shape (n, height, width, channels), as the network takes them.

    Returns
    -------
    numpy.ndarray
        float, shape (n, height, width): 0 to 1, the largest of each image.

    Raises
    ------
    DigitError
        If the network has no convolution.

    Examples
    --------
    >>> layers = [keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    >>> grad_cam(keras.Sequential([keras.Input((8, 8, 1)), *layers]), np.ones((3, 8, 8, 1))).shape
    (3, 8, 8)
    """
    ranks: list[int] = []

    def ends_a_map(layer: keras.Operation, taken: keras.KerasTensor, given: keras.KerasTensor) -> bool:
        if not is_map(taken) or is_map(given):
            return False
        ranks.append(len(given.shape))
        return True

    inner = tap(model, ends_a_map, before=True)
    if not ranks or not has_convolution(model):
        raise DigitError('Grad-CAM needs a convolution, and this network has none: use method="occlusion".')
    shown = tensorflow.constant(images, tensorflow.float32)
    with tensorflow.GradientTape() as tape:
        tape.watch(shown)
        probabilities, *maps = inner(shown, training=False)
        # Squeeze-and-excitation averages maps on the way, and keeps height and width of 1.
        maps = [one for one, rank in zip(maps, ranks, strict=True) if rank < 4] or maps[-1:]
        loss = tensorflow.math.log(tensorflow.reduce_max(probabilities, axis=1) + 1e-12)
    heat = np.zeros(images.shape[:3])
    for channels, slopes in zip(maps, tape.gradient(loss, maps), strict=True):
        weights = tensorflow.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        coarse = tensorflow.nn.relu(tensorflow.reduce_sum(weights * channels, axis=3, keepdims=True))
        heat += tensorflow.image.resize(tensorflow.cast(coarse, tensorflow.float32), images.shape[1:3]).numpy()[..., 0]
    return _to_one(heat)


def occlusion(model: keras.Model, images: np.ndarray, patch: int = 5, stride: int = 2) -> np.ndarray:
    """Return how much the predicted class loses where a patch covers the image.

    After M. Zeiler and R. Fergus, 2014 (https://arxiv.org/abs/1311.2901). The patch has the median value of the
    image's rim, the background of a digit. It needs predictions alone, so it fits any network.

    Parameters
    ----------
    images : numpy.ndarray
        float, shape (n, height, width, channels), as the network takes them.
    patch, stride : int
        Side of the patch, and from one place to the next, in pixels.

    Returns
    -------
    numpy.ndarray
        float, shape (n, height, width), 0 to 1: mean loss of log-probability over the patches that covered a pixel,
        as a share of the image's largest.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    >>> occlusion(model, np.ones((3, 8, 8, 1))).shape
    (3, 8, 8)
    """
    height, width = images.shape[1:3]
    heat = np.zeros((len(images), height, width))
    corners = list(product(_steps(height, patch, stride), _steps(width, patch, stride)))
    times = np.full((height, width), 1e-9)
    for top, left in corners:
        times[top : top + patch, left : left + patch] += 1
    for image, heat_map in zip(images, heat, strict=True):
        covered = np.repeat(image[None], len(corners) + 1, axis=0)
        background = np.median(rim_of(image), axis=0)
        for place, (top, left) in enumerate(corners):
            covered[place, top : top + patch, left : left + patch] = background
        likely = np.log(model.predict(covered, batch_size=256, verbose=0) + 1e-12)
        label = likely[-1].argmax()
        for place, (top, left) in enumerate(corners):
            heat_map[top : top + patch, left : left + patch] += max(0.0, likely[-1, label] - likely[place, label])
    return _to_one(heat / times)


def has_convolution(model: keras.Model) -> bool:
    """Tell whether there is a convolution in a model or in the models nested in it."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return len(tap(model, lambda layer, taken, given: isinstance(layer, kinds)).outputs) > 1


def is_map(tensor: keras.KerasTensor) -> bool:
    """Tell whether a tensor is a feature map, with a height and width above 1."""
    return not isinstance(tensor, list) and len(tensor.shape) == 4 and tensor.shape[1:3] != (1, 1)


def _steps(side: int, patch: int, stride: int) -> list[int]:
    """Return where a patch is put along a side, so that all of it is covered at some time."""
    last = max(0, side - patch)
    return sorted({*range(0, last + 1, stride), last})


def _to_one(heat: np.ndarray) -> np.ndarray:
    """Return maps whose largest value is 1 each; an empty one stays 0."""
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
