"""Trackers get what the run's own files hold, once, and say what is missing before anything trains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import digitlib as d
from digitlib.cli import main
from digitlib.evaluation.metrics import evaluate_run
from digitlib.pipeline import track
from digitlib.run import Run, read_history
from digitlib.training.train import train_run

CURVES = ["accuracy", "loss", "val_accuracy", "val_loss", "learning_rate"]


def curves_in(folder: Path) -> pd.DataFrame:
    """Return the points that TensorBoard reads from a log folder, a row for each epoch."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    value = pytest.importorskip("tensorboard.util.tensor_util").make_ndarray
    columns = {}
    for part, start in (("train", ""), ("validation", "val_")):
        events = accumulator(str(folder / part))
        events.Reload()
        for tag in events.Tags()["tensors"]:
            if tag.startswith("epoch_"):
                points = [(one.step, float(value(one.tensor_proto))) for one in events.Tensors(tag)]
                assert len({step for step, _ in points}) == len(points)
                columns[start + tag.removeprefix("epoch_")] = dict(points)
    return pd.DataFrame(columns)[CURVES]


def client() -> Any:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    return mlflow.MlflowClient(f"sqlite:///{d.files.project_root() / 'mlflow.db'}")


def entries(where: str = "") -> list[Any]:
    experiment = client().get_experiment_by_name("digitlib")
    return list(client().search_runs([experiment.experiment_id], where))


@pytest.mark.parametrize(("tracker", "package"), [("mlflow", "mlflow"), ("tensorboard", "tensorboard")])
@pytest.mark.parametrize("command", [["run"], ["sweep", "space.yml"]])
def test_a_missing_package_is_told_before_anything_trains(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], tracker: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.keras", None)
    (root / "space.yml").write_text("recipe: tiny")
    told = CliRunner().invoke(main, [*command, "--track", tracker, "--out", "runs/x"])
    assert told.exit_code == 1
    assert told.output.count("\n") <= 2
    assert '[track]"' in told.output
    assert not (root / "runs").exists()


@pytest.mark.slow
def test_the_callback_of_keras_works_beside_ours_and_changes_nothing(digits: Path) -> None:
    from digitlib.training.backend import keras

    pytest.importorskip("tensorboard")
    run, recipe = d.prepare(digits, "runs/a", mode="none"), d.get_recipe("fast", epochs=2)
    callback = keras.callbacks.TensorBoard(run / "mine", histogram_freq=1, write_graph=True)
    train_run(run, recipe, [callback])
    history = read_history(run)
    np.testing.assert_allclose(curves_in(run / "mine"), history[CURVES], rtol=1e-6)
    train_run(run, recipe)
    pd.testing.assert_frame_equal(read_history(run)[CURVES], history[CURVES])


@pytest.fixture(scope="module")
def evaluated(run: Run) -> Run:
    evaluate_run(run)
    return run


@pytest.mark.slow
def test_tensorboard_shows_what_the_files_hold_and_nothing_twice(evaluated: Run) -> None:
    pytest.importorskip("tensorboard")
    for _ in range(2):
        assert track(evaluated, "tensorboard") == ["tensorboard", "--logdir", "runs/a"]
        (folder,) = (evaluated / "logs").iterdir()
        history = read_history(evaluated).set_index("epoch")[CURVES]
        np.testing.assert_allclose(curves_in(folder), history, rtol=1e-6)
    evaluate_run(evaluated)
    (evaluated / "metrics.json").write_text(
        (evaluated / "metrics.json").read_text() + "\n"
    )  # as if evaluated otherwise
    track(evaluated, "tensorboard")
    assert len(list(folder.glob("events*"))) == 1


@pytest.mark.slow
def test_mlflow_has_parameters_curves_figures_and_a_model_that_predicts_the_same(evaluated: Run) -> None:
    mlflow = pytest.importorskip("mlflow")
    for _ in range(2):
        track(evaluated, "mlflow")
        for one in entries():  # as if the process had been killed just before the end
            client().update_run(one.info.run_id, status="RUNNING")
    track(evaluated, "mlflow")
    (entry,) = entries()
    assert entry.info.status == "FINISHED"
    assert entry.data.params["name"] == "tiny"
    assert entry.data.params["n_train"] == str((evaluated.split["part"] == "train").sum())
    assert entry.data.params["version.digitlib"] == d.__version__
    metrics = evaluated.read_json("metrics.json")
    assert entry.data.metrics["results/test_accuracy"] == metrics["test_accuracy"]
    history = read_history(evaluated)
    for name in CURVES:
        points = sorted(client().get_metric_history(entry.info.run_id, name), key=lambda point: point.step)
        assert [(point.step, point.value) for point in points] == list(history[["epoch", name]].itertuples(index=False))
    figures = [one.path for one in client().list_artifacts(entry.info.run_id, "figures")]
    assert [Path(path).stem for path in figures][:2] == ["1 Training", "2 Confusion matrix"]
    place = client().download_artifacts(entry.info.run_id, "model")
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1)).astype("float32")
    expected = d.Classifier.load(evaluated).model.predict(images, verbose=0)
    np.testing.assert_allclose(mlflow.keras.load_model(place).predict(images, verbose=0), expected, atol=1e-6)


@pytest.mark.slow
def test_a_sweep_is_one_entry_with_a_child_for_each_run_and_no_test_results(digits: Path, root: Path) -> None:
    client()
    (root / "space.yml").write_text(f"data: {digits}\nrecipe: tiny\nepochs: 1\nseed: [1, 2]\n")
    for tracker in ("tensorboard", "mlflow", "mlflow"):
        told = CliRunner().invoke(main, ["sweep", "space.yml", "--no-notebooks", "--track", tracker])
        assert told.exit_code == 0, told.output
    runs = [one.parent for one in (root / "runs/sweep").glob("tiny-*/metrics.json")]
    assert len(runs) == 2
    for run in runs:
        np.testing.assert_allclose(curves_in(next((run / "logs").iterdir())), read_history(run)[CURVES], rtol=1e-6)
    (parent,) = [one for one in entries() if "mlflow.parentRunId" not in one.data.tags]
    children = entries(f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert parent.info.run_name == "sweep"
    assert {one.info.run_name for one in children} == {run.name for run in runs}
    assert {one.data.params["seed"] for one in children} == {"1", "2"}
    best = max(one.data.metrics["results/validation_accuracy"] for one in children)
    assert parent.data.metrics == pytest.approx({"results/validation_accuracy": best})
    for one in children:
        assert not [name for name in one.data.metrics if "test" in name]
        assert one.info.run_name in parent.data.tags["mlflow.note.content"]
