"""The split, killed at every stage: a second run finishes it, `undo` takes it back, and no byte is lost."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from faults import SOAK, fingerprint, killed
from PIL import Image

import digitlib as d
from digitlib.data.folders import target_path

MODES = ("copy", "link", "move")
STEP = 1 if SOAK else 23


@pytest.fixture
def scans(root: Path) -> Path:
    """Return a folder of three classes with eight images each, one of them in a folder of its own."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        for number in range(8):
            path = root / "scans" / name / ("inner" if number == 3 else "") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(path)
    (root / "scans" / "a" / "note.txt").write_text("no image")
    return root / "scans"


def split(scans: Path, mode: str, test_size: float = 0.25) -> d.Run:
    return d.prepare(scans, "runs/a", mode=mode, test_size=test_size, validation_size=0.2)


def take_back(root: Path) -> list[Path]:
    return d.undo(d.open_run(root / "runs" / "a"))


def assert_whole(scans: Path, run: d.Run, before: dict[str, str], mode: str) -> None:
    """Check that every file is exactly where the manifest says, with the bytes it had."""
    manifest = run.split
    assert len(manifest) == 24
    after = fingerprint(scans)
    assert after == ({"a/note.txt": before["a/note.txt"]} if mode == "move" else before)
    placed = fingerprint(run / "TRAIN") | {f"../TEST/{k}": v for k, v in fingerprint(run / "TEST").items()}
    assert len(placed) == 24
    for row in manifest.itertuples():
        target = target_path(run, row.part, row._2, row.filename)
        assert target.is_file()
        assert fingerprint(target.parent)[target.name] == before[row.filename] == row.sha256
    assert run.read_table("rejected.csv")["filename"].tolist() == ["a/note.txt"]


def assert_gone(root: Path, scans: Path, before: dict[str, str]) -> None:
    assert fingerprint(scans) == before
    assert list((root / "runs" / "a").rglob("*")) == []


SLOW = [("", "copy"), ("", "link"), ("copy", "link"), ("link", "move"), ("copy", "copy")]


@pytest.mark.parametrize(
    ("first", "then"), [("", "move"), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW)]
)
def test_a_killed_split_or_change_of_it_is_finished_by_a_second_run(
    root: Path, scans: Path, first: str, then: str
) -> None:
    before = fingerprint(scans)
    for number in count(1 + MODES.index(then), STEP * (2 if first else 1)):
        if first:
            split(scans, first, test_size=0.5)
        was_killed = killed(root, number, split, scans, then)
        seen = fingerprint(scans) | fingerprint(root / "runs")
        assert set(before.values()) <= set(seen.values()), f"lost after {number} changes"
        run = split(scans, then)
        assert_whole(scans, run, before, then)
        assert d.undo(run) == []
        assert_gone(root, scans, before)
        shutil.rmtree(root / "runs")
        if not first:
            shutil.rmtree(root / "cache")
        if not was_killed:
            break
    assert number > 40


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_undo_is_finished_by_a_second_one(root: Path, scans: Path, mode: str) -> None:
    before = fingerprint(scans)
    for number in count(1 + MODES.index(mode), STEP):
        split(scans, mode)
        was_killed = killed(root, number, take_back, root)
        if was_killed and number % 2:
            assert_whole(scans, split(scans, mode), before, mode)  # or the split is wanted after all
        if was_killed:
            assert take_back(root) == []
        assert_gone(root, scans, before)
        if not was_killed:
            break
    assert number > 20


def first_of(run: d.Run) -> tuple[str, str, Path]:
    """Return name, hash and place of the first image of a split."""
    row = run.split.iloc[0]
    return row["filename"], row["sha256"], target_path(run, row["part"], row["class"], row["filename"])


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_a_copy_that_lost_its_original_is_never_removed(scans: Path, mode: str) -> None:
    run = split(scans, mode)
    name, sha256, place = first_of(run)
    (scans / name).unlink()
    with pytest.raises(d.DigitError, match="has changed or lost its original: move it away"):
        split(scans, "none")
    assert d.undo(run) == [place]
    assert fingerprint(place.parent)[place.name] == sha256


def test_an_image_replaced_by_one_of_the_same_size_is_copied_again(scans: Path) -> None:
    for path in scans.rglob("*.png"):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    run = split(scans, "copy")
    name, _, place = first_of(run)
    before = (scans / name).read_bytes()
    (scans / name).write_bytes(before[:-1] + bytes([before[-1] ^ 255]))
    split(scans, "copy")
    assert place.read_bytes()[-1] == before[-1] ^ 255


def test_what_the_user_changed_in_a_copy_stays(scans: Path) -> None:
    run = split(scans, "copy")
    place = first_of(run)[2]
    place.write_bytes(b"mine")
    with pytest.raises(d.DigitError, match="has changed there"):
        split(scans, "copy")
    assert d.undo(run) == [place]
    assert place.read_bytes() == b"mine"


@pytest.mark.parametrize("strange", ["TRAIN/a/0.png", "TEST/mine.txt", "history.csv", "split.csv", "photo.jpg"])
def test_a_folder_with_somebody_elses_files_is_refused(root: Path, scans: Path, strange: str) -> None:
    path = root / "runs" / "a" / strange
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    before = fingerprint(root / "runs")
    with pytest.raises(d.DigitError, match="choose a"):
        split(scans, "copy")
    assert fingerprint(root / "runs") == before


def test_strangers_among_placed_files_are_refused_and_outlive_undo(root: Path, scans: Path) -> None:
    run = split(scans, "copy")
    (run / "TRAIN" / "mine.txt").write_text("mine")
    (run / "TRAIN" / ".DS_Store").write_text("litter")
    with pytest.raises(d.DigitError, match=r"mine\.txt was not put there"):
        split(scans, "copy")
    assert d.undo(run) == []
    assert set(fingerprint(run.folder)) == {"TRAIN/mine.txt", "TRAIN/.DS_Store"}


def test_without_folders_of_its_own_a_run_takes_nothing_back(root: Path, scans: Path) -> None:
    run = split(scans, "none")
    name, _, own = first_of(run)
    own.parent.mkdir(parents=True)
    shutil.copy2(scans / name, own)  # as somebody may have done by hand
    d.undo(run)
    assert own.exists()


@pytest.mark.parametrize("place", ["scans/run", "scans", "."])
def test_a_run_inside_its_source_or_around_it_is_refused(root: Path, scans: Path, place: str) -> None:
    before = fingerprint(root)
    with pytest.raises(d.DigitError, match="one inside the other"):
        d.prepare(scans, place)
    assert fingerprint(root) == before
    (root / "door").symlink_to(root / place)
    with pytest.raises(d.DigitError, match="one inside the other"):
        d.prepare(scans, "door")


def test_a_move_says_what_it_does_and_how_to_take_it_back(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = split(scans, "move")
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "Moving 24 images" in said
    assert "digitlib undo runs/a" in said
    assert split(scans, "move").split.equals(run.split)  # the source is empty now
    with pytest.raises(d.DigitError, match="digitlib undo runs/a"):
        split(scans, "copy")


def test_links_are_not_moved(scans: Path) -> None:
    (scans / "a" / "link.png").symlink_to("0.png")
    before = fingerprint(scans)
    with pytest.raises(d.DigitError, match="reached by a link"):
        split(scans, "move")
    assert fingerprint(scans) == before
    split(scans, "copy")
