"""An ensemble is the mean of runs, in a run's folder of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from digitlib.data.split import prepare
from digitlib.errors import DigitError
from digitlib.evaluation.classifier import Classifier
from digitlib.run import open_run
from digitlib.scale import check_space, ensemble_lines, find_members, make_ensemble, run_sweep

pytestmark = pytest.mark.slow


def test_an_ensemble_is_the_mean_of_its_members_and_a_run(digits: Path, root: Path) -> None:
    made = make_ensemble([], "runs/both", train=2, recipe="tiny", data=str(digits), epochs=3)
    members = find_members(["runs/both/members"])
    assert len(members) == 2
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    mean = np.mean([Classifier.load(member).predict_proba(images) for member in members], axis=0)
    np.testing.assert_allclose(Classifier.load("runs/both").predict_proba(images), mean, atol=1e-5)
    run = open_run("runs/both")
    assert run.is_done("metrics.json")
    assert made == run.read_json("metrics.json")
    assert made["recipe"] == "ensemble of 2"
    assert made["n_test"] == (run.split["part"] == "test").sum()
    best = members[[str(member) for member in members].index(made["best_member"])].read_json("metrics.json")
    assert made["gain"] == pytest.approx(made["test_accuracy"] - best["test_accuracy"])
    assert "the ensemble" in "\n".join(ensemble_lines(made))

    times = [(member / "metrics.json").stat().st_mtime_ns for member in members]
    more = make_ensemble([], "runs/both", train=3, recipe="tiny", data=str(digits), epochs=3, workers=2)
    assert len(more["members"]) == 3
    assert [(member / "metrics.json").stat().st_mtime_ns for member in members] == times

    run_sweep(check_space({"data": str(digits), "recipe": "tiny", "seed": 9, "test_size": 0.3}), "runs/other")
    with pytest.raises(DigitError, match="can't be joined"):
        make_ensemble([*members, "runs/other"], "runs/new")
    with pytest.raises(DigitError, match="holds a network that was trained there"):
        make_ensemble(members, members[0].folder)
    assert not (root / "runs/new").exists()


def test_what_can_not_be_joined_gets_one_sentence(digits: Path) -> None:
    prepare(digits, "runs/untrained", mode="none")
    with pytest.raises(DigitError, match="at least 2 members, not 0"):
        make_ensemble([])
    with pytest.raises(DigitError, match="at least 2 members, not 0"):
        make_ensemble(["runs/untrained"])
