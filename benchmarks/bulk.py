"""A million images predicted by one worker and by two, with a worker killed, and with the client killed and started again."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import psutil

from benchmarks.common import comparison
from benchmarks.many import make
from digitlib.data.split import prepare
from digitlib.files import project_root
from digitlib.run import Run, open_run
from digitlib.scale import predict_bulk
from digitlib.training.recipes import get_recipe
from digitlib.training.train import train_run

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from loopback import Loopback, loopback, until

ROUNDS = 3  # one worker and two in turn: the machine's speed is not constant
CLIENT = "import sys; from digitlib.scale import predict_bulk; predict_bulk(*sys.argv[1:4], scheduler=sys.argv[4], "


def trained(split: Run, seed: int) -> Run:
    """Return the run in the folder $RUN, which is only read, or one of `fast` that is trained now."""
    if given := os.environ.get("RUN"):
        return open_run(Path(given).absolute())
    train_run(split, get_recipe("fast", seed=seed))
    return split


def watch(cluster: Loopback, peak: list[int]) -> None:
    """Keep the largest resident memory that a worker of a cluster had, in bytes."""
    while True:
        for worker in cluster.workers:
            if psutil.pid_exists(worker.pid) and worker.poll() is None:
                peak[0] = max(peak[0], psutil.Process(worker.pid).memory_info().rss)
        time.sleep(0.2)


def half_done(out: Path, partitions: int, act: Callable[[], Any]) -> None:
    """Act once half of the partitions are there."""
    until(lambda: len(list(out.glob("part-*"))) >= partitions // 2, "half of the partitions")
    act()


def compared(out: Path, single: Path) -> dict[str, Any]:
    """Return how the predictions differ from those of one process."""
    table, other = pd.read_parquet(out), pd.read_parquet(single)
    return {
        "rows": len(table),
        "rows more than once": int(table["filename"].duplicated().sum()),
        "same names in the same order": bool((table["filename"] == other["filename"]).all()),
        "other labels": int((table["label"] != other["label"]).sum()),
        "largest difference of a confidence": float((table["confidence"] - other["confidence"]).abs().max()),
    }


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Throughput of one and of two single-thread workers on files and on Parquet, memory, and the same rows after kills.

    $IMAGES is how many images each of the two forms has: 500,000 in the full form, 20,000 in the quick one.
    """
    n, size, top = (
        int(os.environ.get("IMAGES", 500_000 if full else 20_000)),
        20_000 if full else 2_000,
        project_root(),
    )
    split = prepare(data, "runs/images", mode="none")
    run = trained(split, seed)
    make(split, top / "images", n)
    os.sync()  # writing them to the disk is not what is measured
    sources, rows, peak = [top / "images" / kind for kind in ("files", "rows")], [], [0]
    for folder in ("one", "two"):
        (top / folder).mkdir()
    with loopback(top / "one", 1) as one, loopback(top / "two", 2) as two:
        for cluster in (one, two):
            threading.Thread(target=watch, args=(cluster, peak), daemon=True).start()
            for again in range(2):  # TensorFlow is loaded once a process, whatever is predicted later
                out = top / f"warm-{len(cluster.workers)}-{again}"
                predict_bulk(run.folder, sources[1], out, scheduler=cluster.address, partition_size=n // 8)
        for number in range(ROUNDS):
            for source, cluster in ((source, cluster) for source in sources for cluster in (one, two)):
                out, begin = top / f"{source.name}-{len(cluster.workers)}-{number}", time.perf_counter()
                predict_bulk(run.folder, source, out, scheduler=cluster.address, partition_size=size)
                row = {"kind": source.name, "workers": len(cluster.workers), "round": number}
                rows.append(row | {"seconds": time.perf_counter() - begin})
                click.echo(f"  {rows[-1]}", err=True)
        out = top / "killed"
        command = ("-c", CLIENT + f"partition_size={size})", str(run.folder), str(sources[1]), str(out), two.address)
        client = two.start(*command)
        half_done(out, n // size, client.kill)
        client.wait()
        left = len(list(out.glob("part-*")))
        second = two.start(*command)
        half_done(out, (n // size + left), two.workers[0].kill)
        code = second.wait()
    predict_bulk(run.folder, sources[1], top / "single", partition_size=size)
    seconds = pd.DataFrame(rows).pivot_table(index="round", columns="workers", values="seconds", aggfunc="sum")
    return {
        "images": 2 * n, "partition": size, "measurements": rows, "peak bytes of a worker": peak[0],
        "one worker images a second": float((2 * n / seconds[1]).median()),
        "two workers images a second": float((2 * n / seconds[2]).median()),
        "two workers times one": float(np.median(seconds[1] / seconds[2])),
        "partitions when the client was killed": left, "exit code of the second client": code,
        "two workers against one process": compared(top / "rows-2-0", top / "single"),
        "after a client and a worker were killed": compared(out, top / "single"),
    }  # fmt: skip


if __name__ == "__main__":
    main()
