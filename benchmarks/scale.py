"""What a million images cost by step, and what a billion would: fitted to `benchmarks.bulk`, and drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import psutil
from matplotlib.ticker import EngFormatter, StrMethodFormatter
from scipy.optimize import nnls

import digitlib as d
from benchmarks.bulk import free_port
from benchmarks.common import RESULTS, comparison, timed
from benchmarks.many import cluster
from digitlib.data.datasets import as_folder
from digitlib.plots import BLUE, GREEN, ORANGE, RED, use_style

STEPS = ("read", "decode", "network", "write")

MACHINES = (1, 2, 8, 64)
LARGEST = (10**4, 10**5, 10**6, 10**7, 10**8, 10**9)


def fitted(rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Return the costs of a job in seconds: of itself, and of an image's way through a worker, alone or beside another.

    Least squares on ``seconds - listing = a + c n / workers``, with a further ``d n / workers`` where two workers share
    the machine; none of them negative, each measurement weighted by its own length, so that a short job counts as much
    as a long one.
    """
    table = pd.DataFrame(rows)
    table = table[table["kind"] == kind]
    n, workers, seconds = (table[name].to_numpy(float) for name in ("images", "workers", "seconds"))
    each = n / workers
    terms = np.stack([np.ones(len(n)), each, each * (workers > 1)], axis=1)
    own = seconds - table["settling"].to_numpy(float)
    (a, c, beside), _ = nnls(terms / seconds[:, None], own / seconds)
    off = np.abs((terms @ [a, c, beside] - own) / seconds)
    steps = table[[*STEPS]].sum() / table["images"].sum()
    tasks = table["task"].sum() - table[[*STEPS]].sum().sum()
    return {
        "a job": float(a), "an image": float(c), "an image beside another worker": float(c + beside),
        "largest miss of the fit": float(off.max()), "median miss of the fit": float(np.median(off)),
        "listing": float(table["settling"].sum() / table["images"].sum()),
        "a task besides": float(tasks / table["partitions"].sum()),
    } | {step: float(steps[step]) for step in STEPS}  # fmt: skip


def nothing(number: int) -> int:
    """Be a task that costs nothing but itself."""
    return number


def tasks_a_second(n: int) -> float:
    """Return how many empty tasks a scheduler hands to two workers and back in a second."""
    with cluster(2, free_port()) as two, d.open_workers(two.address) as pool:
        for _ in range(2):  # the first time, functions are imported
            begin = time.perf_counter()
            done = sum(
                1
                for _ in pool.run(nothing, ((f"nothing-{begin}-{number}", (number,)) for number in range(n)))
            )
            seconds = time.perf_counter() - begin
        assert done == n
    return n / seconds


def of_a_get(n: int) -> dict[str, float]:
    """Return a worker's processor seconds for a file from an S3-compatible server, which runs in a process of its own."""
    from digitlib.data.stores import RemoteFolder, open_store

    port = free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        store = open_store("s3://digits/scans")
        assert isinstance(store, RemoteFolder)
        _when_up(store)
        content = next(path for path in as_folder("sample").rglob("*.png")).read_bytes()
        names = [f"{number}.png" for number in range(n)]
        for name in names:
            store.put(name, content)
        begin = psutil.Process().cpu_times()
        assert sum(len(data) for data in store.read(names, [len(content)] * n)) == n * len(content)
        end = psutil.Process().cpu_times()
    finally:
        server.kill()
        server.wait()
    return {"files": n, "processor seconds a GET": (end.user + end.system - begin.user - begin.system) / n}


def of_a_name(data: str) -> dict[str, float]:
    """Return the most bytes that the client holds for each image that is a file, while it lists and sorts them."""
    from digitlib.scale.partitions import find_partitioned

    tracemalloc.start()
    images = sum(len(partition) for partition in find_partitioned(as_folder(data)).cut(20_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"files": images, "bytes a name": most / images}


def _when_up(store: Any) -> None:
    """Make the bucket as soon as the server answers."""
    for _ in range(240):
        try:
            store._fs.mkdir("digits")
        except Exception:  # refused while it starts, each library in its own way
            time.sleep(0.5)
        else:
            return
    raise TimeoutError("moto's server did not start")


def extrapolated(
    costs: dict[str, dict[str, float]], bulk: dict[str, Any], rate: float
) -> list[dict[str, Any]]:
    """Return the hours of each number of images and workers by the fit, and what each limit alone would take."""
    rows = []
    for kind, cost in costs.items():
        for n in LARGEST:
            for workers in MACHINES:
                alone = "an image" if workers == 1 else "an image beside another worker"
                shares = {
                    "the workers": cost[alone] * n / workers,
                    "listing and sorting, by the client alone": cost["listing"] * n,
                    "the scheduler": n / bulk["partition"] / rate,
                }
                total = (
                    cost["a job"] + shares["the workers"] + shares["listing and sorting, by the client alone"]
                )
                first = max(shares, key=lambda name: shares[name])
                rows.append(
                    {"kind": kind, "images": n, "workers": workers, "seconds": total, "first": first} | shares
                )
    return rows


def plot_scale(measured: pd.DataFrame, told: pd.DataFrame) -> plt.Axes:
    """Draw measured seconds as dots and the fit as lines, by images and workers."""
    _, both = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
    for axes, kind in zip(both, ("files", "rows"), strict=True):
        for workers, color in zip(MACHINES, (BLUE, ORANGE, GREEN, RED), strict=True):
            line = told[(told["kind"] == kind) & (told["workers"] == workers)]
            dots = measured[(measured["kind"] == kind) & (measured["workers"] == workers)]
            # A million is two of the largest jobs; where none was measured, all is beyond.
            known = line["images"] <= 2 * dots["images"].max()
            name = f"{workers} worker{'s' * (workers > 1)}"
            axes.plot(line["images"], line["seconds"], "--", marker="", color=color, linewidth=1, label=name)
            axes.plot(line["images"][known], line["seconds"][known], marker="", color=color)
            axes.plot(dots["images"], dots["seconds"], "o", color=color, markersize=5)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="images",
            title={"files": "a file each", "rows": "rows of Parquet"}[kind],
        )
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    both[0].set_ylabel("seconds")
    both[0].legend(title="dots: measured, lines: fit,\ndashed: beyond what was measured")
    return both[0]


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Fit the cost model to results/bulk.json, measure a task and a GET by themselves, extrapolate, draw scale.png."""
    bulk = json.loads((RESULTS / "bulk.json").read_text(encoding="utf-8"))
    with timed("empty tasks"):
        rate = tasks_a_second(3_000 if full else 300)
    with timed("files from an S3-compatible server"):
        get = of_a_get(2_000 if full else 300)
    with timed("listing"):
        names = of_a_name(data)
    costs = {kind: fitted(bulk["measurements"], kind) for kind in ("files", "rows")}
    told = extrapolated(costs, bulk, rate)
    use_style()
    axes = plot_scale(pd.DataFrame(bulk["measurements"]), pd.DataFrame(told))
    axes.figure.savefig(RESULTS / "scale.png", dpi=100)
    return {"costs": costs, "tasks a second": rate, "get": get, "names": names, "extrapolated": told}


if __name__ == "__main__":
    main()
