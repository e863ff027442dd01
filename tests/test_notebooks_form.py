"""The form that all notebooks have: where what stands, how it is written, and what the outputs hold."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from papermill.cli import papermill

from tools import guards
from tools.count_calls import count_calls, count_notebook

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
SOLUTIONS = sorted(FOLDER.glob("solutions/*.ipynb"))
SERIES = [path for path in NOTEBOOKS if path.name < "08"]
LESSONS = [path for path in NOTEBOOKS if path.name < "10"]
HEADINGS = ["## What the classic notebook did here", "## Check", "## What you saw", "## Exercises", "## Quiz"]
PARAMETER = re.compile(r"\w+: (str|int|float|bool|list|dict) = [^#=]+  # [^=]+")
TAUGHT = {
    "01": {"numpy", "sklearn"},
    "02": {"pandas", "seaborn"},
    "03": {"numpy", "matplotlib"},
    "04": {"numpy", "keras"},
    "05": {"keras", "matplotlib"},
    "06": {"sklearn", "seaborn"},
    "07": {"numpy", "matplotlib"},
    "08": {"keras"},
    "09": {"keras", "matplotlib"},
}
"""Packages that a notebook teaches, and so imports itself."""

EXPLAINED = {
    "overfit": r"overfit\w*", "filter": r"filters?", "kernel": r"kernels?", "feature map": r"feature maps?",
    "gradient": r"gradients?", "softmax": r"softmax", "cross-entropy": r"cross-entropy", "stride": r"strides?",
    "baseline": r"baselines?",
}  # fmt: skip
"""Words of the field that are bold, and explained, where a reader of the series meets them first."""

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_file = pytest.mark.parametrize("path", NOTEBOOKS + SOLUTIONS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tagged(path: Path, tag: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if tag in cell.metadata.get("tags", [])]


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


@each_notebook
def test_it_says_first_what_you_learn_and_need_and_how_long_it_takes(path: Path) -> None:
    title, imports, parameters = read(path).cells[:3]
    assert re.match(rf"# {int(path.name[:2])} · [A-Z][^\n]+\n\nYou ", title.source)
    assert re.search(r"\n\n\*\*You will learn\*\*[^\n]*\n\n?([-*] [^\n]+\n){3}\n\*\*You need\*\* ", title.source)
    assert re.search(r"\n\n\*\*You need\*\* [^\n]*\*\*It takes\*\* [^\n]*\n\nStart [^\n]*$", title.source)
    assert "digitlib" in imports.source
    assert parameters.metadata.tags == ["parameters"]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_it_imports_what_it_teaches(path: Path) -> None:
    statements = ast.parse(read(path).cells[1].source).body
    names = [node.module or "" for node in statements if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names]
    assert TAUGHT[path.name[:2]] - {name.partition(".")[0] for name in names} == set()


@each_notebook
def test_parameters_have_a_type_and_a_comment_and_papermill_knows_them(path: Path) -> None:
    (cell,) = tagged(path, "parameters")
    lines = cell.source.splitlines()
    assert lines[0].startswith(f'run_dir: str = "{"runs/sweep" if path.stem == "11_sweep" else "runs/default"}"')
    assert [line for line in lines if not PARAMETER.fullmatch(line)] == []
    told = CliRunner().invoke(papermill, ["--help-notebook", str(path)])
    assert "Unknown type" not in told.output
    assert len(re.findall(r"^  \w+: \w+ \(default .*?\)\s+\S+", told.output, re.MULTILINE)) == len(lines)


@each_notebook
def test_it_ends_with_a_check_what_you_saw_exercises_and_a_quiz(path: Path) -> None:
    cells = read(path).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [line for line in text.splitlines() if line.startswith("## ")][-5:] == HEADINGS
    starts = {name: number for number, cell in enumerate(cells) for name in HEADINGS if name in cell.source}
    check, saw, _, quiz = (cells[starts[name] + 1 :] for name in HEADINGS[1:])
    assert "assert " in check[0].source
    assert [cell.cell_type for cell in saw[:2]] == ["code", "markdown"]
    assert printed(saw[0]).strip()
    assert re.search(r"\*\*Take-away:\*\* \S", saw[1].source)
    (answers,) = tagged(path, "answers")
    questions = "\n".join(cell.source for cell in cells[starts["## Quiz"] : cells.index(answers)])
    assert len(re.findall(r"^\d+\. ", questions, re.MULTILINE)) >= 3
    assert re.search(r"<details><summary>Answers</summary>\n\n.+\n\n</details>", answers.source, re.DOTALL)
    following = [*NOTEBOOKS, FOLDER / "README.md"][NOTEBOOKS.index(path) + 1]
    assert re.search(rf"Next: \[[^]]+\]\({re.escape(following.name)}\)\.$", quiz[-1].source.rstrip())
    assert quiz[-1].cell_type == "markdown"


@each_notebook
def test_each_exercise_has_a_starter_and_a_check_that_waits_for_an_answer(path: Path) -> None:
    cells, checks = read(path).cells, tagged(path, "check-exercise")
    assert len(checks) >= 2
    for number, check in enumerate(checks, 1):
        text, starter = cells[cells.index(check) - 2 : cells.index(check)]
        assert f"**Exercise {number}.** " in text.source
        assert starter.metadata.tags == ["exercise"]
        assert f"answer_{number} = None" in starter.source
        assert f"answer_{number}" in check.source
        assert printed(check) == f"Exercise {number}: not done yet.\n"


@each_notebook
def test_its_solutions_pass_the_same_checks(path: Path) -> None:
    solutions = FOLDER / "solutions" / f"{path.name[:2]}_solutions.ipynb"
    checks = tagged(solutions, "check-exercise")
    assert [cell.source for cell in checks] == [cell.source for cell in tagged(path, "check-exercise")]
    assert [printed(cell) for cell in checks] == [f"Exercise {n}: right.\n" for n in range(1, len(checks) + 1)]
    solved = tagged(solutions, "solution")
    assert [f"answer_{n} = " in cell.source for n, cell in enumerate(solved, 1)] == [True] * len(checks)
    if path.name >= "05":  # their figures depend on a network, which each machine trains a little differently
        assert all("nbval-ignore-output" in cell.metadata.tags for cell in solved)
    (parameters,) = tagged(solutions, "parameters")
    assert parameters.source.startswith("run_dir: str = ")


def test_there_are_thirty_exercises_and_solutions_only_of_these() -> None:
    assert sum(len(tagged(path, "check-exercise")) for path in NOTEBOOKS) >= 30
    assert [path.name[:2] for path in SOLUTIONS] == [path.name[:2] for path in NOTEBOOKS]


def test_the_series_does_each_step_by_hand_as_well() -> None:
    plain, own = map(sum, zip(*map(count_notebook, SERIES), strict=True))
    assert plain >= 2 * own, f"{plain} calls of plain packages, {own} of digitlib: see tools/count_calls.py"
    proofs = {path.stem: tagged(path, "proof") for path in SERIES}
    assert [name for name, cells in proofs.items() if not cells] == []
    assert sum(map(len, proofs.values())) >= 15
    for cell in (cell for cells in proofs.values() for cell in cells):
        assert re.search(r"\bassert[ _]", cell.source)
        assert printed(cell).strip()


def test_cells_of_the_lessons_are_short() -> None:
    lines = {f"{path.stem} {cell.id}": cell.source.count("\n") + 1 for path in LESSONS for cell in code_of(path)}
    assert {place: count for place, count in lines.items() if count > 25} == {}


@pytest.mark.parametrize("word", EXPLAINED)
def test_a_word_of_the_field_is_bold_where_it_is_met_first(word: str) -> None:
    texts = [(path, cell.source) for path in LESSONS for cell in read(path).cells[1:] if cell.cell_type == "markdown"]
    for path, text in texts:
        # Headings, code and addresses don't explain; the first cell says only what will be explained.
        prose = re.sub(r"^#[^\n]*$|```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.MULTILINE | re.DOTALL)
        if found := re.search(rf"\b{EXPLAINED[word]}\b", prose, re.IGNORECASE):
            bold = [match.span() for match in re.finditer(r"\*\*[^*]+\*\*", prose)]
            around = prose[max(0, found.start() - 60) : found.end() + 60]
            assert any(start < found.start() < end for start, end in bold), f"{path.stem}: {around}"
            return
    pytest.fail("it is not explained at all")


def test_calls_are_counted_for_the_package_that_a_name_comes_from() -> None:
    code = """
import matplotlib.pyplot as plt, keras
from digitlib import Classifier
figure, axes = plt.subplots(1, 2)
for ax in axes.flat:
    ax.plot([1])
clf = Classifier.load("runs/a")
rows = [row.sum() for row in clf.predict("scans")]
model = keras.Sequential([
    keras.layers.Dense(1),
])
model.fit(rows)
model = clf.model()
model.fit(len(rows))
"""
    assert count_calls(code) == {"matplotlib": 2, "keras": 3, "digitlib": 5}


@each_file
def test_it_is_small_executed_and_without_noise(path: Path) -> None:
    assert list(guards.notebooks(path)) == []
    outputs = [output for cell in code_of(path) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert "Warning" not in json.dumps(outputs)
    nbformat.validate(read(path))


@each_file
def test_every_image_has_words(path: Path) -> None:
    shown = [output for cell in code_of(path) for output in cell.outputs if "data" in output]
    html = "".join(str(one.data.get("text/html", "")) for one in shown)
    figures = [one for one in shown if "image/png" in one.data]
    assert [image for image in BeautifulSoup(html, "html.parser").find_all("img") if "alt" not in image.attrs] == []
    texts = [one.metadata.get("image/png", {}).get("alt", "") for one in figures]
    assert [text for text in texts if len(text) <= 20] == []
    assert [one.data["text/plain"] for one in figures] == [f"Figure: {text}" for text in texts]
    assert "![](" not in "".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
