"""Several networks joined to one that gives the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from digitlib.backend import keras
from digitlib.errors import DigitError

layers = keras.layers

IDLE_LAYERS = (layers.InputLayer, layers.Dropout)
"""Layers that do nothing when a network names images."""


def join_networks(
    networks: Sequence[keras.Model],
    image_shape: tuple[int, int, int],
    label_smoothing: float = 0.0,
) -> keras.Model:
    """Return one network whose answer is the mean of the probabilities of several.

    The mean is the probability under a mixture of equally likely networks (B. Lakshminarayanan et al., 2017,
    https://arxiv.org/abs/1612.01474). The mean of the logarithms would let one network that is sure of the wrong class
    overrule the others. All layers stand side by side in one model, so that whatever works with a network works with it.

    Parameters
    ----------
    networks : sequence of keras.Model
        Two or more, each one layer after another, with the same classes.
    image_shape : tuple of int
        (height, width, channels) that the joined network takes. A network of another size gets the image resized
        (bilinear), inside the joined one.
    label_smoothing : float
        Of the loss that `evaluate` reports.

    Returns
    -------
    keras.Model
        Compiled with that loss and accuracy; its weights are copies.

    Raises
    ------
    DigitError
        If a network is none of one layer after another.
    """
    for network in networks:
        if not isinstance(network, keras.Sequential):
            raise DigitError(
                f"{network.name!r} is not one layer after another, as an ensemble is not: name the ensemble's own members."
            )
    image = keras.Input(image_shape, name="image")
    answers = [_beside(network, number, image) for number, network in enumerate(networks, start=1)]
    answer = layers.Average(name="answer")(answers)
    joined = keras.Model(image, answer, name="ensemble")
    joined.compile(
        "sgd",  # none is needed, and this one has no state to be saved
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing),
        metrics=["accuracy"],
    )
    return joined


def as_graph(network: keras.Sequential) -> keras.Model:
    """Return a copy of a network of one layer after another in which a layer's `input` is that of this network.

    The layers of a `keras.Sequential` stand in a graph for each step of building it, and name the first of these.
    """
    image = keras.Input(network.input_shape[1:])
    return keras.Model(image, _beside(network, 1, image), name=network.name)


def _beside(network: keras.Model, number: int, image: keras.KerasTensor) -> keras.KerasTensor:
    """Build a network's layers anew behind images, under names of their own and with the same weights."""
    height, width = network.input_shape[1:3]
    tensor = image
    if tuple(image.shape[1:3]) != (height, width):
        tensor = layers.Resizing(height, width, name=f"m{number}_resizing")(image)
    for layer in network.layers:
        if isinstance(layer, IDLE_LAYERS):
            continue
        copy = type(layer).from_config(layer.get_config() | {"name": f"m{number}_{layer.name}"})
        tensor = copy(tensor)
        copy.set_weights(layer.get_weights())
    return tensor
