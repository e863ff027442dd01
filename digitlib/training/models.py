"""Convolutional networks by name: plain functions that return a `keras.Model`."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module
from typing import Any

from digitlib.errors import DigitError
from digitlib.training.backend import keras, policy_of, tensorflow
from digitlib.training.recipes import Recipe

layers = keras.layers


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer by TensorFlow's fused kernel, which takes a quarter off a step of `small`."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize by the batch and follow its statistics in training, else by these."""
        training = bool(training and self.trainable)
        images, mean, variance, *_ = tensorflow.raw_ops.FusedBatchNormV3(
            x=inputs, scale=self.gamma, offset=self.beta, mean=self.moving_mean, variance=self.moving_variance,
            epsilon=self.epsilon, exponential_avg_factor=1 - self.momentum, is_training=training,
        )  # fmt: skip
        if training:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return images


# By this name it is saved as Keras's own layer, with the same weights, and loads without digitlib.
BatchNormalization.__module__ = "keras.layers"


def classic_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return the classic notebook's network, layer by layer.

    At 128 x 128 RGB and ten classes it has 2,607,708 parameters, 96 % of them in the one dense layer behind `Flatten`.

    Examples
    --------
    >>> classic_cnn((128, 128, 3), 10).count_params()
    2607708
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            _scaling(),
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
            _softmax(n_classes),
        ],
        name="classic",
    )


def tiny_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a network that trains in seconds, for tests.

    Examples
    --------
    >>> tiny_cnn((28, 28, 1), 10).count_params()
    20890
    """
    return keras.Sequential(
        [
            keras.Input(image_shape),
            _scaling(),
            *_block(16, 5, "same", strides=2),
            *_block(32, 3, "same", strides=2),
            layers.Flatten(),
            _softmax(n_classes),
        ],
        name="tiny",
    )


def small_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return a small batch-normalized network, 132,618 parameters for ten digits.

    The first layer has stride 2: at full size, convolutions cost most and see least. Channels are multiples of 16, in
    which oneDNN computes.

    Examples
    --------
    >>> small_cnn((28, 28, 1), 10).count_params()
    132618
    """
    return _normalized("small", (32, 64, 64, 128), image_shape, n_classes)


def wide_cnn(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    """Return the `small_cnn` with more channels and dropout.

    Examples
    --------
    >>> wide_cnn((28, 28, 1), 10).count_params()
    337802
    """
    return _normalized("wide", (64, 64, 128, 192), image_shape, n_classes, dropout=0.3)


def _normalized(
    name: str,
    channels: tuple[int, int, int, int],
    image_shape: tuple[int, int, int],
    n_classes: int,
    dropout: float = 0.0,
) -> keras.Model:
    """Stack four batch-normalized convolutions and average over their feature maps."""
    first, second, third, last = channels
    return keras.Sequential(
        [
            keras.Input(image_shape),
            _scaling(),
            *_block(first, 6, "valid", strides=2),
            *_block(second, 3, "valid"),
            *_block(third, 3, "valid"),
            layers.MaxPooling2D(2, padding="same"),
            *_block(last, 3, "same"),
            layers.GlobalAveragePooling2D(),
            *([layers.Dropout(dropout)] if dropout else []),
            _softmax(n_classes),
        ],
        name=name,
    )


def _scaling() -> keras.layers.Layer:
    """Return the first layer: networks take pixels of 0 to 255, as stored, and compute with 0 to 1."""
    return layers.Rescaling(1 / 255, dtype="float32")


def _softmax(n_classes: int) -> keras.layers.Layer:
    """Return the last layer: in float32 in any case, since bfloat16 has two or three digits only."""
    return layers.Dense(n_classes, activation="softmax", dtype="float32")


def _block(filters: int, side: int, padding: str, strides: int = 1) -> list[keras.layers.Layer]:
    """Return a convolution with batch normalization; momentum 0.9 since a run has few steps."""
    return [
        layers.Conv2D(filters, side, strides, padding, use_bias=False, kernel_initializer="he_normal"),
        BatchNormalization(momentum=0.9),
        layers.ReLU(),
    ]


MODELS = {"classic": classic_cnn, "tiny": tiny_cnn, "small": small_cnn, "wide": wide_cnn}


def build_model(recipe: Recipe, class_names: list[str], *, deterministic: bool = False) -> keras.Model:
    """Return the untrained network of a recipe; the same seed gives the same weights.

    Parameters
    ----------
    recipe : Recipe
        Its `model`, `image_size`, `color_mode`, `precision` and `seed` are used.
    class_names : list of str
        One output a class.
    deterministic : bool
        Have TensorFlow compute, from here to the end of the process, so that training on the same machine gives the same
        weights to the bit. Some operations are slower then.

    Returns
    -------
    keras.Model
        Not compiled.

    Examples
    --------
    >>> build_model(get_recipe("tiny"), ["cat", "dog"]).output_shape  # doctest: +SKIP
    (None, 2)
    """
    keras.utils.set_random_seed(recipe.seed)
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
    model = new_network(recipe, len(class_names))
    if recipe.model in MODELS:
        _draw_again(model, recipe.seed)
    return model


def new_network(recipe: Recipe, n_classes: int) -> keras.Model:
    """Return the network that a recipe names, in its precision, with weights drawn from Keras's current state."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy_of(recipe.precision))
    try:
        model = _function(recipe.model)(recipe.image_shape, n_classes)
    finally:
        keras.config.set_dtype_policy(usual)
    if not isinstance(model, keras.Model) or model.output_shape != (None, n_classes):
        raise DigitError(f"{recipe.model} must return a Keras model with {n_classes} outputs, one a class.")
    return model


def _function(name: str) -> Callable[[tuple[int, int, int], int], keras.Model]:
    if name in MODELS:
        return MODELS[name]
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise DigitError(
            f"there is no model {name!r} ({error}): choose one of {', '.join(MODELS)}, or write package.module:function."
        ) from error


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
