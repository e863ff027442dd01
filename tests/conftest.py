"""Shared fixtures: small folders of real digits, and a place of its own for each test."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from digitlib.run import Run

os.environ.setdefault("TQDM_DISABLE", "1")
if method := os.environ.get("DIGITLIB_START_METHOD"):  # "spawn", as on Windows and macOS; see also faults.py
    multiprocessing.set_start_method(method, force=True)
# A shell starts what runs in the background with Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST = ("test_readme.py", "test_odd_data.py", "test_notebooks.py")
"""Files that take minutes: begun last, they would keep one processor busy while the others have nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the embedded 5,000 digits, written once for all tests."""
    from digitlib import as_folder

    root = tmp_path_factory.mktemp("sample")
    before = os.environ.get("DIGITLIB_ROOT")
    os.environ["DIGITLIB_ROOT"] = str(root)
    try:
        return Path(as_folder("sample"))
    finally:
        if before is None:
            del os.environ["DIGITLIB_ROOT"]
        else:
            os.environ["DIGITLIB_ROOT"] = before


@pytest.fixture(scope="module")
def run(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return a run of the recipe `tiny` on the sample."""
    from digitlib import get_recipe, prepare, train_run

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITLIB_ROOT", str(tmp_path_factory.mktemp("trained")))
        run = prepare(sample, "runs/a", mode="none")
        train_run(run, get_recipe("tiny"))
        yield run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a project's top of its own, so that runs and caches are its own too."""
    monkeypatch.setenv("DIGITLIB_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def digits(root: Path, sample: Path) -> Path:
    """Return a folder with 40 real images of each digit, and 12 unlabelled ones."""
    for digit in range(10):
        target = root / "scans" / "trainingSet" / str(digit)
        target.mkdir(parents=True)
        for path in sorted((sample / "trainingSet" / str(digit)).iterdir())[:40]:
            shutil.copy2(path, target)
    unlabelled = root / "scans" / "testSet"
    unlabelled.mkdir()
    for path in sorted((sample / "testSet").iterdir())[:12]:
        shutil.copy2(path, unlabelled)
    return root / "scans"


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Leave standard error out of what nbval compares: warnings there differ between machines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
