"""Figures that people read are the figures that were measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import table

TOP = Path(__file__).parents[1]


def test_pages_hold_the_figures_that_were_measured() -> None:
    for path, content in table.pages(table.load()).items():
        assert path.read_text(encoding="utf-8") == content, (
            f"python -m benchmarks.table writes {path.name} anew"
        )


def test_every_program_says_on_what_it_ran() -> None:
    results = table.load()
    assert results
    for about in results.values():
        assert {"cpu", "cores", "versions", "seed", "data", "full", "date"} <= set(about)
    shown = table.table(results)
    assert all(f"- `{name}`: " in shown for name in results)


def test_trials_are_on_three_seeds_and_never_on_the_test_part() -> None:
    rows = table.pd.read_csv(table.RESULTS / "trials.csv")
    chosen = rows[rows["trial"] == "base"]
    assert sorted(chosen["seed"]) == [1, 2, 3]
    assert not [name for name in rows.columns if "test" in name]


@pytest.mark.parametrize(
    "name",
    " ".join(
        re.findall(r"^(?:COMPARISONS \?|FURTHER :|MANY :)= (.*)", (TOP / "Makefile").read_text(), re.M)
    ).split(),
)
def test_make_bench_names_programs_that_exist(name: str) -> None:
    assert (TOP / "benchmarks" / f"{name}.py").exists()
