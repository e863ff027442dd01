"""Bars: where somebody looks, and no second one in a notebook."""

from __future__ import annotations

import sys
import time
from types import ModuleType

import pytest

from digitlib.progress import bar


def closed() -> list[bool]:
    """Open a bar and one within it; say which are closed while both should be open."""
    with (
        bar(2, "Outer", "fold", delay=0.05, mininterval=0) as outer,
        bar(2, "Inner", "step", delay=0.05, mininterval=0) as inner,
    ):
        time.sleep(0.06)
        inner.update()
        outer.update()
        return [bool(outer.disable), bool(inner.disable)]


def test_nobody_watches_nothing_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert closed() == [True, True]
    assert capsys.readouterr() == ("", "")


def test_a_notebook_shows_one_bar_at_a_time_and_a_terminal_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert closed() == [False, False]
    assert "Inner" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert closed() == [False, True]
    shown, errors = capsys.readouterr()
    assert "Outer" in shown
    assert "\n" not in shown  # JupyterLab does not take back a second line
    assert errors == ""
    assert closed() == [False, True]  # the one that was closed has left its place
