"""Tracking: what a finished run's own files hold, written to TensorBoard or MLflow. The run's files stay the truth."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from digitlib.errors import DigitError, missing_extra, require
from digitlib.evaluation.classifier import Classifier
from digitlib.files import StrPath, display_path, file_hash, make_folder, project_root
from digitlib.pipeline.report import report_figures
from digitlib.plots.style import png_of
from digitlib.run import Run, open_run, read_history
from digitlib.scale.sweep import read_sweep, summary
from digitlib.training.backend import tensorflow

TRACKERS = {"tensorboard": ("tensorboard",), "mlflow": ("alembic", "mlflow.keras")}
"""Each with what it needs; mlflow-skinny comes without Alembic, which makes the tables in SQLite."""

SETTINGS = ("data", "n_train", "n_validation", "n_test", "parameters")
RESULTS = ("validation_accuracy", "best_epoch", "fit_seconds")
TESTED = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_loss", "balanced_accuracy", "lowest_recall")
"""Fields of ``metrics.json``; those from the test set are left out of a sweep, where none may be chosen by them."""


def check_tracker(tracker: str) -> None:
    """Raise a `DigitError` unless runs can be tracked here, so that it is said before anything trains.

    Examples
    --------
    >>> check_tracker("wandb")
    Traceback (most recent call last):
        ...
    digitlib.errors.DigitError: tracker is 'wandb': it must be tensorboard or mlflow.
    """
    require("tracker", tracker, tracker in TRACKERS, " or ".join(TRACKERS))
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else MLflow reports its use over the network
    try:
        for package in TRACKERS[tracker]:
            import_module(package)
    except ImportError as error:
        raise missing_extra(f"tracking with {tracker}", "track", error) from error
    if tracker == "mlflow":
        _store()


def track(run: Run | StrPath, tracker: str) -> list[str]:
    """Write parameters, curves, figures, results and network of a run to a tracker; return the command that shows them.

    TensorBoard gets a folder for each training in ``logs/`` of the run's. MLflow gets an entry in the store that it is set to
    (``MLFLOW_TRACKING_URI``), or else in ``mlflow.db`` and ``mlruns/`` of the project. No training is entered twice.

    Parameters
    ----------
    run : Run or path-like
        An evaluated run, or a sweep, whose runs become the children of one entry in MLflow.
    tracker : {"tensorboard", "mlflow"}
        Where to.

    Examples
    --------
    >>> track("runs/default", "tensorboard")  # doctest: +SKIP
    ['tensorboard', '--logdir', 'runs/default']
    """
    check_tracker(tracker)
    run, parent = open_run(run), ""
    sweep = read_sweep(run).query("state == 'done'") if (run / "sweep.csv").exists() else None
    runs = [run] if sweep is None else [Run(run / name) for name in sweep["run"]]
    if tracker == "tensorboard":
        for one in runs:
            _to_tensorboard(one, tested=sweep is None)
        return ["tensorboard", "--logdir", display_path(run.folder)]
    client, experiment, uri = _store()
    if sweep is not None:
        parent = _entry(client, experiment, run, run.folder.as_uri())
        client.set_tag(parent, "mlflow.note.content", f"```\n{summary(run.folder)}\n```")
        client.log_artifact(parent, str(run / "sweep.csv"))
        begun = client.get_run(parent).info.start_time  # so that the same value is kept once
        client.log_metric(parent, "results/validation_accuracy", sweep["validation_accuracy"].max(), begun, 0)
        client.set_terminated(parent)
    for one in runs:
        _to_mlflow(client, experiment, one, parent)
    return ["mlflow", "ui", "--backend-store-uri", uri]


def _facts(run: Run, tested: bool) -> tuple[dict[str, Any], dict[str, float], pd.DataFrame, str]:
    """Return parameters, results, history, and a key: the same for the same training alone."""
    run.require("training.json", "history.csv", "metrics.json")
    record, metrics = run.read_json("training.json"), run.read_json("metrics.json")
    own = {name: record[name] for name in ("network", "seed", "fit", "augmentation", "class_weight")}
    recipe = run.read_json("recipe.json") if (run / "recipe.json").exists() else own
    facts = {name: metrics[name] for name in SETTINGS} | recipe | {"version": record["versions"]}
    flat = pd.json_normalize(facts).to_dict("records")[0]
    parameters = {str(name): value if isinstance(value, int | float) else str(value) for name, value in flat.items()}
    results = {f"results/{name}": metrics[name] for name in RESULTS + TESTED * tested if metrics.get(name) is not None}
    key = file_hash(run / "training.json")[:8] + "-sweep" * (not tested)
    return parameters, results, read_history(run), key


def _figures(run: Run, tested: bool) -> Iterator[tuple[str, Figure]]:
    """Yield the report's figures with their headings, numbered so that a tracker sorts them as the report does."""
    with plt.style.context("digitlib.plots.style"):
        for number, (title, figure) in enumerate(report_figures(run), 1):
            if tested or title == "Training":
                yield f"{number} {title}", figure
            plt.close(figure)


def _to_tensorboard(run: Run, tested: bool) -> None:
    """Write the logs of a training whole: a second file of events beside the first would show every point twice."""
    from tensorboard.plugins.hparams import api

    parameters, results, history, key = _facts(run, tested)
    folder, temporary = run / f"logs/{key}", run / ".tmp-logs"
    if folder.exists():
        return
    shutil.rmtree(temporary, ignore_errors=True)
    network = Classifier.load(run).model
    form = tensorflow.TensorSpec(network.input_shape)
    curves = history.set_index("epoch").drop(columns="seconds")
    for part, mark in (("train", "(?!val_)"), ("validation", "val_")):  # names as those of Keras's callback
        with tensorflow.summary.create_file_writer(str(temporary / part)).as_default():
            for epoch, name, value in curves.filter(regex=f"^{mark}").melt(ignore_index=False).itertuples():
                tensorflow.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, step=epoch)
    with tensorflow.summary.create_file_writer(str(temporary)).as_default():
        api.hparams(parameters, trial_id=run.folder.name)
        tensorflow.summary.graph(tensorflow.function(network).get_concrete_function(form).graph)
        for name, value in results.items():
            tensorflow.summary.scalar(name, value, step=0)
        for title, figure in _figures(run, tested):
            image = tensorflow.io.decode_png(base64.b64decode(png_of(figure)), channels=3)
            tensorflow.summary.image(f"figures/{title}", image[None], step=0)
    make_folder(folder.parent)
    temporary.rename(folder)


def _store() -> tuple[Any, str, str]:
    """Return MLflow's client, the id of the experiment, and the address of the store."""
    import mlflow

    given, name = mlflow.is_tracking_uri_set(), os.environ.get("MLFLOW_EXPERIMENT_NAME", "digitlib")
    uri = mlflow.get_tracking_uri() if given else f"sqlite:///{(project_root() / 'mlflow.db').as_posix()}"
    place = None if given else (project_root() / "mlruns").as_uri()
    try:
        client = mlflow.MlflowClient(uri)
        found = client.get_experiment_by_name(name)
        return client, found.experiment_id if found else client.create_experiment(name, place), uri
    except mlflow.MlflowException as error:
        raise DigitError(f"MLflow's store {uri} can't be used: {str(error).partition('. ')[0]}.") from error


def _entry(client: Any, experiment: str, run: Run, key: str, begun: int | None = None) -> str:
    """Return the id of MLflow's run with a key, which is made if there is none."""
    found = client.search_runs([experiment], f"tags.`digitlib.key` = '{key}'")
    return (found or [client.create_run(experiment, begun, {"digitlib.key": key}, run.folder.name)])[0].info.run_id


def _to_mlflow(client: Any, experiment: str, run: Run, parent: str) -> None:
    """Write a run. After a stop it is written again: what has the same time, step and value is kept once."""
    import mlflow
    from mlflow.entities import Metric, Param

    parameters, results, history, key = _facts(run, tested=not parent)
    ended = int((run / "training.json").stat().st_mtime * 1000)
    entry = _entry(client, experiment, run, key, ended - int(history["seconds"].iloc[-1] * 1000))
    if parent:
        client.set_tag(entry, "mlflow.parentRunId", parent)
    info = client.get_run(entry).info
    if info.status == "FINISHED":
        return
    times = [info.start_time + int(second * 1000) for second in history["seconds"]]  # SQLite takes no int of NumPy
    curves = history.drop(columns=["epoch", "seconds"])
    points = [Metric(name, value, times[row], row + 1) for name in curves for row, value in enumerate(curves[name])]
    points += [Metric(name, value, times[-1], 0) for name, value in results.items()]
    client.log_batch(entry, points, [Param(name, str(value)) for name, value in parameters.items()])
    for title, figure in _figures(run, tested=not parent):
        client.log_figure(entry, figure, f"figures/{title}.png")
    network, versions = Classifier.load(run).model, run.read_json("training.json")["versions"]
    given, found = (np.zeros((1, *shape[1:]), "float32") for shape in (network.input_shape, network.output_shape))
    with tempfile.TemporaryDirectory() as folder:
        mlflow.keras.save_model(
            network, f"{folder}/model", signature=mlflow.models.infer_signature(given, found),
            pip_requirements=[f"{name}=={versions[name]}" for name in ("keras", "tensorflow")],
        )  # fmt: skip
        client.log_artifacts(entry, folder)
    client.set_terminated(entry, end_time=times[-1])
