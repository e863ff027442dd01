"""Images by the million: real ones varied by digitlib's generator, stored as users have them, and a cluster to name them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from joblib.externals.loky import get_reusable_executor

import digitlib as d
from digitlib.training.recipes import HAND_AUGMENTATION

A_FOLDER = 5_000
"""Files a folder, rows a Parquet file."""

A_GROUP = 1_000
"""Rows a row group, as Hugging Face's data sets have it."""

QUALITY = 92
"""Of the JPEGs: about the size of those in Kaggle's archive."""


def make(run: d.Run, top: Path, first: int, n: int) -> None:
    """Fill ``top/files`` with folders, or ``top/rows`` with Parquet files, of `n` images each, from number `first` on.

    Parameters
    ----------
    run : Run
        Its training images are varied.
    top : pathlib.Path
        Gets ``files/`` and ``rows/``.
    first, n : int
        Number of the first image, and how many; multiples of `A_FOLDER`.
    """
    starts = range(first, first + n, A_FOLDER)
    # The pool that reading files uses too: joblib.Parallel can't take it over.
    executor = get_reusable_executor(joblib.cpu_count())
    tasks = [
        executor.submit(_write, str(run.folder), top, start, kind)
        for kind in ("files", "rows")
        for start in starts
    ]
    for task in tasks:
        task.result()


def _write(run_dir: str, top: Path, start: int, kind: str) -> None:
    """Write one folder of files or one Parquet file."""
    names = [f"img_{start + number}.jpg" for number in range(A_FOLDER)]
    encoded = (
        simplejpeg.encode_jpeg(np.ascontiguousarray(image), QUALITY, "GRAY")
        for image in _varied(run_dir, start)
    )
    folder = top / kind
    if kind == "files":
        folder = folder / f"{start // A_FOLDER:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(names, encoded, strict=True):
            (folder / name).write_bytes(content)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.table({"filename": names, "image": pa.array(encoded, pa.binary())})
        pq.write_table(
            table, folder / f"{start // A_FOLDER:04d}.parquet", row_group_size=A_GROUP, compression="none"
        )


def _varied(run_dir: str, start: int) -> np.ndarray:
    """Return images that no other start gives: uint8, shape (A_FOLDER, 28, 28, 1)."""
    run = d.open_run(run_dir)
    train = d.eval_generator(run, d.get_recipe("fast"), "train")
    chosen = np.random.default_rng(start).integers(train.samples, size=A_FOLDER)
    files = d.read_split(run).iloc[:A_FOLDER].assign(**{"class": "?"})
    files = files.iloc[np.arange(A_FOLDER) % len(files)]
    varied = d.ImageBatches(
        train.originals(chosen), np.arange(A_FOLDER), files, ["?"], batch_size=500, class_mode=None, shuffle=False,
        seed=start, **HAND_AUGMENTATION,
    )  # fmt: skip
    pixels = np.concatenate([varied[number][0] for number in range(len(varied))])
    return (pixels * 255).round().clip(0, 255).astype(np.uint8)


class Cluster:
    """``dask scheduler`` and ``dask worker`` processes, as an operator would start them.

    Attributes
    ----------
    address : str
        Of the scheduler.
    workers : list of psutil.Process
        One thread each.
    peak : int
        The largest resident memory that a worker had, in bytes.
    """

    def __init__(self, address: str, workers: list[psutil.Process]) -> None:
        self.address, self.workers, self.peak = address, workers, 0

    def watch(self, over: threading.Event) -> None:
        """Look at the workers' memory five times a second."""
        while not over.wait(0.2):
            for worker in self.workers:
                try:
                    self.peak = max(self.peak, worker.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue


@contextmanager
def cluster(workers: int, port: int) -> Iterator[Cluster]:
    """Start a scheduler and workers in processes of their own, and end them."""
    address = f"tcp://127.0.0.1:{port}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    scheduler = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
    processes = [subprocess.Popen([*dask, *scheduler], **options)]  # type: ignore[call-overload]
    over = threading.Event()
    try:
        processes += [subprocess.Popen([*dask, *worker], **options) for _ in range(workers)]  # type: ignore[call-overload]
        started = Cluster(address, [psutil.Process(process.pid) for process in processes[1:]])
        _wait_for(address, workers)
        threading.Thread(target=started.watch, args=(over,), daemon=True).start()
        yield started
    finally:
        over.set()
        for process in processes[::-1]:
            process.kill()
            process.wait()


def _wait_for(address: str, workers: int) -> None:
    """Wait until all workers have come, five minutes at most."""
    deadline = time.monotonic() + 300
    while True:
        try:
            with d.open_workers(address) as pool:
                if pool.size == workers:
                    return
        except d.DigitError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{workers} workers did not come to {address}")
        time.sleep(0.5)
