"""Train many settings side by side: the space to try, the runs, and one table of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from digitlib.data.split import pixels_of, share_split, split_once
from digitlib.errors import DigitError, did_you_mean, is_whole, needs
from digitlib.evaluation.metrics import evaluate_run
from digitlib.evaluation.statistics import wilson_interval
from digitlib.files import StrPath, display_path, read_table, resolve, write_table
from digitlib.progress import progress
from digitlib.run import Run, best_epoch, open_run, read_history, run_lock
from digitlib.scale import cluster
from digitlib.training.backend import keras
from digitlib.training.recipes import RECIPE_PARAMETERS, RECIPES, Recipe, get_recipe, load_recipe
from digitlib.training.train import train_run

FIXED = ("name", "augmentation", "train_on", "validate_on")
# Fields of a recipe that a sweep can vary, with their types.
FIELDS = {field.name: field.type for field in fields(Recipe) if field.name not in FIXED}
# Settings of its augmentation that a sweep can vary.
TRANSFORMS = {name for recipe in RECIPES.values() for name in recipe.augmentation} | {"vertical_flip", "cval"}
SPLIT_OPTIONS = ("test_size", "validation_size", "assign", "corrections")
# Lines that have one value for the whole sweep.
ONCE = ("data", "sampler", "trials", *SPLIT_OPTIONS)

RESULTS = (
    "validation_accuracy", "validation_low", "validation_high", "n_validation", "best_epoch", "epochs_done", "seconds",
    "parameters",
)  # fmt: skip

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Space:
    """What a sweep tries.

    Attributes
    ----------
    data : str
        As `digitlib.data.split.prepare` takes it.
    choices : mapping of str to list
        ``recipe``, fields of it and settings of its augmentation, each with all its values.
    ranges : mapping of str to dict
        What Optuna draws from a range: ``low``, ``high``, perhaps ``log`` or ``step``.
    split : mapping of str to object
        Options of `digitlib.data.split.prepare`.
    trials : int
        How many settings Optuna may try; 0 tries every combination.

    Examples
    --------
    >>> len(check_space({"recipe": "tiny", "seed": [1, 2], "epochs": [3, 5]}).combinations())
    4
    """

    data: str
    choices: Mapping[str, list[Any]]
    ranges: Mapping[str, dict[str, Any]]
    split: Mapping[str, Any]
    trials: int = 0

    def combinations(self) -> dict[str, Settings]:
        """Return the settings of every combination by the name of its run, seeds varying fastest."""
        names = sorted(self.choices, key=lambda name: name == "seed")
        every = [dict(zip(names, one, strict=True)) for one in product(*map(self.choices.__getitem__, names))]
        return {run_name(recipe_of(settings)): settings for settings in every}


def recipe_of(settings: Settings) -> Recipe:
    """Return the recipe that settings such as ``{"recipe": "tiny", "seed": 1, "rotation_range": 5}`` stand for.

    Examples
    --------
    >>> recipe_of({"recipe": "tiny", "epochs": 3}).epochs
    3
    """
    changes = {name: value for name, value in settings.items() if name in FIELDS}
    if moves := {name: value for name, value in settings.items() if name in TRANSFORMS}:
        changes["augmentation"] = {**get_recipe(settings["recipe"]).augmentation, **moves}
    return get_recipe(settings["recipe"], **changes)


def run_name(recipe: Recipe) -> str:
    """Return the name of a recipe's run, with a hash of all its fields.

    Examples
    --------
    >>> run_name(get_recipe("tiny", seed=1, epochs=3))[:11]
    'tiny-seed1-'
    """
    text = json.dumps(recipe.as_dict(), sort_keys=True, default=list)
    return f"{recipe.name}-seed{recipe.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def read_space(path: StrPath, changes: Settings | None = None, notebooks: bool = False) -> Space:
    """Read and check a YAML file that says what to try; see `check_space`.

    Parameters
    ----------
    path : str or path-like
        With a line ``name: value`` or ``name: [value, value]`` for each setting.
    changes : mapping, optional
        Lines that replace those of the file.
    notebooks : bool
        See `check_space`.

    Examples
    --------
    >>> read_space("space.yml", {"seed": [1, 2]})  # doctest: +SKIP
    """
    with needs("a YAML file"):
        import yaml
    try:
        text = resolve(path).read_text(encoding="utf-8-sig")
        # YAML 1.1 takes 1e-4 for text, as there is no point in it.
        lines = yaml.safe_load(re.sub(r"\b(\d+)e-(\d+)\b", r"\1.0e-\2", text))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())[:150]
        raise DigitError(f"{display_path(path)} can't be read as YAML: {said}") from error
    if not isinstance(lines, dict):
        raise DigitError(f"{display_path(path)} must hold lines such as `recipe: [tiny, fast]`.")
    return check_space({**lines, **(changes or {})}, display_path(path), notebooks)


def check_space(lines: Settings, what: str = "The space", notebooks: bool = False) -> Space:
    """Return the space that some lines describe, with every combination checked.

    Parameters
    ----------
    lines : mapping
        ``recipe``, fields of `digitlib.training.recipes.Recipe` or settings of its augmentation, each with a value or a
        list; once also ``data``, ``test_size``, ``validation_size``, ``assign``. With ``sampler: optuna`` and ``trials: 20``
        there may be ranges: ``learning_rate: {low: 1e-4, high: 1e-2, log: true}``.
    what : str
        Its name, for messages.
    notebooks : bool
        Whether each run executes notebooks, which take fewer settings.

    Raises
    ------
    DigitError
        Naming the line.

    Examples
    --------
    >>> check_space({"recipe": "tiny", "seed": [1, 2]}).choices
    {'recipe': ['tiny'], 'seed': [1, 2]}
    """
    for name in lines:
        if name not in (known := ["recipe", *ONCE, *FIELDS, *TRANSFORMS]):
            raise DigitError(f"{what}: {name!r} is not a setting: {did_you_mean(name, known)}")
        if notebooks and name not in ("recipe", "data", *SPLIT_OPTIONS, *RECIPE_PARAMETERS):
            raise DigitError(f"{what}: notebooks can't do {name}: add --no-notebooks.")
    trials, data = lines.get("trials", 0), str(lines.get("data", "sample"))
    if lines.get("sampler", "grid") != ("optuna" if trials else "grid") or not is_whole(trials) or trials < 0:
        raise DigitError(f"{what}: Optuna needs `sampler: optuna` and `trials: 20`; leave out both for a grid.")
    varied = {name: one for name, one in {"recipe": "fast", **lines}.items() if name not in ONCE}
    ranges = {name: one for name, one in varied.items() if isinstance(one, dict) and trials}
    lists = {name: one if isinstance(one, list) else [one] for name, one in varied.items() if name not in ranges}
    choices = {name: [tuple(one) if isinstance(one, list) else one for one in lists[name]] for name in lists}
    space = Space(data, choices, ranges, {n: lines[n] for n in SPLIT_OPTIONS if n in lines}, trials)
    try:
        for name, one in ranges.items():
            if not {"low", "high"} <= set(one) <= {"low", "high", "log", "step"} or one["low"] >= one["high"]:
                raise DigitError(f"{name} must be a range such as {{low: 1e-4, high: 1e-2, log: true}}.")
        for name, values in choices.items():
            if not values or any(value is None or isinstance(value, dict) for value in values):
                raise DigitError(f"{name} must be values; a range needs `sampler: optuna` and `trials: 20`.")
        for end, settings in product(("low", "high"), space.combinations().values()):
            recipe = recipe_of({**settings, **{name: one[end] for name, one in ranges.items()}})
            if "test" in recipe.validate_on:
                raise DigitError(f"{recipe.name} chooses its epoch on the test set: leave it out.")
    except (DigitError, TypeError) as error:
        raise DigitError(f"{what}: {error}") from error
    return space


def run_sweep(
    space: Space, out: StrPath = "runs/sweep", *, scheduler: str | None = None, workers: int = 0,
    notebooks: Callable[..., Any] | None = None
) -> pd.DataFrame:  # fmt: skip
    """Do every run of a space that is not done yet, and write ``sweep.csv`` after each.

    All runs share one split. A run that fails is a row with its reason; the same call again tries it again.

    Parameters
    ----------
    space : Space
        As from `read_space` or `check_space`.
    out : str or path-like
        Folder for the runs and the table.
    scheduler, workers
        See `digitlib.scale.cluster.workers`.
    notebooks : callable, optional
        Called with a run and its settings instead of training with the library alone.

    Returns
    -------
    pandas.DataFrame
        As from `read_sweep`.

    Raises
    ------
    DigitError
        If the images can't be split, the folder holds other runs, or no scheduler answers.

    Examples
    --------
    >>> run_sweep(check_space({"recipe": "tiny", "seed": [1, 2]}), workers=2)  # doctest: +SKIP
    """
    folder = open_run(out)
    combinations, function = space.combinations(), _do_trial if space.trials else _do_run
    with cluster.workers(workers, scheduler), run_lock(folder):
        split = split_once(space.data, open_run(folder / "split"), **space.split)
        recipes = [recipe_of(one).adapted_to(split) for one in combinations.values()]
        for size, resize in {(recipe.image_size, recipe.resize) for recipe in recipes}:
            pixels_of(split, split.split, size, resize)  # into the cache, where every worker finds them
        tasks: dict[str, Any] = {name: (split, name, one, notebooks) for name, one in combinations.items()}
        if space.trials:
            _open_study(folder, space)
            tasks = {f"trial-{number:03d}": (split, space, number) for number in range(space.trials)}
        rows = {name: _row(name, "waiting", combinations.get(name, {})) for name in tasks}
        write_table(folder / "sweep.csv", pd.DataFrame(rows.values()))
        for name, row, error in progress(cluster.each(function, tasks), len(tasks), "Sweep", "run"):
            rows[name] = row or rows[name] | {"state": "failed", "reason": error.partition("\n")[0][:300]}
            write_table(folder / "sweep.csv", pd.DataFrame(rows.values()))
            accuracy = f"{row['validation_accuracy']:.2%} of the validation set" if row else error
            tqdm.write(f"{name}: {rows[name]['state']}, {accuracy}")
    return read_sweep(folder)


def _is_finished(split: Run, run: Run) -> bool:
    return run.is_done("metrics.json") and run.hashes()["split"] == split.hashes()["split"]


def _do_run(split: Run, name: str, settings: Settings, notebooks: Any) -> dict[str, Any]:
    run = Run(split.folder.parent / name)
    if not _is_finished(split, run):
        with run_lock(run, wait=True):
            share_split(split, run)
            if not (notebooks or _is_finished(split, run)):  # another process may have done it meanwhile
                train_run(run, recipe_of(settings))
                evaluate_run(run)
        if notebooks:
            notebooks(run, json.loads(json.dumps(settings)))
    return _row(name, "done", settings) | _results(run)


def _open_study(folder: Run, space: Space, number: int = 0) -> Any:
    """Return the Optuna study in a sweep's folder: a journal, to which several processes may write."""
    with needs("the sampler 'optuna'"):
        import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = str(folder / "optuna.log")
    study = optuna.create_study(
        study_name="sweep", storage=optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))),
        sampler=optuna.samplers.TPESampler(seed=number, n_startup_trials=4, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(4), direction="maximize", load_if_exists=True,
    )  # fmt: skip
    text = json.dumps([space.choices, space.ranges, space.data, space.split], sort_keys=True)
    if study.user_attrs.setdefault("space", text) != text:
        raise DigitError(f"{folder} holds a search of another space: choose another --out.")
    study.set_user_attr("space", text)
    return study


def _do_trial(split: Run, space: Space, number: int) -> dict[str, Any]:
    """Do one trial of Optuna. One whose process died is still running in the journal, and goes on."""
    import optuna

    run, stopped = Run(split.folder.parent / f"trial-{number:03d}"), list[int]()
    with run_lock(run, wait=True):
        study = _open_study(Run(split.folder.parent), space, number)
        trials = study.get_trials(deepcopy=False)
        last = next((one for one in reversed(trials) if one.user_attrs.get("number") == number), None)
        pruned = last is not None and last.state.name == "PRUNED"
        if last and (pruned or _is_finished(split, run)):
            state = "pruned" if pruned else "done"
            return _row(run.folder.name, state, _draw(last, space, number)) | _results(run)
        trial = optuna.Trial(study, last._trial_id) if last and not last.state.is_finished() else study.ask()
        trial.set_user_attr("number", number)
        settings = _draw(trial, space, number)
        share_split(split, run)

        def report(epoch: int, logs: dict[str, float] | None) -> None:
            trial.report((logs or {})["val_accuracy"], epoch + 1)
            if epoch + 1 < callback.params["epochs"] and trial.should_prune():
                callback.model.stop_training = True
                stopped.append(epoch)

        callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
        train_run(run, recipe_of(settings), [callback])
        if not stopped:
            evaluate_run(run)
        results = _row(run.folder.name, "pruned" if stopped else "done", settings) | _results(run)
        ended = optuna.trial.TrialState.PRUNED if stopped else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if stopped else results["validation_accuracy"], ended)
    return results


def _draw(trial: Any, space: Space, number: int) -> dict[str, Any]:
    """Return the settings that a trial suggests; seeds take turns, since none is better than another."""
    drawn: dict[str, Any] = {}
    for name, values in space.choices.items():
        # Optuna keeps only text and numbers: it is told the place in the list.
        turn = name == "seed" or len(values) == 1
        place = number % len(values) if turn else trial.suggest_categorical(name, list(range(len(values))))
        drawn[name] = values[place]
    for name, limits in space.ranges.items():
        suggest = trial.suggest_int if FIELDS.get(name) == "int" else trial.suggest_float
        drawn[name] = suggest(name, **limits)
    return drawn


def _row(name: str, state: str, settings: Settings) -> dict[str, Any]:
    seed = recipe_of(settings).seed if settings else ""
    words = {key: "x".join(map(str, one)) if isinstance(one, tuple) else one for key, one in settings.items()}
    row = {"run": name, "state": state, "recipe": "", "seed": seed, **words}
    return row | dict.fromkeys(RESULTS) | {"reason": ""}


def _results(run: Run) -> dict[str, Any]:
    """Return what the table has of a trained run, which is nothing from the test set."""
    history, n = read_history(run), int((run.split["part"] == "validation").sum())
    epoch = best_epoch(history, load_recipe(run).checkpoint)
    right = round(float(history.set_index("epoch")["val_accuracy"][epoch]) * n)
    values = (
        right / n, *wilson_interval(right, n), n, epoch, len(history), float(history["seconds"].iloc[-1]),
        run.read_json("training.json")["parameters"],
    )  # fmt: skip
    return dict(zip(RESULTS, values, strict=True))


def read_sweep(out: Run | StrPath) -> pd.DataFrame:
    """Return the table of a sweep, best validation accuracy first.

    Returns
    -------
    pandas.DataFrame
        A row a run: ``run`` (its folder), ``state`` ("done", "pruned", "failed" or "waiting"), ``recipe``, ``seed`` and
        the other settings, ``validation_accuracy`` (0 to 1) with ``validation_low`` and ``validation_high`` (95 %,
        Wilson), ``n_validation``, ``best_epoch``, ``epochs_done``, ``seconds`` (of training), ``parameters``,
        ``reason``, ``label`` (the settings that differ, for plots). Nothing in it comes from the test set.

    Raises
    ------
    DigitError
        If there is none.

    Examples
    --------
    >>> read_sweep("runs/sweep")  # doctest: +SKIP
    """
    folder = open_run(out)
    if not (folder / "sweep.csv").exists():
        raise DigitError(f"{folder} has no sweep.csv: run `digitlib sweep SPACE.yml --out {folder}` first.")
    table = read_table(folder / "sweep.csv")
    for name in RESULTS:
        table[name] = pd.to_numeric(table[name])
    varied = varied_settings(table)
    table["label"] = [", ".join(f"{n} {row[n]}" for n in varied) for row in table.to_dict("records")]
    return table.sort_values("validation_accuracy", ascending=False, kind="stable", ignore_index=True)


def best_run(out: StrPath) -> Run:
    """Return the run with the highest validation accuracy.

    Raises
    ------
    DigitError
        If none is done.

    Examples
    --------
    >>> best_run("runs/sweep")  # doctest: +SKIP
    """
    table = read_sweep(out)
    done = table[table["state"] == "done"]
    if done.empty:
        raise DigitError(f"No run of {display_path(out)} is done: sweep.csv has the reasons.")
    return open_run(Path(out) / str(done["run"].iloc[0]))


def histories_of(out: StrPath) -> pd.DataFrame:
    """Return the histories of all trained runs of a sweep, one below the other.

    Returns
    -------
    pandas.DataFrame
        ``run``, ``label`` (the settings that differ) and the columns of `digitlib.run.read_history`; runs in the order
        of `read_sweep`.

    Examples
    --------
    >>> histories_of("runs/sweep")  # doctest: +SKIP
    """
    table, folder = read_sweep(out), open_run(out)
    trained = [row for row in table.itertuples() if (folder / row.run / "history.csv").exists()]
    histories = [read_history(folder / row.run).assign(run=row.run, label=row.label) for row in trained]
    return pd.concat([pd.DataFrame(), *histories], ignore_index=True)


def varied_settings(table: pd.DataFrame) -> list[str]:
    """Return the settings in which the runs of a sweep differ, ``["recipe"]`` if in none.

    Examples
    --------
    >>> varied_settings(pd.DataFrame({"run": ["a", "b"], "recipe": ["tiny", "tiny"], "seed": [1, 2]}))
    ['seed']
    """
    settings = table.columns.drop(["run", "state", "reason", "label", *RESULTS], errors="ignore")
    return [name for name in settings if len(set(table[name])) > 1] or ["recipe"]


def pareto_front(table: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that no other run beats in both validation accuracy and time, fastest first.

    Examples
    --------
    >>> front = {"state": "done", "validation_accuracy": [0.9, 0.8, 0.95], "seconds": [1, 2, 3]}
    >>> pareto_front(pd.DataFrame(front))["seconds"].tolist()
    [1, 3]
    """
    done = table[table["state"] == "done"]
    done = done.sort_values(["seconds", "validation_accuracy"], ascending=[True, False])
    best_before = done["validation_accuracy"].cummax().shift(fill_value=-np.inf)
    return done[done["validation_accuracy"] > best_before].reset_index(drop=True)


def summary(out: StrPath) -> str:
    """Return the table of a sweep as text, and the test accuracy of the best run alone.

    Examples
    --------
    >>> print(summary("runs/sweep"))  # doctest: +SKIP
    """
    table, percent = read_sweep(out), dict.fromkeys(RESULTS[:3], "{:.2%}".format)
    columns = ["run", "state", *RESULTS[:3], "seconds", "reason"]
    lines = [table[columns].to_string(index=False, na_rep="", formatters=percent), ""]
    if "done" in set(table["state"]):
        best = best_run(out)
        tested = "test accuracy {test_accuracy:.2%} ({test_accuracy_low:.2%} to {test_accuracy_high:.2%})"
        lines.append(f"Best: {best}, {tested.format(**best.read_json('metrics.json'))}")
    return "\n".join([*lines, f"Table: {display_path(resolve(out) / 'sweep.csv')}"])
