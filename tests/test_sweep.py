"""Many runs at once: each once, whatever is killed, and a table without anything from the test set."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from loopback import drama

from digitlib.errors import DigitError
from digitlib.run import Run, open_run
from digitlib.scale import (
    best_run,
    check_space,
    histories_of,
    pareto_front,
    read_sweep,
    run_sweep,
    summary,
    varied_settings,
)
from digitlib.training.recipes import load_recipe
from digitlib.training.train import train_run

OWN = """
import keras

def mlp(image_shape, n_classes):
    layers = [keras.Input(image_shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(n_classes, "softmax")])
"""


def tiny(digits: Path, **lines: Any) -> dict[str, Any]:
    return {"data": str(digits), "recipe": "tiny", "epochs": 2, "seed": [1, 2], **lines}


def trained_by(run: Run, settings: dict[str, Any], log: str) -> None:
    """Stand in for the series of notebooks."""
    from digitlib.evaluation.metrics import evaluate_run
    from digitlib.scale.sweep import recipe_of

    with Path(log).open("a") as file:
        file.write(f"{run.folder.name} {settings['seed']}\n")
    train_run(run, recipe_of(settings))
    evaluate_run(run)


@pytest.mark.slow
def test_a_sweep_is_a_table_of_runs_and_does_nothing_twice(
    digits: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "own_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(root)
    space = check_space(tiny(digits, model=["tiny", "own_net:mlp"]))
    table = run_sweep(space, "runs/sweep")
    assert len(table) == 4
    assert set(table["state"]) == {"done"}
    assert table["validation_accuracy"].is_monotonic_decreasing
    assert (table["validation_low"] <= table["validation_accuracy"]).all()
    assert not [name for name in table if "test" in name]
    assert varied_settings(table) == ["seed", "model"]
    assert "seed 1, model tiny" in set(table["label"])
    assert sorted(set(table["parameters"])) == [7850, 20890]
    assert len({(root / "runs/sweep" / name / "split.csv").read_bytes() for name in table["run"]}) == 1
    assert set(histories_of("runs/sweep")["run"]) == set(table["run"])
    assert pareto_front(table)["validation_accuracy"].is_monotonic_increasing
    best = best_run("runs/sweep")
    assert best.folder.name == table["run"].iloc[0]
    assert f"Best: {best}, test accuracy" in summary("runs/sweep")

    times = {path: path.stat().st_mtime_ns for path in (root / "runs/sweep").glob("*/metrics.json")}
    again = run_sweep(space, "runs/sweep")
    pd.testing.assert_frame_equal(again, table)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())

    lost = best / "metrics.json"
    lost.unlink()
    run_sweep(check_space(tiny(digits, seed=[1, 2, 3], model=["tiny", "own_net:mlp"])), "runs/sweep")
    assert lost.exists()
    assert sum(path.stat().st_mtime_ns != time for path, time in times.items()) == 1
    assert len(read_sweep("runs/sweep")) == 6
    with pytest.raises(DigitError, match="choose another"):
        run_sweep(check_space(tiny(digits, data="sample")), "runs/sweep")


@pytest.mark.slow
def test_a_run_that_fails_is_a_row_with_its_reason_and_is_tried_again(
    digits: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(root)
    (root / "later_net.py").write_text(OWN.replace("def mlp", "def other"))
    space = check_space(tiny(digits, seed=1, model=["tiny", "later_net:mlp"]))
    table = run_sweep(space, "runs/sweep").set_index("model")
    assert table["state"].to_dict() == {"tiny": "done", "later_net:mlp": "failed"}
    assert "mlp" in table["reason"]["later_net:mlp"]
    assert "failed" in summary("runs/sweep")
    (root / "later_net.py").write_text(OWN)
    sys.modules.pop("later_net", None)
    assert set(run_sweep(space, "runs/sweep")["state"]) == {"done"}


@pytest.mark.slow
def test_notebooks_do_the_runs_where_that_is_asked(digits: Path, root: Path) -> None:
    one = next(digits.rglob("*.png")).relative_to(digits)
    (root / "c.csv").write_text(f"filename,label,action,new_label\n{one.as_posix()},{one.parent.name},drop,\n")
    space, log = check_space(tiny(digits, corrections="c.csv"), notebooks=True), root / "log"
    for _ in range(2):
        table = run_sweep(space, "runs/sweep", workers=2, notebooks=partial(trained_by, log=str(log)))
    assert set(table["state"]) == {"done"}
    assert sorted(log.read_text().split()[1::2]) == ["1", "2"]
    assert open_run(root / "runs/sweep/split").read_json("source.json")["corrections"]["dropped"] == 1


@pytest.mark.slow
def test_optuna_tries_so_many_settings_stops_the_hopeless_and_goes_on(digits: Path, root: Path) -> None:
    import optuna

    lines = tiny(digits, epochs=3, sampler="optuna", trials=5, batch_size=[32, 64])
    lines["learning_rate"] = {"low": 1e-5, "high": 1e-2, "log": True}
    run_sweep(check_space(lines | {"trials": 2}), "runs/search")
    folder = open_run("runs/search")
    from digitlib.scale.sweep import _open_study

    study = _open_study(folder, check_space(lines))
    left = study.ask()  # as a worker that was killed leaves it
    left.set_user_attr("number", 2)
    rate = left.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    table = run_sweep(check_space(lines), "runs/search", workers=2)
    assert sorted(table["run"]) == [f"trial-{number:03d}" for number in range(5)]
    assert set(table["state"]) <= {"done", "pruned"}
    assert load_recipe(open_run("runs/search/trial-002")).learning_rate == rate
    states = [trial.state for trial in study.get_trials()]
    assert len(states) == 5
    assert optuna.trial.TrialState.RUNNING not in states
    with pytest.raises(DigitError, match="a search of another space"):
        run_sweep(check_space(lines | {"batch_size": 16}), "runs/search")


@pytest.mark.slow
def test_every_run_is_done_once_though_a_worker_and_the_client_are_killed(digits: Path, root: Path) -> None:
    text = f"data: {digits}\nrecipe: tiny\nepochs: 40\nseed: [1, 2, 3, 4]\n"
    (root / "space.yml").write_text(text)
    happened = drama(root, "space.yml", "runs/sweep")
    table = read_sweep(root / "runs/sweep")
    assert happened["code"] == 0
    assert happened["done_before"] >= 1
    assert not happened["done_again"]
    assert table["state"].tolist() == ["done"] * 4
    assert table["run"].is_unique
    assert set(table["epochs_done"]) == {40}
