"""Every command that README and docs/operating.md give is run here, on small data and with the recipe `tiny`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
PAGES = README + (TOP / "docs/operating.md").read_text(encoding="utf-8")
PAGES_WITH_LINKS = [
    TOP / "README.md",
    TOP / "CONTRIBUTING.md",
    TOP / "notebooks/README.md",
    *(TOP / "docs").glob("*.md"),
]
ELSEWHERE = ("make test", "make lab", "git clone", "source ")
"""How commands begin that are not run here: what runs this test, what goes on until it is stopped, what sets up."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [text for line in lines if (text := re.sub(r"\s+# .*", "", line).strip())]


def as_run(command: str) -> list[str]:
    """Return a command with this interpreter's programs and, where it trains, the recipe `tiny`."""
    words = shlex.split(command)
    if words[:2] == ["make", "run"]:
        given = next((word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")), "")
        return ["make", "-C", str(TOP), "run", f"ARGS={given} --recipe tiny"]
    programs = Path(sys.executable).parent
    if (programs / words[0]).exists():
        words[0] = str(programs / words[0])
    if words[1:2] == ["run"] and "--recipe" not in words and "--resume" not in words:
        words += ["--recipe", "tiny"]
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
    first = min((root / "path/to/folder/3").iterdir()).name
    (root / "corrections.csv").write_text(f"filename,label,action,new_label\n3/{first},3,drop,\n", encoding="utf-8")
    return root


@pytest.mark.slow
@pytest.mark.skipif(not (TOP / ".venv/.ready").exists(), reason="`make run` would set up .venv first")
def test_every_command_does_what_it_says(place: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "MAKEFLAGS")}
    for command in commands():
        if command.startswith(ELSEWHERE):
            continue
        told = subprocess.run(as_run(command), cwd=place, env=environment, capture_output=True, text=True)
        assert told.returncode == 0, f"{command}\n{told.stdout}\n{told.stderr}"
    for made in (
        "runs/default/report.html",
        "runs/mine/report.html",
        "runs/clean/report.html",
        "predictions.csv",
        "predictions.parquet",
        "05.ipynb",
        "drawn.png",
        "digits.json",
        "runs/ensemble/metrics.json",
    ):  # fmt: skip
        assert (place / made).stat().st_size > 0, made
    for block in blocks("python"):
        exec(block, {})


def test_the_first_screen_has_an_image_commands_and_links_and_all_is_short() -> None:
    first, _, _ = README.partition("## Notebooks")
    assert len(README.split()) < 900
    assert "](docs/pad.png)" in first
    for command in ("git clone", "make run", "make test"):
        assert f"\n{command}" in first
    assert first.index("pad.png") < first.index("make run") < first.index("learners")


def test_setting_up_without_make_is_what_make_does() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    rule = makefile.partition("$(READY): ")[2]
    made = re.findall(r"-m pip install (?:--quiet --disable-pip-version-check )?(.*)", rule)
    said = re.findall(r"-m pip install (.*)", "".join(blocks("bat")))
    assert said
    assert said == made[: len(said)]


@pytest.mark.parametrize("page", PAGES_WITH_LINKS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
