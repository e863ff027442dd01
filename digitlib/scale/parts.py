"""One partition named, on a worker or here: read, decoded, shown to the network, written as one part."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from digitlib.data.decoding import decoded, unread
from digitlib.data.stores import Store, open_store
from digitlib.data.tables import Item
from digitlib.errors import DigitError
from digitlib.pipeline.predict_folder import FIRST, as_arrow, as_utf8, counted
from digitlib.scale.jobs import JOB, LISTED, MODEL, Job, job_of, kept, listed_in
from digitlib.scale.partitions import images_at
from digitlib.training.recipes import Recipe

if TYPE_CHECKING:
    from digitlib.evaluation.selective import Trust
    from digitlib.training.backend import keras


BATCH, BATCH_BYTES = 1024, 64_000_000
"""Images, and bytes of files, that a worker holds at a time."""


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
        ``number``, ``images``, ``unreadable``, ``declined``, ``found`` (bool), and seconds: ``read``, ``decode``, ``network``,
        ``write``, ``task`` (all of it) and ``cpu`` (of the process).
    """
    begin, cpu = time.perf_counter(), time.process_time()
    store, job = _opened(out, key)
    images = images_at(job.folder, job.columns)
    partition = _list_of(out, key, number // LISTED).read_row_group(number % LISTED)
    part = _whole(store.get(job.part(number)), lambda: [as_utf8(name) for name in images.names(partition)])
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
    counts = counted(
        part.select([name for name in ("reason", "answered") if name in part.schema.names]).to_pandas()
    )
    seconds = clock.seconds | {"task": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    return {"number": number, "found": found} | counts | seconds


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
    items: Iterator[Item], network: tuple[keras.Model, Recipe, list[str], Trust | None], clock: _Clock
) -> Iterator[pd.DataFrame]:
    """Yield predictions a batch at a time; reading, decoding and the network take turns on the worker's one thread."""
    from digitlib.pipeline.predict_folder import name_batch

    model, recipe, class_names, trust = network
    settings = (recipe.color_mode, recipe.image_size, min(recipe.image_size))
    clock.lap("network")  # loading it
    for batch in _batches(items):
        clock.lap("read")
        results = [
            unread(data) if isinstance(data, OSError) else decoded(data, *settings) for _, data in batch
        ]
        clock.lap("decode")
        table = name_batch(model, recipe, class_names, results, trust)
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
def _opened(out: str, key: str) -> tuple[Store, Job]:
    """Return a job's folder and the job, read once a process."""
    store = open_store(out)
    if (content := store.get(JOB)) is None:
        raise DigitError(
            f"{store} as this worker sees it holds no job: give an --out that all workers reach under the same name."
        )
    job = job_of(store, content)
    if job.key != key:
        raise DigitError(f"{store} holds the parts of another job, begun since: choose a new folder.")
    return store, job


@lru_cache(1)
def _list_of(out: str, key: str, which: int) -> pq.ParquetFile:
    """Return one file of a job's list, and let the one before go."""
    store, job = _opened(out, key)
    return pq.ParquetFile(io.BytesIO(kept(store, listed_in(which * LISTED), job.listing[which])))


@lru_cache(1)
def _network(out: str, key: str) -> tuple[keras.Model, Recipe, list[str], Trust | None]:
    """Load the network that a job keeps, once a process; with trust, it is the network's observer."""
    from digitlib.evaluation.out_of_distribution import feature_extractor
    from digitlib.pipeline.predict_folder import open_model, open_trust

    store, job = _opened(out, key)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "best_model.keras").write_bytes(kept(store, MODEL, job.model_sha256))
        for name, sha256 in job.beside.items():
            (Path(folder) / name).write_bytes(kept(store, f"_job/{name}", sha256))
        model, recipe, class_names = open_model(folder)
        if not job.trust_sha256:
            return model, recipe, class_names, None
        return feature_extractor(model), recipe, class_names, open_trust(folder)
