"""The runs that an ensemble is made of: found, or trained on workers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from natsort import natsorted

from digitlib.data.split import read_split, share_split, split_once, stratified_folds
from digitlib.errors import DigitError
from digitlib.evaluation.unattended import evaluate_run, train_run
from digitlib.files import make_folder, write_table
from digitlib.progress import bar
from digitlib.run import Run, in_turn, open_run
from digitlib.scale.cluster import Task, open_workers
from digitlib.scale.ensemble import check_kinds, check_same_test
from digitlib.training.recipes import Recipe, load_recipe


def find_members(places: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Return the trained runs that some folders name.

    Parameters
    ----------
    places : sequence of str or path-like
        Folders of runs, or folders that hold runs, such as a sweep's: of these, all evaluated runs in natural order.

    Returns
    -------
    list of Run
        Each once.

    Raises
    ------
    DigitError
        If there is no such folder, or no trained run in it.
    """
    found: dict[Path, Run] = {}
    for place in places:
        folder = open_run(place)
        if not folder.folder.is_dir():
            raise DigitError(f"{folder} doesn't exist: give folders of trained runs, such as runs/default.")
        inside = natsorted(path.parent for path in folder.folder.glob("*/metrics.json"))
        runs = [Run(path) for path in inside if (path / "best_model.keras").exists()]
        for run in [folder] if (folder / "split.csv").exists() or not runs else runs:
            run.require("split.csv", "recipe.json", "best_model.keras")
            found.setdefault(run.folder, run)
    return list(found.values())


def gather_members(
    places: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    recipes: Sequence[Recipe] = (),
    data: str = "sample",
    **options: Any,
) -> list[Run]:
    """Return the members that an ensemble is asked to have, found or trained in ``out/members``.

    Parameters
    ----------
    places
        See `find_members`.
    out : str or path-like
        The ensemble's folder.
    recipes : sequence of Recipe
        Of the members to train.
    data : str
        What to train them on, see `digitlib.data.split.prepare`.
    **options
        See `train_members`.

    Returns
    -------
    list of Run
        Each once.

    Raises
    ------
    DigitError
        If no ensemble can be made of them, as far as that shows before the training; if `out` has members of other data;
        and as of `find_members` and `train_members`.
    """
    members = {run.folder: run for run in find_members(places)}
    place = open_run(Path(out) / "members")
    wanted = {str(run.folder): one for run, one in zip(_runs_for(recipes, place), recipes, strict=True)}
    check_kinds(open_run(out), {str(run.folder): load_recipe(run) for run in members.values()} | wanted)
    if recipes:
        with in_turn(place):  # what another command trains there is of the same data, or its split would go
            prepared = split_once(data, open_run(Path(out) / "split"))
            check_same_test([prepared, *members.values()])
            trained = train_members(prepared, place.folder, recipes, **options)
        members |= {run.folder: run for run in trained}
    return list(members.values())


def train_members(
    prepared: Run,
    place: str | os.PathLike[str],
    recipes: Sequence[Recipe],
    *,
    rotate: bool = False,
    scheduler: str | None = None,
    workers: int = 0,
) -> list[Run]:
    """Train a run for each recipe on the images of one split, those that are missing.

    A run that is finished is not trained again, one that another process holds is waited for, and one that was stopped
    goes on after its last whole epoch.

    Parameters
    ----------
    prepared : Run
        Has the split that all share.
    place : str or path-like
        Folder for the runs, named after recipe and seed.
    recipes : sequence of Recipe
        What to train, with different seeds or otherwise different.
    rotate : bool
        Each run holds out other images for validation, so that together they have learned from all that are not in the
        test part. Then no validation images are left that the ensemble as a whole has not seen.
    scheduler, workers
        As of `digitlib.scale.cluster.open_workers`.

    Returns
    -------
    list of Run
        In the order of `recipes`.

    Raises
    ------
    DigitError
        If a finished run was trained with other settings or held out other images, before any is trained; if a run can't
        be trained, after the others have been finished.
    """
    runs = _runs_for(recipes, open_run(place))
    tasks: list[Task] = []
    for number, (run, recipe) in enumerate(zip(runs, recipes, strict=True)):
        turn = number if rotate else None
        _refuse_other(prepared, run, recipe, turn)
        tasks.append((str(run.folder), (str(prepared.folder), str(run.folder), recipe, turn)))
    make_folder(open_run(place).folder)
    with (
        open_workers(scheduler, workers) as connected,
        bar(len(tasks), "Training members", unit="member") as shown_bar,
    ):
        outcomes = []
        for outcome in connected.run(train_member, tasks):
            outcomes.append(outcome)
            shown_bar.update()
    for outcome in outcomes:
        outcome.result()
    return runs


def _runs_for(recipes: Sequence[Recipe], place: Run) -> list[Run]:
    """Return the run of each recipe, named after it and its seed."""
    names = [f"{recipe.name}-{recipe.seed}" for recipe in recipes]
    for name in names:
        if names.count(name) > 1:
            raise DigitError(f"two members would be called {name}: give each recipe another name or seed.")
    return [open_run(place / name) for name in names]


def train_member(prepared: str, folder: str, recipe: Recipe, turn: int | None) -> None:
    """Train and evaluate one run, unless that has been done; paths are absolute, `turn` is for `rotated`."""
    run = Run(Path(folder))
    split = _split_for(Run(Path(prepared)), turn)
    with in_turn(run):
        if _finished(run, recipe, split):
            return
        (run / "metrics.json").unlink(missing_ok=True)
        if not _has(run, split):
            share_split(Run(Path(prepared)), run)
            if turn is not None:
                write_table(run / "split.csv", split)
        train_run(run, recipe)
        evaluate_run(run)


def rotated(split: pd.DataFrame, turn: int) -> pd.DataFrame:
    """Return a split with another validation part of about the same size; the test part stays.

    Parameters
    ----------
    split : pandas.DataFrame
        As from `digitlib.data.split.read_split`.
    turn : int
        Which part, from 0: the images outside the test part are cut into stratified parts
        (`digitlib.data.split.stratified_folds`), as many as there are of the validation part's size. After the last
        comes the first again.

    Returns
    -------
    pandas.DataFrame
        A copy with another column ``part``.
    """
    rest = split[split["part"] != "test"]
    number = max(2, round(len(rest) / max(1, int((rest["part"] == "validation").sum()))))
    held = list(stratified_folds(rest, number, seed=0))[turn % number]
    parts = split["part"].copy()
    parts[rest.index] = np.where(held, "validation", "train")
    return split.assign(part=parts)


def _split_for(prepared: Run, turn: int | None) -> pd.DataFrame:
    """Return the split that a member is trained on: the one that all share, or its own turn of that."""
    split = read_split(prepared)
    return split if turn is None else rotated(split, turn)


def _refuse_other(prepared: Run, run: Run, recipe: Recipe, turn: int | None) -> None:
    """Refuse to train over a finished member that was trained with other settings, or held out other images."""
    if not (run / "metrics.json").exists() or not (run / "recipe.json").exists():
        return
    if other := _differing(run, recipe):
        raise DigitError(
            f"{run} was trained with another {' and '.join(other)}: choose another --out, or give the same settings."
        )
    if not _has(run, _split_for(prepared, turn)):
        raise DigitError(
            f"{run} held out other validation images: choose another --out, or give --rotate if it was trained with it, "
            "and leave it out if not."
        )


def _differing(run: Run, recipe: Recipe) -> list[str]:
    """Return the fields in which an evaluated run was trained otherwise than `recipe` would have it."""
    wanted = recipe.scaled_to(int(run.read_json("metrics.json")["n_train"])).as_dict()
    before = load_recipe(run).as_dict()
    return [name for name in wanted if wanted[name] != before[name]]


def _finished(run: Run, recipe: Recipe, split: pd.DataFrame) -> bool:
    """Tell whether a run has been trained with this recipe and split, and evaluated."""
    if not (run / "metrics.json").exists() or not (run / "best_model.keras").exists() or not _has(run, split):
        return False
    return not _differing(run, recipe)


def _has(run: Run, split: pd.DataFrame) -> bool:
    columns = ["filename", "class", "part", "sha256"]
    if not (run / "split.csv").exists():
        return False
    own = read_split(run)
    return len(own) == len(split) and bool((own[columns].to_numpy() == split[columns].to_numpy()).all())
