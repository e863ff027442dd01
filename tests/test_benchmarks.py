"""Figures that people read are the figures that were measured."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import table

TOP = Path(__file__).parents[1]


def test_pages_hold_the_figures_that_were_measured() -> None:
    for path, content in table.pages(table.load()).items():
        assert path.read_text(encoding="utf-8") == content, f"python -m benchmarks.table writes {path.name}"


def test_trials_are_on_development_images_and_never_on_the_test_set() -> None:
    rows = table.pd.read_csv(table.RESULTS / "trials.csv")
    assert rows["dev_errors"].between(0, 28_000).all()
    assert not [name for name in rows.columns if "test" in name]


def test_make_bench_and_the_table_name_programs_that_exist() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:COMPARISONS \?|FURTHER :|MANY :)= (.*)", makefile, re.MULTILINE)
    names = {name for line in listed for name in line.split()} | {program for program, *_ in table.ROWS}
    assert names
    assert [name for name in names if not (TOP / "benchmarks" / f"{name}.py").exists()] == []
