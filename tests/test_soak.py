"""The series again and again in one folder: nothing piles up."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest
from faults import SOAK

import digitlib as d


def held(run: Path) -> dict[str, int]:
    """Return what this process and the project's folder hold now."""
    root, process = run.parents[1], psutil.Process()
    return {
        "files on disk": sum(path.is_file() for path in root.rglob("*")),
        "open files": process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
        "threads": threading.active_count(),
        "children": len(process.children(recursive=True)),
    }


@pytest.mark.slow
@pytest.mark.skipif(not SOAK, reason="takes minutes: make soak does it")
def test_the_series_again_and_again_leaves_nothing_behind(root: Path, digits: Path) -> None:
    """Bytes may differ a little, since outputs hold the times of day."""
    run = d.open_run("runs/again")
    sizes, counts = [], []
    for _ in range(20):
        d.run_series(run, {"data": str(digits), "recipe": "tiny"})
        counts.append(held(run.folder))
        sizes.append(sum(path.stat().st_size for path in root.rglob("*") if path.is_file()))
    print(counts[0], "->", counts[-1], sizes)
    assert all(counts[-1][what] <= number for what, number in counts[1].items()), (
        counts
    )  # a kernel may take a while to end
    assert max(sizes[1:]) < 1.02 * min(sizes[1:]), sizes
