"""Notebooks start where nothing is installed: the links, and the lines that install what is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from packaging.requirements import Requirement

from tools import address

TOP = Path(__file__).parents[1]
NOTEBOOKS = sorted((TOP / "notebooks").glob("[0-9]*.ipynb"))
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def links(text: str) -> list[str]:
    line = re.search(r"^Start without installing.*$", text, re.MULTILINE)
    assert line
    return re.findall(r"\]\((\S+)\)", line[0])


def imports(path: Path) -> str:
    return str(nbformat.read(path, as_version=4).cells[1].source)


class Shell:
    """Stands for IPython: it keeps what it is asked to do."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def run_line_magic(self, name: str, line: str) -> None:
        self.done.append(f"{name} {line}")

    def system(self, line: str) -> None:
        self.done.append(line)


@each_notebook
def test_each_notebook_has_links_to_itself(path: Path) -> None:
    found = links(nbformat.read(path, as_version=4).cells[0].source)
    assert len(found) == 3
    for link in found:
        place = re.search(r"notebooks/\w+\.ipynb$", unquote(link))
        assert place
        assert TOP / place[0] == path
        assert PROJECT["urls"]["Repository"].removeprefix("https://github.com/") in link


def test_links_of_readme_lead_to_a_notebook_that_exists() -> None:
    for link in links((TOP / "README.md").read_text(encoding="utf-8")):
        place = re.search(r"notebooks/\w+\.ipynb$", unquote(link))
        assert place
        assert (TOP / place[0]).exists()


@each_notebook
def test_it_installs_what_is_missing_and_does_what_it_needs_first(path: Path) -> None:
    shell, first = Shell(), imports(path).partition("\n\n")[2].partition("\n\n")[0]
    exec(first, {"find_spec": lambda name: None, "get_ipython": lambda: shell})
    install, *run = shell.done
    wanted = Requirement(re.fullmatch(r'pip install -q "(.+)"', install)[1])
    assert (wanted.name, wanted.url) == ("digitlib", f"git+{address.address()}@main")
    assert wanted.extras <= set(PROJECT["optional-dependencies"])
    assert "lessons" in wanted.extras
    before = address.needed()[path.name[:2]]
    assert run == ([f"digitlib run --only {','.join(before)}"] if before else [])


@each_notebook
def test_it_does_nothing_where_digitlib_is_there(path: Path) -> None:
    shell, code = Shell(), imports(path)
    exec("\n\n".join(code.split("\n\n")[:2]), {"get_ipython": lambda: shell})
    assert shell.done == []


def test_what_the_tool_writes_is_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "pyproject.toml",
        "README.md",
        "notebooks/README.md",
        *(f"notebooks/{path.name}" for path in NOTEBOOKS),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((TOP / name).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    monkeypatch.setattr(address, "TOP", tmp_path)
    address.write()
    assert [path.name for path, content in before.items() if path.read_bytes() != content] == []
    changed = (tmp_path / "pyproject.toml").read_text("utf-8").replace("/OWNER/digits", "/someone/else")
    (tmp_path / "pyproject.toml").write_text(changed, "utf-8")
    address.write()
    assert "OWNER" not in "".join(path.read_text("utf-8") for path in before)
    assert "github.com/someone/else@main" in imports(tmp_path / "notebooks" / NOTEBOOKS[0].name)
