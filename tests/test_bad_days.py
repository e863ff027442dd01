"""What goes wrong on an ordinary day: hostile files, a stopped training, variables that are not set, a full disk, a kill."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import digitlib as d
from digitlib.cli import main
from digitlib.data import cache
from digitlib.data.decoding import read_file
from digitlib.files import atomic
from digitlib.pipeline.notebooks import notebooks_folder
from digitlib.training.backend import keras

PROGRAM = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n"
TOP = Path(__file__).parents[1]


def save(path: Path, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(path, **options)


@pytest.mark.skipif(not shutil.which("gs"), reason="Ghostscript is not installed, which would run the program")
@pytest.mark.parametrize("program", [b"{ } loop\n", b"(%s) (w) file closefile showpage\n"])
def test_postscript_that_calls_itself_an_image_is_not_run(tmp_path: Path, program: bytes) -> None:
    written = tmp_path / "written"
    (tmp_path / "x.png").write_bytes(PROGRAM + program.replace(b"%s", bytes(written)))
    assert read_file(tmp_path / "x.png").reason == "not an image"
    assert not written.exists()


def test_files_that_would_take_too_long_or_too_much_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(10**10)
    save(tmp_path / "side.png")
    data = bytearray((tmp_path / "side.png").read_bytes())
    data[16:20] = (10**6).to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "side.png").write_bytes(data)
    content = io.BytesIO()
    Image.new("L", (3000, 3000)).save(content, "JPEG")
    start, end = content.getvalue().index(b"\xff\xda"), content.getvalue().rindex(b"\xff\xd9")
    scans = content.getvalue()[start:end]
    (tmp_path / "scans.jpg").write_bytes(content.getvalue()[:end] + 100 * scans + b"\xff\xd9")
    reasons = {name: read_file(tmp_path / name).reason for name in ("sparse.png", "side.png", "scans.jpg")}
    assert "too many for an image" in reasons["sparse.png"]
    assert reasons["side.png"] == "too large: 1000000 x 28 pixels"
    assert reasons["scans.jpg"] == "too large: 3000 x 3000 pixels"


class Stopped(Exception):
    """Stands for Ctrl-C, which pytest takes for its own."""


class Stop(keras.callbacks.Callback):
    """Stop a training before its first epoch ends."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        raise Stopped


@pytest.mark.slow
def test_a_second_training_that_is_stopped_leaves_the_first_as_it_was(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    d.train_run(run, d.get_recipe("tiny", epochs=2))
    metrics = d.evaluate_run(run)
    with pytest.raises(Stopped):
        d.train_run(run, d.get_recipe("fast", epochs=3), [Stop()])
    assert d.load_recipe(run).name == "tiny"
    (run / "metrics.json").unlink()
    assert d.evaluate_run(run) == metrics


def test_files_of_two_trainings_are_not_taken_for_one(run: d.Run, root: Path) -> None:
    other = d.Run(root / "other")
    shutil.copytree(run.folder, other.folder)
    for name in ("recipe.json", "history.csv"):
        before = (other / name).read_text()
        (other / name).write_text(before + "\n")
        with pytest.raises(d.DigitError, match=f"{name} of .* has changed since best_model"):
            d.Classifier.load(other)
        (other / name).write_text(before)
    d.Classifier.load(other)


def test_notebooks_of_other_people_are_not_taken_for_the_series(root: Path) -> None:
    (root / "notebooks").mkdir()
    shutil.copy(TOP / "notebooks" / "04_model_building.ipynb", root / "notebooks" / "01_eda.ipynb")
    assert notebooks_folder() == TOP / "notebooks"


@pytest.mark.parametrize("words", [["run", "--data", ""], ["run", "--out="], ["predict", "runs/a", ""]])
def test_variables_that_are_not_set_are_refused(root: Path, words: list[str]) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code != 0
    assert "has no value" in done.output
    assert not list(root.iterdir())


@pytest.mark.parametrize("path", ["", None, 5])
def test_what_is_no_path_is_refused(root: Path, path: object) -> None:
    with pytest.raises(d.DigitError, match="a path is"):
        d.open_run(path)  # type: ignore[arg-type]
    assert not list(root.iterdir())


def test_decoded_images_that_were_altered_are_decoded_again(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    before = np.array(d.eval_generator(run, d.get_recipe("tiny"), "test")[0][0])
    (file,) = cache.cache_folder().glob("*/images.bin")
    file.write_bytes(bytes(byte ^ 255 for byte in file.read_bytes()))
    np.testing.assert_array_equal(d.eval_generator(run, d.get_recipe("tiny"), "test")[0][0], before)


def test_class_weights_make_all_classes_count_alike() -> None:
    batches = d.ImageBatches.from_array(
        np.zeros((12, 8, 8), np.uint8), [0] * 9 + [1] * 3, batch_size=12, class_weight="balanced"
    )
    _, labels, weights = batches[0]
    assert (labels * weights[:, None]).sum(axis=0) == pytest.approx([6, 6])


def test_a_small_data_set_is_seen_several_times_in_an_epoch() -> None:
    images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    batches = d.ImageBatches.from_array(images, range(10), batch_size=4, shuffle=True, least_steps=7)
    seen = np.concatenate([batches[number][1].argmax(axis=1) for number in range(len(batches))])
    assert len(batches) == 7
    assert len(seen) == 28
    assert all(sorted(seen[start : start + 10]) == list(range(10)) for start in (0, 10))
    assert set(np.bincount(seen)) == {2, 3}


@pytest.fixture
def full_disk(tmp_path: Path):
    """Return a folder on a disk of a few hundred kilobytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("command", [["notebooks"], ["run", "--data", "scans", "--out", "runs/a"], ["run"]])
def test_a_full_disk_is_told_in_one_sentence(full_disk: Path, digits: Path, command: list[str]) -> None:
    words = [word.replace("scans", str(digits)) for word in command]
    environment = os.environ | {"DIGITLIB_ROOT": str(full_disk)}
    done = subprocess.run([sys.executable, "-m", "digitlib", *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(full_disk.rglob(".tmp-*"))


KILLED = """
import sys, time
from pathlib import Path
from digitlib.files import atomic
with atomic(Path("table.csv")) as temporary:
    print(temporary, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="elsewhere temporary files are removed after a day")
def test_what_a_killed_command_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    left = Path(process.stdout.readline().strip())
    process.kill()
    process.wait()
    assert (tmp_path / left).exists()
    with atomic(tmp_path / "other.csv") as temporary:
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["other.csv"]


PARENT = """
import joblib, os, sys, time
from digitlib.data.decoding import end_with_parent
def work(number):
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)
joblib.Parallel(2)(joblib.delayed(work)(number) for number in range(2))
"""


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a broken pipe ends them")
def test_worker_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    process = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    workers = [int(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers are still there"
        time.sleep(0.2)
