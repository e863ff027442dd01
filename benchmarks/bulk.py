"""A million images named by one worker and by two, with a worker killed, and with the job killed and resumed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

import digitlib as d
from benchmarks.common import comparison, timed
from benchmarks.many import A_FOLDER, Cluster, cluster, make
from benchmarks.training import train

SIZES = (10_000, 100_000, 500_000)
"""Images in each of both forms, files and rows; the last form is the million."""

QUICK = (5_000, 10_000, 20_000)
ROUNDS = 3
"""One worker and two in turn: the machine's speed is not constant."""

PARTITION = {True: 20_000, False: 2_000}
"""Images a partition, in the full and in the quick form."""


def trained(data: str, seed: int) -> d.Run:
    """Return the run in the folder $RUN, which is only read, or a new one of `fast`."""
    if given := os.environ.get("RUN"):
        return d.open_run(Path(given).absolute())
    train(data, "fast", seed)
    return d.open_run(f"runs/fast{seed}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def sources(top: Path, sizes: tuple[int, ...]) -> dict[tuple[str, int], str]:
    """Return what is named, by kind and size: all images as files and as rows, and the first of them linked elsewhere."""
    found = {}
    for kind in ("files", "rows"):
        entries = sorted((top / kind).iterdir())
        for n in sizes[:-1]:
            for entry in entries[: n // A_FOLDER]:
                for path in entry.iterdir() if entry.is_dir() else [entry]:
                    target = top / f"{kind}{n}" / path.relative_to(top / kind)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.link(path, target)
            found[kind, n] = str(top / f"{kind}{n}")
        found[kind, sizes[-1]] = str(top / kind)
    return found


def measured(run: d.Run, source: str, out: Path, workers: Cluster, partition: int) -> dict[str, Any]:
    """Name all images of a source and return how long it took; the parts stay."""
    begin = time.perf_counter()
    done = d.predict_in_parts(run.folder, source, out, scheduler=workers.address, partition_size=partition)
    steps = pd.DataFrame(done["tasks"])[["read", "decode", "network", "write", "task", "cpu"]].sum()
    figures = {name: done[name] for name in ("images", "partitions", "unreadable", "settling", "naming")}
    return {"seconds": time.perf_counter() - begin, **figures, **steps.to_dict()}


def grown(
    run: d.Run, found: dict[tuple[str, int], str], clusters: dict[int, Cluster], top: Path, partition: int
) -> list[dict[str, Any]]:
    """Return a row for each kind, size, number of workers and round; the first out of each is kept."""
    rows = []
    for one in range(ROUNDS):
        for (kind, n), source in found.items():
            for workers, running in clusters.items():
                out = top / f"out-{kind}-{n}-{workers}-{one}"
                row = {"kind": kind, "size": n, "workers": workers, "round": one}
                rows.append(row | measured(run, source, out, running, partition))
                click.echo(f"  {rows[-1]}", err=True)
    return rows


def compared(out: Path, single: pd.DataFrame) -> dict[str, Any]:
    """Return how the parts differ from what one process says."""
    table = pd.read_parquet(out)
    return {
        "rows": len(table),
        "rows more than once": int(table["filename"].duplicated().sum()),
        "same names in the same order": bool((table["filename"] == single["filename"]).all()),
        "other labels": int((table["label"] != single["label"]).sum()),
        "largest difference of a confidence": float((table["confidence"] - single["confidence"]).abs().max()),
    }


def when_half_done(out: Path, partitions: int, act: Callable[[], Any]) -> threading.Thread:
    """Start a thread that acts once half of the parts are there."""

    def wait() -> None:
        while len(list(out.glob("part-*.parquet"))) < partitions // 2:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def with_a_worker_killed(run: d.Run, source: str, out: Path, partition: int, n: int) -> None:
    """Name a source on two workers, of which one is killed in the middle."""
    with cluster(2, free_port()) as two:
        killer = when_half_done(out, n // partition, two.workers[0].kill)
        with timed("a worker killed in the middle"):
            measured(run, source, out, two, partition)
        killer.join()


def with_the_job_killed(
    run: d.Run, source: str, out: Path, two: Cluster, partition: int, n: int
) -> dict[str, int]:
    """Start ``digitlib predict``, kill it in the middle, and give the same command again."""
    command = [sys.executable, "-m", "digitlib", "predict", str(run.folder), source, "--out", f"{out}/"]
    command += ["--scheduler", two.address, "--partition-size", str(partition)]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    when_half_done(out, n // partition, job.kill).join()
    status = job.wait()
    left = len(list(out.glob("part-*.parquet")))
    with timed("the same command again"):
        subprocess.run(command, check=True)
    return {"status of the killed job": status, "parts when it was killed": left, "parts": n // partition}


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Throughput of one and of two single-thread workers on files and on Parquet, memory, and the same rows after kills."""
    sizes, partition, top = SIZES if full else QUICK, PARTITION[full], Path(os.environ["DIGITLIB_ROOT"])
    run = trained(data, seed)
    split = run if not os.environ.get("RUN") else d.prepare(data, "runs/images", mode="none")
    with timed(f"making {sizes[-1]:,} files and {sizes[-1]:,} rows"):
        make(split, top / "images", 0, sizes[-1])
    found = sources(top / "images", sizes)
    os.sync()  # writing them to the disk is not what is measured
    files, rows = found["files", sizes[-1]], found["rows", sizes[-1]]
    with cluster(1, free_port()) as one, cluster(2, free_port()) as two:
        clusters = {1: one, 2: two}
        for (
            workers,
            running,
        ) in clusters.items():  # TensorFlow is loaded once a process, whatever is named later
            for again in range(2):
                measured(run, found["files", sizes[0]], top / f"warm{workers}{again}", running, sizes[0] // 4)
        table = grown(run, found, clusters, top, partition)
        killed = with_the_job_killed(run, rows, top / "out-job-killed", two, partition, sizes[-1])
        peak = max(one.peak, two.peak)
    with_a_worker_killed(run, files, top / "out-worker-killed", partition, sizes[-1])
    figures: dict[str, Any] = {
        "partition": partition,
        "measurements": table,
        "peak bytes of a worker": peak,
    } | killed
    for kind, source in (("files", files), ("rows", rows)):
        with timed(f"{kind} by one process"):
            d.predict_in_parts(run.folder, source, top / f"single-{kind}")
        single = pd.read_parquet(top / f"single-{kind}")
        figures[f"{kind} against one process"] = compared(top / f"out-{kind}-{sizes[-1]}-2-0", single)
        after = "out-worker-killed" if kind == "files" else "out-job-killed"
        figures[f"{kind} against one process, after the kill"] = compared(top / after, single)
    return figures | summary(table, sizes[-1])


def summary(rows: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """Return images a second at the largest size, files and rows together, and what the second worker gains."""
    table = pd.DataFrame(rows)
    large = table[table["size"] == n].pivot_table(
        index="round", columns="workers", values=["images", "seconds", "naming"], aggfunc="sum"
    )
    speed, naming = large["images"] / large["seconds"], large["images"] / large["naming"]
    return {
        "images": int(large["images"][1].iloc[0]),
        "one worker images a second": float(speed[1].median()),
        "two workers images a second": float(speed[2].median()),
        "two workers times one": float(np.median(speed[2] / speed[1])),
        "two workers times one, by round": (speed[2] / speed[1]).tolist(),
        "two workers times one, without listing": float(np.median(naming[2] / naming[1])),
    }


if __name__ == "__main__":
    main()
