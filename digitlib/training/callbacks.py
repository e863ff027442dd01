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
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

import digitlib
from digitlib.errors import DigitError
from digitlib.files import display_path, file_hash, reraise_os_error, write_json, write_table
from digitlib.run import Run, open_run, read_history
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
    run = open_run(run)
    resume = Resume(run, train, recipe, recipe.checkpoint if recipe else checkpoint)
    callbacks = [resume, HistoryTable(resume), BestModel(resume)]
    if recipe and recipe.patience:
        callbacks.append(Patience(resume, recipe.patience))
    return [*callbacks, Backup(resume)]  # last, since it keeps what the others have seen


class Resume(keras.callbacks.Callback):
    """Find out at the beginning what trains, and go on where it was stopped.

    Attributes
    ----------
    past : list of dict
        Rows of ``history.csv`` of the epochs that need not be done again.
    record : dict
        The content of ``training.json``.
    folder : pathlib.Path
        Where the state after every epoch is kept: another one for whatever else trains.
    """

    def __init__(self, run: Run, train: Any, recipe: Recipe | None, checkpoint: str) -> None:
        super().__init__()
        self.run, self.train, self.recipe, self.checkpoint = run, train, recipe, checkpoint

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Write down what trains, then go on or make room for a new beginning."""
        path = self.run / "recipe.json"
        if path.exists() and self.run.read_json("recipe.json").get("model") == "ensemble":
            raise DigitError(f"{self.run} is an ensemble, which a training would overwrite: choose another run.")
        self.record = _record(self)
        if self.record["recipe"] and self.recipe:
            save_recipe(self.run, replace(self.recipe, epochs=self.params["epochs"]))
        else:
            path.unlink(missing_ok=True)
        self.folder = self.run / "backup" / _key(self.model, self.record, self.train)
        self.past = _past(self.run, self.folder)
        _remove_backups(self.folder.parent, but=self.folder if self.past else None)
        if isinstance(self.train, ImageBatches):
            self.train.start_at(len(self.past))
        if not self.past:
            return
        kept = self.folder / str(len(self.past))
        try:
            _keras_backup(self.model, kept).on_train_begin()
            for variable, state in zip(_seeds(self.model), np.load(kept / "seeds.npy"), strict=True):
                variable.assign(state)
        except (OSError, ValueError, KeyError) as error:
            raise DigitError(
                f"the training kept in {display_path(self.folder)} doesn't fit this network: delete it to start again."
            ) from error
        print(
            f"Going on after epoch {len(self.past)} of {self.params['epochs']}: an earlier training was stopped there."
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Let Keras, which shuffles batches with Python's `random`, do so in the same order in a training that goes on."""
        random.seed(f"{self.record['seed']} {epoch}")


def _record(resume: Resume) -> dict[str, Any]:
    """Return what is about to train, as JSON can hold it, taken from the objects themselves."""
    model, train, fit = resume.model, resume.train, resume.params
    batches = isinstance(train, ImageBatches)
    height, width, channels = train.image_shape if batches else model.input_shape[1:]
    split = resume.run / "split.csv"
    record = {
        "network": model.name,
        "parameters": model.count_params(),
        "class_names": train.class_names if batches else resume.run.read_json("source.json")["class_names"],
        "image_size": [height, width],
        "color_mode": "grayscale" if channels == 1 else "rgb",
        "optimizer": keras.saving.serialize_keras_object(model.optimizer),
        "loss": keras.saving.serialize_keras_object(model.loss),
        "fit": {
            "epochs": fit["epochs"],
            "batch_size": train.batch_size if batches else None,
            "steps_per_epoch": fit["steps"],
        },
        "augmentation": vars(train.augmentation) | {"cooldown_from": train.cooldown_from} if batches else None,
        "seed": train.seed if batches else None,
        "recipe": None,
        "checkpoint": resume.checkpoint,
        "split_sha256": file_hash(split) if split.exists() else "",
        "versions": {
            "digitlib": digitlib.__version__, "keras": keras.__version__, "tensorflow": tensorflow.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip
    record = json.loads(json.dumps(record, default=str))
    if resume.recipe and _trains(resume.recipe, model, record):
        record["recipe"] = resume.recipe.name
    return record


def _trains(recipe: Recipe, model: keras.Model, record: dict[str, Any]) -> bool:
    """Tell whether network, optimizer and loss are those of a recipe."""
    recipe = replace(recipe, epochs=record["fit"]["epochs"])
    serialize = keras.saving.serialize_keras_object
    optimizer, loss = make_optimizer(recipe, record["fit"]["steps_per_epoch"]), make_loss(recipe)
    network = new_network(recipe, len(record["class_names"]))
    own = [serialize(optimizer), serialize(loss), _architecture(network)]
    return _plain(own) == _plain([record["optimizer"], record["loss"], _architecture(model)])


def _architecture(model: keras.Model) -> Any:
    return keras.saving.serialize_keras_object(model)["config"]  # the rest is how it was compiled


def _plain(config: Any) -> str:
    """Return a configuration as text, without the numbers that Keras gives to layers of the same kind in one process."""
    return re.sub(r'_\d+"', '"', json.dumps(config, default=str))


def _key(model: keras.Model, record: dict[str, Any], train: Any) -> str:
    """Return the name of the folder in which a training's state is kept: the same for the same training alone."""
    settings = {**record, "versions": None, "network": None, "recipe": None}
    if isinstance(train, ImageBatches):
        options = ("class_mode", "shuffle", "interpolation", "samples")
        settings["generator"] = {name: getattr(train, name) for name in options}
    text = _plain([settings, _architecture(model)])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _past(run: Run, folder: Path) -> list[dict[str, float]]:
    """Return the history of the epochs that an unfinished training need not do again, empty if there is none."""
    done = _last_saved(folder)
    if not done or not (run / "best_model.keras").exists() or not (run / "history.csv").exists():
        return []
    try:
        history = read_history(run)
    except (DigitError, ValueError, KeyError):
        return []
    rows = history[history["epoch"] <= done]
    return rows.to_dict("records") if rows["epoch"].tolist() == list(range(1, done + 1)) else []


def _last_saved(folder: Path) -> int:
    """Return the number of epochs that the newest whole backup holds."""
    return max((int(path.name) for path in folder.glob("[0-9]*")), default=0)


def _remove_backups(folder: Path, but: Path | None = None) -> None:
    """Remove what `folder` keeps of unfinished trainings, and nothing that somebody else has put beside it."""
    for kept in folder.glob("[0-9a-f]" * DIGITS):
        if kept != but:
            shutil.rmtree(kept, ignore_errors=True)
    with suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


def _keras_backup(model: keras.Model, folder: Path) -> keras.callbacks.Callback:
    callback = keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False)
    callback.set_model(model)
    return callback


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """Return the states from which dropout and the like draw, which Keras saves with no network."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


class Backup(keras.callbacks.Callback):
    """Keep the state after every epoch, and remove it at the end.

    `keras.callbacks.BackupAndRestore` does the work, but writes weights and epoch one after the other over the last ones:
    killed in between, it would go on with weights of another epoch, or none. Here it writes to a folder that gets its
    name, the number of epochs done, once it is whole.
    """

    def __init__(self, resume: Resume) -> None:
        super().__init__()
        self.resume = resume

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the state under its final name once it is whole, then remove the one before."""
        folder = self.resume.folder
        temporary, last = folder / ".tmp", _last_saved(folder)
        with reraise_os_error(f"Can't write {display_path(folder)}", MAKE_ROOM):
            shutil.rmtree(temporary, ignore_errors=True)
            _keras_backup(self.model, temporary).on_epoch_end(epoch)
            states = [keras.ops.convert_to_numpy(variable) for variable in _seeds(self.model)]
            np.save(temporary / "seeds.npy", np.array(states))
            temporary.rename(folder / str(epoch + 1))
        if last:
            shutil.rmtree(folder / str(last), ignore_errors=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Remove it: what is finished starts from scratch the next time, also with the same model object."""
        _remove_backups(self.resume.folder.parent)
        self.model._initial_epoch = None  # set by Keras's callback, and obeyed by any later fit


class HistoryTable(keras.callbacks.Callback):
    """Write ``history.csv`` after every epoch: epoch (from 1), the metrics, learning rate, seconds since the start.

    Keras's CSVLogger counts epochs from 0, knows no time, and leaves half a line when it is killed.
    """

    def __init__(self, resume: Resume) -> None:
        super().__init__()
        self.resume = resume

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Start the clock, with the time that earlier epochs took on it."""
        self.rows = list(self.resume.past)
        self._start = time.perf_counter() - (self.rows[-1]["seconds"] if self.rows else 0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add one row and write the table."""
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        seconds = round(time.perf_counter() - self._start, 3)
        self.rows.append({"epoch": epoch + 1, **(logs or {}), "learning_rate": rate, "seconds": seconds})
        write_table(self.resume.run / "history.csv", pd.DataFrame(self.rows))


class BestModel(keras.callbacks.Callback):
    """Keep the network of the best ``val_accuracy``, or of the last epoch, in float32, with the record of its training."""

    def __init__(self, resume: Resume) -> None:
        super().__init__()
        self.resume = resume
        self.path = resume.run / "best_model.keras"
        self.temporary = self.path.with_name(f".tmp-{self.path.name}")

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Remove what a killed training may have left half-written, and see what the best epoch was."""
        self.temporary.unlink(missing_ok=True)
        self.best = max((row.get("val_accuracy", -1.0) for row in self.resume.past), default=-1.0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the network if it is the best so far; the file is the old or the new one, never half of one."""
        accuracy = (logs or {}).get("val_accuracy")
        if self.resume.checkpoint == "best":
            if accuracy is None:
                raise DigitError(
                    "checkpoint 'best' needs val_accuracy: compile with metrics=[\"accuracy\"] and give fit validation_data, "
                    "or choose checkpoint 'last'."
                )
            if accuracy <= self.best:
                return
            self.best = accuracy
        with reraise_os_error(f"Can't write {display_path(self.path)}", MAKE_ROOM):
            in_float32(self.model).save(self.temporary)
            self.temporary.replace(self.path)
            write_json(self.path.with_name("training.json"), self.resume.record)
            # These were made of another network.
            self.path.with_name("metrics.json").unlink(missing_ok=True)


class Patience(keras.callbacks.EarlyStopping):
    """`EarlyStopping` that remembers the epochs done before."""

    def __init__(self, resume: Resume, patience: int) -> None:
        super().__init__("val_accuracy", patience=patience, mode="max")
        self.resume = resume

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Count them again."""
        super().on_train_begin(logs)
        for row in self.resume.past:
            self.on_epoch_end(int(row["epoch"]) - 1, row)
