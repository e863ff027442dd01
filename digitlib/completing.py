"""What a shell offers when TAB is pressed behind `digitlib`; click does the rest."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from digitlib.errors import DigitError
from digitlib.project import project_root
from digitlib.recipes import RECIPES

SHELLS = ("bash", "zsh", "fish")

SIGNS = ("source.json", "recipe.json", "best_model.keras")
"""A folder below ``runs/`` with one of these is worth offering."""


def complete_recipe(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the recipes."""
    return [CompletionItem(name) for name in RECIPES if name.startswith(typed)]


def complete_run(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the runs below ``runs/``, else files and folders."""
    try:
        folders = sorted({path.parent for sign in SIGNS for path in project_root().glob(f"runs/*/{sign}")})
    except (OSError, DigitError):
        folders = []
    names = [name for folder in folders if (name := f"runs/{folder.name}").startswith(typed)]
    return [CompletionItem(name) for name in names] or complete_file(_, __, typed)


def complete_data(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the data sets that come along, else files and folders."""
    known = [CompletionItem(name) for name in ("sample", "mnist") if typed and name.startswith(typed)]
    return known or complete_file(_, __, typed)


def complete_file(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Leave it to the shell, which knows files and folders best."""
    return [CompletionItem(typed, type="file")]


def script_for(command: click.Command, shell: str) -> str:
    """Return the lines with which a shell asks `digitlib` for completions."""
    completer = get_completion_class(shell)
    if completer is None:
        raise DigitError(f"no completion for {shell!r}: choose one of {', '.join(SHELLS)}.")
    return completer(command, {}, "digitlib", "_DIGITLIB_COMPLETE").source()
