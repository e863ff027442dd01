"""Twelve runs on a cluster whose worker and client are killed, against the same twelve one after another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import comparison, timed
from digitlib.files import project_root
from digitlib.scale import read_space, read_sweep, run_sweep

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
        run_sweep(read_space("space.yml"), "runs/serial")
    with timed("the same again, with nothing left to do") as again:
        run_sweep(read_space("space.yml"), "runs/serial")
    one, other = (read_sweep(f"runs/{name}").set_index("run") for name in ("cluster", "serial"))
    return {
        "runs": len(one),
        "runs once": int((~one.index.duplicated()).sum()),
        "runs done": int((one["state"] == "done").sum()),
        "done when the client was killed": happened["done_before"],
        "of these done again": len(happened["done_again"]),
        "exit code of the second client": happened["code"],
        "largest difference of validation accuracy": float(
            (one["validation_accuracy"] - other["validation_accuracy"][one.index]).abs().max()
        ),
        "cluster seconds": cluster.seconds,
        "serial seconds": serial.seconds,
        "seconds with nothing left to do": again.seconds,
        "seconds a run besides training": (serial.seconds - again.seconds - other["seconds"].sum()) / 12,
    }


if __name__ == "__main__":
    main()
