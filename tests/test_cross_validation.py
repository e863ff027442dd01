"""Folds on workers and here give the same, a stopped cross-validation goes on, and what was done is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from digitlib.validating import _recipe, validate
from sklearn.model_selection import StratifiedKFold

import digitlib as d
from digitlib.cli import main
from digitlib.evaluation import cross_validation
from digitlib.evaluation.cross_validation import HeldOut, _folds, load_held_out, save_held_out
from digitlib.run import run_lock
from digitlib.training.recipes import RECIPES

SERIAL = """
import sys
import numpy as np
from digitlib.scale.cluster import limit_threads
limit_threads(1)
import digitlib as d
said = d.held_out_probabilities(d.open_run("runs/b"), d.get_recipe("tiny", epochs=2), folds=2, repeats=1)
np.save(sys.argv[1], said)
"""


def held_out(n: int = 40, repeats: int = 2, folds: int = 4) -> HeldOut:
    rng = np.random.default_rng(0)
    said = rng.dirichlet(np.ones(3), (repeats, n)).astype(np.float32)
    fold = np.stack([rng.permutation(np.arange(n) % folds) for _ in range(repeats)]).astype(np.int16)
    return HeldOut(said, fold)


def test_each_fold_is_judged_on_its_own_images() -> None:
    done = held_out()
    labels = np.arange(40) % 3
    table = done.fold_table(labels)
    assert table[["repeat", "fold"]].to_numpy().tolist() == [[r, f] for r in (1, 2) for f in (1, 2, 3, 4)]
    assert table["images"].tolist() == [10] * 8
    mine = done.fold[1] == 2
    assert table.loc[6, "right"] == (done.said[1][mine].argmax(axis=1) == labels[mine]).sum()
    for repeat in (0, 1):
        assert (
            table.loc[table["repeat"] == repeat + 1, "right"].sum()
            == (done.said[repeat].argmax(axis=1) == labels).sum()
        )
    np.testing.assert_allclose(done.probabilities, done.said.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(done.probabilities.sum(axis=1), 1)


def test_the_interval_of_folds_is_wider_than_that_of_independent_trainings() -> None:
    accuracies = [0.97, 0.98, 0.98, 0.99, 0.97]
    table = pd.DataFrame({"repeat": 1, "fold": range(1, 6), "accuracy": accuracies})
    known, plain = d.fold_spread(table), d.spread(accuracies)
    assert (known["mean"], known["sd"]) == (plain["mean"], plain["sd"])
    ratio = (known["mean_high"] - known["mean"]) / (plain["mean_high"] - plain["mean"])
    assert ratio == pytest.approx(((1 / 5 + 1 / 4) / (1 / 5)) ** 0.5)


def test_what_is_kept_is_used_for_the_same_settings_alone(tmp_path: Path) -> None:
    done = held_out()
    save_held_out(tmp_path / "held_out.npz", done, "a")
    again = load_held_out(tmp_path / "held_out.npz", "a")
    assert again is not None
    np.testing.assert_array_equal(again.said, done.said)
    np.testing.assert_array_equal(again.fold, done.fold)
    assert load_held_out(tmp_path / "held_out.npz", "b") is None
    (tmp_path / "held_out.npz").write_bytes(b"half")
    assert load_held_out(tmp_path / "held_out.npz", "a") is None
    assert load_held_out(tmp_path / "nothing.npz", "a") is None


def test_copies_are_judged_together() -> None:
    sha256 = [f"{number % 30:02d}" for number in range(60)]
    manifest = pd.DataFrame({"sha256": sha256, "class": [str(number % 30 % 3) for number in range(60)]})
    judged = np.zeros(60, int)
    for train, held in _folds(manifest, 5, 1):
        assert not set(manifest["sha256"][train]) & set(manifest["sha256"][held])
        assert sorted([*train, *held]) == list(range(60))
        judged[held] += 1
    assert (judged == 1).all()
    alone = manifest[:30]
    expected = StratifiedKFold(5, shuffle=True, random_state=1).split(alone, alone["class"])
    for (train, held), (its_train, its_held) in zip(_folds(alone, 5, 1), expected, strict=True):
        np.testing.assert_array_equal(train, its_train)
        np.testing.assert_array_equal(held, its_held)


def test_data_may_be_an_archive(digits: Path) -> None:
    archive = shutil.make_archive(str(digits.parent / "scans"), "zip", digits / "trainingSet")
    with pytest.raises(d.DigitError, match="folds is 99"):
        validate(archive, "runs/zip", recipe="tiny", folds=99)
    assert len(d.read_split(d.open_run("runs/zip"))) == 400


def test_a_run_is_cross_validated_with_what_it_was_trained_with(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    own = d.get_recipe("fast", epochs=40, model="deep", image_size=24)
    d.save_recipe(run, own)
    assert _recipe(run, None, 7, labels=False) == replace(own, seed=7)
    assert _recipe(run, "tiny", 7, labels=False) == d.get_recipe("tiny", seed=7)
    d.save_recipe(run, replace(own, name="ensemble", model="ensemble"))
    with pytest.raises(d.DigitError, match="is an ensemble, which is not trained itself"):
        _recipe(run, None, 7, labels=False)


@pytest.mark.slow
def test_workers_give_what_one_process_gives(digits: Path, tmp_path: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    d.share_split(run, d.open_run("runs/b"))
    said = d.held_out_probabilities(run, d.get_recipe("tiny", epochs=2), folds=2, repeats=1, workers=2)
    subprocess.run([sys.executable, "-c", SERIAL, str(tmp_path / "said.npy")], check=True, env=os.environ)
    np.testing.assert_array_equal(said, np.load(tmp_path / "said.npy"))
    assert sorted(path.name for path in (run / "held_out").iterdir()) == []


@pytest.mark.slow
def test_a_stopped_cross_validation_goes_on(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, recipe = d.prepare(digits, "runs/a", mode="none"), d.get_recipe("tiny", epochs=1)
    train, trained = cross_validation._trained, []

    def stops(*arguments: object) -> object:
        trained.append(arguments)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(cross_validation, "_trained", stops)
    with pytest.raises(KeyboardInterrupt):
        d.held_out_probabilities(run, recipe, folds=4, repeats=1)
    said = d.held_out_probabilities(run, recipe, folds=4, repeats=1)
    assert len(trained) == 5, "two folds were done, and the third stopped, was done again, then the fourth"
    np.testing.assert_array_equal(d.held_out_probabilities(run, recipe, folds=4, repeats=1), said)
    assert len(trained) == 5
    command = ["crossval", "runs/a", "--recipe", "tiny", "--folds", "2", "--repeats", "1", "--without-test"]
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert len(trained) == 7
    table = pd.read_csv(run / "folds.csv")
    assert table["images"].sum() == (d.read_split(run)["part"] != "test").sum()
    assert f"{table['accuracy'].mean():.2%}" in done.output
    refused = CliRunner().invoke(main, [*command, "--folds", "1"])
    assert refused.exit_code == 2
    assert "1 is not in the range x>=2" in refused.output


def test_a_run_in_the_way_of_data_stays_as_it_is(digits: Path) -> None:
    run = d.prepare(digits, "runs/a")
    before = sorted(path.relative_to(run.folder) for path in run.folder.rglob("*"))
    with pytest.raises(d.DigitError, match="runs/a is a run with a split of its own"):
        validate(str(digits), "runs/a", recipe="tiny", folds=2)
    assert sorted(path.relative_to(run.folder) for path in run.folder.rglob("*")) == before


def test_what_is_at_work_in_a_folder_keeps_its_split(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    shutil.copytree(digits / "trainingSet" / "1", digits.parent / "two" / "1")
    shutil.copytree(digits / "trainingSet" / "7", digits.parent / "two" / "7")
    before = (run / "split.csv").read_bytes()
    with pytest.raises(
        d.DigitError, match=r"runs/a holds runs of .*scans', not of .*two': choose another --out"
    ):
        validate(str(digits.parent / "two"), "runs/a", recipe="tiny", folds=2)
    with run_lock(run), pytest.raises(d.DigitError, match="is in use by another digitlib"):
        validate(str(digits), "runs/a", recipe="tiny", folds=2)
    assert (run / "split.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"recipe": "nope"}, "there is no recipe 'nope'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_options_leave_nothing(digits: Path, options: dict, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        validate(str(digits), "runs/new", **options)
    assert not (digits.parent / "runs").exists()
    run = d.prepare(digits, "runs/a", mode="none")
    with pytest.raises(d.DigitError, match="with 2 repeats, give a whole number up to"):
        cross_validation.cross_validate(run, d.get_recipe("tiny", seed=2**32 - 1), folds=2, repeats=2)


@pytest.mark.slow
def test_what_is_done_without_the_test_images_is_kept_too(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, recipe = d.prepare(digits, "runs/a", mode="none"), d.get_recipe("tiny", epochs=1)
    rest = d.read_split(run).query("part != 'test'").reset_index(drop=True)
    first = cross_validation.cross_validate(run, recipe, rest, folds=2, repeats=1)
    monkeypatch.setattr(cross_validation, "_trained", None)
    again = cross_validation.cross_validate(run, recipe, rest, folds=2, repeats=1)
    np.testing.assert_array_equal(first.said, again.said)
