"""Faults of the machine: each ends in one sentence, and what was there before is intact."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.model_selection  # noqa: F401 - nobody may not read the library
from faults import as_nobody, fingerprint, sentence_of
from PIL import Image

import digitlib as d

resource = pytest.importorskip("resource", reason="rights and limits as on POSIX")

TOP = Path(__file__).parents[1]
PREPARE = "import sys, digitlib as d; d.prepare('scans', sys.argv[1])"


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a project's top that other users can reach, with two classes of ten images."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o777)
        rng = np.random.default_rng(0)
        for letter in ("a", "b"):
            folder = root / "scans" / letter
            folder.mkdir(parents=True)
            for number in range(10):
                Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(folder / f"{number}.png")
        yield root
        for path in root.rglob("*"):
            if path.is_dir():
                path.chmod(0o777)


def python(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `place`, in a bare environment, having called `before` in the new process."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, capture_output=True, text=True, timeout=120,
        env={"HOME": str(place), "TQDM_DISABLE": "1", **kept, **environment}, errors="surrogateescape",
    )  # fmt: skip


def prepare(run_dir: str, mode: str) -> None:
    d.prepare("scans", run_dir, mode=mode)


def split(place: Path, run_dir: str = "runs/a", mode: str = "copy", before: Callable[[], Any] = int) -> str:
    """Prepare in a process of its own; return the sentence that it ends with, empty if it went well."""
    return sentence_of(place, before, prepare, run_dir, mode)


def test_a_source_that_may_only_be_read_is_enough(place: Path) -> None:
    for path in [*place.glob("scans/**/*"), place / "scans"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert split(place, before=as_nobody) == ""
    assert "can't be put at" in split(place, "runs/b", "move", before=as_nobody)
    assert len(fingerprint(place / "scans")) == 20


def test_a_place_that_may_not_be_written_to_gets_a_sentence(place: Path) -> None:
    (place / "runs").mkdir()
    (place / "runs").chmod(0o555)
    assert "runs/a" in split(place, before=as_nobody)
    assert list((place / "runs").iterdir()) == []


def test_what_may_not_be_read_is_left_out(place: Path) -> None:
    (place / "scans" / "a" / "3.png").chmod(0)
    (place / "scans" / "b" / "closed").mkdir(mode=0)
    assert split(place, before=as_nobody) == ""
    left = d.open_run(place / "runs" / "a").read_table("rejected.csv").set_index("filename")["reason"]
    assert left.to_dict() == dict.fromkeys(["a/3.png", "b/closed"], "can't be read: Permission denied")


@pytest.mark.parametrize("limit", [100, 1000, 1500, 3000])
def test_a_full_disk_gets_a_sentence_and_leaves_earlier_results(place: Path, limit: int) -> None:
    """A limit on the size of a file stands for the full disk: writing fails in the same places, with another number."""
    assert split(place) == ""
    before = fingerprint(place / "runs")
    shutil.rmtree(place / "cache")
    said = split(place, "runs/b", before=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)))
    assert "File too large" in said
    assert fingerprint(place / "runs" / "a") == {k[2:]: v for k, v in before.items() if k.startswith("a/")}
    assert not list(place.rglob(".tmp-*"))
    assert split(place, "runs/b") == ""
    assert len(list((place / "runs" / "b").glob("T*/*/*"))) == 20


def test_a_current_folder_that_was_removed(place: Path) -> None:
    code = "import os, sys; os.mkdir('x'); os.chdir('x'); os.rmdir('../x'); from digitlib.cli import main; main(['undo', 'a'])"
    done = python(place, "-c", code)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Error: The current folder no longer exists: change to one that does and try again."
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": ""},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TZ": "Pacific/Kiritimati"},
    ],
    ids=["no home", "locale C", "locale C without UTF-8", "other end of the time zones"],
)
def test_bare_environments_make_no_difference(place: Path, environment: dict[str, str]) -> None:
    for name in (b"scans/a/\xc3\xa4.png", b"scans/a/\xff.png"):
        shutil.copy(place / "scans" / "b" / "1.png", os.path.join(os.fsencode(place), name))  # noqa: PTH118
    assert split(place, "runs/plain") == ""
    done = python(place, "-c", PREPARE, "runs/odd", **environment)
    assert done.returncode == 0, done.stderr
    plain, odd = ((place / "runs" / name / "split.csv").read_bytes() for name in ("plain", "odd"))
    assert plain == odd
    assert b"\xc3\xa4.png" in odd + (place / "runs" / "odd" / "rejected.csv").read_bytes()
    assert fingerprint(place / "runs" / "plain" / "TRAIN") == fingerprint(place / "runs" / "odd" / "TRAIN")


def assert_one_sentence(told: str, begins: str) -> None:
    """Standard error holds nothing else."""
    (sentence,) = told.splitlines()
    assert sentence.startswith(begins)


def test_a_home_that_does_not_exist_gets_a_sentence(place: Path) -> None:
    done = python(place, "-m", "digitlib", "run", "--data", "~nobody_of_this_name/scans")
    assert done.returncode == 1
    assert_one_sentence(done.stderr, "Error: '~nobody_of_this_name/scans' can't be found")


def test_one_core_gives_the_same_as_all(place: Path) -> None:
    core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else set()
    assert split(place, "runs/all") == ""
    shutil.rmtree(place / "cache")
    assert split(place, "runs/one", before=partial(os.sched_setaffinity, 0, core)) == ""
    assert (place / "runs/one/split.csv").read_bytes() == (place / "runs/all/split.csv").read_bytes()


def test_little_memory_is_enough_for_the_split(place: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({2 * 1024**3},) * 2); {PREPARE}"
    done = python(place, "-c", limited, "runs/a", OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_paths_far_over_255_characters(place: Path, mode: str) -> None:
    deep = place / "scans" / "a" / Path(*["n" * 200] * 4)
    deep.mkdir(parents=True)
    (place / "scans" / "a" / "3.png").rename(deep / ("m" * 200 + ".png"))
    before = fingerprint(place / "scans")
    assert split(place, "runs/" + "r" * 200, mode) == ""
    run = d.open_run(place / "runs" / ("r" * 200))
    assert len(d.read_split(run)) == 20
    assert d.undo(run) == []
    assert fingerprint(place / "scans") == before


def test_a_path_that_is_too_long_gets_a_sentence(place: Path) -> None:
    said = split(place, "runs/" + "r" * 300)
    assert "File name too long" in said
    assert not (place / "runs").exists() or not list((place / "runs").iterdir())


def test_mnist_without_a_network_gets_a_sentence(place: Path) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = python(place, "-m", "digitlib", "run", "--data", "mnist", **nowhere)
    assert done.returncode == 1
    assert_one_sentence(done.stderr, "Error: MNIST can't be downloaded (")
    assert not (place / "runs").exists()


def test_a_clock_that_went_backwards_changes_nothing(place: Path) -> None:
    """Everything made so far is from the year 2100: what the present would be if the clock had been set back since."""
    assert split(place) == ""
    before = fingerprint(place / "runs")
    for path in place.rglob("*"):
        os.utime(path, (4_102_444_800, 4_102_444_800))
    assert split(place) == ""
    assert fingerprint(place / "runs") == before
    (place / "scans" / "a" / "new.png").write_bytes((place / "scans" / "b" / "1.png").read_bytes()[:200])
    assert split(place) == ""
    assert d.open_run(place / "runs" / "a").read_table("rejected.csv")["filename"].tolist() == ["a/new.png"]
