"""An ensemble: one network that returns the mean of several runs' probabilities, in a run's folder of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted

from digitlib.data.split import share_split
from digitlib.errors import DigitError
from digitlib.evaluation.classifier import Classifier
from digitlib.evaluation.statistics import mcnemar
from digitlib.files import write_json
from digitlib.run import Run, open_run, run_lock
from digitlib.scale.sweep import StrPath, check_space, run_sweep
from digitlib.training.models import join_networks


def make_ensemble(
    runs: Iterable[Run | StrPath], out: StrPath = "runs/ensemble", *, train: int = 0, recipe: str = "accurate",
    data: str = "sample", scheduler: str | None = None, workers: int = 0, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """Join the networks of some runs to one, and write it with its results as a run of its own.

    Parameters
    ----------
    runs : iterable of path-like or Run
        Trained runs with the same split, or folders of such runs, for example of a sweep.
    out : str or path-like
        The ensemble's folder.
    train : int
        Members to train besides, with seeds 1, 2, 3 … in ``out/members``; those that are there are not trained again.
    recipe, data
        What to train them with, and on; see `digitlib.data.split.prepare`.
    scheduler, workers
        See `digitlib.scale.cluster.workers`.
    **changes
        Other settings of the recipe.

    Returns
    -------
    dict
        The content of ``metrics.json``: that of any run, and ``members`` (the validation accuracy of each by its folder),
        ``best_member`` (by validation), ``gain`` (test accuracy above that member's), and
        ``only_first``, ``only_second`` and ``p_value`` of `digitlib.evaluation.statistics.mcnemar` against it.

    Raises
    ------
    DigitError
        If the runs don't go together, before anything is written; if a member can't be trained, after the others.

    Examples
    --------
    >>> make_ensemble(["runs/sweep"], "runs/ensemble")["gain"]  # doctest: +SKIP
    """
    run, members = open_run(out), find_members(runs)
    if (run / "recipe.json").exists():
        raise DigitError(f"{run} holds a network that was trained there: choose another --out.")
    if train:
        lines = {"data": data, "recipe": recipe, "seed": list(range(1, train + 1)), **changes}
        space = check_space(lines, "The ensemble")
        table = run_sweep(space, run / "members", scheduler=scheduler, workers=workers).set_index("run")
        for name in space.combinations():
            if table.loc[name, "state"] != "done":
                raise DigitError(f"{name}: {table.loc[name, 'reason']}")
            members.append(Run(run / "members" / name))
    if len(members) < 2:
        raise DigitError(f"An ensemble needs at least 2 members, not {len(members)}: give more trained runs.")
    networks = [Classifier.load(member) for member in members]
    first = networks[0]
    for member, one in zip(members, networks, strict=True):
        same = (one.color_mode, one.resize) == (first.color_mode, first.resize)
        if not (same and member.split.equals(members[0].split)):
            raise DigitError(f"{member} and {members[0]} can't be joined: their splits, color_mode or resize differ.")
    about = [member.read_json("metrics.json") for member in members]
    best = int(np.argmax([one["validation_accuracy"] for one in about]))
    shape = max(one.model.input_shape[1:] for one in networks)
    with run_lock(run, wait=True):
        share_split(members[0], run)
        network = join_networks([one.model for one in networks], shape)
        joined = Classifier(network, first.class_names, run=run)
        joined.resize = first.resize
        joined.save(run.folder)
        test, against = joined.evaluate("test"), networks[best].evaluate("test")
        metrics = about[best] | {
            "recipe": f"ensemble of {len(members)}", "best_epoch": None,
            "parameters": joined.model.count_params(), "epochs": sum(one["epochs"] for one in about),
            "fit_seconds": sum(one["fit_seconds"] for one in about),
            "validation_accuracy": joined.evaluate("validation").metrics["accuracy"],
            **{f"test_{name}": test.metrics[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "loss")},
            "members": {str(member): one["validation_accuracy"] for member, one in zip(members, about, strict=True)},
            "best_member": str(members[best]), "gain": test.metrics["accuracy"] - against.metrics["accuracy"],
            **mcnemar(test.predictions["correct"].to_numpy(), against.predictions["correct"].to_numpy()),
            "made_from": run.hashes(),
        }  # fmt: skip
        write_json(run / "metrics.json", metrics)
    return metrics


def find_members(places: Iterable[Run | StrPath]) -> list[Run]:
    """Return the trained runs that some folders are or hold, each once.

    Examples
    --------
    >>> find_members(["runs/sweep", "runs/default"])  # doctest: +SKIP
    """
    found: list[Path] = []
    for run in map(open_run, places):
        inside = natsorted(file.parent for file in run.folder.glob("*/metrics.json"))
        found += [run.folder] if (run / "metrics.json").exists() else inside
    return [Run(folder) for folder in dict.fromkeys(found)]


def ensemble_lines(metrics: dict[str, Any]) -> list[str]:
    r"""Return the lines that tell of an ensemble; of the members, only the best one's test accuracy is shown.

    Examples
    --------
    >>> print("\n".join(ensemble_lines(make_ensemble(["runs/sweep"]))))  # doctest: +SKIP
    """
    rows = {**metrics["members"], "the ensemble": metrics["validation_accuracy"]}
    interval = f"{metrics['test_accuracy_low']:.2%} to {metrics['test_accuracy_high']:.2%}"
    return [
        *(f"{accuracy:.2%} of the validation set  {name}" for name, accuracy in rows.items()),
        f"Test accuracy {metrics['test_accuracy']:.2%} (95 % interval {interval}, {metrics['n_test']:,} images)",
        f"Against {metrics['best_member']}, the best member by validation: {metrics['gain']:+.2%}; {metrics['only_first']} images "
        f"right only in the ensemble, {metrics['only_second']} only there (McNemar: p = {metrics['p_value']:.2g})",
    ]
