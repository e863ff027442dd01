"""Optimizer and loss of a recipe, as `model.compile` takes them."""

from __future__ import annotations

import math
from typing import Any

from digitlib.training.backend import keras
from digitlib.training.recipes import Recipe


@keras.saving.register_keras_serializable("digitlib")
class ConvMuon(keras.optimizers.Muon):
    """Muon for the kernels of convolutions, AdamW for all other weights.

    Keras's `Muon` takes matrices alone. A kernel is seen as one here: a row for each of its k·k·c_in inputs, a column for
    each filter. The update's singular values are brought near 1, so that no direction of the kernel learns slower than
    the others (K. Jordan, 2024, https://kellerjordan.github.io/posts/muon; scaled as by J. Liu et al., 2025,
    https://arxiv.org/abs/2502.16982).

    Examples
    --------
    >>> ConvMuon(0.01, adam_lr_ratio=0.4).get_config()["momentum"]
    0.95
    """

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        return len(variable.shape) != 4

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """Return the nearest matrix with equal singular values, in the shape of the kernel."""
        return keras.ops.reshape(
            super().zeropower_via_newtonschulz5(keras.ops.reshape(x, (-1, x.shape[-1])), steps), x.shape
        )

    def lr_adjust(self, x: Any) -> Any:
        """Scale an update so that it is as large as AdamW's would be."""
        return x * (math.sqrt(max(math.prod(x.shape[:-1]), x.shape[-1])) * self.rms_rate)


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return the recipe's optimizer, with its schedule: Adam (AdamW where it has weight decay) or `ConvMuon`.

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
    decay = recipe.weight_decay
    if recipe.optimizer == "muon":
        optimizer = ConvMuon(rate, momentum=0.9, adam_lr_ratio=0.4, weight_decay=decay, adam_weight_decay=decay)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay) if decay else keras.optimizers.Adam(rate)
    if decay:  # is for kernels: shrinking biases and batch-norm's scales only fights the data
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
