"""Tracking: what a trained run's own files hold, written to TensorBoard or MLflow. The run's files stay the truth."""

from __future__ import annotations

import base64
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from digitlib.errors import DigitError, missing_extra
from digitlib.evaluation.classifier import Classifier
from digitlib.files import display_path, file_hash, project_root, write_json
from digitlib.pipeline.report import report_figures
from digitlib.plots.style import png_of
from digitlib.progress import environment
from digitlib.run import Run, open_run, read_history
from digitlib.scale.sweep import read_sweep, summary
from digitlib.training.backend import keras, tensorflow

Tracker = Literal["tensorboard", "mlflow"]
SETTINGS = {"seed", "n_train", "n_validation", "n_test", "parameters", "epochs"}


def check_tracker(tracker: Tracker) -> None:
    """Raise a `DigitError` unless runs can be tracked here: what is missing is said before anything trains."""
    if tracker == "mlflow":
        with _mlflow():
            return
    try:
        import tensorboard  # noqa: F401 - what TensorFlow says without it names no way out
    except ImportError as error:
        raise missing_extra("tracking with TensorBoard", "track", error) from error


def track_run(run: Run | str | os.PathLike[str], tracker: Tracker) -> str:
    """Write parameters, curves, figures, results and network of a trained run, and return the command that shows them.

    TensorBoard gets the folder ``tensorboard`` in the run's. MLflow gets a run in the store it is set to
    (``MLFLOW_TRACKING_URI``), or else in ``mlflow.db`` and ``mlruns/`` of the project. A training that has been tracked
    before is not entered twice.

    Examples
    --------
    >>> track_run("runs/default", "mlflow")  # doctest: +SKIP
    'mlflow ui --backend-store-uri sqlite:///mlflow.db'
    """
    check_tracker(tracker)
    run = open_run(run)
    if tracker == "tensorboard":
        return _to_tensorboard(run)
    with _mlflow() as (client, experiment, shown_by):
        _to_mlflow(client, experiment, run)
    return shown_by


def track_sweep(out: str | os.PathLike[str], tracker: Tracker) -> str:
    """Track each run of a sweep without its test results, by which none is chosen; MLflow groups them under one run.

    Examples
    --------
    >>> track_sweep("runs/sweep", "tensorboard")  # doctest: +SKIP
    'tensorboard --logdir runs/sweep'
    """
    check_tracker(tracker)
    folder, table = open_run(out), read_sweep(out)
    runs = [Run(folder / name) for name in table.loc[table["state"].isin(["done", "pruned"]), "run"]]
    if tracker == "tensorboard":
        for run in runs:
            _to_tensorboard(run, tested=False)
        return f"tensorboard --logdir {display_path(folder.folder)}"
    with _mlflow() as (client, experiment, shown_by):
        parent = _entry(client, experiment, folder, str(folder.folder))
        client.set_tag(parent, "mlflow.note.content", f"```\n{summary(out)}\n```")
        client.log_artifact(parent, str(folder / "sweep.csv"))
        for run in runs:
            _to_mlflow(client, experiment, run, parent)
        client.set_terminated(parent)
    return shown_by


def _facts(run: Run, tested: bool) -> tuple[dict[str, Any], dict[str, float], pd.DataFrame, dict[str, Any]]:
    """Return the parameters, the results, the history and what they were made from."""
    run.require("training.json", "history.csv")
    record, names = run.read_json("training.json"), ("network", "fit", "augmentation", "class_weight", "checkpoint")
    recipe = run.read_json("recipe.json") if (run / "recipe.json").exists() else {name: record[name] for name in names}
    metrics = run.read_json("metrics.json") if (run / "metrics.json").exists() else {}
    sizes = {f"n_{part}": int(n) for part, n in run.split["part"].value_counts().items()}
    about = {"data": run.read_json("source.json")["data"], **recipe, **sizes, "weights": record["parameters"]}
    flat = pd.json_normalize(about | {"version": record["versions"]}).iloc[0].to_dict()
    parameters = {name: value if isinstance(value, int | float) else str(value) for name, value in flat.items()}
    of_validation = {"validation_accuracy", "best_epoch", "fit_seconds"}
    results = {
        name: float(value) for name, value in metrics.items()
        if type(value) in (int, float) and name not in SETTINGS and (tested or name in of_validation)
    }  # fmt: skip
    files = ("training.json", "metrics.json")
    made_from = {name: file_hash(run / name)[:16] for name in files if (run / name).exists()} | {"tested": tested}
    return parameters, results, read_history(run).drop(columns="seconds"), made_from


def _images(run: Run, tested: bool) -> Iterator[tuple[str, Image.Image]]:
    """Yield the report's figures with their headings, numbered so that trackers sort them as the report does."""
    with plt.style.context("digitlib.plots.style"):
        figures = report_figures(run) if (run / "metrics.json").exists() else ()
        for number, (title, figure) in enumerate(figures, 1):
            if tested or title == "Training":
                yield f"{number} {title}", Image.open(io.BytesIO(base64.b64decode(png_of(figure)))).convert("RGB")
            plt.close(figure)


def _to_tensorboard(run: Run, tested: bool = True) -> str:
    """Write the log folder whole, then give it its name: a second event file would show every point twice."""
    from tensorboard.plugins.hparams import api

    parameters, results, history, made_from = _facts(run, tested)
    folder, temporary = Run(run / "tensorboard"), run / ".tmp-tensorboard"
    written = (folder / "tracked.json").exists()
    if folder.folder.exists() and not written:
        raise DigitError(f"{folder} has logs that digitlib did not write: move them away, or track another run.")
    if not written or folder.read_json("tracked.json") != made_from:
        shutil.rmtree(temporary, ignore_errors=True)
        callback = keras.callbacks.TensorBoard(temporary)
        callback.set_model(Classifier.load(run).model)  # also writes its graph
        for row in history.to_dict("records"):
            callback.on_epoch_end(row.pop("epoch"), row)
        callback.on_train_end()
        with tensorflow.summary.create_file_writer(str(temporary)).as_default():
            api.hparams(parameters)
            for name, value in results.items():
                tensorflow.summary.scalar(name, value, step=0)
            for title, image in _images(run, tested):
                tensorflow.summary.image(title, np.asarray(image)[None], step=0)
        write_json(temporary / "tracked.json", made_from)
        shutil.rmtree(folder.folder, ignore_errors=True)
        temporary.rename(folder.folder)
    return f"tensorboard --logdir {display_path(run.folder)}"


@contextmanager
def _mlflow() -> Iterator[tuple[Any, str, str]]:
    """Give a client of MLflow's store, the id of the experiment, and the command that shows it."""
    with environment({"MLFLOW_DISABLE_TELEMETRY": "true"}):
        try:
            import alembic  # noqa: F401 - for SQLite, which mlflow-skinny does not bring
            import mlflow.keras
        except ImportError as error:
            raise missing_extra("tracking with MLflow", "track", error) from error
        set_before, name = mlflow.is_tracking_uri_set(), os.environ.get("MLFLOW_EXPERIMENT_NAME", "digitlib")
        uri = mlflow.get_tracking_uri() if set_before else f"sqlite:///{(project_root() / 'mlflow.db').as_posix()}"
        try:
            client = mlflow.MlflowClient(uri)
            found = client.get_experiment_by_name(name)
            place = None if set_before else (project_root() / "mlruns" / name).as_uri()
            experiment = found.experiment_id if found else client.create_experiment(name, place)
            yield client, experiment, uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
        except mlflow.MlflowException as error:
            raise DigitError(f"MLflow's store {uri} can't be used: {str(error).partition(chr(10))[0]}") from error


def _entry(client: Any, experiment: str, run: Run, key: str, begun: int | None = None) -> str:
    """Return the id of MLflow's run with a key, which is made if there is none."""
    found = client.search_runs([experiment], f"tags.`digitlib.key` = '{key}'")
    return (found or [client.create_run(experiment, begun, {"digitlib.key": key}, run.folder.name)])[0].info.run_id


def _to_mlflow(client: Any, experiment: str, run: Run, parent: str = "") -> None:
    """Write a run; what is written again has the same time, step and value, and MLflow keeps it once."""
    import mlflow
    from mlflow.entities import Metric, Param, RunTag

    parameters, results, history, made_from = _facts(run, tested=not parent)
    ended = round((run / "training.json").stat().st_mtime * 1000)
    seconds = read_history(run)["seconds"]
    entry = _entry(client, experiment, run, made_from["training.json"], ended - round(seconds.iloc[-1] * 1000))
    info, tags = client.get_run(entry).info, client.get_run(entry).data.tags
    if parent:
        client.set_tag(entry, "mlflow.parentRunId", parent)
    if tags.get("digitlib.made_from") == str(made_from):
        return
    metrics = [
        Metric(name, row[name], info.start_time + round(second * 1000), row["epoch"])
        for row, second in zip(history.to_dict("records"), seconds, strict=True) for name in history.columns[1:]
    ]  # fmt: skip
    last = info.start_time + round(seconds.iloc[-1] * 1000)
    metrics += [Metric(name, value, last, 0) for name, value in results.items()]
    client.log_batch(entry, metrics, [Param(name, str(value)) for name, value in parameters.items()])
    for title, image in _images(run, tested=not parent):
        client.log_image(entry, image, artifact_file=f"figures/{title}.png")
    for name in ("recipe.json", "training.json", "history.csv"):
        if (run / name).exists():
            client.log_artifact(entry, str(run / name))
    network, versions = Classifier.load(run).model, run.read_json("training.json")["versions"]
    shapes = [np.zeros((1, *shape[1:]), "float32") for shape in (network.input_shape, network.output_shape)]
    with tempfile.TemporaryDirectory() as folder:
        mlflow.keras.save_model(
            network, f"{folder}/model", signature=mlflow.models.infer_signature(*shapes),
            pip_requirements=[f"{name}=={versions[name]}" for name in ("keras", "tensorflow")],
        )  # fmt: skip
        client.log_artifacts(entry, f"{folder}/model", "model")
    client.set_tag(entry, "digitlib.made_from", str(made_from))
    client.set_terminated(entry, end_time=last)
