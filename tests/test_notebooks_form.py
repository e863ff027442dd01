"""The form that all notebooks have: where what stands, how it is written, and what the outputs hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from papermill.cli import papermill

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


@each_notebook
def test_it_says_first_what_you_do_what_you_need_and_how_long_it_takes(path: Path) -> None:
    title, imports, parameters = read(path).cells[:3]
    assert re.match(rf"# {int(path.name[:2])} · [A-Z][^\n]+\n\nYou ", title.source)
    assert re.search(r"\n\n\*\*You need\*\* .*\*\*It takes\*\* ", title.source)
    assert "digitlib" in imports.source
    assert parameters.metadata.tags == ["parameters"]


@each_notebook
def test_parameters_have_a_type_and_a_comment_and_papermill_knows_them(path: Path) -> None:
    (cell,) = [cell for cell in code_of(path) if "parameters" in cell.metadata.get("tags", [])]
    lines = cell.source.splitlines()
    assert lines[0].startswith(f'run_dir: str = "{"runs/sweep" if path.stem == "11_sweep" else "runs/default"}"')
    assert [line for line in lines if not PARAMETER.fullmatch(line)] == []
    told = CliRunner().invoke(papermill, ["--help-notebook", str(path)])
    assert "Unknown type" not in told.output
    assert len(re.findall(r"^  \w+: \w+ \(default .*?\)\s+\S+", told.output, re.MULTILINE)) == len(lines)


@each_notebook
def test_it_ends_with_a_check_what_you_saw_and_an_exercise(path: Path) -> None:
    cells = read(path).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [line for line in text.splitlines() if line.startswith("## ")][-3:] == HEADINGS
    starts = {name: number for number, cell in enumerate(cells) for name in HEADINGS if name in cell.source}
    check, saw = (cells[starts[name] + 1 :] for name in HEADINGS[1:])
    assert "assert " in check[0].source
    assert [cell.cell_type for cell in saw] == ["code", "markdown"]
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
    nbformat.validate(read(path))


@each_notebook
def test_every_image_has_words(path: Path) -> None:
    shown = [output for cell in code_of(path) for output in cell.outputs if "data" in output]
    html = "".join(str(one.data.get("text/html", "")) for one in shown)
    figures = [one for one in shown if "image/png" in one.data]
    assert [image for image in BeautifulSoup(html, "html.parser").find_all("img") if "alt" not in image.attrs] == []
    texts = [one.metadata.get("image/png", {}).get("alt", "") for one in figures]
    assert [text for text in texts if len(text) <= 20] == []
    assert [one.data["text/plain"] for one in figures] == [f"Figure: {text}" for text in texts]
    assert "![](" not in "".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
