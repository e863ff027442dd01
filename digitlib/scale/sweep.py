"""Many runs side by side: what a space asks for, done on workers or here, and one table of what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from digitlib.data.datasets import as_folder
from digitlib.data.sources import find_images
from digitlib.data.split import pixels_of, read_split, split_once
from digitlib.errors import DigitError
from digitlib.run import Run, open_run, run_lock
from digitlib.scale.cluster import Here, Workers, open_workers
from digitlib.scale.sweep_progress import follow, tell
from digitlib.scale.sweep_run import Job, do_run, finished_before, is_done, results_of
from digitlib.scale.sweep_space import Space
from digitlib.scale.sweep_table import outcome_of, read_sweep, row_of, write_rows
from digitlib.training.recipes import get_recipe


def run_sweep(
    space: Space,
    out: str | os.PathLike[str] = "runs/sweep",
    *,
    scheduler: str | None = None,
    workers: int = 0,
    notebooks: bool = True,
) -> pd.DataFrame:
    """Do every run of a space that is not done yet, and write ``sweep.csv`` as they end.

    The images are split and decoded once for all. A run that fails is a row with its reason; the others go on. What an
    earlier sweep finished in the same folder, with the same images and threads, stays in the table.

    Parameters
    ----------
    space : Space
        As from `digitlib.scale.sweep_space.read_space`.
    out : str or path-like
        Folder for the runs and the table.
    scheduler, workers
        See `digitlib.scale.cluster.open_workers`.
    notebooks : bool
        Execute notebooks 04 to 06 for each run; else the library alone, which gives the same weights.

    Returns
    -------
    pandas.DataFrame
        As from `read_sweep`.

    Raises
    ------
    DigitError
        If the images can't be split, the folder holds the runs of other images, or no worker can be reached.

    Notes
    -----
    The weights depend in their last bits on the number of threads, so that every run computes with ``space.threads`` of
    them, wherever it is. Without workers it is this process whose TensorFlow keeps to that number from then on.
    """
    folder = open_run(out)
    if (folder / "split.csv").exists():
        raise DigitError(
            f"{folder} is a run with files of its own: give the sweep another folder with --out."
        )
    find_images(as_folder(space.data))  # what can't work is refused before anything is made
    with open_workers(scheduler, workers) as crew, _nothing_left(folder), run_lock(folder):
        job = Job(str(folder.folder), space.threads, notebooks)
        _split_once(space, job)
        if space.trials:
            try:
                from digitlib.scale.sweep_search import search
            except ImportError as error:
                raise DigitError(
                    'sampler: optuna needs Optuna: pip install "digitlib[cluster]", or list the values to try.'
                ) from error
            search(space, job, crew)
        else:
            _try_all(space, job, crew)
    return read_sweep(folder)


@contextmanager
def _nothing_left(folder: Run) -> Iterator[None]:
    """Remove the folder after an error that came before anything was made in it."""
    new = [path for path in (folder.folder, folder.folder.parent) if not path.exists()]
    try:
        yield
    except DigitError:
        with suppress(OSError):  # it is not empty
            for path in new:
                path.rmdir()
        raise


def _try_all(space: Space, job: Job, crew: Here | Workers) -> None:
    """Do every combination that is not done yet."""
    settings, folder = space.combinations(), Run(Path(job.out))
    rows = {one.key: row_of(one.key, one, job.threads, "waiting") for one in settings}
    rows |= finished_before(job, set(rows))
    todo = [one for one in settings if not is_done(job, one)]
    for one in (one for one in settings if one not in todo):
        rows[one.key] |= {"state": "done", **results_of(job.run_of(one))}
    write_rows(folder, rows)
    tasks = [(str(job.run_of(one).folder), (job, one)) for one in todo]
    for ended in follow(crew, do_run, tasks, len(settings)):
        name = Path(ended.key).name
        rows[name] |= outcome_of(ended)
        write_rows(folder, rows)
        tell(rows[name])


def _split_once(space: Space, job: Job) -> None:
    """Split and decode the images, unless the folder's runs belong to others."""
    run = split_once(space.data, job.split, **space.split)
    manifest = read_split(run)
    for name in space.choices["recipe"]:
        for size in space.choices.get("image_size", [None]):
            # Decoded here, lest every worker begin with doing it.
            pixels_of(run, manifest, get_recipe(name, image_size=size).image_size)
