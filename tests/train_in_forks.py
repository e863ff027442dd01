"""Train again and again, each time in a fork of this process, so that TensorFlow is imported only once.

Arguments: the project's top, then one JSON object a training: ``run``, ``data``, ``recipe`` and what to do to it:
``kill_step`` (after that many steps), ``kill_change`` (before that change of the file system), ``interrupt_step`` (Ctrl-C).
Prints one JSON object a training: ``status`` as from `os.waitpid`, and what it printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from faults import _kill_before

import digitlib as d
from digitlib.training.backend import keras


class Stop(keras.callbacks.Callback):
    """Send this process a signal after a number of steps."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__()
        self.left, self.number = step, number

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def train(trial: dict[str, Any]) -> None:
    run = d.prepare(trial["data"], trial["run"], mode="none")
    recipe = d.get_recipe("tiny", **trial["recipe"])
    training, validation = d.train_val_generators(run, recipe)
    recipe = recipe.scaled_to(training.samples)
    d.save_recipe(run, recipe)
    model = d.build_model(recipe, d.class_names_of(run), deterministic=True)
    optimizer = d.make_optimizer(recipe, len(training))
    model.compile(optimizer, d.make_loss(recipe), metrics=["accuracy"], jit_compile=False)
    callbacks = d.callbacks_for(run, recipe)
    if "kill_step" in trial:
        callbacks.append(Stop(trial["kill_step"], signal.SIGKILL))
    if "interrupt_step" in trial:
        callbacks.append(Stop(trial["interrupt_step"], signal.SIGINT))
    if "kill_change" in trial:
        _kill_before(trial["kill_change"], sys.argv[1])
    model.fit(
        training,
        validation_data=validation,
        epochs=recipe.epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    print("steps", int(optimizer.iterations), "rate", float(optimizer.learning_rate))


def main() -> None:
    for text in sys.argv[2:]:
        out = Path(sys.argv[1]) / "printed"
        pid = os.fork()
        if not pid:
            with (
                out.open("w") as file,
                contextlib.redirect_stdout(file),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                status = 0
                try:
                    train(json.loads(text))
                except KeyboardInterrupt:
                    status = 130
                except Exception as error:
                    print(type(error).__name__, error)
                    status = 1
            os._exit(status)
        print(json.dumps({"status": os.waitpid(pid, 0)[1], "printed": out.read_text()}), flush=True)


if __name__ == "__main__":
    main()
