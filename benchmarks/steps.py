"""Where the time of a training goes: from the classic pipeline to `fast`, one change a step; and what isn't a step."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import digitlib as d
from benchmarks import classic
from benchmarks.common import comparison
from digitlib.training.backend import keras, policy_of


class OneBatch(d.ImageBatches):
    """One batch again and again: what a step costs when images cost nothing."""

    kept: Any = None

    def __getitem__(self, index: int) -> Any:
        if self.kept is None:
            self.kept = super().__getitem__(0)
        return self.kept


def compiled(run: d.Run, name: str, *, plain: bool = False, **changes: Any) -> keras.Model:
    """Return the network of a recipe, ready to train; `plain` with Keras's own batch normalization."""
    recipe = d.get_recipe(name, **changes)
    model = d.build_model(recipe, run.class_names)
    if plain:
        model = keras.models.clone_model(model, clone_function=_plain)
    model.compile(d.make_optimizer(recipe, 1000), d.make_loss(recipe), metrics=["accuracy"])
    return model


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    own = keras.layers.BatchNormalization if isinstance(layer, keras.layers.BatchNormalization) else type(layer)
    return own.from_config(layer.get_config())


class Watch(keras.callbacks.Callback):
    """Adds up the seconds of all steps of a fit, those on validation images among them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.start = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Stop it."""
        self.steps += time.perf_counter() - self.start

    on_test_batch_begin, on_test_batch_end = on_train_batch_begin, on_train_batch_end


def not_in_steps(run: d.Run, workers: int, epochs: int) -> float:
    """Return the share of a fit of `fast`, with all that a run keeps, that is not spent in steps."""
    recipe, watch = d.get_recipe("fast", epochs=epochs), Watch()
    train, validation = d.train_val_generators(run, recipe)
    train.workers = validation.workers = workers
    model = d.build_model(recipe, run.class_names)
    model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe), metrics=["accuracy"])
    start = time.perf_counter()
    callbacks = [*d.callbacks_for(run, train, recipe), watch]
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)
    return 1 - watch.steps / (time.perf_counter() - start)


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Seconds for 1,000 training images, with one change after the other; a step of `classic` has 32 images."""
    run = d.prepare(data, "runs/steps")
    ours, _ = d.train_val_generators(run, d.get_recipe("classic"))
    one_batch, _ = d.train_val_generators(run, d.get_recipe("classic"))
    one_batch.__class__ = OneBatch
    small, _ = d.train_val_generators(run, d.get_recipe("fast"))
    by_128, _ = d.train_val_generators(run, d.get_recipe("fast", batch_size=128))
    adam = {"optimizer": "adam", "learning_rate": 4e-3}
    contest: dict[str, tuple[Any, Any]] = {
        "the classic pipeline": (classic.network(), classic.generator(run / "TRAIN", augment=True)),
        "digitlib's generator": (compiled(run, "classic", precision="float32"), ours),
        "bfloat16": (compiled(run, "classic"), ours),
        "28×28 grey, network `small`, batches of 128": (compiled(run, "fast", plain=True, **adam), by_128),
        "batch normalization in one kernel": (compiled(run, "fast", **adam), by_128),
        "Muon": (compiled(run, "fast"), by_128),
        "the batches of `fast`": (compiled(run, "fast"), small),
        "`classic`, the network alone": (compiled(run, "classic"), one_batch),
    }
    steps = 100 if full else 25
    rounds: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(3):
        for name, (net, batches) in contest.items():
            size = getattr(batches, "batch_size", classic.BATCH)
            rounds[name].append(classic.fit_seconds_a_step(net, batches, steps) * 1000 / size)
    seconds = {name: float(np.median(values)) for name, values in rounds.items()}
    alone = seconds.pop("`classic`, the network alone")
    epochs = 10 if full else 4
    return {
        "precision": policy_of("auto"),
        "seconds for 1,000 images": seconds,
        "ours share of classic": seconds["bfloat16"] / seconds["the classic pipeline"],
        "ours_float32 share of classic": seconds["digitlib's generator"] / seconds["the classic pipeline"],
        "net_alone share of classic": alone / seconds["the classic pipeline"],
        "ours share of net_alone": seconds["bfloat16"] / alone,
        "share not in steps": not_in_steps(run, 2, epochs),
        "share not in steps, one worker": not_in_steps(run, 1, epochs),
    }


if __name__ == "__main__":
    main()
