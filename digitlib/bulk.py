"""Predictions for millions of images: partition by partition, on workers or here, to a Parquet data set."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from digitlib.cluster import open_workers
from digitlib.decoding import decoded, unread
from digitlib.errors import DigitError
from digitlib.partitions import Images, Item, checked_names, find_partitioned, images_at
from digitlib.progress import bar
from digitlib.recipes import Recipe, load_recipe
from digitlib.runs import Run, resolve, shown
from digitlib.split import class_names_of
from digitlib.stores import LocalFolder, RemoteFolder, is_address, open_store
from digitlib.writing import FIRST, as_arrow

if TYPE_CHECKING:
    from digitlib.backend import keras

PARTITION_SIZE = 20_000
"""Images a task: some seconds of work, so that what a scheduler does for it costs nothing."""

BATCH, BATCH_BYTES = 1024, 64_000_000
"""Images, and bytes of files, that a worker holds at a time."""

TOO_MANY = 10
"""Partitions that may fail before the job gives up."""

JOB, MANIFEST, MODEL = "_job/job.json", "_job/manifest.parquet", "_job/best_model.keras"
"""What a job keeps beside its parts; readers of Parquet pass over names that begin with ``_``."""

FOLDER = "predictions.parquet/"
"""Where the parts go unless told otherwise."""

Store = LocalFolder | RemoteFolder


@dataclass(frozen=True)
class Job:
    """What is predicted with what, settled when a job first begins.

    Attributes
    ----------
    source : str
        As given, paths made absolute.
    model_sha256 : str
        Hash of the network's file.
    partition_size : int
        As asked for.
    folder : str
        Where the images are read from.
    columns : tuple of str
        See `digitlib.partitions.ImageRows`; empty for files.
    images, partitions : int
        How many there are.
    """

    source: str
    model_sha256: str
    partition_size: int
    folder: str
    columns: tuple[str, str]
    images: int
    partitions: int

    @property
    def key(self) -> str:
        """A short name of this job."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def part(self, number: int) -> str:
        """Return the name of a part; in alphabetical order they are in their own."""
        return f"part-{number:0{max(5, len(str(self.partitions - 1)))}d}.parquet"


def predict_in_parts(
    run_or_model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scheduler: str | None = None,
    workers: int = 0,
    partition_size: int = PARTITION_SIZE,
    tell: Callable[[str], Any] = lambda line: None,
) -> dict[str, Any]:
    """Name images partition by partition; what an earlier call with the same arguments has done is not done again.

    Parameters
    ----------
    run_or_model : str or path-like
        A run's folder or the model file in it; a copy is kept in `out`, which is where workers read it.
    source : str or path-like
        See `digitlib.partitions.find_partitioned`. It is listed once, when the job first begins.
    out : str or path-like
        Folder or address for ``part-00000.parquet`` and so on, with the columns of `digitlib.prediction.predict_files`;
        ``pandas.read_parquet`` takes the folder as one table. Workers must be able to reach it, and `source`.
    scheduler, workers
        See `digitlib.cluster.open_workers`.
    partition_size : int
        Images a part.
    tell : callable
        Gets a line about where to look on.

    Returns
    -------
    dict
        ``images``, ``unreadable`` and ``partitions`` (all of the job), ``found`` (partitions that were done already),
        ``tasks`` (a dict for each partition: its number, ``images``, and seconds by step where it was done now).

    Raises
    ------
    DigitError
        If something can't be reached or read, or `out` holds another job's parts; partitions that fail are named at the
        end, when the others are done.
    """
    with open_workers(scheduler, workers) as pool:
        if pool.dashboard:
            tell(f"Dashboard: {pool.dashboard}")
        store = open_store(out)
        job = _settled(store, run_or_model, source, partition_size)
        tasks = ((f"predict-{job.key}-{n}", (store.address, job.key, n)) for n in range(job.partitions))
        done, failed = [], []
        with bar(job.images, "Naming images") as progress:
            for outcome in pool.run(predict_partition, tasks):
                if outcome.error is None:
                    done.append(outcome.value)
                    progress.update(outcome.value["images"])
                else:
                    failed.append(outcome.error)
                if len(failed) >= TOO_MANY:
                    break
    _clear(store)
    if failed:
        raise DigitError(
            f"{job.partitions - len(done):,} of {job.partitions:,} partitions are not done ({failed[0]}): the same command "
            "again does only these."
        )
    done = sorted(done, key=lambda one: one["number"])
    sums = pd.DataFrame(done)[["images", "unreadable", "found"]].sum()
    return {name: int(value) for name, value in sums.items()} | {"partitions": job.partitions, "tasks": done}


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
    bad = f", {done['unreadable']:,} of them unreadable (see the column reason)" if done["unreadable"] else ""
    found = f", {done['found']:,} of them found done" if done["found"] else ""
    return f"{done['images']:,} images{bad}; {done['partitions']:,} partitions{found}: {open_store(out)}"


def _settled(
    store: Store, run_or_model: str | os.PathLike[str], source: str | os.PathLike[str], size: int
) -> Job:
    """Return the job that `store` holds, or begin it there."""
    path = resolve(run_or_model)
    run, model = (Run(path), path / "best_model.keras") if path.is_dir() else (Run(path.parent), path)
    if path.is_dir():
        run.require("best_model.keras")
    if not model.is_file():
        raise DigitError(
            f"{shown(path)} doesn't exist: give a run's folder, such as runs/default, or its best_model.keras."
        )
    network, text = model.read_bytes(), os.fspath(source)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    given = text.rstrip("/") if is_address(text) or text.startswith("@") else str(resolve(text))
    wanted = {"source": given, "model_sha256": hashlib.sha256(network).hexdigest(), "partition_size": size}
    if (known := store.get(JOB)) is not None:
        return _same(store, known, wanted)
    if store.holds() and store.get(MANIFEST) is None:
        raise DigitError(f"{store} holds other files: choose a new folder for the parts.")
    recipe, names = load_recipe(run), class_names_of(run)
    images = find_partitioned(source)
    total, partitions, manifest = _manifest(images, size)
    job = Job(
        **wanted, folder=images.store.address, columns=images.columns, images=total, partitions=partitions
    )
    store.put(MODEL, network)
    store.put(
        "_job/recipe.json", json.dumps(asdict(recipe) | {"augmentation": dict(recipe.augmentation)}).encode()
    )
    store.put("_job/source.json", json.dumps({"class_names": names}).encode())
    store.put(MANIFEST, manifest)
    store.put(JOB, json.dumps(asdict(job), indent=1).encode())  # the last: with it the job counts as settled
    return job


def _same(store: Store, known: bytes, wanted: dict[str, Any]) -> Job:
    """Return the job kept in `store`, unless it is another than the one wanted."""
    kept = json.loads(known)
    for name, what in (
        ("source", "SOURCE"),
        ("model_sha256", "network"),
        ("partition_size", "--partition-size"),
    ):
        if kept[name] != wanted[name]:
            was = "" if name == "model_sha256" else f" ({kept[name]})"
            raise DigitError(
                f"{store} holds the parts of another {what}{was}: choose a new folder, or give the same."
            )
    return _job(known)


def _job(content: bytes) -> Job:
    kept = json.loads(content)
    kept["columns"] = tuple(kept["columns"])
    return Job(**kept)


def _manifest(images: Images, size: int) -> tuple[int, int, bytes]:
    """Return how many images and partitions there are, and a Parquet file with a row group for each partition."""
    total, partitions, content, writer = 0, 0, io.BytesIO(), None
    for partition in images.cut(size):
        writer = writer or pq.ParquetWriter(content, partition.schema, compression="zstd")
        writer.write_table(partition, row_group_size=len(partition))
        total, partitions = total + images.count(partition), partitions + 1
    if writer is None:
        raise DigitError(f"{images.store} holds no images: give a source with at least one.")
    writer.close()
    return total, partitions, content.getvalue()


def _clear(store: Store) -> None:
    """Remove what a killed writer left; younger files may be in use."""
    if isinstance(store, LocalFolder):
        for path in store.folder.glob(".tmp-*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()


def predict_partition(out: str, key: str, number: int) -> dict[str, Any]:
    """Name the images of one partition and write them as one part, unless that is there and whole.

    Parameters
    ----------
    out : str
        The job's folder or address.
    key : str
        `Job.key`.
    number : int
        Which partition, from 0 on.

    Returns
    -------
    dict
        ``number``, ``images``, ``unreadable``, ``found`` (bool), and seconds: ``read``, ``decode``, ``network``,
        ``write``, ``task`` (all of it) and ``cpu`` (of the process).
    """
    begin, cpu = time.perf_counter(), time.process_time()
    store, job, manifest = _opened(out, key)
    images = images_at(job.folder, job.columns)
    partition = manifest.read_row_group(number)
    part = _whole(store.get(job.part(number)), lambda: checked_names(images.names(partition)))
    found, clock = part is not None, _Clock()
    if part is None:
        part = as_arrow(
            pd.concat(_named(images.items(partition), _network(out, key), clock), ignore_index=True)
        )
        if len(part) != images.count(partition):
            raise DigitError(
                f"{images.store} has changed since it was cut into partitions: choose another --out."
            )
        content = io.BytesIO()
        pq.write_table(part, content, compression="zstd", write_page_checksum=True)
        store.put(job.part(number), content.getvalue())
        clock.lap("write")
    bad = part["reason"].to_pandas().ne("").sum()
    seconds = clock.seconds | {"task": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    return {"number": number, "images": len(part), "unreadable": int(bad), "found": found} | seconds


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("read", "decode", "network", "write"), 0.0)
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        """Count what has passed since the last call as time of a step."""
        now = time.perf_counter()
        self.seconds[step] += now - self._last
        self._last = now


def _whole(content: bytes | None, names: Callable[[], list[str]]) -> pa.Table | None:
    """Return a part that is there, every page as its checksum says, with a row for each image; else None."""
    if content is None:
        return None
    try:
        part = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
        return part if part.schema.names[:4] == FIRST and part["filename"].to_pylist() == names() else None
    except (OSError, pa.ArrowException):
        return None


def _named(
    items: Iterator[Item], network: tuple[keras.Model, Recipe, list[str]], clock: _Clock
) -> Iterator[pd.DataFrame]:
    """Yield predictions a batch at a time; reading, decoding and the network take turns on the worker's one thread."""
    from digitlib.prediction import name_batch

    recipe = network[1]
    settings = (recipe.color_mode, recipe.image_size, max(recipe.image_size))
    clock.lap("network")  # loading it
    for batch in _batches(items):
        clock.lap("read")
        results = [
            unread(data) if isinstance(data, OSError) else decoded(data, *settings) for _, data in batch
        ]
        clock.lap("decode")
        table = name_batch(*network, results)
        table.insert(0, "filename", [name for name, _ in batch])
        yield table[[*FIRST, *table.columns.difference(FIRST, sort=False)]]
        clock.lap("network")


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    held = 0
    for name, data in items:
        batch.append((name, data))
        held += 0 if isinstance(data, OSError) else len(data)
        if len(batch) == BATCH or held > BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


@lru_cache(1)
def _opened(out: str, key: str) -> tuple[Store, Job, pq.ParquetFile]:
    """Return a job's folder, the job and its manifest, once a process."""
    store = open_store(out)
    return store, _job(store.get(JOB) or b"{}"), pq.ParquetFile(io.BytesIO(store.get(MANIFEST) or b""))


@lru_cache(1)
def _network(out: str, key: str) -> tuple[keras.Model, Recipe, list[str]]:
    """Load the network that a job keeps, once a process."""
    from digitlib.prediction import open_model

    store = open_store(out)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("best_model.keras", "recipe.json", "source.json"):
            (Path(folder) / name).write_bytes(store.get(f"_job/{name}") or b"")
        return open_model(folder)
