"""A training that was stopped goes on where it was: weights, optimizer, schedule, history, order of images."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from digitlib.errors import DigitError
from digitlib.files import display_path, reraise_os_error
from digitlib.run import Run, note_split, read_history
from digitlib.training.backend import in_float32, keras
from digitlib.training.recipes import Recipe

DIGITS = 16
"""Of the hash that a backup's folder is named by."""

MAKE_ROOM = "Make room and train again: it goes on after the last epoch."


def backup_folder(run: Run, recipe: Recipe) -> Path:
    """Return where a run's unfinished training is kept; another recipe or split means another folder."""
    digest = hashlib.sha256(json.dumps(recipe.as_dict(), sort_keys=True).encode())
    if (run / "split.csv").exists():
        digest.update((run / "split.csv").read_bytes())
    return run / "backup" / digest.hexdigest()[:DIGITS]


def past_epochs(run: Run, recipe: Recipe) -> list[dict[str, float]]:
    """Return the history of the epochs that an unfinished training need not do again, empty if there is none.

    Parameters
    ----------
    run : Run
        The run.
    recipe : Recipe
        As given to `digitlib.training.train.callbacks_for`.

    Returns
    -------
    list of dict
        Rows of ``history.csv``.
    """
    done = _last_saved(backup_folder(run, recipe))
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


class Backup(keras.callbacks.Callback):
    """Keep the state after every epoch, go on from it, and remove it at the end.

    `keras.callbacks.BackupAndRestore` does the work, but writes weights and
    epoch one after the other over the last ones: killed in between, it would
    go on with weights of another epoch, or none. Here it writes to a folder
    that gets its name, the number of epochs done, once it is whole.

    Parameters
    ----------
    folder : pathlib.Path
        As from `backup_folder`.
    epochs : int
        Of the whole training, for the message.
    resume : bool
        Whether to go on from what is there; else it is removed.
    """

    def __init__(self, folder: Path, epochs: int, resume: bool) -> None:
        super().__init__()
        self.folder, self.epochs, self.resume = folder, epochs, resume

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Go on, or make room for a new beginning."""
        _remove_backups(self.folder.parent, but=self.folder if self.resume else None)
        done = _last_saved(self.folder)
        if not done:
            return
        try:
            self._keras(self.folder / str(done)).on_train_begin()
        except (OSError, ValueError, KeyError) as error:
            raise DigitError(
                f"the training kept in {display_path(self.folder)} doesn't fit this network: delete that folder to start anew."
            ) from error
        print(f"Going on after epoch {done} of {self.epochs}: an earlier training was stopped there.")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the state under its final name once it is whole, then remove the one before."""
        temporary, last = self.folder / ".tmp", _last_saved(self.folder)
        with reraise_os_error(f"Can't write {display_path(self.folder)}", MAKE_ROOM):
            shutil.rmtree(temporary, ignore_errors=True)
            self._keras(temporary).on_epoch_end(epoch)
            temporary.rename(self.folder / str(epoch + 1))
        if last:
            shutil.rmtree(self.folder / str(last), ignore_errors=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Remove it: what is finished starts from scratch the next time, also with the same model object."""
        _remove_backups(self.folder.parent)
        self.model._initial_epoch = None  # set by Keras's callback, and obeyed by any later fit

    def _keras(self, folder: Path) -> keras.callbacks.Callback:
        callback = keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False)
        callback.set_model(self.model)
        return callback


class BestModel(keras.callbacks.ModelCheckpoint):
    """`ModelCheckpoint` of the best ``val_accuracy``, or the last, whose file is the old or the new one, never half of one.

    It is kept in float32, whatever it was trained in.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    past : sequence of dict
        Epochs done before; their best is the one to beat.
    keep : {"best", "last"}
        Which epoch's network the file has in the end.
    """

    def __init__(
        self, path: Path, past: Sequence[dict[str, float]] = (), keep: Literal["best", "last"] = "best"
    ) -> None:
        best = max((row["val_accuracy"] for row in past), default=None)
        self.path, self.temporary = path, path.with_name(f".tmp-{path.name}")
        super().__init__(
            str(self.temporary),
            "val_accuracy",
            save_best_only=keep == "best",
            mode="max",
            initial_value_threshold=best,
        )

    @property
    def model(self) -> keras.Model:
        """The network as it is saved; Keras asks for it only then."""
        return in_float32(super().model)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Remove what a killed training may have left half-written."""
        self.temporary.unlink(missing_ok=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the network if it is the best so far."""
        with reraise_os_error(f"Can't write {display_path(self.path)}", MAKE_ROOM):
            super().on_epoch_end(epoch, logs)
            if self.temporary.exists():
                self.temporary.replace(self.path)
                note_split(Run(self.path.parent))
                # What was measured was measured of another network.
                self.path.with_name("metrics.json").unlink(missing_ok=True)


class Patience(keras.callbacks.EarlyStopping):
    """`EarlyStopping` that remembers the epochs done before."""

    def __init__(self, patience: int, past: Sequence[dict[str, float]] = ()) -> None:
        super().__init__("val_accuracy", patience=patience, mode="max")
        self.past = past

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Count them again."""
        super().on_train_begin(logs)
        for row in self.past:
            self.on_epoch_end(int(row["epoch"]) - 1, row)
