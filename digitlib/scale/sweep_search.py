"""A sweep whose settings Optuna chooses, stopping runs that lag behind: asked and told where each run is done."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from digitlib.errors import DigitError
from digitlib.files import display_path, write_json
from digitlib.run import InUse, Run, in_turn, run_lock
from digitlib.scale.cluster import Here, Workers
from digitlib.scale.sweep_progress import follow, tell
from digitlib.scale.sweep_run import (
    DONE,
    LOOK_AGAIN,
    Job,
    begin_with_split,
    finished_before,
    results_of,
    results_so_far,
    with_threads,
)
from digitlib.scale.sweep_space import Settings, Space, settings_of
from digitlib.scale.sweep_table import outcome_of, row_of, write_rows
from digitlib.training.recipes import Recipe

STUDY, JOURNAL = "sweep", "optuna.log"

FIRST = 4
"""Runs that come to their end before any is stopped: the median of fewer says little."""

STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned"}


def search(space: Space, job: Job, crew: Here | Workers) -> None:
    """Let Optuna try settings in ``trials`` runs, those of earlier calls included; a failed one is tried again."""
    study, tasks = open_study(job), []
    _check_same(study, space, job)
    rows = {_name(number): _row(space, job, study, number) for number in range(space.trials)}
    for number, (name, row) in enumerate(rows.items()):
        if row["state"] not in ("done", "pruned"):
            tasks.append((f"{job.out}/{name}", (job, space, number)))
    rows |= finished_before(job, set(rows))
    write_rows(Run(Path(job.out)), rows)
    for ended in follow(crew, do_trial, tasks, space.trials):
        name = Path(ended.key).name
        rows[name] = _row(space, job, study, int(name.removeprefix("trial-")))
        if ended.error is not None:
            rows[name] |= outcome_of(ended)
        write_rows(Run(Path(job.out)), rows)
        tell(rows[name])


def open_study(job: Job, number: int = 0) -> optuna.Study:
    """Return the study in the sweep's folder: a journal, to which several processes may write.

    TPE with ``constant_liar`` keeps runs that are under way at the same time from trying the same place. The seed of
    its choice is the run's number, so that a sweep without workers always makes the same choices.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = str(Path(job.out) / JOURNAL)
    # Making a symbolic link, which also locks on network file systems, takes privileges on Windows.
    lock = JournalFileOpenLock(path) if sys.platform == "win32" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.create_study(
            study_name=STUDY,
            storage=optuna.storages.JournalStorage(JournalFileBackend(path, lock_obj=lock)),
            sampler=optuna.samplers.TPESampler(seed=number, n_startup_trials=FIRST, constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST),
            direction="maximize",
            load_if_exists=True,
        )


def do_trial(job: Job, space: Space, number: int) -> None:
    """Do one run of a search to its end, unless it has come to it before.

    Only the process that holds the lock of the run's folder works on it. So a trial of this run that Optuna still lists as
    running belongs to a process that died. It is marked as failed and its settings are tried again, as Optuna advises;
    the training goes on after its last whole epoch.

    Parameters
    ----------
    job, space
        What to do.
    number : int
        Which run, from 0.
    """
    run = Run(Path(job.out) / _name(number))
    while True:
        try:
            with run_lock(run):
                _hold_and_do(run, job, space, number)
            return
        except InUse:
            time.sleep(LOOK_AGAIN)


def _hold_and_do(run: Run, job: Job, space: Space, number: int) -> None:
    from digitlib.scale.sweep_pruning import train_reporting

    study = open_study(job, number)
    last = trial_of(study, number)
    if last is not None and _ended(space, run, last, number) is not None:
        return
    with in_turn(job.split):  # otherwise another process could take the trial that is queued here
        if last is not None:
            if not last.state.is_finished():
                study.tell(last.number, state=TrialState.FAIL)
            study.enqueue_trial(last.params, user_attrs={"again": last.number})
        trial = study.ask()
        trial.set_user_attr("run", number)
    begin_with_split(run, job)
    try:
        settings = ask_for(trial, space, number)
        stopped = with_threads(job.threads, train_reporting, run, settings.recipe_of(), trial)
    except Exception:
        study.tell(trial, state=TrialState.FAIL)
        raise
    if stopped:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        write_json(run / DONE, job.mark(settings, run))
        study.tell(trial, results_of(run)["validation_accuracy"])


def ask_for(trial: optuna.Trial, space: Space, number: int) -> Settings:
    """Return the settings that a trial suggests; seeds are taken in turn, since none is better than another."""
    values: dict[str, Any] = {}
    for name, choices in space.choices.items():
        if name == "seed":
            values[name] = choices[number % len(choices)]
        elif len(choices) == 1:
            values[name] = choices[0]
        else:  # Optuna keeps texts and numbers only, so that it is told the place in the list
            values[name] = choices[trial.suggest_categorical(name, list(range(len(choices))))]
    for name, limits in space.ranges.items():
        values[name] = _suggest(trial, name, limits)
    return settings_of(values)


def _suggest(trial: optuna.Trial, name: str, limits: dict[str, Any]) -> int | float:
    if Recipe.__annotations__.get(name) == "int":
        return trial.suggest_int(name, **limits)
    return trial.suggest_float(name, **limits)


def trial_of(study: optuna.Study, number: int) -> FrozenTrial | None:
    """Return the last trial that was made for a run, None if there is none yet."""
    return next(
        (one for one in reversed(study.get_trials(deepcopy=False)) if one.user_attrs.get("run") == number),
        None,
    )


def _row(space: Space, job: Job, study: optuna.Study, number: int) -> dict[str, Any]:
    """Return the row of a run, with what is known of it."""
    name, trial = _name(number), trial_of(study, number)
    if trial is None or not _is_whole(space, trial):
        return row_of(name, None, job.threads, "waiting")
    results = _ended(space, Run(Path(job.out) / name), trial, number)
    state = "failed" if trial.state == TrialState.FAIL else STATES[trial.state] if results else "waiting"
    return row_of(name, _settings(space, trial, number), job.threads, state) | (results or {})


def _is_whole(space: Space, trial: FrozenTrial) -> bool:
    """Tell whether a trial got as far as to be given all its settings."""
    lists = {name for name, choices in space.choices.items() if name != "seed" and len(choices) > 1}
    return lists | set(space.ranges) <= set(trial.params)


def _settings(space: Space, trial: FrozenTrial, number: int) -> Settings:
    return ask_for(optuna.trial.FixedTrial(trial.params), space, number)  # type: ignore[arg-type]


def _ended(space: Space, run: Run, trial: FrozenTrial, number: int) -> dict[str, Any] | None:
    """Return the results of a trial that has ended, None if it has not or its run's folder was emptied since."""
    try:
        if trial.state == TrialState.COMPLETE:
            return results_of(run)
        if trial.state == TrialState.PRUNED:
            return results_so_far(run, _settings(space, trial, number))
    except DigitError:
        pass
    return None


def _check_same(study: optuna.Study, space: Space, job: Job) -> None:
    """Refuse to go on with a search of other settings: what was learned from those says nothing of these."""
    text = json.dumps([space.choices, space.ranges, space.threads], sort_keys=True)
    if study.user_attrs.get("space", text) != text:
        raise DigitError(
            f"{display_path(job.out)} holds a search among other settings: choose another --out, or change nothing but trials."
        )
    study.set_user_attr("space", text)
    split = job.begun(job.split)["split"]
    if study.user_attrs.get("split", split) != split:
        raise DigitError(
            f"{display_path(job.out)} holds a search on other images or another split, which these can't be compared with: choose "
            "another --out."
        )
    study.set_user_attr("split", split)


def _name(number: int) -> str:
    return f"trial-{number:03d}"
