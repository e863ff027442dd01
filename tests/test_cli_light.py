"""The command line answers before anything heavy is loaded: its first line, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from digitlib.completing import SHELLS

from digitlib.cli import main
from digitlib.training.recipes import RECIPES

HEAVY = {"tensorflow", "keras", "pandas", "numpy", "nbformat", "papermill", "dask"}


def complete(words: str) -> list[str]:
    """Return what bash is offered behind `words`, as ``type,value``."""
    number = len(words.split(" ")) - 1
    asked = {"_DIGITLIB_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    return CliRunner().invoke(main, [], env=asked, prog_name="digitlib").output.splitlines()


def test_a_shell_completes_commands_recipes_runs_and_files(root: Path) -> None:
    (root / "runs" / "mine").mkdir(parents=True)
    (root / "runs" / "mine" / "recipe.json").touch()
    (root / "runs" / "other").mkdir()
    assert set(complete("digitlib ")) >= {"plain,run", "plain,predict", "plain,doctor"}
    assert complete("digitlib run --recipe ") == [f"plain,{name}" for name in RECIPES]
    assert complete("digitlib run --recipe ac") == ["plain,accurate"]
    assert complete("digitlib run --data sa") == ["plain,sample"]
    assert complete("digitlib undo ") == ["plain,runs/mine"]
    assert complete("digitlib predict runs/m") == ["plain,runs/mine"]
    assert complete("digitlib predict runs/mine sc") == ["file,sc"]
    assert complete("digitlib predict models/x") == ["file,models/x"]


def test_completing_loads_nothing_heavy(root: Path) -> None:
    code = (
        "import sys\nfrom digitlib.cli import main\ntry:\n    main(prog_name='digitlib')\n"
        f"finally:\n    print({HEAVY} & set(sys.modules))"
    )
    asked = {
        "_DIGITLIB_COMPLETE": "bash_complete",
        "COMP_WORDS": "digitlib predict runs/",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked
    )
    assert done.stdout.splitlines() == ["file,runs/", "set()"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_lines_for_a_shell(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_DIGITLIB_COMPLETE={shell}_complete" in result.output


def test_on_windows_a_pattern_reaches_predict_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(click.Group, "main", lambda self, *args, **options: asked.update(options))
    for command, replaced in (("predict", False), ("read", True)):
        monkeypatch.setattr(sys, "argv", ["digitlib", command, "runs/mine", "scans/*.png"])
        main()
        assert asked["windows_expand_args"] is replaced


def test_a_run_says_what_it_is_about_to_do_before_anything_heavy_is_loaded() -> None:
    code = (
        "import sys, click\nfrom digitlib.cli import main\nsaid = click.echo\n"
        "def first(text, **options):\n"
        f"    said(text, **options); sys.exit(3 if {HEAVY} & set(sys.modules) else 4)\n"
        "click.echo = first\nmain(['run', '--data', 'scans', '--out', 'runs/x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["digitlib run: scans, recipe fast, into runs/x"]
    assert done.returncode == 4
