"""The command line answers before anything heavy is loaded: its first line, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from digitlib.cli import main

HEAVY = {"tensorflow", "keras", "pandas", "numpy", "nbformat", "papermill", "dask"}


def test_clicks_own_completion_knows_the_commands_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom digitlib.cli import main\ntry:\n    main(prog_name='digitlib')\n"
        f"finally:\n    print({HEAVY} & set(sys.modules))"
    )
    asked = {"_DIGITLIB_COMPLETE": "bash_complete", "COMP_WORDS": "digitlib ", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked)
    *commands, loaded = done.stdout.splitlines()
    assert set(commands) == {f"plain,{name}" for name in main.commands}
    assert loaded == "set()"


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "-p", "recipe", "tiny"], "-p recipe can't be used: give it as --recipe"),
        (["run", "--only", " , "], "has no numbers"),
        (["run", "-p", "epoks", "3"], "no notebook has a parameter 'epoks': did you mean 'epochs'?"),
        (["run", "-p", "gallery", "-1"], "gallery is -1: it must be an integer ≥ 0"),
        (["run", "-p", "test_size", "2"], "test_size is 2: "),
        (["run", "--recipe", "fsat"], "'fast'"),
        (["run", "--only", "08"], "there is no notebook '08'"),
        (["undo", "runs/none"], "runs/none"),
    ],
)
def test_what_cannot_work_gets_one_sentence_and_makes_nothing(root: object, words: list[str], said: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert said in done.output.splitlines()[-1], done.output
    assert not list(root.glob("runs/*/*"))
