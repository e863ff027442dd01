"""Convolutional networks by name: plain functions that return a `keras.Model`."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pandas as pd

from digitlib.errors import DigitError
from digitlib.training.backend import keras, policy_of, tensorflow
from digitlib.training.recipes import Recipe

layers = keras.layers


def classic_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return the classic notebook's network, layer by layer.

    At 128 x 128 RGB and ten classes it has 2,607,708 parameters, 96 % of them
    in the one dense layer behind `Flatten`.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width, channels) of one image.
    n_classes : int
        Number of classes.

    Returns
    -------
    keras.Model
        From images in 0 to 1 to class probabilities.
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(128, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(50, activation="relu"),
            layers.Dropout(0.5),
            _answer(n_classes),
        ],
        name="seed",
    )


def tiny_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a network that trains in seconds, for tests.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels (1 or 3) of the images.
    n_classes : int
        Number of classes, from 2.

    Returns
    -------
    keras.Model
        Not compiled; softmax over the classes at its end.
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            *_block(16, 5, "same", strides=2),
            *_block(32, 3, "same", strides=2),
            layers.Flatten(),
            _answer(n_classes),
        ],
        name="tiny",
    )


def small_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a small batch-normalised network, 132,618 parameters for ten digits.

    The first layer halves the picture at once: at full size, convolutions cost
    most and see least. Channels are multiples of 16, in which oneDNN computes.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels (1 or 3) of the images.
    n_classes : int
        Number of classes, from 2.

    Returns
    -------
    keras.Model
        Not compiled; softmax over the classes at its end.
    """
    return _normalised("small", (32, 64, 64, 128), image_shape, n_classes)


def wide_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return the `small_cnn` with more channels and dropout.

    Parameters
    ----------
    image_shape : tuple of int
        Height, width and channels (1 or 3) of the images.
    n_classes : int
        Number of classes, from 2.

    Returns
    -------
    keras.Model
        Not compiled; softmax over the classes at its end.
    """
    return _normalised("wide", (64, 64, 128, 192), image_shape, n_classes, dropout=0.3)


def _normalised(
    name: str,
    channels: tuple[int, int, int, int],
    image_shape: tuple[int, int, int],
    n_classes: int,
    dropout: float = 0.0,
) -> keras.Model:
    """Stack four batch-normalised convolutions, the first of which halves the picture."""
    first, second, third, last = channels
    blocks = [*_block(first, 6, "valid", strides=2), *_block(second, 3, "valid"), *_block(third, 3, "valid")]
    return _averaged(name, blocks, last, image_shape, n_classes, dropout)


def _averaged(
    name: str,
    blocks: list[keras.layers.Layer],
    last: int,
    image_shape: tuple[int, int, int],
    n_classes: int,
    dropout: float,
) -> keras.Model:
    """Put one more convolution of `last` channels behind `blocks`, and average over what is left of the picture."""
    end = [
        layers.MaxPooling2D(2, padding="same"),
        *_block(last, 3, "same"),
        layers.GlobalAveragePooling2D(),
    ]
    end += [layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([keras.Input(image_shape), *blocks, *end, _answer(n_classes)], name=name)


def _answer(n_classes: int) -> keras.layers.Layer:
    """Return the last layer: in float32 in any case, since bfloat16 has two or three digits only."""
    return layers.Dense(n_classes, activation="softmax", dtype="float32")


def _block(width: int, side: int, padding: str, strides: int = 1) -> list[keras.layers.Layer]:
    """Return a convolution with batch normalisation; momentum 0.9 since a run has few steps."""
    return [
        layers.Conv2D(width, side, strides, padding, use_bias=False, kernel_initializer="he_normal"),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
    ]


MODELS = {
    "seed": classic_cnn,
    "tiny": tiny_cnn,
    "small": small_cnn,
    "wide": wide_cnn,
}


def build_model(recipe: Recipe, class_names: list[str], *, deterministic: bool = False) -> keras.Model:
    """Return the untrained network of a recipe; the same seed gives the same weights.

    Parameters
    ----------
    recipe : Recipe
        Its `model`, `image_size`, `color_mode`, `precision` and `seed` are used.
    class_names : list of str
        One output a class.
    deterministic : bool
        Have TensorFlow compute, from here to the end of the process, so that
        training on the same machine gives the same weights to the bit. Some
        operations are slower then.

    Returns
    -------
    keras.Model
        Not compiled.

    Raises
    ------
    DigitError
        If there is no such model.
    """
    if recipe.model not in MODELS:
        raise DigitError(f"there is no model {recipe.model!r}: choose one of {', '.join(MODELS)}.")
    keras.utils.set_random_seed(recipe.seed)
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy_of(recipe.precision))
    try:
        model = MODELS[recipe.model](recipe.image_shape, len(class_names))
    finally:
        keras.config.set_dtype_policy(usual)
    _draw_again(model, recipe.seed)
    return model


def _draw_again(model: keras.Model, seed: int) -> None:
    """Give a new network the weights that Keras would have given it, had no other thread drawn a number meanwhile.

    Keras takes the seed of each layer from Python's one `random`, which belongs to all threads: on a Dask worker, the
    one that talks to the scheduler draws from it too, and the same recipe began with other weights.
    """
    own = random.Random(seed)
    for layer in model.layers:
        if isinstance(initializer := getattr(layer, "kernel_initializer", None), keras.Initializer):
            seeded = initializer.from_config({**initializer.get_config(), "seed": own.randint(1, 10**9)})
            layer.kernel.assign(seeded(layer.kernel.shape, layer.kernel.dtype))
        elif isinstance(layer, layers.Dropout):
            layer.seed_generator.state.assign(keras.random.SeedGenerator(own.randint(1, 10**9)).state)


def layer_table(model: keras.Model) -> pd.DataFrame:
    """Return what `model.summary()` prints, as a table.

    Parameters
    ----------
    model : keras.Model
        A built network.

    Returns
    -------
    pandas.DataFrame
        ``layer``, ``kind``, ``output_shape`` (without the batch), ``parameters``.
    """
    rows = [
        (layer.name, type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    return pd.DataFrame(rows, columns=["layer", "kind", "output_shape", "parameters"])


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
