"""Folds on workers and here give the same, and a stopped cross-validation goes on."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedKFold

from digitlib.data import prepare
from digitlib.data.split import stratified_folds
from digitlib.errors import DigitError
from digitlib.evaluation import CrossValidation, cross_validate, cross_validation
from digitlib.training import get_recipe


def test_probabilities_are_the_mean_of_all_repeats() -> None:
    rng = np.random.default_rng(0)
    done = CrossValidation(rng.dirichlet(np.ones(3), (2, 40)).astype(np.float32), np.zeros((2, 40), np.int16))
    np.testing.assert_allclose(done.probabilities, done.repeats.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(done.probabilities.sum(axis=1), 1)


def test_copies_are_in_the_same_fold() -> None:
    sha256 = [f"{number % 30:02d}" for number in range(60)]
    manifest = pd.DataFrame({"sha256": sha256, "class": [str(number % 30 % 3) for number in range(60)]})
    folds = list(stratified_folds(manifest, 5, 1))
    for held in folds:
        assert not set(manifest["sha256"][~held]) & set(manifest["sha256"][held])
    assert (np.sum(folds, axis=0) == 1).all()
    alone = manifest[:30]
    expected = StratifiedKFold(5, shuffle=True, random_state=1).split(alone, alone["class"])
    for held, (_, its_held) in zip(stratified_folds(alone, 5, 1), expected, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(held), its_held)


@pytest.mark.slow
def test_workers_give_what_one_process_gives(digits: Path) -> None:
    first, second = (prepare(digits, f"runs/{name}", mode="none") for name in "ab")
    recipe = get_recipe("tiny", epochs=2)
    here = cross_validate(first.folder, recipe, folds=2, repeats=1)
    with joblib.parallel_config("loky", n_jobs=2):
        there = cross_validate(second, recipe, folds=2, repeats=1)
    # Sums of floating-point numbers depend on the number of threads that share them.
    np.testing.assert_allclose(here.probabilities, there.probabilities, atol=0.05)
    np.testing.assert_array_equal(here.fold, there.fold)


@pytest.mark.slow
def test_a_stopped_cross_validation_goes_on(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, recipe = prepare(digits, "runs/a", mode="none"), get_recipe("tiny", epochs=1)
    train, trained = cross_validation.predict_fold, []

    def stops(*arguments: object) -> object:
        trained.append(arguments)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(cross_validation, "predict_fold", stops)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(run, recipe, folds=4, repeats=1)
    done = cross_validate(run, recipe, folds=4, repeats=1)
    assert len(trained) == 5, "two folds were done, and the third stopped, was done again, then the fourth"
    np.testing.assert_array_equal(cross_validate(run, recipe, folds=4, repeats=1).repeats, done.repeats)
    assert len(trained) == 5
    cross_validate(run, get_recipe("tiny", epochs=1, seed=7), folds=2, repeats=1)
    rest = run.split.query("part != 'test'")
    assert cross_validate(run, recipe, rest, folds=2, repeats=1).probabilities.shape == (len(rest), 10)
    assert len(trained) == 9, "other settings and other images are other folds"


def test_a_seed_that_leaves_no_room_for_repeats_is_refused(digits: Path) -> None:
    run = prepare(digits, "runs/a", mode="none")
    with pytest.raises(DigitError, match="with 2 repeats"):
        cross_validate(run, get_recipe("tiny", seed=2**32 - 1), folds=2, repeats=2)
