"""Trainings that are killed or interrupted, and go on to the same end to the bit."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
from faults import SOAK

import digitlib as d

TOP = Path(__file__).parents[1]
RECIPE = {"epochs": 4, "min_steps": 0}
STEPS = 5  # an epoch of 280 images in batches of 64


def trainings(root: Path, data: Path, *trials: dict[str, Any]) -> list[dict[str, Any]]:
    environment = os.environ | {"DIGITLIB_ROOT": str(root), "TQDM_DISABLE": "1"}
    full = [{"data": str(data), "recipe": RECIPE, **trial} for trial in trials]
    done = subprocess.run(
        [sys.executable, str(TOP / "tests" / "train_in_forks.py"), str(root), *map(json.dumps, full)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def history(root: Path, run: str) -> pd.DataFrame:
    return d.read_history(d.open_run(root / run)).drop(columns="seconds")


def weights(root: Path, run: str) -> dict[str, bytes]:
    """Return the weights of a run's network, without the names of its layers, which differ from process to process."""
    found: dict[str, bytes] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with zipfile.ZipFile(root / run / "best_model.keras") as packed:
        h5py.File(io.BytesIO(packed.read("model.weights.h5"))).visititems(take)
    return found


@pytest.mark.slow
def test_a_killed_training_ends_as_if_it_had_not_been(root: Path, digits: Path) -> None:
    chance = random.Random(0)
    kills: list[dict[str, int]] = [{"kill_step": 2}, {"kill_step": 8}, {"kill_change": 12}, {"kill_change": 5}]
    if SOAK:
        kills = [
            {"kill_step": chance.randint(1, 12)} if n % 2 else {"kill_change": chance.randint(1, 20)} for n in range(50)
        ]
    trials = [{"run": "runs/whole"}, *({"run": "runs/killed", **kill} for kill in kills), {"run": "runs/killed"}]
    first, *stopped, last = trainings(root, digits, *trials)
    assert first["status"] == last["status"] == 0, (first, last)
    assert [kill["status"] for kill in stopped].count(9) >= 4
    assert "Going on after epoch" in "".join(kill["printed"] for kill in [*stopped, last])
    pd.testing.assert_frame_equal(history(root, "runs/killed"), history(root, "runs/whole"))
    assert weights(root, "runs/killed") == weights(root, "runs/whole")
    assert not (root / "runs" / "killed" / "backup").exists()
    assert not list((root / "runs" / "killed").glob(".tmp*"))
    seconds = d.read_history(d.open_run(root / "runs" / "killed"))["seconds"]
    assert seconds.is_monotonic_increasing


@pytest.mark.slow
def test_what_goes_on_and_what_starts_anew(root: Path, digits: Path) -> None:
    interrupted, finished, again, stopped, other = trainings(
        root, digits,
        {"run": "runs/a", "interrupt_step": 2 * STEPS + 1},
        {"run": "runs/a"},
        {"run": "runs/a"},
        {"run": "runs/b", "kill_step": 2 * STEPS + 1},
        {"run": "runs/b", "recipe": RECIPE | {"seed": 7}},
    )  # fmt: skip
    assert interrupted["status"] == 130 << 8
    assert "Going on after epoch 2 of 4" in finished["printed"]
    assert (
        f"steps {4 * STEPS}" in finished["printed"]
    )  # the schedule counts all steps, not those since the interruption
    assert again["status"] == 0
    assert "Going on" not in again["printed"]
    assert again["printed"].split()[-1] == finished["printed"].split()[-1]  # the last rate
    assert stopped["status"] == 9
    assert other["status"] == 0
    assert "Going on" not in other["printed"]
    assert not history(root, "runs/b").equals(history(root, "runs/a"))


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mlp", "convnet", *(["mobilenet"] if SOAK else [])])
def test_an_own_network_goes_on_to_the_same_end_and_another_starts_from_scratch(
    root: Path, digits: Path, network: str
) -> None:
    after_one = STEPS + 2
    _, killed, last, _, other = trainings(
        root, digits,
        {"run": "runs/whole", "network": network},
        {"run": "runs/killed", "network": network, "kill_step": after_one},
        {"run": "runs/killed", "network": network, "networks_before": 2},
        {"run": "runs/other", "network": network, "kill_step": after_one},
        {"run": "runs/other", "network": network, "optimizer": "sgd"},
    )  # fmt: skip
    assert killed["status"] == 9
    assert last["status"] == other["status"] == 0, last["printed"] + other["printed"]
    assert "Going on after epoch 1 of 3" in last["printed"]
    assert "Going on" not in other["printed"]
    pd.testing.assert_frame_equal(history(root, "runs/killed"), history(root, "runs/whole"))
    assert weights(root, "runs/killed") == weights(root, "runs/whole")
    record = d.open_run(root / "runs" / "other").read_json("training.json")
    assert record["optimizer"]["class_name"] == "SGD"
    assert record["loss"] == "sparse_categorical_crossentropy"
    assert record["recipe"] is None
    assert not (root / "runs" / "other" / "recipe.json").exists()
