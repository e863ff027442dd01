"""Optimizer and loss of a recipe, as `model.compile` takes them."""

from __future__ import annotations

from typing import Any

from digitlib.training.backend import keras
from digitlib.training.recipes import Recipe


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return Adam, or AdamW where the recipe has weight decay, with the recipe's schedule.

    "one_cycle" warms up over the first fifth of all steps from a tenth of the peak and decays along a cosine to nearly
    zero (after Smith and Topin, 2018, https://arxiv.org/abs/1708.07120).

    Examples
    --------
    >>> make_optimizer(get_recipe("classic"), steps_per_epoch=1050).name  # doctest: +SKIP
    'adam'
    """
    rate: Any = recipe.learning_rate
    if recipe.schedule == "one_cycle":
        steps = recipe.epochs * steps_per_epoch
        warmup = max(1, steps // 5)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, max(1, steps - warmup), alpha=0.002, warmup_target=rate, warmup_steps=warmup
        )
    if not recipe.weight_decay:
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    # Decay is for kernels: shrinking biases and batch-norm's scales only fights the data.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def make_loss(recipe: Recipe) -> keras.losses.Loss:
    """Return categorical cross-entropy, for one-hot labels, with the recipe's label smoothing.

    Examples
    --------
    >>> make_loss(get_recipe("fast")).label_smoothing  # doctest: +SKIP
    0.05
    """
    return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
