"""An ensemble of trained runs: one network, in a run's folder of its own, and what it gains over its best member."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from digitlib.data.split import class_names_of, read_split, refuse_copies, share_split
from digitlib.errors import DigitError
from digitlib.evaluation.metrics import answers_of, load_best_model
from digitlib.evaluation.statistics import mcnemar, wilson_interval
from digitlib.files import atomic, write_json, write_table
from digitlib.progress import progress
from digitlib.run import Run, in_turn, note_split, open_run, read_history
from digitlib.training.backend import keras
from digitlib.training.models import join_networks
from digitlib.training.recipes import Recipe, load_recipe, save_recipe
from digitlib.training.train import eval_generator

BY_ALL = ("filename", "sha256")
"""What two runs' test parts are compared by."""


def make_ensemble(members: Sequence[Run], out: str | os.PathLike[str]) -> dict[str, Any]:
    """Join the networks of some runs to one, and write it with its results as a run of its own.

    Writes ``best_model.keras``, ``recipe.json``, ``source.json``, ``split.csv``, ``metrics.json`` and ``ensemble.json``:
    whatever works with a run's network works with it too.

    Parameters
    ----------
    members : sequence of Run
        Two or more trained runs with the same test part and the same classes.
    out : str or path-like
        The ensemble's folder.

    Returns
    -------
    dict
        What ``ensemble.json`` has: ``members`` (a list with ``run``, ``recipe``, ``model``, ``seed``, ``parameters``,
        ``validation_accuracy``, ``test_accuracy``, in the order given); ``best_member``, the place of the one with the
        highest validation accuracy; ``validation_accuracy`` of the ensemble (None if the members held out different
        images), ``test_accuracy``, ``test_accuracy_low``, ``test_accuracy_high`` (95 %, Wilson), ``n_test``; ``gain``, the
        test accuracy above the best member's; and, of `digitlib.evaluation.statistics.mcnemar`, ``only_ensemble``,
        ``only_best_member`` and ``p_value``.

    Raises
    ------
    DigitError
        If the members don't go together.
    """
    run = open_run(out)
    _check(members, run)
    with in_turn(run):
        return _make(members, run)


def _make(members: Sequence[Run], run: Run) -> dict[str, Any]:
    recipes = [load_recipe(member) for member in members]
    networks = [load_best_model(member) for member in members]
    shared = _same_split(members)
    share_split(members[0], run)
    if not shared:  # then no image outside the test part is new to all members
        split = read_split(run)
        write_table(
            run / "split.csv", split.assign(part=split["part"].where(split["part"] == "test", "train"))
        )
    rows, answers = _asked(members, recipes, networks)
    joined, recipe = _joined(networks, recipes, run, shared)
    _keep(run, joined, recipe)
    best = int(np.argmax([row["validation_accuracy"] for row in rows]))
    said, labels = _said(joined, run, recipe, "test")
    right = _right(said, labels)
    against = mcnemar(right, answers[best])
    low, high = wilson_interval(int(right.sum()), len(right))
    validation_accuracy = float(_right(*_said(joined, run, recipe, "validation")).mean()) if shared else None
    result = {
        "members": rows, "best_member": best, "validation_accuracy": validation_accuracy,
        "test_accuracy": float(right.mean()), "test_accuracy_low": low, "test_accuracy_high": high,
        "n_test": len(right), "gain": float(right.mean() - answers[best].mean()),
        "only_ensemble": against["only_first"], "only_best_member": against["only_second"],
        "p_value": against["p_value"],
    }  # fmt: skip
    write_json(run / "ensemble.json", result)
    loss = float(joined.loss(np.eye(said.shape[1], dtype=said.dtype)[labels], said))
    write_json(run / "metrics.json", _metrics(members, run, loss, result))
    return result


def _asked(
    members: Sequence[Run], recipes: list[Recipe], networks: list[keras.Model]
) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return a row about each member, and which of the test images it named right."""
    rows, answers = [], []
    for member, recipe, network in progress(
        list(zip(members, recipes, networks, strict=True)), len(members), "Asking members", "member"
    ):
        validation, test = (_right(*_said(network, member, recipe, part)) for part in ("validation", "test"))
        rows.append(
            {
                "run": str(member), "recipe": recipe.name, "model": recipe.model, "seed": recipe.seed,
                "parameters": network.count_params(),
                "validation_accuracy": float(validation.mean()), "test_accuracy": float(test.mean()),
            }
        )  # fmt: skip
        answers.append(test)
    return rows, answers


def _keep(run: Run, joined: keras.Model, recipe: Recipe) -> None:
    """Write the network and its recipe, and take away what was measured of the one that was here before."""
    for measured in ("metrics.json", "ensemble.json"):
        (run / measured).unlink(missing_ok=True)
    with atomic(run / "best_model.keras") as temporary:
        joined.save(temporary)
    note_split(run)
    save_recipe(run, recipe)


def _joined(
    networks: list[keras.Model], recipes: list[Recipe], run: Run, shared: bool
) -> tuple[keras.Model, Recipe]:
    """Join the networks at the image size that suits the validation images best, and make the ensemble's recipe."""
    first, sizes = recipes[0], sorted({recipe.image_size for recipe in recipes})
    if len(sizes) > 1 and not shared:
        raise DigitError(
            "members of different image_size that held out different images can't be joined: no validation images are "
            "left to choose the ensemble's size by."
        )

    def at(size: tuple[int, int]) -> tuple[keras.Model, Recipe]:
        recipe = replace(first, name="ensemble", model="ensemble", image_size=size)
        return join_networks(networks, recipe.image_shape, first.label_smoothing), recipe

    def loss(size: tuple[int, int]) -> float:
        joined, recipe = at(size)
        images = eval_generator(run, recipe, "validation")
        return float(joined.evaluate(images, verbose=0, return_dict=True)["loss"])

    return at(sizes[0] if len(sizes) == 1 else min(sizes, key=loss))


def _metrics(members: Sequence[Run], run: Run, test_loss: float, result: dict[str, Any]) -> dict[str, Any]:
    """Return what ``metrics.json`` has of any run; epochs and seconds are the members' sums, and no epoch is the best."""
    histories, parts = [read_history(member) for member in members], read_split(run)["part"].value_counts()
    return {
        "recipe": f"ensemble of {len(members)}",
        "seed": result["members"][0]["seed"],
        "data": str(run.read_json("source.json")["data"]),
        "n_train": int(parts["train"]),
        "n_validation": int(parts.get("validation", 0)),
        "n_test": result["n_test"],
        "parameters": sum(member["parameters"] for member in result["members"]),
        "epochs": sum(len(history) for history in histories),
        "fit_seconds": float(sum(history["seconds"].iloc[-1] for history in histories)),
        "best_epoch": None,
        "validation_accuracy": result["validation_accuracy"],
        "test_accuracy": result["test_accuracy"],
        "test_loss": test_loss,
        "test_accuracy_low": result["test_accuracy_low"],
        "test_accuracy_high": result["test_accuracy_high"],
        "test_chose_the_epoch": any(load_recipe(member).test_chooses for member in members),
    }


def _said(network: keras.Model, run: Run, recipe: Recipe, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a network's probabilities of a part's images, and their labels, by file name: the same order for all."""
    images = eval_generator(run, recipe, part)
    said = answers_of(network, images, f"Naming {part} images")
    order = np.argsort(images.filenames)
    return said[order], images.classes[order]


def _right(said: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return said.argmax(axis=1) == labels


def check_kinds(out: Run, recipes: Mapping[str, Recipe]) -> None:
    """Refuse members that no ensemble can be made of, which shows before they are trained.

    Parameters
    ----------
    out : Run
        Where the ensemble will be.
    recipes : mapping of str to Recipe
        Each member's name and recipe.

    Raises
    ------
    DigitError
        Naming the member or folder, and the way out.
    """
    if len(recipes) < 2:
        raise DigitError(
            f"an ensemble needs two members or more, not {len(recipes)}: name more trained runs."
        )
    if (out / "recipe.json").exists() and load_recipe(out).model != "ensemble":
        raise DigitError(f"{out} holds a network of its own: give the ensemble another folder with --out.")
    refuse_copies(out)
    first, one = next(iter(recipes.items()))
    for name, recipe in recipes.items():
        if recipe.model == "ensemble":
            raise DigitError(f"{name} is an ensemble itself: name the runs that it was made of.")
        if "validation" in recipe.train_on:
            raise DigitError(
                f"{name} is trained on the validation images too, by which members are compared: train members with "
                "another recipe."
            )
        for what, a, b in (
            ("color_mode", one.color_mode, recipe.color_mode),
            ("rescale", one.augmentation["rescale"], recipe.augmentation["rescale"]),
        ):
            if a != b:
                raise DigitError(
                    f"{name} is trained with {what} {b!r}, {first} with {a!r}: an ensemble needs the same."
                )


def _check(members: Sequence[Run], out: Run) -> None:
    """Refuse members that can't be compared or joined, before anything is written."""
    if out.folder in [member.folder for member in members]:
        raise DigitError(f"{out} is a member itself: give the ensemble another folder with --out.")
    recipes = [load_recipe(member) for member in members]
    check_kinds(out, dict(zip(map(str, members), recipes, strict=True)))
    check_same_test(members)


def check_same_test(members: Sequence[Run]) -> None:
    """Refuse members with other classes or another test part than the first; a prepared run stands for those to be trained on it.

    Parameters
    ----------
    members : sequence of Run
        Each has its split.

    Raises
    ------
    DigitError
        Naming the member, and the way out.
    """
    first = members[0]
    test, names = _part(first, ("test",)), class_names_of(first)
    for member in members[1:]:
        if class_names_of(member) != names:
            raise DigitError(f"{member} has other classes than {first}: an ensemble's members need the same.")
        if not _part(member, ("test",)).equals(test):
            raise DigitError(
                f"{member} has another test part than {first}: what one was trained on would be the other's test. Train "
                "members from one split, as `digitlib ensemble --train` and `digitlib sweep` do."
            )


def _part(run: Run, parts: tuple[str, ...]) -> pd.DataFrame:
    split = read_split(run)
    return split.loc[split["part"].isin(parts), list(BY_ALL)].sort_values(list(BY_ALL)).reset_index(drop=True)


def _same_split(members: Sequence[Run]) -> bool:
    """Tell whether all members held out the same validation images."""
    first = _part(members[0], ("validation",))
    return all(_part(member, ("validation",)).equals(first) for member in members[1:])


def ensemble_lines(result: dict[str, Any]) -> list[str]:
    """Return the lines that tell of an ensemble.

    Parameters
    ----------
    result : dict
        As from `make_ensemble`.

    Returns
    -------
    list of str
        A table of the members, the interval, and the gain over the best of them. Of the members, only the one that
        validation images call the best is told with its test accuracy: nobody is to choose among them by it.
    """
    rows = pd.DataFrame(result["members"])
    width = max(len("ensemble"), rows["run"].str.len().max())
    lines = [f"{'run':<{width}}  validation    test"]
    lines += [
        f"{row.run:<{width}}  {row.validation_accuracy:>9.2%}"
        + (f"  {row.test_accuracy:>8.2%}" if row.Index == result["best_member"] else "")
        for row in rows.itertuples()
    ]
    validation = result["validation_accuracy"]
    lines.append(
        f"{'ensemble':<{width}}  {'-' if validation is None else f'{validation:.2%}':>9}  {result['test_accuracy']:>8.2%}"
    )
    low, high = result["test_accuracy_low"], result["test_accuracy_high"]
    best = rows["run"].iloc[result["best_member"]]
    lines += [
        "",
        f"95 % interval of the ensemble's test accuracy: {low:.2%} to {high:.2%} (n = {result['n_test']:,})",
        f"Against {best}, the best member by validation: {result['gain']:+.2%} on the test; {result['only_ensemble']} images "
        f"right by the ensemble alone, {result['only_best_member']} by the member alone (McNemar: p = {result['p_value']:.2g})",
    ]
    if validation is None:
        lines.append(
            "Each member held out other images, so no validation accuracy of the ensemble can be measured."
        )
    return lines
