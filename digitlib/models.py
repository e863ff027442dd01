"""Convolutional networks by name: plain functions that return a `keras.Model`."""

from __future__ import annotations

import random

import pandas as pd

from digitlib.backend import keras, tensorflow
from digitlib.errors import DigitError
from digitlib.normalising import Normalised
from digitlib.precision import policy_of
from digitlib.recipes import Recipe

layers = keras.layers


def seed_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
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


def deep_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a network of seven convolutions, 305,578 parameters for ten digits.

    Three of them see the picture before it is halved. It takes twice as long as `wide_cnn` and is about as often right,
    on other images: the two belong in one ensemble.

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
    blocks = [
        *_block(32, 3, "valid"),
        *_block(32, 3, "valid"),
        *_block(32, 4, "valid", strides=2),
        *_block(64, 3, "valid"),
        *_block(64, 3, "valid"),
        *_block(128, 3, "valid"),
    ]
    return _averaged("deep", blocks, 128, image_shape, n_classes, dropout=0.3)


def upright_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a network that sets digits upright first, 326,826 parameters for ten digits.

    Three layers of dropout (0.4) follow, so that it learns slowly and overfits late: give it 40 epochs.

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
    return _behind("upright", Normalised(upright=True, dtype="float32"), image_shape, n_classes)


def even_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a network that makes all digits about as wide as a broad one first; the rest is that of `upright_cnn`.

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
    return _behind("even", Normalised(width=0.16, dtype="float32"), image_shape, n_classes)


def _behind(name: str, first: Normalised, image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Put a network behind `first`, which computes in float32: bfloat16 can't tell places in a picture apart."""
    return keras.Sequential([keras.Input(image_shape), first, *_dropouts(), _answer(n_classes)], name=name)


def _dropouts() -> list[keras.layers.Layer]:
    """Return the layers of one of C. Deotte's fifteen networks ("25 million images! [0.99757] MNIST", Kaggle, 2018)."""
    return [
        *_block(32, 3, "valid"),
        *_block(32, 3, "valid"),
        *_block(32, 5, "same", strides=2),
        layers.Dropout(0.4),
        *_block(64, 3, "valid"),
        *_block(64, 3, "valid"),
        *_block(64, 5, "same", strides=2),
        layers.Dropout(0.4),
        *_block(128, 4, "valid"),
        layers.Flatten(),
        layers.Dropout(0.4),
    ]


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
    "seed": seed_cnn,
    "tiny": tiny_cnn,
    "small": small_cnn,
    "wide": wide_cnn,
    "deep": deep_cnn,
    "upright": upright_cnn,
    "even": even_cnn,
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
