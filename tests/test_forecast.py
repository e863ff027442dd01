"""The time left: silent where nothing is known, and corrected by this machine's own speed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from digitlib.forecast import MEASURED, Forecast, expected_seconds, seconds_before


def executed(path: Path, parameters: dict[str, str], **about: object) -> Path:
    book = nbformat.v4.new_notebook()
    book.metadata.papermill = {"parameters": parameters, "end_time": "2026", "duration": 40.0, **about}
    nbformat.write(book, path)
    return path


def test_an_executed_notebook_tells_its_time_if_it_came_to_its_end_with_the_same_parameters(
    tmp_path: Path,
) -> None:
    given = {"run_dir": "runs/a"}
    assert seconds_before(executed(tmp_path / "01_a.ipynb", given), given) == 40.0
    assert seconds_before(tmp_path / "01_a.ipynb", {"run_dir": "runs/b"}) is None
    assert seconds_before(executed(tmp_path / "02.ipynb", given, exception=True), given) is None
    assert seconds_before(executed(tmp_path / "03.ipynb", given, end_time=None), given) is None
    assert seconds_before(tmp_path / "none.ipynb", given) is None
    (tmp_path / "torn.ipynb").write_text('{"cells": [')
    assert seconds_before(tmp_path / "torn.ipynb", given) is None


def test_what_to_expect_comes_from_the_run_before_or_from_the_run_that_was_measured(tmp_path: Path) -> None:
    usual = {"run_dir": "runs/a", "data": "sample", "recipe": "fast"}
    new = [tmp_path / "01_x.ipynb", tmp_path / "05_y.ipynb"]
    assert expected_seconds(new, [usual, usual]) == [MEASURED["01"], MEASURED["05"]]
    for other in ({"recipe": "accurate"}, {"data": "scans"}, {"epochs": 3}):
        assert expected_seconds(new, [usual | other] * 2) is None
        for path in new:
            executed(path, usual | other)
        assert expected_seconds(new, [usual | other] * 2) == [40.0, 40.0]


def test_the_time_left() -> None:
    forecast = Forecast([10.0, 1.0, 60.0])
    assert forecast.left() == 71.0
    assert forecast.left(since=4.0) == 67.0
    assert forecast.left(since=1000.0) == 61.0
    forecast.ended(30.0)  # three times slower than expected
    assert forecast.left() == pytest.approx(183.0)
    assert forecast.said() == ", about 3 min left"
    forecast.ended(3.0)
    assert forecast.said(since=135.0) == ", about 50 s left"
    forecast.ended(180.0)
    assert forecast.said() == ""


def test_a_forecast_that_knows_nothing_is_silent() -> None:
    forecast = Forecast(None)
    forecast.ended(100.0)
    assert forecast.said() == ""
