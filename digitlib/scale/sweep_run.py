"""One run of a sweep, done wherever the sweep sends it: begun, gone on with, or found finished."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from filecmp import cmp
from io import StringIO
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import psutil
from joblib.externals.loky import ProcessPoolExecutor

from digitlib.data.split import share_split
from digitlib.errors import DigitError
from digitlib.evaluation.statistics import wilson_interval
from digitlib.files import file_hash, read_table, write_json
from digitlib.run import InUse, Run, best_epoch, read_history, run_lock
from digitlib.scale.cluster import limit_threads
from digitlib.scale.sweep_space import Settings
from digitlib.scale.sweep_table import TABLE

DONE = "done.json"
"""Written last: with it, and with the same settings and split in it, a run is not done again."""

STARTED = "started.json"
"""Written first: what a run has made is gone on with only if it was made from this split with so many threads."""

NOTEBOOKS = ("04", "05", "06")
"""What each run executes, unless it is the library alone."""

LOOK_AGAIN = 1.0
"""Seconds between two looks at a run that another process holds."""


@dataclass(frozen=True)
class Job:
    """What a worker is told.

    Attributes
    ----------
    out : str
        The sweep's folder, absolute.
    threads : int
        With how many threads to compute.
    notebooks : bool
        Whether to execute notebooks or the library alone.
    """

    out: str
    threads: int
    notebooks: bool

    def run_of(self, settings: Settings) -> Run:
        """Return the run's folder."""
        return Run(Path(self.out) / settings.key)

    @property
    def split(self) -> Run:
        """The run that holds the split which all share."""
        return Run(Path(self.out) / "split")

    def begun(self, run: Run) -> dict[str, Any]:
        """Return what a run's `STARTED` holds, for the split in the folder of `run`."""
        return {"threads": self.threads, "split": file_hash(run / "split.csv")}

    def mark(self, settings: Settings, run: Run | None = None) -> dict[str, Any]:
        """Return what a finished run's `DONE` holds, for the split in `run`, or for that which all share if none is given."""
        given = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in settings.differing.items()
        }
        return {"recipe": settings.recipe, **given, **self.begun(run or self.split)}


def do_run(job: Job, settings: Settings) -> dict[str, Any]:
    """Do one run to its end and return its results; a finished one only has them read.

    After a worker or the client died, the same run may be under way in another process: then that one is waited for,
    and what it has done is taken.

    Parameters
    ----------
    job, settings
        What to do, and the run's settings.

    Returns
    -------
    dict
        As from `results_of`.
    """
    run = job.run_of(settings)
    while not is_done(job, settings):
        try:
            _work(run, job, settings)
        except InUse:
            time.sleep(LOOK_AGAIN)
    return results_of(run)


def _work(run: Run, job: Job, settings: Settings) -> None:
    """Train and evaluate in either form, then leave the mark that all is done."""
    with run_lock(run):
        begin_with_split(run, job)
        if not job.notebooks:
            with_threads(job.threads, train_and_evaluate, run, settings)
    if job.notebooks:
        _with_notebooks(run, job, settings)
    write_json(run / DONE, job.mark(settings, run))


def with_threads(n: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in this process, or in a new one where TensorFlow here has begun with other threads."""
    if set_threads(n):
        return function(*arguments)
    with _with_children(), ProcessPoolExecutor(1) as fresh:
        return fresh.submit(_in_new_process, n, function, *arguments).result()


@contextmanager
def _with_children() -> Iterator[None]:
    """Let this process start others even as a worker of Dask, which are daemons and may not."""
    about: dict[str, Any] = current_process()._config  # type: ignore[attr-defined]
    before = about.pop("daemon", None)
    try:
        yield
    finally:
        if before is not None:
            about["daemon"] = before


def _in_new_process(n: int, function: Callable[..., Any], *arguments: Any) -> Any:
    threading.Thread(target=_end_with, args=(psutil.Process().parent(),), daemon=True).start()
    set_threads(n)
    return function(*arguments)


def _end_with(parent: psutil.Process | None) -> None:
    """End this process when its parent has: a worker that was killed is replaced, and two would train in one folder."""
    while parent is not None and parent.is_running() and os.getppid() == parent.pid:
        time.sleep(0.2)
    os._exit(1)


def train_and_evaluate(run: Run, settings: Settings) -> None:
    """Do what notebooks 05 and 06 do."""
    from digitlib.evaluation.unattended import evaluate_run, train_run

    with redirect_stdout(StringIO()):
        train_run(run, settings.recipe_of())
        evaluate_run(run)


def set_threads(n: int) -> bool:
    """Let TensorFlow in this process compute with `n` threads; False if it has already begun with others."""
    limit_threads(n)
    from digitlib.training.backend import tensorflow

    threading = tensorflow.config.threading
    try:
        threading.set_intra_op_parallelism_threads(n)
        threading.set_inter_op_parallelism_threads(n)
    except RuntimeError:
        return False
    return True


def _with_notebooks(run: Run, job: Job, settings: Settings) -> None:
    from digitlib.pipeline.notebooks import run_series

    given = {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.changes.items()
    }
    limit_threads(job.threads)
    with redirect_stdout(StringIO()):  # a line for each notebook would mix with the sweep's own
        run_series(run, {"recipe": settings.recipe, **given}, only=NOTEBOOKS, resume=True)


def begin_with_split(run: Run, job: Job) -> None:
    """Give the run the split that all share; what was made from another one, or with other threads, goes."""
    begun = job.begun(job.split)
    with suppress(DigitError, OSError):
        same_source = cmp(run / "source.json", job.split / "source.json", shallow=False)
        if same_source and run.read_json(STARTED) == begun == job.begun(run):
            return
    for made in ("notebooks", "backup"):
        shutil.rmtree(run / made, ignore_errors=True)
    for made in ("best_model.keras", "metrics.json", DONE):
        (run / made).unlink(missing_ok=True)
    share_split(job.split, run)
    write_json(run / STARTED, begun)


def finished_before(job: Job, asked: set[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of the table that are not asked for now, of runs that are done with the same split and threads."""
    folder, rows = Run(Path(job.out)), {}
    try:
        before, same = read_table(folder / TABLE).to_dict("records"), job.begun(job.split)
    except (OSError, ValueError, KeyError):  # there is none, or a damaged one, which is written anew
        return {}
    for row in before:
        with suppress(DigitError, OSError, KeyError):
            run = Run(folder / row["run"])
            if (
                row["run"] not in asked
                and row["state"] in ("done", "pruned")
                and run.read_json(STARTED) == same
            ):
                rows[row["run"]] = row | (results_of(run) if row["state"] == "done" else {})
    return rows


def is_done(job: Job, settings: Settings) -> bool:
    """Tell whether a run has come to its end with these settings, this split and this many threads."""
    run = job.run_of(settings)
    try:
        return run.read_json(DONE) == job.mark(settings) and bool(results_of(run))
    except (DigitError, OSError):
        return False


def results_of(run: Run) -> dict[str, Any]:
    """Return what the table has of a finished run, which is nothing of the test part.

    Returns
    -------
    dict
        ``validation_accuracy`` with ``validation_low`` and ``validation_high`` (95 %, Wilson), ``n_validation``,
        ``best_epoch``, ``epochs_done``, ``seconds`` (of training), ``parameters``.

    Raises
    ------
    DigitError
        If it has no ``metrics.json``.
    """
    metrics = run.read_json("metrics.json")
    share, n = metrics["validation_accuracy"], metrics["n_validation"]
    low, high = wilson_interval(round(share * n), n)
    return {
        "validation_accuracy": round(share * n) / n, "validation_low": low, "validation_high": high, "n_validation": n,
        "best_epoch": metrics["best_epoch"], "epochs_done": metrics["epochs"], "seconds": metrics["fit_seconds"],
        "parameters": metrics["parameters"],
    }  # fmt: skip


def results_so_far(run: Run, settings: Settings) -> dict[str, Any]:
    """Return the same of a run whose training was stopped early, from its history."""
    history = read_history(run)
    epoch = best_epoch(history, settings.recipe_of().keep)
    n = int((run.read_table("split.csv")["part"] == "validation").sum())
    right = round(history.set_index("epoch").loc[epoch, "val_accuracy"] * n)
    low, high = wilson_interval(right, n)
    return {
        "validation_accuracy": right / n, "validation_low": low, "validation_high": high, "n_validation": n,
        "best_epoch": epoch, "epochs_done": len(history), "seconds": float(history["seconds"].iloc[-1]),
    }  # fmt: skip
