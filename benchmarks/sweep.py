"""Twelve runs on a cluster whose worker and client are killed, against the same twelve one after another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.common import comparison, timed
from digitlib.files import project_root

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from loopback import drama  # what the tests do in small form


@comparison
def main(data: str, full: bool, seed: int) -> dict[str, Any]:
    """Sweep 12 seeds of `tiny` on a loopback cluster with a worker and the client killed, and compare with a serial sweep."""
    root = project_root()
    space = {"data": data, "recipe": "tiny", "seed": list(range(seed, seed + 12)), "epochs": 8 if full else 3}
    (root / "space.yml").write_text(yaml.safe_dump(space), encoding="utf-8")
    with timed("12 runs on two workers, one of them killed, one added, the client killed") as cluster:
        happened = drama(root, "space.yml", "runs/cluster")
    with timed("12 runs one after another") as serial:
        swept(root, "runs/serial", "--no-notebooks")
    with timed("the same command again, with nothing left to do") as again:
        swept(root, "runs/serial", "--no-notebooks")
    two = {"seed": f"[{seed}, {seed + 1}]"}
    with timed("2 runs as notebooks") as notebooks:
        swept(root, "runs/notebooks", "-p", "seed", two["seed"])
    from digitlib import read_sweep

    trained = {name: read_sweep(root / "runs" / name)["seconds"] for name in ("serial", "notebooks")}
    tables = {name: read_sweep(root / "runs" / name).set_index("run") for name in ("cluster", "serial")}
    one, other = tables["cluster"], tables["serial"]
    return {
        "runs": len(one),
        "runs once": int((~one.index.duplicated()).sum()),
        "runs done": int((one["state"] == "done").sum()),
        "worker killed in": happened["killed_in"],
        "done when the client was killed": happened["done_before"],
        "of these done again": len(happened["done_again"]),
        "exit code of the second client": happened["code"],
        "equal weights": sum(same_weights(root / "runs", name) for name in one.index),
        "equal validation accuracy": int(
            (one["validation_accuracy"] == other["validation_accuracy"][one.index]).sum()
        ),
        "cluster seconds": cluster.seconds,
        "serial seconds": serial.seconds,
        "seconds with nothing left to do": again.seconds,
        "seconds a run besides training": beside(serial.seconds, again.seconds, trained["serial"]),
        "seconds a run besides training, as notebooks": beside(
            notebooks.seconds, again.seconds, trained["notebooks"]
        ),
    }


def swept(root: Path, out: str, *words: str) -> None:
    """Give the command of a serial sweep, and wait for its end."""
    command = [sys.executable, "-m", "digitlib", "sweep", "space.yml", "--out", out, *words]
    environment = os.environ | {"DIGITLIB_ROOT": str(root), "TQDM_DISABLE": "1"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def beside(seconds: float, idle: float, trained: pd.Series) -> float:
    """Return what each run of a sweep took besides its training, without what the command takes to begin and end."""
    return float((seconds - idle - trained.sum()) / len(trained))


def same_weights(runs: Path, name: str) -> bool:
    """Tell whether a run's best network has the same weights, to the bit, in both sweeps."""
    from digitlib import load_best_model
    from digitlib.run import Run

    one, other = (load_best_model(Run(runs / sweep / name)).get_weights() for sweep in ("cluster", "serial"))
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    main()
