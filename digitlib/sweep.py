"""Many runs side by side: what a space asks for, done on workers or here, and one table of what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pandas as pd
from tqdm import tqdm

from digitlib.cluster import Here, Outcome, Workers, open_workers
from digitlib.errors import DigitError
from digitlib.locking import alone
from digitlib.pixels import pixels_for
from digitlib.progress import bar, watched
from digitlib.recipes import get_recipe, load_recipe
from digitlib.runs import Run, open_run, read_table, resolve, shown, write_table
from digitlib.split import paths_of, prepare, read_split
from digitlib.sweep_run import Job, do_run, is_done, results_of
from digitlib.sweep_space import Settings, Space

RESULTS = (
    "validation_accuracy", "validation_low", "validation_high", "n_validation", "best_epoch", "epochs", "seconds",
    "parameters", "threads",
)  # fmt: skip
"""Numbers of the table."""

TABLE = "sweep.csv"


def run_sweep(
    space: Space,
    out: str | os.PathLike[str] = "runs/sweep",
    *,
    scheduler: str | None = None,
    workers: int = 0,
    notebooks: bool = True,
    parameters: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Do every run of a space that is not done yet, and write ``sweep.csv`` as they end.

    The images are split and decoded once for all. A run that fails is a row with its reason; the others go on.

    Parameters
    ----------
    space : Space
        As from `digitlib.sweep_space.read_space`.
    out : str or path-like
        Folder for the runs and the table.
    scheduler, workers
        See `digitlib.cluster.open_workers`.
    notebooks : bool
        Execute notebooks 04 to 06 for each run; else the library alone, which gives the same weights.
    parameters : mapping, optional
        Further parameters of these notebooks, such as ``wanted_accuracy``.

    Returns
    -------
    pandas.DataFrame
        As from `read_sweep`.

    Raises
    ------
    DigitError
        If the images can't be split, the folder holds the runs of other images, or no worker can be reached.
    """
    folder = open_run(out)
    with open_workers(scheduler, workers) as crew, alone(folder):
        job = Job(str(folder.folder), space.threads, notebooks, dict(parameters or {}))
        _split_once(space, job)
        if space.trials:
            from digitlib.sweep_search import search

            return search(space, job, crew)
        settings = space.combinations()
        rows = {one.key: row_of(job, one, "waiting") for one in settings}
        todo = {one.key: one for one in settings if not is_done(job, one)}
        for one in settings:
            if one.key not in todo:
                rows[one.key] |= {"state": "done", **results_of(job.run_of(one))}
        write_rows(folder, rows)
        tasks = [(str(job.run_of(one).folder), (job, one)) for one in todo.values()]
        for ended in follow(crew, do_run, tasks, len(settings)):
            name = Path(ended.key).name
            rows[name] |= outcome_of(ended)
            write_rows(folder, rows)
            tell(rows[name])
        return read_sweep(folder)


def _split_once(space: Space, job: Job) -> None:
    """Split and decode the images, unless the folder's runs belong to others."""
    if (job.split / "source.json").exists():
        before = job.split.read_json("source.json")["data"]
        if resolve(before) != resolve(space.data):
            raise DigitError(
                f"{shown(job.out)} holds runs of {before!r}, not of {space.data!r}: choose another --out."
            )
    run = prepare(space.data, job.split.folder, mode="none", **space.split)
    manifest, first = read_split(run), run.read_json("source.json")["pixels"]
    for name in space.choices["recipe"]:
        for size in space.choices.get("image_size", [None]):
            recipe = get_recipe(name, image_size=size)
            # Decoded here, lest every worker begin with doing it.
            pixels_for(lambda: paths_of(run, manifest), manifest["sha256"].tolist(), recipe.image_size, first)


def follow(
    crew: Here | Workers,
    function: Callable[..., Any],
    tasks: Sequence[tuple[str, tuple[Any, ...]]],
    total: int,
) -> Iterator[Outcome]:
    """Yield what comes of tasks, with a progress bar over `total` runs, of which some are done already."""
    if isinstance(crew, Workers):
        click.echo(f"{crew.size} workers; what they do: {crew.dashboard}")
    if len(tasks) < total:
        click.echo(f"{total - len(tasks)} of {total} runs: done before")
    with bar(total, "Sweep", unit="run", initial=total - len(tasks), delay=0) as shown_bar:
        for ended in crew.run(function, tasks):
            yield ended
            shown_bar.update()


def tell(row: Mapping[str, Any]) -> None:
    """Print what came of one run."""
    if row["state"] == "failed":
        line = f"{row['run']}: failed: {row['reason']}"
    else:
        line = f"{row['run']}: {row['state']}, validation accuracy {row['validation_accuracy']:.2%}"
        line += f" in {row['seconds']:.0f} s"
    tqdm.write(line, file=sys.stdout) if watched() else click.echo(line)


def row_of(job: Job, settings: Settings, state: str) -> dict[str, Any]:
    """Return the row of a run that has no results yet."""
    changes = {
        name: "x".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in settings.changes.items()
    }
    row = {"run": settings.key, "state": state, "recipe": settings.recipe, **changes}
    return row | dict.fromkeys(RESULTS) | {"threads": job.threads, "reason": ""}


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
        Wilson), ``n_validation``, ``best_epoch``, ``epochs``, ``seconds`` (of training), ``parameters``, ``threads``,
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
    for name in RESULTS:
        table[name] = pd.to_numeric(table[name])
    return table.sort_values("validation_accuracy", ascending=False, kind="stable", ignore_index=True)


def best_run(out: str | os.PathLike[str]) -> Run:
    """Return the run with the highest validation accuracy; of equal ones the first in the table.

    Raises
    ------
    DigitError
        If none is done.
    """
    table = read_sweep(out)
    done = table[table["state"] == "done"]
    if done.empty:
        raise DigitError(f"no run of {shown(out)} is done: look at the reasons in {TABLE}.")
    return Run(resolve(out) / str(done["run"].iloc[0]))


def recipe_code(run: Run) -> str:
    """Return the line of Python that makes the recipe of a run."""
    recipe = load_recipe(run)
    plain = get_recipe(recipe.name)
    names = [name for name in plain.__dataclass_fields__ if name not in ("name", "augmentation")]
    changed = [name for name in names if getattr(recipe, name) != getattr(plain, name) or name == "seed"]
    given = ", ".join(f"{name}={getattr(recipe, name)!r}" for name in changed)
    return f"recipe = get_recipe({recipe.name!r}, {given})"


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
    return "\n".join([*lines, "", f"Table: {shown(resolve(out) / TABLE)}"])
