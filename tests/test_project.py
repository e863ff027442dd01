"""What holds the project together: set-up files, pinned versions, imports, the command line's one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from digitlib.cli import main

TOP = Path(__file__).parents[1]
NOTEBOOKS = sorted((TOP / "notebooks").glob("[0-9]*.ipynb"))


def declared(*without: str) -> list[Requirement]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name not in without]
    listed = [Requirement(line) for line in sum(extras, project["dependencies"])]
    return [one for one in listed if one.name != "digitlib"]


def test_conda_and_pip_install_the_same_and_say_what_for() -> None:
    text = (TOP / "environment.yml").read_text(encoding="utf-8").replace("matplotlib-base", "matplotlib")
    conda = re.findall(r"^ +- ([a-z][a-z0-9-]*)\S* +# .+$", text, re.MULTILINE)
    assert sorted(conda) == sorted(one.name for one in declared())


def test_versions_are_pinned_with_hashes_without_addresses_and_fit_the_bounds() -> None:
    text = (TOP / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert text.count("==") <= text.count("--hash=sha256:")
    for name, without in (("constraints.txt", ()), ("constraints-min.txt", ("docs", "dev"))):
        lines = (TOP / name).read_text(encoding="utf-8")
        pinned = dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;\\]+)", lines, re.MULTILINE))
        for one in declared(*without):
            assert pinned[one.name] in one.specifier, f"{one.name}: run make constraints constraints-min"


def test_what_needs_no_network_loads_no_tensorflow(root: Path) -> None:
    heavy = {"tensorflow", "keras", "dask", "distributed"}
    for statement, unwanted in (
        ("import digitlib", heavy | {"pandas", "sklearn"}),
        ("import digitlib.cli", heavy),
        ("from digitlib import prepare\nprepare('sample', 'runs/x')", heavy),
    ):
        code = f"{statement}\nimport sys; print(sorted(set(sys.modules) & {unwanted!r}))"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "[]", statement


def test_the_table_of_notebooks_names_them_all() -> None:
    table = (TOP / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\[[^]]*\]\((\d\d_\w+\.ipynb)\)", table) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run --data nowhere", "nowhere"),
        ("run --recipe fats", "fast"),
        ("run --data {digits} -p epoch 3", "epochs"),
        ("run --data {digits} -p epochs three", "three"),
        ("run --data {digits} -p image_size 8", "image_size"),
        ("run --data {digits} -p test_size 1.5", "test_size"),
        ("run --data {digits} --out /proc/nowhere/x", "/proc/nowhere/x"),
        ("run --data {digits} --only 42", "42"),
        ("run --data {digits} --only ,", "notebook"),
        ("run --data {digits} -p recipe tiny", "--recipe"),
        ("run --data {digits} -p target_accuracy 2", "target_accuracy"),
        ("run --data {digits} -p mode mvoe", "move"),
        ("run --data {digits} --only 05", "01_data_preparation"),
        ("predict runs/none {digits}", "runs/none"),
        ("predict runs/none {digits} --out x.xlsx", ".csv"),
        ("predict runs/none nowhere/*.png", "nowhere/*.png"),
        ("undo runs/none", "runs/none"),
    ],
)
def test_bad_commands_get_one_sentence_and_leave_nothing(digits: Path, command: str, said: str) -> None:
    result = CliRunner().invoke(main, command.format(digits=digits).split())
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (digits.parent / "runs").exists()
