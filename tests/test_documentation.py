"""What is said about the public names: in their docstrings, by their examples, and on the site."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import matplotlib.pyplot as plt
import pytest
import yaml
from browsing import NO_BROWSER, browser, wait_for

import digitlib

TOP = Path(__file__).parents[1]
MODULES = [one.name for one in pkgutil.walk_packages(digitlib.__path__, "digitlib.") if "__main__" not in one.name]
NAMES = [f"digitlib.{chapter}.{name}" for chapter in digitlib.CHAPTERS for name in getattr(digitlib, chapter).__all__]

ASKED = {"GL08", "SS01", "SS03", "SS05", "PR02", "EX01"}
"""Of numpydoc's rules: that there is a docstring, its form, nothing in it that is not there, and an example."""


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_have_the_form_that_numpydoc_asks_for(name: str) -> None:
    chapter, _, short = name.rpartition(".")
    value = getattr(importlib.import_module(chapter), short)
    validate = pytest.importorskip("numpydoc.validate").validate  # of the extra `docs`
    if not callable(value):
        pytest.skip("a constant")
    home = f"{value.__module__}.{short}"
    said = [f"{code} {told}" for code, told in validate(home)["errors"] if code in ASKED]
    assert said == []
    assert len((inspect.getdoc(value) or "").partition("\n")[0]) < 132


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_come_out_as_written(module: str, root: Path) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
    plt.close("all")


def test_public_names_are_few_at_the_top_and_reached_through_one_chapter_each() -> None:
    assert len(digitlib.__all__) <= 45
    names = [name.rpartition(".")[2] for name in NAMES]
    assert sorted(names) == sorted(set(names))
    assert not [name for name in digitlib.__all__ if not hasattr(digitlib, name)]


def test_the_version_is_the_same_wherever_it_is_told() -> None:
    citation = yaml.safe_load((TOP / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    number, date = re.findall(r"^## (\S+) – (\S+)$", changes, re.MULTILINE)[0]
    assert digitlib.__version__ == citation["version"] == number
    assert str(citation["date-released"]) == date


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    options = ["-n", "-W", "--keep-going", "-q", "-c", str(TOP / "docs/site"), "-d", str(folder / "doctrees")]
    subprocess.run([sys.executable, "-m", "sphinx", *options, str(TOP), str(folder / "html")], check=True, cwd=TOP)
    return folder / "html"


@pytest.mark.slow
def test_the_site_has_every_notebook_and_public_name_and_no_dead_link(site: Path) -> None:
    checked = subprocess.run([sys.executable, TOP / "tools/check_site.py", site], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    for name in NAMES:
        page = site / "docs/site/api" / f"{name.split('.')[1]}.html"
        assert f'id="{name}"' in page.read_text(encoding="utf-8"), name
    for path in (TOP / "notebooks").glob("*.ipynb"):
        assert (site / f"notebooks/{path.stem}.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(bool(NO_BROWSER), reason=NO_BROWSER)
def test_the_search_finds_the_right_page_first(site: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as driver:
        for query, page in {
            "own network": "own_network",
            "predict an array": "predict_an_array",
            "class weight": "class_weights",
            "own augmentation": "own_augmentation",
            "predict without TensorFlow": "predict_without_tensorflow",
        }.items():
            driver.get(f"{(site / 'search.html').as_uri()}?q={quote(query)}")
            first = wait_for(lambda: driver.find_elements("css selector", "#search-results li a"), 60)[0]
            assert first.get_attribute("href").partition("?")[0].endswith(f"/docs/tasks/{page}.html"), query


def test_what_is_wrong_with_a_site_is_found(tmp_path: Path) -> None:
    links = "".join(f'<a href="{link}"></a>' for link in ("b.html#y", "none.html", "#x", "https://example.org/"))
    (tmp_path / "a.html").write_text(f'<p id="x">{links}<script src="https://example.org/x.js"></script>')
    (tmp_path / "b.html").write_text("<p></p>")
    tool = [sys.executable, TOP / "tools/check_site.py", tmp_path]
    told = subprocess.run(tool, capture_output=True, text=True, cwd=TOP).stdout.splitlines()
    assert [line.split(": ")[1] for line in told] == ["b.html#y", "https://example.org/x.js", "none.html"]
