"""Where the time of one epoch goes, beside the machine's own peak."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import digitlib as d
from benchmarks.common import comparison
from digitlib.training.backend import keras


def seconds(call: Callable[[], Any], times: int) -> float:
    """Return the median time of a call, after three that don't count."""
    for _ in range(3):
        call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def whole_epoch(train: d.ImageBatches) -> None:
    """Make all batches of an epoch."""
    train.start_at(train.epoch + 1)
    for index in range(len(train)):
        train[index]


def multiplications(model: keras.Model) -> int:
    """Return the multiply-adds of one image's way through the network, counted from its layers."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def matmul_peak(side: int = 2048) -> float:
    """Return the multiply-adds a second of a large float32 matrix product on all cores."""
    import tensorflow as tf

    a = tf.random.normal((side, side))
    return side**3 / seconds(lambda: tf.matmul(a, a).numpy(), 15)


def one_thread(name: str, seed: int, batch: int) -> float:
    """Return the time of a step with TensorFlow on a single thread, which needs a process of its own."""
    code = (
        "import numpy as np, digitlib as d; from benchmarks.profile import seconds; "
        f"recipe = d.get_recipe({name!r}, seed={seed}); model = d.build_model(recipe, [str(i) for i in range(10)]); "
        "model.compile(d.make_optimizer(recipe, 9), d.make_loss(recipe), metrics=['accuracy']); "
        f"x, y = np.random.rand({batch}, 28, 28, 1), np.eye(10)[np.arange({batch}) % 10]; "
        "print(seconds(lambda: model.train_on_batch(x, y), 15))"
    )
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return float(told.stdout.split()[-1])


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Input, forward and backward of one step of `fast` and `accurate`, and the share of the peak they reach."""
    import tensorflow as tf

    figures: dict[str, Any] = {}
    run = d.prepare(data, "runs/profile", mode="none")
    for name in ("fast", "accurate"):
        recipe = d.get_recipe(name, seed=seed)
        train, _ = d.train_val_generators(run, recipe)
        batch = [tf.convert_to_tensor(part) for part in train[0]]
        model = d.build_model(recipe, d.class_names_of(run))
        model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe), metrics=["accuracy"])
        forward = tf.function(lambda x: model(x, training=True))  # noqa: B023

        @tf.function
        def both(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = model.loss(y, model(x, training=True))  # noqa: B023
            return tape.gradient(loss, model.trainable_variables)  # noqa: B023

        n, work = len(batch[0]), multiplications(model)
        times = 60 if full else 25
        # Batches are made some at a time: only whole epochs tell what one costs.
        figures[f"{name} input"] = seconds(lambda: whole_epoch(train), 3) / len(train)  # noqa: B023
        figures[f"{name} forward"] = seconds(lambda: forward(batch[0]), times)  # noqa: B023
        figures[f"{name} backward"] = seconds(lambda: both(*batch), times) - figures[f"{name} forward"]  # noqa: B023
        figures[f"{name} step"] = seconds(lambda: model.train_on_batch(*batch), times)  # noqa: B023
        rest = figures[f"{name} step"] - figures[f"{name} forward"] - figures[f"{name} backward"]
        peak = matmul_peak()
        figures |= {
            f"{name} rest": rest,
            f"{name} batch": n,
            f"{name} multiply_adds_an_image": work,
            f"{name} multiply_adds_per_second": 3 * work * n / figures[f"{name} step"],
            f"{name} matmul_peak": peak,
            f"{name} share_of_peak": 3 * work * n / figures[f"{name} step"] / peak,
        }
        model.compile(
            d.make_optimizer(recipe, 9), d.make_loss(recipe), metrics=["accuracy"], jit_compile=True
        )
        figures[f"{name} step on one thread"] = one_thread(name, seed, n)
        figures[f"{name} step with XLA"] = seconds(lambda: model.train_on_batch(*batch), times)  # noqa: B023
    return figures


if __name__ == "__main__":
    main()
