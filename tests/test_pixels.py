"""The cache of decoded images: filled once, used again, never trusted when it is not whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import digitlib as d
from digitlib.data import cache as pixels
from digitlib.data import decoding


@pytest.fixture
def run(digits: Path) -> d.Run:
    return d.prepare(digits, "runs/a", mode="none")


def entry() -> Path:
    (folder,) = [path for path in pixels.cache_folder().iterdir() if not path.name.startswith(".")]
    return folder


def as_on_disk(run: d.Run, digits: Path) -> bool:
    """Tell whether the generator gives the very pixels of the files."""
    test = d.training.generator_from_split(run, "test", shuffle=False)
    expected = [np.asarray(Image.open(digits / name)) for name in test.filenames]
    return np.array_equal(test.originals(np.arange(test.samples))[..., 0], expected)


def test_each_image_is_decoded_once_for_all_notebooks(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda *a: calls.append(1) or real(*a))
    run = d.prepare(digits, "runs/a", mode="none")
    for part in ("train", "validation", "test"):
        d.training.generator_from_split(run, part)[0]
    d.prepare(digits, "runs/b", mode="none")
    assert len(calls) == 400


def test_memory_holds_no_more_than_one_large_image(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = decoding.read_file
    monkeypatch.setattr(decoding, "read_file", lambda path, *a, **k: reads.append(path) or real(path, *a, **k))
    for number, side in enumerate((300, 28, 300)):
        Image.fromarray(np.zeros((side, 28), np.uint8)).save(root / f"{number}.png")
    results = decoding.read_files([str(root / f"{number}.png") for number in range(3)], largest=(128, 128))
    assert next(results).image.size == 0
    assert len(reads) == 1
    assert [one.image.shape for one in results] == [(28, 28, 1), (0, 0, 1)]
    assert pixels.read_images([str(root / "0.png"), str(root / "2.png")]).rejected == {}
    assert not [path for path in pixels.cache_folder().glob("*") if not path.name.startswith(".")]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: os.truncate(folder / "images.bin", 1000),
        lambda folder: change_version(folder / "meta.json"),
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "images.bin").unlink(),
        lambda folder: (folder / "meta.json").write_text('{"shape": [4'),
        lambda folder: np.save(folder / "sha256.npy", np.full(400, b"0" * 64)),
    ],
    ids=["cut", "version", "no meta", "no pixels", "garbled meta", "other hashes"],
)
def test_an_entry_that_is_not_whole_is_written_again(run: d.Run, digits: Path, harm: Callable[[Path], object]) -> None:
    harm(entry())
    assert as_on_disk(run, digits)
    assert any(pixels.open_pixels(folder.name) for folder in pixels.cache_folder().iterdir())


def change_version(meta: Path) -> None:
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"version": 0}))


KILLED = """
import os, signal, sys
from digitlib import prepare
from digitlib.data import cache as pixels
real = pixels._publish
pixels._publish = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
prepare(sys.argv[1], "runs/a", mode="none")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals as on POSIX")
def test_a_killed_process_leaves_no_entry(digits: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(digits)], check=False)
    assert killed.returncode == -9
    assert not [path for path in pixels.cache_folder().iterdir() if not path.name.startswith(".tmp-")]
    assert as_on_disk(d.prepare(digits, "runs/a", mode="none"), digits)


def test_two_processes_may_fill_the_cache_at_once(digits: Path) -> None:
    code = "import sys; from digitlib import prepare; prepare(sys.argv[1], sys.argv[2], mode='none')"
    both = [subprocess.Popen([sys.executable, "-c", code, str(digits), f"runs/{name}"]) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    assert all(as_on_disk(d.open_run(f"runs/{name}"), digits) for name in "ab")


FULL = """
import resource, signal, sys
from digitlib import DigitError, prepare
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    prepare(sys.argv[1], "runs/a", mode="none")
except DigitError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits as on POSIX")
def test_a_full_disk_gets_one_sentence(digits: Path) -> None:
    told = subprocess.run([sys.executable, "-c", FULL, str(digits)], capture_output=True, text=True, check=True)
    assert told.stdout.count("\n") == 1
    assert "cache" in told.stdout
    assert "Make room" in told.stdout
    assert not list(pixels.cache_folder().iterdir())
    assert not (digits.parent / "runs").exists()


def test_larger_images_are_shrunk_with_antialiasing_not_by_picking_pixels(root: Path) -> None:
    stripes = np.zeros((84, 84), np.uint8)
    stripes[::2] = 200  # finer than the result can show: right is an even grey, wrong is a pattern
    for name in "ab":
        (root / "scans" / name).mkdir(parents=True)
        for number in range(20):
            stripes[0, number] += 1 + ord(name) % 2
            Image.fromarray(stripes).save(root / "scans" / name / f"{number}.png")
    run = d.prepare(root / "scans", "runs/a", mode="none")
    images = d.training.generator_from_split(run, "train", image_size=(28, 28), shuffle=False)[0][0]
    assert images.shape[1:] == (28, 28, 1)
    assert np.abs(images[:, 2:-2] - 100).max() < 25
    large = d.training.generator_from_split(run, "train", image_size=(96, 96), shuffle=False)
    assert large.originals(np.arange(1)).shape == (1, 84, 84, 1)
