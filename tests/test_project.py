"""What holds the project together: set-up files, imports, notebooks as committed, the command line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from digitlib.cli import main

TOP = Path(__file__).parents[1]
NOTEBOOKS = sorted((TOP / "notebooks").glob("[0-9]*.ipynb"))


def requirement_names(lines: list[str]) -> set[str]:
    names = {re.split(r"[<>=\[ ]", line.strip(), maxsplit=1)[0] for line in lines}
    return {"matplotlib" if name == "matplotlib-base" else name for name in names} - {"digitlib"}


def test_conda_and_pip_install_the_same() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pip = requirement_names(sum(extras.values(), project["dependencies"]))
    listed = re.findall(r"^ +- ([a-z][^#\n]*)", (TOP / "environment.yml").read_text(), re.MULTILINE)
    assert (
        requirement_names([line for line in listed if not line.startswith("pip:")]) - {"python", "pip"} == pip
    )


def test_each_conda_dependency_says_what_for() -> None:
    lines = re.findall(r"^ +- (?!python|pip|-e)(.*)$", (TOP / "environment.yml").read_text(), re.MULTILINE)
    assert len(lines) > 20
    assert all("  # " in line for line in lines)


def test_every_version_is_pinned_with_hashes_and_without_addresses() -> None:
    text = (TOP / "constraints.txt").read_text()
    assert "://" not in text
    assert text.count("==") <= text.count("--hash=sha256:")


def test_importing_digitlib_is_light() -> None:
    code = (
        "import digitlib, sys; print(sorted(set(sys.modules) & {'tensorflow', 'keras', 'pandas', 'sklearn'}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("number", ["01", "02"])
def test_notebooks_that_need_no_network_load_no_tensorflow(number: str) -> None:
    text = next(path for path in NOTEBOOKS if path.name.startswith(number)).read_text()
    names = set(re.findall(r"\bd\.(\w+)", text))
    code = f"import digitlib, sys\nfor name in {sorted(names)}: getattr(digitlib, name)\nassert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_table_of_notebooks_names_them_all() -> None:
    table = (TOP / "notebooks" / "README.md").read_text()
    assert re.findall(r"\[[^]]*\]\((\d\d_\w+\.ipynb)\)", table) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--data", "nowhere"], "nowhere"),
        (["run", "--recipe", "fats"], "did you mean 'fast'"),
        (["run", "--data", "{digits}", "-p", "epoch", "3"], "did you mean 'epochs'"),
        (["run", "--data", "{digits}", "-p", "epochs", "three"], "epochs is 'three'"),
        (["run", "--data", "{digits}", "-p", "image_size", "8"], "image_size 8 x 8 is too small"),
        (["run", "--data", "{digits}", "-p", "test_size", "1.5"], "test_size is 1.5"),
        (["run", "--data", "{digits}", "--out", "/proc/nowhere/x"], "/proc/nowhere/x"),
        (["run", "--data", "{digits}", "--only", "42"], "42"),
        (["run", "--data", "{digits}", "--only", "01-05"], "there is no notebook '01-05'"),
        (["run", "--data", "{digits}", "--only", ","], "names no notebook"),
        (["run", "--data", "{digits}", "-p", "recipe", "tiny"], "give it as --recipe"),
        (["run", "--data", "{digits}", "-p", "wanted_accuracy", "2"], "wanted_accuracy is 2"),
        (["run", "--data", "{digits}", "-p", "mode", "mvoe"], "mode is 'mvoe'"),
        (["run", "--data", "{digits}", "-p", "gallery", "yes"], "gallery is 'yes'"),
        (["run", "--data", "{digits}", "--only", "05"], "01_data_preparation"),
        (["predict", "runs/none", "{digits}"], "runs/none"),
        (["predict", "runs/none", "{digits}", "--out", "x.xlsx"], "end its name with .csv or .parquet"),
        (["predict", "runs/none", "nowhere/*.png"], "no file matches 'nowhere/*.png'"),
        (
            ["predict", "runs/none", "{digits}", "--out", "a.csv", "--submission", "a.csv"],
            "written to one file",
        ),
        (["predict", "runs/none", "{digits}", "--gallery", "page.csv"], "end it with .html"),
        (["undo", "runs/none"], "runs/none"),
    ],
)
def test_bad_commands_get_one_sentence_and_leave_nothing(
    digits: Path, arguments: list[str], said: str
) -> None:
    result = CliRunner().invoke(main, [text.format(digits=digits) for text in arguments])
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (digits.parent / "runs").exists()
