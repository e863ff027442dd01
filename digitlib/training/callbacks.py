"""What `fit` leaves in a run's folder, and how a training that was stopped goes on: weights, optimizer, history, order."""

from __future__ import annotations

import hashlib
import json
import platform
import random
import re
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
from filelock import FileLock, Timeout

import digitlib
from digitlib.errors import DigitError
from digitlib.files import display_path, file_hash, make_folder, reraise_os_error, write_json, write_table
from digitlib.run import EVALUATION, Run, open_run, read_history
from digitlib.training.backend import in_float32, keras, tensorflow
from digitlib.training.generators import ImageBatches
from digitlib.training.models import new_network
from digitlib.training.optimizers import make_loss, make_optimizer
from digitlib.training.recipes import Recipe, save_recipe

DIGITS = 16
"""Of the hash that a backup's folder is named by."""

MAKE_ROOM = "Make room and train again: it goes on after the last epoch."


def callbacks_for(
    run: Run | str, train: Any, recipe: Recipe | None = None, checkpoint: Literal["best", "last"] = "best"
) -> list[keras.callbacks.Callback]:
    """Return the callbacks of a training in a run's folder, for any network, optimizer and loss.

    They write ``history.csv`` after every epoch, the network of the best epoch (``best_model.keras``) with a record of
    what trained it (``training.json``), and what a stopped training needs to go on after its last whole epoch: the same
    network, optimizer, loss, generator and split do, anything else starts from scratch, and so does a finished one.

    Parameters
    ----------
    run : Run or path
        A run that has its split.
    train : ImageBatches
        What is given to `fit`.
    recipe : Recipe, optional
        Gives `checkpoint` and `patience`, and is written to ``recipe.json`` if it is what trains.
    checkpoint : {"best", "last"}
        Without a recipe: keep the network of the highest validation accuracy, or of the last epoch.

    Examples
    --------
    >>> model.fit(train, validation_data=validation, callbacks=callbacks_for("runs/mine", train))  # doctest: +SKIP
    """
    return [RunRecorder(open_run(run), train, recipe, recipe.checkpoint if recipe else checkpoint)]


def trace_once(model: keras.Model, train: ImageBatches) -> None:
    """Make the variables of optimizer and metrics, which TensorFlow would trace the first step of `fit` twice for."""
    model.optimizer.build(model.trainable_variables)
    images, labels, *_ = train[0]
    model.compute_metrics(images, labels, model(images, training=False))
    model.reset_metrics()


class RunRecorder(keras.callbacks.Callback):
    """Write history, network and record of a training into a run's folder, and go on with one that was stopped.

    `keras.callbacks.BackupAndRestore` keeps weights and epoch, but writes them one after the other over the last ones:
    killed in between, it would go on with weights of another epoch. Here it writes to a folder that gets its name, the
    number of epochs done, once it is whole.

    Attributes
    ----------
    rows : list of dict
        Rows of ``history.csv``: epoch (from 1), the metrics, learning rate, seconds since the start.
    record : dict
        The content of ``training.json``.
    folder : pathlib.Path
        Where the state after every epoch is kept: another one for whatever else trains.
    """

    def __init__(self, run: Run, train: Any, recipe: Recipe | None, checkpoint: str) -> None:
        super().__init__()
        self.run, self.train, self.recipe, self.checkpoint = run, train, recipe, checkpoint
        self.temporary = run / ".tmp-best_model.keras"

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Write down what trains, then go on or make room for a new beginning."""
        make_folder(self.run.folder)
        self._lock = FileLock(self.run / ".training.lock", is_singleton=True)  # a cell that is run again has it already
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise DigitError(
                f"{self.run} is being trained by another process: wait, or choose another run_dir."
            ) from error
        self.record, key = _record(self)
        self.temporary.unlink(missing_ok=True)
        if isinstance(self.train, ImageBatches):
            trace_once(self.model, self.train)
        self.folder = self.run / "backup" / key
        self.rows = self._past()
        self._remove_backups(but=key if self.rows else "")
        if isinstance(self.train, ImageBatches):
            self.train.start_at(len(self.rows))
        if self.rows:
            self._restore()
        self._network: keras.Model | None = None  # what is saved; made once, since that takes longer than saving it
        self._start = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write a row of the history, the network if it is the best so far, then the state to go on from."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        seconds = round(time.perf_counter() - self._start, 3)
        self.rows.append({"epoch": epoch + 1, **(logs or {}), "learning_rate": rate, "seconds": seconds})
        accuracies = [row.get("val_accuracy", -1.0) for row in self.rows]
        best = accuracies.index(max(accuracies))
        if self.checkpoint == "best" and accuracies[-1] < 0:
            raise DigitError(
                "checkpoint 'best' needs val_accuracy: compile with metrics=[\"accuracy\"] and give fit validation_data, "
                "or choose checkpoint 'last'."
            )
        self._keep(network=self.checkpoint == "last" or best == epoch)
        if self.recipe and self.recipe.patience and epoch - best >= self.recipe.patience:
            self.model.stop_training = True
        self._back_up(epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Remove the state: what is finished starts from scratch the next time, also with the same model object."""
        self._lock.release(force=True)
        self._remove_backups()
        self.model._initial_epoch = None  # set by Keras's callback, and obeyed by any later fit

    def _keep(self, network: bool) -> None:
        """Write the result so far. ``training.json`` comes last and holds the hashes of the others: they belong together."""
        path, recipe = self.run / "best_model.keras", self.run / "recipe.json"
        with reraise_os_error(f"Can't write {display_path(path)}", MAKE_ROOM):
            if network:
                self._network = self._network or in_float32(self.model)
                self._network.set_weights(self.model.get_weights())
                self._network.save(self.temporary)
                self.temporary.replace(path)
                for name in EVALUATION:  # of another network
                    (self.run / name).unlink(missing_ok=True)
        if self.record["recipe"] and self.recipe:
            save_recipe(self.run, replace(self.recipe, epochs=self.params["epochs"]))
        else:
            recipe.unlink(missing_ok=True)
        write_table(self.run / "history.csv", pd.DataFrame(self.rows))
        files = (path, recipe, self.run / "history.csv")
        hashes = {file.name: file_hash(file) for file in files if file.exists()}
        write_json(self.run / "training.json", self.record | {"sha256": hashes})

    def _back_up(self, epoch: int) -> None:
        """Keep the state under its final name once it is whole, then remove the one before."""
        temporary, last = self.folder / ".tmp", self.folder / str(self._last_saved())
        with reraise_os_error(f"Can't write {display_path(self.folder)}", MAKE_ROOM):
            shutil.rmtree(temporary, ignore_errors=True)
            self._keras_backup(temporary).on_epoch_end(epoch)
            states = [keras.ops.convert_to_numpy(variable).tolist() for variable in self._seeds()]
            write_json(temporary / "chance.json", {"dropout": states, "random": random.getstate()})
            temporary.rename(self.folder / str(epoch + 1))
        shutil.rmtree(last, ignore_errors=True)

    def _restore(self) -> None:
        kept = self.folder / str(len(self.rows))
        try:
            self._keras_backup(kept).on_train_begin()
            chance = json.loads((kept / "chance.json").read_text())
            for variable, state in zip(self._seeds(), chance["dropout"], strict=True):
                variable.assign(state)
            version, state, gauss = chance["random"]
            random.setstate((version, tuple(state), gauss))  # by which Keras shuffles the order of batches
        except (OSError, ValueError, KeyError) as error:
            raise DigitError(
                f"the training kept in {display_path(self.folder)} doesn't fit this network: delete it to start again."
            ) from error
        print(f"Going on after epoch {kept.name} of {self.params['epochs']}: an earlier training was stopped there.")

    def _past(self) -> list[dict[str, float]]:
        """Return the history of the epochs that an unfinished training need not do again, empty if there is none."""
        done = self._last_saved()
        if not done or not (self.run / "best_model.keras").exists():
            return []
        try:
            history = read_history(self.run)
        except DigitError:
            return []
        rows = history[history["epoch"] <= done]
        return rows.to_dict("records") if rows["epoch"].tolist() == list(range(1, done + 1)) else []

    def _last_saved(self) -> int:
        """Return the number of epochs that the newest whole backup holds."""
        return max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0)

    def _remove_backups(self, but: str = "") -> None:
        """Remove what is kept of unfinished trainings, and nothing that somebody else has put beside it."""
        for kept in self.folder.parent.glob("[0-9a-f]" * DIGITS):
            if kept.name != but:
                shutil.rmtree(kept, ignore_errors=True)
        with suppress(OSError):  # it is not there, or not empty
            self.folder.parent.rmdir()

    def _keras_backup(self, folder: Any) -> keras.callbacks.Callback:
        callback = keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False)
        callback.set_model(self.model)
        return callback

    def _seeds(self) -> list[keras.Variable]:
        """Return the states from which dropout and the like draw, which Keras saves with no network."""
        return [variable for variable in self.model.variables if variable.name == "seed_generator_state"]


def _record(recorder: RunRecorder) -> tuple[dict[str, Any], str]:
    """Return what is about to train, taken from the objects themselves, and a hash: the same for the same training alone."""
    model, train, fit, split = recorder.model, recorder.train, recorder.params, recorder.run / "split.csv"
    batches = isinstance(train, ImageBatches)
    height, width, channels = train.image_shape if batches else model.input_shape[1:]
    record: dict[str, Any] = {
        "parameters": model.count_params(), "class_names": train.class_names if batches else recorder.run.class_names,
        "image_size": [height, width], "color_mode": "grayscale" if channels == 1 else "rgb",
        "resize": train.resize if batches else "squeeze",
        "optimizer": keras.saving.serialize_keras_object(model.optimizer),
        "loss": keras.saving.serialize_keras_object(model.loss),
        "fit": {"epochs": fit["epochs"], "batch_size": getattr(train, "batch_size", None), "steps_per_epoch": fit["steps"]},
        "augmentation": vars(train.augmentation) | {"cooldown_from": train.cooldown_from} if batches else None,
        **({"augment": [_step(step) for step in train.steps]} if batches and train.steps else {}),
        "class_weight": train.class_weight if batches else None, "seed": train.seed if batches else None,
        "checkpoint": recorder.checkpoint, "split_sha256": file_hash(split) if split.exists() else "",
    }  # fmt: skip
    architecture = keras.saving.serialize_keras_object(model)["config"]  # the rest is how it was compiled
    generator = [getattr(train, name, None) for name in ("class_mode", "shuffle", "samples")]
    key = hashlib.sha256(_plain([record, architecture, generator]).encode()).hexdigest()[:DIGITS]
    record["recipe"], recipe = None, recorder.recipe
    if recipe:
        trains = [record["optimizer"], record["loss"], architecture]
        recipe = replace(recipe, epochs=fit["epochs"])
        network = new_network(recipe, len(record["class_names"]))
        objects = (make_optimizer(recipe, fit["steps"]), make_loss(recipe), network)
        optimizer, loss, network = map(keras.saving.serialize_keras_object, objects)
        record["recipe"] = recipe.name if _plain([optimizer, loss, network["config"]]) == _plain(trains) else None
    versions = {package.__name__: package.__version__ for package in (digitlib, keras, tensorflow)}
    versions |= {"python": platform.python_version()}
    record = {"network": model.name, **record, "versions": versions}
    return json.loads(json.dumps(record, default=str)), key


def _step(step: Any) -> Any:
    """Return what is recorded of a step of `augment`: class and settings of a Keras layer, the name of a function."""
    if isinstance(step, keras.layers.Layer):
        return keras.saving.serialize_keras_object(step)
    return f"{step.__module__}.{getattr(step, '__qualname__', type(step).__qualname__)}"


def _plain(config: Any) -> str:
    """Return a configuration as text, without the numbers that Keras gives to layers of the same kind in one process."""
    return re.sub(r'_\d+"', '"', json.dumps(config, default=str))
