"""What is said about the public names: in their docstrings, by their examples, and on the site."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import digitlib

TOP = Path(__file__).parents[1]
NOT_ASKED = {"ES01", "EX01", "SA01"}
"""A longer summary, an example and "See Also" for each name: where they help, they are there."""

OUR_STYLE = {"PR04", "PR08", "RT02", "RT04"}
"""A description may begin with a unit or dtype in small letters, and parameters that need no type stand in one line."""


def faults_of(name: str) -> list[str]:
    value = getattr(digitlib, name)
    validate = pytest.importorskip("numpydoc.validate").validate  # of the extra `docs`
    said = [
        f"{code} {told}"
        for code, told in validate(f"digitlib.{name}")["errors"]
        if code not in NOT_ASKED | OUR_STYLE
    ]
    if hasattr(
        value, "__dataclass_fields__"
    ):  # numpydoc: attributes that are parameters too need stand but once
        documented = set(re.findall(r"^(\w+(?:, \w+)*) :", inspect.getdoc(value) or "", re.MULTILINE))
        names = {one for group in documented for one in group.split(", ")}
        said = [
            text
            for text in said
            if not text.startswith("PR01") or not set(value.__dataclass_fields__) <= names
        ]
    if inspect.isfunction(value) and "raise DigitError" in inspect.getsource(value):
        said += (
            []
            if "Raises\n------\nDigitError" in (inspect.getdoc(value) or "")
            else ["DigitError is not told of"]
        )
    return said


@pytest.mark.filterwarnings("ignore:Widget:DeprecationWarning")
@pytest.mark.parametrize("name", digitlib.__all__)
def test_docstrings_say_what_numpydoc_asks_for(name: str) -> None:
    assert faults_of(name) == []


@pytest.mark.parametrize("module", sorted(path.stem for path in (TOP / "digitlib").glob("[a-z]*.py")))
def test_examples_in_docstrings_come_out_as_written(module: str, root: Path) -> None:
    text = (TOP / "digitlib" / f"{module}.py").read_text(encoding="utf-8")
    if ">>>" in text:
        result = doctest.testmod(import_module(f"digitlib.{module}"))
        assert result.attempted > 0
        assert result.failed == 0


def test_each_public_name_stands_once_and_where_the_list_says() -> None:
    names = [name for names in digitlib._HOME.values() for name in names]
    assert sorted(names) == digitlib.__all__ == sorted(set(names))
    for module, group in digitlib._HOME.items():
        for name in group:
            assert getattr(digitlib, name).__module__ == f"digitlib.{module}"


def test_the_version_is_the_same_wherever_it_is_told() -> None:
    citation = yaml.safe_load((TOP / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.findall(
        r"^## (\S+) – (\S+)$", (TOP / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )[0]
    assert digitlib.__version__ == citation["version"] == newest[0]
    assert str(citation["date-released"]) == newest[1]
    told = subprocess.run(
        [sys.executable, "-m", "digitlib", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip().endswith(digitlib.__version__)


def test_importing_digitlib_and_its_commands_loads_no_tensorflow_nor_dask() -> None:
    code = "import digitlib.cli, sys; print(sorted(set(sys.modules) & {'tensorflow', 'keras', 'dask', 'distributed'}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    options = ["-n", "-W", "--keep-going", "-q", "-c", str(TOP / "docs/site"), "-d", str(folder / "doctrees")]
    subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(TOP), str(folder / "html")], check=True, cwd=TOP
    )
    return folder / "html"


@pytest.mark.slow
def test_the_site_has_every_notebook_and_public_name_and_no_dead_link(site: Path) -> None:
    checked = subprocess.run(
        [sys.executable, TOP / "tools/check_site.py", site], capture_output=True, text=True, cwd=TOP
    )
    assert checked.returncode == 0, checked.stdout
    for module, names in digitlib._HOME.items():
        page = (site / f"docs/site/api/{module}.html").read_text(encoding="utf-8")
        for name in names:
            assert f'id="digitlib.{name}"' in page, name
    for path in (TOP / "notebooks").glob("*.ipynb"):
        assert (site / f"notebooks/{path.stem}.html").exists()


def test_what_is_wrong_with_a_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x"><a href="b.html#y">1</a><a href="none.html">2</a><a href="#x">3</a>'
        '<script src="https://cdn.example.org/x.js"></script><a href="https://example.org/">4</a>'
        '<a href="http://">5</a><a href="b.html">6</a></p>'
    )
    (tmp_path / "b.html").write_text("<p></p>")
    (tmp_path / "c.css").write_text("@import url(https://fonts.example.org/x.css);")
    tool = [sys.executable, TOP / "tools/check_site.py", tmp_path]
    told = subprocess.run(tool, capture_output=True, text=True, cwd=TOP)
    assert told.returncode == 1
    assert told.stdout.splitlines() == [
        "a.html: b.html#y: no such place on the page",
        "a.html: http://: no address",
        "a.html: https://cdn.example.org/x.js: fetched from elsewhere",
        "a.html: none.html: no such file",
        "c.css: fetches from elsewhere",
    ]
