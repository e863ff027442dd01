"""Predictions for millions of images: partition by partition, on workers or here, to a Parquet data set."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from typing import Any

import pandas as pd

from digitlib.data.stores import LocalFolder, Store, is_address, open_store
from digitlib.errors import DigitError
from digitlib.pipeline.predict_folder import summary_of
from digitlib.progress import bar
from digitlib.scale.cluster import Outcome, open_workers
from digitlib.scale.jobs import Job, settle
from digitlib.scale.parts import predict_partition

PARTITION_SIZE = 20_000
"""Images a task: some seconds of work, so that what a scheduler does for it costs nothing."""

TOO_MANY = 10
"""Partitions that may fail before the job gives up."""

FOLDER = "predictions.parquet/"
"""Where the parts go unless told otherwise."""


def predict_in_parts(
    run_or_model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scheduler: str | None = None,
    workers: int = 0,
    partition_size: int = PARTITION_SIZE,
    trust: bool = False,
    tell: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Name images partition by partition; what an earlier call with the same arguments has done is not done again.

    Parameters
    ----------
    run_or_model : str or path-like
        A run's folder or the model file in it; a copy is kept in `out`, which is where workers read it.
    source : str or path-like
        See `digitlib.scale.partitions.find_partitioned`. It is listed once, when the job first begins.
    out : str or path-like
        Folder or address for ``part-00000.parquet`` and so on, with the columns of `digitlib.pipeline.predict_folder.predict_files`;
        ``pandas.read_parquet`` takes the folder as one table. Workers must be able to reach it, and `source`.
    scheduler, workers
        See `digitlib.scale.cluster.open_workers`.
    partition_size : int
        Images a part.
    trust : bool
        Whether to calibrate confidences and tell which answers to believe; see `digitlib.pipeline.predict_folder.predict_files`.
    tell : callable
        Called with a line that says where to watch the progress.

    Returns
    -------
    dict
        ``images``, ``unreadable``, ``declined`` and ``partitions`` (all of the job), ``listed`` (when its images were
        listed), ``found`` (partitions that were done already),
        ``tasks`` (a dict for each partition, see `digitlib.scale.parts.predict_partition`), ``settling`` and ``naming`` (seconds).

    Raises
    ------
    DigitError
        If something can't be reached or read, or `out` holds another job's parts; partitions that fail are named at the
        end, when the others are done.
    """
    with open_workers(scheduler, workers) as pool:
        if pool.dashboard:
            tell(f"Dashboard: {pool.dashboard}")
        store, begin = open_store(out), time.perf_counter()
        job = settle(store, run_or_model, source, partition_size, trust)
        settled = time.perf_counter()
        # The same images predicted to two folders at once are two tasks.
        name = hashlib.sha256(f"{store.address} {job.key}".encode()).hexdigest()[:12]
        tasks = ((f"predict-{name}-{n}", (store.address, job.key, n)) for n in range(job.partitions))
        done = _all(pool.run(predict_partition, tasks), job)
    _clear(store)
    sums = pd.DataFrame(done)[["images", "unreadable", "declined", "found"]].sum()
    seconds = {"settling": settled - begin, "naming": time.perf_counter() - settled}
    counts = {name: int(value) for name, value in sums.items()} | {"partitions": job.partitions}
    return {"listed": job.begun} | counts | {"tasks": sorted(done, key=lambda one: one["number"])} | seconds


def _all(outcomes: Generator[Outcome, None, None], job: Job) -> list[dict[str, Any]]:
    """Return what came of every partition, or say in the end that some failed."""
    done, failed = [], []
    with closing(outcomes), bar(job.images, "Naming images") as shown_bar:
        for outcome in outcomes:
            try:
                done.append(outcome.result())
                shown_bar.update(done[-1]["images"])
            except DigitError as error:
                failed.append(error)
            if len(failed) >= TOO_MANY:
                break
    if failed:
        raise DigitError(
            f"{job.partitions - len(done):,} of {job.partitions:,} partitions are not done ({failed[0]}): the same command "
            "again does only these."
        )
    return done


def predict_to_parts(
    run_or_model: str,
    source: str,
    out: str | None,
    files: tuple[str | None, ...],
    **options: Any,
) -> str:
    """Do what ``digitlib predict`` does in parts, and return the line it ends with.

    Raises
    ------
    DigitError
        If `out` is one file, or one of `files` (submission, gallery) is wanted as well; else see `predict_in_parts`.
    """
    out = out or FOLDER
    if any(files) or not (is_address(out) or out.endswith(("/", os.sep))):
        raise DigitError(
            f"partitions are written to a folder, not to one file: give --out a folder ending in /, such as {FOLDER}, "
            "without --submission and --gallery."
        )
    done = predict_in_parts(run_or_model, source, out, **options)
    found = (
        f", {done['found']:,} of them found done (images as listed {done['listed']})" if done["found"] else ""
    )
    return f"{summary_of(done)}; {done['partitions']:,} partitions{found}: {open_store(out)}"


def _clear(store: Store) -> None:
    """Remove what a killed writer left; younger files may be in use."""
    if isinstance(store, LocalFolder):
        for path in store.folder.glob(".tmp-????????.parquet"):  # as `atomic` names them
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()
