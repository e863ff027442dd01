"""Every command that README gives is run here, on small data and with the recipe `tiny`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import digitlib as d

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
ELSEWHERE = {"make test", "make lab"}
"""Not run here: the first is what runs this test, the others go on until they are stopped or for very long."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [text for line in lines if (text := re.sub(r"\s+# .*", "", line).strip())]


def as_run(command: str) -> list[str]:
    """Return a command with this interpreter's programs and, where it trains, the recipe `tiny`."""
    words = shlex.split(command)
    if words[:2] == ["make", "run"]:
        given = next((word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")), "")
        return ["make", "-C", str(TOP), "run", f"ARGS={given} --recipe tiny"]
    if words[0].startswith(".venv/bin/"):
        words[0] = str(Path(sys.executable).parent / Path(words[0]).name)
    return words


@pytest.fixture
def place(digits: Path, root: Path) -> Path:
    """Return a folder in which the paths that README speaks of exist."""
    (root / "path/to").mkdir(parents=True)
    (digits / "trainingSet").rename(root / "path/to/folder")
    (digits / "testSet").rename(root / "path/to/unlabelled")
    shutil.copy(next((TOP / "notebooks/photos").glob("*.jpg")), root / "photo.jpg")
    (root / "notebooks").symlink_to(TOP / "notebooks")
    space = "data: path/to/folder\nrecipe: tiny\nepochs: 1\nseed: [1, 2]\n"
    (root / "space.yml").write_text(space, encoding="utf-8")
    return root


@pytest.mark.slow
@pytest.mark.skipif(not (TOP / ".venv/.ready").exists(), reason="`make run` would set up .venv first")
def test_every_command_does_what_it_says(place: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "MAKEFLAGS")}
    for command in commands():
        if command in ELSEWHERE:
            continue
        told = subprocess.run(as_run(command), cwd=place, env=environment, capture_output=True, text=True)
        assert told.returncode == 0, f"{command}\n{told.stdout}\n{told.stderr}"
    for made in (
        "runs/default/report.html",
        "runs/mine/report.html",
        "predictions.csv",
        "05.ipynb",
        "drawn.png",
    ):  # fmt: skip
        assert (place / made).stat().st_size > 0, made


@pytest.mark.slow
def test_the_notebook_of_ones_own_trains(place: Path) -> None:
    for block in (block for block in blocks("python") if "d.prepare(" in block):
        exec(block.replace('get_recipe("fast")', 'get_recipe("fast", epochs=1)'), {})
    assert (place / "runs/mine/best_model.keras").stat().st_size > 0
    assert 0 <= d.evaluate_run("runs/mine")["test_accuracy"] <= 1


def test_setting_up_without_make_is_what_make_does() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    rule = makefile.partition("$(READY): ")[2]
    made = re.findall(r"-m pip install (?:--quiet --disable-pip-version-check )?(.*)", rule)
    said = re.findall(r"-m pip install (.*)", "".join(blocks("bat")))
    assert said
    assert said == made[: len(said)]


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (TOP / target).exists(), target
