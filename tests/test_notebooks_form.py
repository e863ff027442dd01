"""The form that all notebooks have: where what stands, how it is written, and what the outputs hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from papermill.cli import papermill

from digitlib.pipeline.report import write_report
from digitlib.run import Run
from tools import guards

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
HEADINGS = ["## What the classic notebook did here", "## Check", "## What you saw"]
PARAMETER = re.compile(r"\w+: (str|int|float|bool|list|dict) = [^#=]+  # [^=]+")
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def data_of(path: Path) -> list[dict[str, Any]]:
    return [output.get("data", {}) for cell in code_of(path) for output in cell.outputs]


@each_notebook
def test_it_says_first_what_you_do_what_you_need_and_how_long_it_takes(path: Path) -> None:
    title, imports, parameters = read(path).cells[:3]
    assert re.match(rf"# {int(path.name[:2])} · [A-Z][^\n]+\n\nYou ", title.source)
    assert re.search(r"\n\n\*\*You need\*\* .*\*\*It takes\*\* ", title.source)
    assert "import digitlib as d" in imports.source.splitlines()
    assert "from digitlib import" not in imports.source
    assert parameters.metadata.tags == ["parameters"]


@each_notebook
def test_parameters_have_a_type_and_a_comment(path: Path) -> None:
    (cell,) = [cell for cell in code_of(path) if "parameters" in cell.metadata.get("tags", [])]
    lines = cell.source.splitlines()
    folder, of = ("runs/sweep", "the sweep") if path.stem == "11_sweep" else ("runs/default", "this run")
    assert lines[0] == f'run_dir: str = "{folder}"  # folder of {of}, relative to the top of the project'
    for line in lines:
        assert PARAMETER.fullmatch(line), line


@each_notebook
def test_papermill_can_tell_what_the_parameters_are(path: Path) -> None:
    told = CliRunner().invoke(papermill, ["--help-notebook", str(path)])
    assert told.exit_code == 0
    assert "Unknown type" not in told.output
    parameters = re.findall(r"^  \w+: \w+ \(default .*?\)\s+\S+", told.output, re.MULTILINE)
    (cell,) = [cell for cell in code_of(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == len(cell.source.splitlines())


@each_notebook
def test_it_ends_with_a_check_what_you_saw_and_an_exercise(path: Path) -> None:
    cells = read(path).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [line for line in text.splitlines() if line.startswith("## ")][-3:] == HEADINGS
    starts = {name: number for number, cell in enumerate(cells) for name in HEADINGS if name in cell.source}
    check, saw = (cells[starts[name] + 1 :] for name in HEADINGS[1:])
    assert check[0].source.count("assert ") >= 1
    assert [cell.cell_type for cell in saw] == ["code", "markdown"]
    assert saw[0].outputs
    exercise = r"\*\*Try:\*\* .+\n\n<details><summary>Answer</summary>\n\n.+\n\n</details>\n\n.+"
    assert re.fullmatch(exercise, saw[1].source, re.DOTALL)
    following = [*NOTEBOOKS, FOLDER / "README.md"][NOTEBOOKS.index(path) + 1]
    assert f"({following.name})" in saw[1].source.rpartition("</details>")[2]


@each_notebook
def test_it_is_small_executed_and_without_noise(path: Path) -> None:
    assert list(guards.notebooks(path)) == []
    outputs = [output for cell in code_of(path) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "Warning" not in json.dumps(outputs)


@each_notebook
def test_every_picture_has_words(path: Path) -> None:
    texts = [image.attrs.get("alt", "") for data in data_of(path) for image in images_in(data)]
    assert all(len(text) > 20 for text in texts), texts
    # A bare picture would be one without words: no program reads a text beside it. `digitlib.show` gives both.
    assert not [data for data in data_of(path) if "image/png" in data]
    markdown = "".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    assert "![](" not in markdown


def images_in(data: dict[str, Any]) -> list[Any]:
    return BeautifulSoup(data.get("text/html", ""), "html.parser").find_all("img")


@each_notebook
def test_its_metadata_suits_every_program(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_the_series_is_small() -> None:
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 1_000_000


def test_the_report_leaves_no_picture_without_words(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(root / "runs/default")
    run.folder.mkdir(parents=True)
    page = BeautifulSoup(write_report(run, NOTEBOOKS[:7]).read_text(encoding="utf-8"), "html.parser")
    texts = [image.attrs["alt"] for image in page.find_all("img")]
    assert len(texts) >= 12
    assert all(len(text) > 20 for text in texts)
    assert "No description has been provided" not in str(page)
    assert "Alternative text" not in caplog.text
