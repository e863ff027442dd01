"""The command `digitlib crossval`: a run found or made, cross-validated, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from digitlib.comparing import wilson_interval
from digitlib.cross_validation import cross_validate
from digitlib.errors import DigitError
from digitlib.files import resolve, shown, write_table
from digitlib.folders import holds_files
from digitlib.held_out import fold_spread
from digitlib.labels import find_label_issues, label_recipe, save_label_issues
from digitlib.locking import alone
from digitlib.recipes import Recipe, get_recipe, load_recipe
from digitlib.runs import Run, open_run
from digitlib.samples import as_folder
from digitlib.sharing import refuse_other_data
from digitlib.sources import find_images
from digitlib.split import class_names_of, prepare, read_split

FEW = 4
"""Fewer networks than this do not tell how far accuracies lie apart."""


@dataclass(frozen=True)
class Validated:
    """What a cross-validation found.

    Attributes
    ----------
    run : Run
        Where its files are.
    recipe : Recipe
        What was trained.
    folds : pandas.DataFrame
        As from `digitlib.held_out.HeldOut.fold_table`.
    right, images : int
        How many of how many images all repeats together named right.
    issues : int or None
        Labels that are likely wrong, if they were asked for.
    """

    run: Run
    recipe: Recipe
    folds: pd.DataFrame
    right: int
    images: int
    issues: int | None = None


def validate(
    run_or_data: str,
    run_dir: str = "runs/crossval",
    *,
    recipe: str | None = None,
    folds: int = 5,
    repeats: int = 2,
    seed: int = 42,
    without_test: bool = False,
    labels: bool = False,
    scheduler: str | None = None,
    workers: int = 0,
) -> Validated:
    """Cross-validate a recipe on a run's images, or on data that a run is made for; writes ``folds.csv``.

    Parameters
    ----------
    run_or_data : str
        Folder of a run that has its split, or data as of `digitlib.split.prepare`.
    run_dir : str
        The run that is made for data.
    recipe : str, optional
        Name; by default that of the run, else "fast".
    folds, repeats, scheduler, workers
        As of `digitlib.cross_validation.cross_validate`.
    seed : int
        Of the parts and networks.
    without_test : bool
        Leave the test images out: recipes chosen by what is left may still be tested.
    labels : bool
        Train as `digitlib.labels.label_recipe` says and write ``label_issues.csv``.

    Returns
    -------
    Validated
        What was found; `summary_lines` tells of it.

    Raises
    ------
    DigitError
        If there is no such data or recipe, or it can't be divided so.
    """
    has_split = (resolve(run_or_data) / "split.csv").exists()
    run = open_run(run_or_data if has_split else run_dir)
    settings = _recipe(run if has_split else None, recipe, seed, labels)
    if not has_split:
        _check_place(run, run_or_data)
    with alone(run):
        if not has_split:
            prepare(run_or_data, run.folder, mode="none")
        manifest, class_names = read_split(run), class_names_of(run)
        if without_test:
            manifest = manifest[manifest["part"] != "test"].reset_index(drop=True)
        done = cross_validate(
            run, settings, manifest if without_test else None, folds=folds, repeats=repeats, scheduler=scheduler,
            workers=workers,
        )  # fmt: skip
        given = manifest["class"].map(class_names.index).to_numpy()
        table = done.fold_table(given)
        write_table(run / "folds.csv", table.round({"accuracy": 6}))
        issues = find_label_issues(manifest, done.probabilities, class_names) if labels else None
        if issues is not None:
            save_label_issues(run, issues)
    right = int(np.sum(done.probabilities.argmax(axis=1) == given))
    return Validated(run, settings, table, right, len(manifest), None if issues is None else len(issues))


def summary_lines(found: Validated) -> list[str]:
    """Return what a cross-validation found, as lines for a terminal: each fold, their spread, all verdicts together."""
    lines = [f"{'repeat':>6}  {'fold':>4}  {'images':>9}  accuracy"]
    for row in found.folds.itertuples():
        lines.append(f"{row.repeat:>6}  {row.fold:>4}  {row.images:>9,}  {row.accuracy:>8.2%}")
    known = fold_spread(found.folds)
    low, high = wilson_interval(found.right, found.images)
    lines += [
        "",
        f"Mean accuracy of {len(found.folds)} networks of recipe {found.recipe.name!r}, each on images it had not seen: "
        f"{known['mean']:.2%}",
        f"  between folds: standard deviation {known['sd']:.2%}, from {known['lowest']:.2%} to {known['highest']:.2%}; "
        f"95 % interval of the mean {known['mean_low']:.2%} to {known['mean_high']:.2%}"
        f"{'; of so few networks it says little' if len(found.folds) < FEW else ''}",
        f"All verdicts on each image together: {found.right / found.images:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}, n = {found.images:,})",
    ]
    if found.issues is not None:
        lines.append(
            f"Labels that are likely wrong: {found.issues}, in {shown(found.run / 'label_issues.csv')}"
        )
    return lines


def _check_place(run: Run, data: str) -> None:
    """Refuse data that there is not, and a run that would lose its split."""
    find_images(as_folder(data))
    refuse_other_data(run, data, run.folder)
    if (run / "recipe.json").exists() or holds_files(run):
        raise DigitError(
            f"{run} is a run with a split of its own: give it in place of {data!r}, or choose another --out."
        )


def _recipe(run: Run | None, name: str | None, seed: int, labels: bool) -> Recipe:
    """Return the recipe by name, or the run's own, with this seed; for labels as `label_recipe` makes it."""
    seed = get_recipe("fast", seed=seed).seed  # refuses what is none
    own = (
        load_recipe(run)
        if run and name is None and (run / "recipe.json").exists()
        else get_recipe(name or "fast")
    )
    if own.model == "ensemble":
        raise DigitError(
            f"{run} is an ensemble, which is not trained itself: say what to train with --recipe."
        )
    return label_recipe(own.name, seed=seed) if labels else replace(own, seed=seed)
