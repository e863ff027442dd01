"""Every command that README, docs/operating.md and docs/scale.md give is run here, on small data and with the recipe `tiny`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from snippets import COMMANDS, PAGES, TOP, as_run, blocks, fill, snippets

README = (TOP / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def place(digits: Path, root: Path) -> Path:
    """Return a folder in which the paths that the pages speak of exist."""
    fill(root, digits)
    images = sorted((root / "to_predict").iterdir())
    table = pd.DataFrame({"image": [{"bytes": path.read_bytes(), "path": path.name} for path in images]})
    table.to_parquet(root / "train-00000.parquet")
    return root


@pytest.mark.slow
@pytest.mark.skipif(not (TOP / ".venv/.ready").exists(), reason="`make run` would set up .venv first")
def test_every_command_does_what_it_says(place: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("MPLBACKEND", "MAKEFLAGS")}
    given = [snippet for page in COMMANDS for snippet in snippets(page)]
    for command in [text for language, text in given if language == "sh"]:
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
    ):  # fmt: skip
        assert (place / made).stat().st_size > 0, made
    for code in [text for language, text in given if language == "python"]:
        exec(code, {})


def test_the_first_screen_has_an_image_commands_and_links_and_all_is_short() -> None:
    first, _, _ = README.partition("## Notebooks")
    assert len(README.split()) < 900
    assert "](docs/pad.png)" in first
    for command in ("git clone", "make run", "make test"):
        assert f"\n{command}" in first
    assert first.index("pad.png") < first.index("make run") < first.index("learners")


def test_setting_up_without_make_is_what_make_does() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    rule = makefile.partition("$(RUN): ")[2]
    made = re.findall(r"-m pip install (?:--quiet --disable-pip-version-check )?(.*)", rule)
    operating = blocks(TOP / "docs/operating.md")
    said = re.findall(r"-m pip install (.*)", "".join(text for language, text in operating if language == "bat"))
    assert said
    assert said == made[: len(said)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
