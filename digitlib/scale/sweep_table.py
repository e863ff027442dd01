"""The table of a sweep: a row a run, best validation accuracy first, and nothing in it from the test part."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from digitlib.errors import DigitError
from digitlib.files import display_path, read_table, resolve, write_table
from digitlib.run import Run, open_run, read_history
from digitlib.scale.cluster import Outcome
from digitlib.scale.sweep_space import Settings, Space
from digitlib.training.recipes import get_recipe, load_recipe

RESULTS = (
    "validation_accuracy", "validation_low", "validation_high", "n_validation", "best_epoch", "epochs_done", "seconds",
    "parameters", "threads",
)  # fmt: skip
"""Numbers of the table."""

TABLE = "sweep.csv"


def row_of(name: str, settings: Settings | None, threads: int, state: str) -> dict[str, Any]:
    """Return the row of a run that has no results yet, or not even settings."""
    changes = dict(settings.changes) if settings else {}
    changes = {
        name: "x".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in changes.items()
    }
    row = {"run": name, "state": state, "recipe": settings.recipe if settings else "", "seed": "", **changes}
    return row | dict.fromkeys(RESULTS) | {"threads": threads, "reason": ""}


def outcome_of(ended: Outcome) -> dict[str, Any]:
    """Return state, results and reason of a run that has ended."""
    if ended.error is None:
        return {"state": "done", **ended.value}
    text = str(ended.error).strip().partition("\n")[0]
    named = text if isinstance(ended.error, DigitError) else f"{type(ended.error).__name__}: {text}"
    return {"state": "failed", "reason": named[:300]}


def write_rows(folder: Run, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``sweep.csv``: settings first, then results, the reason last."""
    table = pd.DataFrame(list(rows.values()))
    settings = [name for name in table if name not in (*RESULTS, "reason")]
    write_table(folder / TABLE, table[[*settings, *RESULTS, "reason"]])


def read_sweep(out: str | os.PathLike[str] | Run) -> pd.DataFrame:
    """Return the table of a sweep, best validation accuracy first.

    Parameters
    ----------
    out : str, path-like or Run
        The sweep's folder.

    Returns
    -------
    pandas.DataFrame
        A row a run: ``run`` (its folder), ``state`` ("done", "pruned", "failed" or "waiting"), ``recipe``, ``seed`` and
        the other settings, ``validation_accuracy`` (0 to 1) with ``validation_low`` and ``validation_high`` (95 %,
        Wilson), ``n_validation``, ``best_epoch``, ``epochs_done``, ``seconds`` (of training), ``parameters``, ``threads``,
        ``reason``. Nothing in it comes from the test part.

    Raises
    ------
    DigitError
        If there is none.
    """
    folder = out if isinstance(out, Run) else open_run(out)
    if not (folder / TABLE).exists():
        raise DigitError(f"{folder} has no {TABLE}: run `digitlib sweep SPACE.yml --out {folder}` first.")
    table = read_table(folder / TABLE)
    for name in table.columns.intersection(RESULTS):
        table[name] = pd.to_numeric(table[name])
    return table.sort_values("validation_accuracy", ascending=False, kind="stable", ignore_index=True)


def is_unfinished(out: str | os.PathLike[str], space: Space) -> bool:
    """Tell whether a folder waits for the runs of a space: it has no sweep yet, or one of just these that was stopped.

    Parameters
    ----------
    out : str or path-like
        The sweep's folder.
    space : Space
        Every combination of it, as from `digitlib.scale.sweep_space.check_space`.

    Returns
    -------
    bool
        False for a finished sweep, and for one of other runs.
    """
    folder = open_run(out)
    if not (folder / TABLE).exists():
        return True
    table = read_sweep(folder)
    asked = {settings.key for settings in space.combinations()}
    return asked <= set(table["run"]) and bool((table["state"] == "waiting").any())


def best_run(out: str | os.PathLike[str]) -> Run:
    """Return the run with the highest validation accuracy; of equal ones the first in the table.

    Parameters
    ----------
    out : str or path-like
        The sweep's folder.

    Returns
    -------
    Run
        In its own folder below `out`.

    Raises
    ------
    DigitError
        If none is done.
    """
    table = read_sweep(out)
    done = table[table["state"] == "done"]
    if done.empty:
        raise DigitError(f"no run of {display_path(out)} is done: look at the reasons in {TABLE}.")
    return Run(resolve(out) / str(done["run"].iloc[0]))


def recipe_code(run: Run) -> str:
    """Return the line of Python that makes the recipe of a run.

    Parameters
    ----------
    run : Run
        A trained run.

    Returns
    -------
    str
        Such as ``recipe = get_recipe('tiny', epochs=3, min_steps=0, seed=1)``.
    """
    recipe = load_recipe(run)
    plain = get_recipe(recipe.name)
    told, usual = recipe.as_dict(), plain.as_dict()
    given = ", ".join(
        f"{name}={value!r}"
        for name, value in told.items()
        if name == "seed" or (name != "name" and value != usual[name])
    )
    return f"recipe = get_recipe({recipe.name!r}, {given})"


def histories_of(out: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the histories of all runs of a sweep that have one, one below the other.

    Parameters
    ----------
    out : str or path-like
        The sweep's folder.

    Returns
    -------
    pandas.DataFrame
        ``run``, ``label`` (see `labels_of`), ``epoch`` (int, from 1), ``accuracy``, ``val_accuracy``, ``loss``,
        ``val_loss``, ``seconds``; runs in the order of `read_sweep`.

    Raises
    ------
    DigitError
        If no run has been trained yet.
    """
    table, folder, parts = read_sweep(out), open_run(out), []
    for name, label in zip(table["run"], labels_of(table), strict=True):
        run = Run(folder / str(name))
        if (run / "history.csv").exists():
            parts.append(read_history(run).assign(run=name, label=label))
    if not parts:
        raise DigitError(f"no run of {folder} has been trained: run `digitlib sweep` first.")
    return pd.concat(parts, ignore_index=True)


def varied_settings(table: pd.DataFrame) -> list[str]:
    """Return the settings in which the runs of a sweep differ; those in which none does are the same for all.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `read_sweep`.

    Returns
    -------
    list of str
        Names of columns; ``["recipe"]`` if all runs have the same settings.
    """
    settings = [name for name in table if name not in ("run", "state", "reason", *RESULTS)]
    return [name for name in settings if (table[name] != table[name].iloc[0]).any()] or ["recipe"]


def labels_of(table: pd.DataFrame) -> list[str]:
    """Return what tells each run from the others, in words for a plot."""
    varied = varied_settings(table)
    return [", ".join(_words(name, row[name]) for name in varied) for row in table.to_dict("records")]


def _words(name: str, value: Any) -> str:
    return str(value) if name == "recipe" else f"{name.replace('_', ' ')} {value}"


def pareto_front(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that no other run beats in both validation accuracy and time: the Pareto front, fastest first.

    Parameters
    ----------
    table : pandas.DataFrame
        As from `read_sweep`; only runs that are done count.

    Returns
    -------
    pandas.DataFrame
        Rows of `table`.
    """
    done = table[table["state"] == "done"].sort_values(
        ["seconds", "validation_accuracy"], ascending=[True, False], kind="stable"
    )
    best_before = done["validation_accuracy"].cummax().shift(fill_value=-np.inf)
    return done[done["validation_accuracy"] > best_before].reset_index(drop=True)


def summary(table: pd.DataFrame, out: str | os.PathLike[str]) -> str:
    """Return the table in short, best validation accuracy first, and the test accuracy of the best run alone."""
    done = table[table["state"] == "done"]
    lines = ["", "Validation accuracy (95 % interval), seconds of training:"]
    for row in table.itertuples():
        if row.state in ("done", "pruned"):
            share = f"{row.validation_accuracy:.2%} ({row.validation_low:.2%} to {row.validation_high:.2%})"
            lines.append(
                f"  {share}  {row.seconds:6.0f} s  {row.run}{'  (stopped early)' if row.state == 'pruned' else ''}"
            )
        else:
            lines.append(f"  {row.state}: {row.run}  {row.reason}")
    if len(done):
        best = best_run(out)
        metrics = best.read_json("metrics.json")
        low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
        lines += [
            "",
            f"Best: {best}, chosen on {metrics['n_validation']:,} validation images.",
            f"Its accuracy on {metrics['n_test']:,} test images: {metrics['test_accuracy']:.2%} ({low:.2%} to {high:.2%}).",
            "That of the others is not shown: who chose by it would have no untouched images left to measure the choice on.",
        ]
    return "\n".join([*lines, "", f"Table: {display_path(resolve(out) / TABLE)}"])
