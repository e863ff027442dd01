"""Wrong labels are found, and nothing of the user's is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from digitlib.data import prepare
from digitlib.errors import DigitError
from digitlib.evaluation import cross_validate, find_label_issues, inject_label_noise, label_noise_scores
from digitlib.files import write_table
from digitlib.run import open_run
from digitlib.training import get_recipe

NAMES = [str(digit) for digit in range(10)]


def manifest(n: int = 1000) -> pd.DataFrame:
    """Return a made-up manifest."""
    files = [f"{number % 10}/{number}.png" for number in range(n)]
    return pd.DataFrame({"filename": files, "class": [name[0] for name in files], "part": "train"})


def probabilities(table: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Return what a good network predicts: confident of the true class, and in doubt about one image in ten."""
    rng = np.random.default_rng(seed)
    said = rng.dirichlet(np.full(10, 0.05), len(table)) * 0.1
    unsure = rng.random(len(table)) < 0.1
    said[np.arange(len(table)), table["class"].astype(int)] += np.where(unsure, 0.1, 0.9)
    return said / said.sum(axis=1, keepdims=True)


def test_planting_is_decided_by_the_seed_and_changes_a_copy() -> None:
    table = manifest()
    before = table.copy()
    planted = inject_label_noise(table, 0.02, seed=3)
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(planted, inject_label_noise(table, 0.02, seed=3))
    assert planted["planted"].sum() == 20
    assert ((planted["class"] != table["class"]) == planted["planted"]).all()
    assert set(planted["class"]) == set(NAMES)
    assert planted["class"].tolist() != inject_label_noise(table, 0.02, seed=4)["class"].tolist()


@pytest.mark.parametrize("share", [0, 0.5, 1, -0.1])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(DigitError, match="share is"):
        inject_label_noise(manifest(), share)


def test_planted_labels_are_found_with_what_they_should_be() -> None:
    table = manifest()
    planted = inject_label_noise(table, 0.02)
    issues = find_label_issues(planted, probabilities(table), NAMES)
    assert list(issues) == ["filename", "label", "likely_label", "quality", "part"]
    figures = label_noise_scores(planted, issues)
    assert figures["planted"] == 20
    assert figures["recall"] >= 0.9
    assert figures["precision"] >= 0.8
    assert issues["quality"].is_monotonic_increasing
    assert issues["quality"].between(0, 0.5).all()
    hits = issues[issues["filename"].isin(planted.loc[planted["planted"], "filename"])]
    assert (hits["likely_label"] == hits["filename"].str[0]).mean() > 0.9
    assert (hits["label"] != hits["filename"].str[0]).all()


def test_what_was_flagged_before_counts_only_where_it_was_planted() -> None:
    planted = manifest(5).assign(planted=[True, True, False, False, False])
    issues, known = planted.iloc[[0, 1, 2, 3]], planted.iloc[[1, 2]]
    assert label_noise_scores(planted, issues, known) == {
        "planted": 2, "flagged": 3, "found": 2, "recall": 1.0, "precision": 2 / 3,
    }  # fmt: skip
    assert label_noise_scores(planted, issues)["flagged"] == 4


def test_right_labels_are_left_alone() -> None:
    sure = np.full((1000, 10), 0.01)
    sure[np.arange(1000), manifest()["class"].astype(int)] = 0.91
    issues = find_label_issues(manifest(), sure, NAMES)
    assert issues.empty
    assert label_noise_scores(manifest().assign(planted=False), issues) == {
        "planted": 0, "flagged": 0, "found": 0, "recall": 0.0, "precision": 0.0,
    }  # fmt: skip


def test_the_table_of_issues_is_inert(root: Path) -> None:
    issues = pd.DataFrame(
        {"filename": ["=1+1.png", "a\rb.png"], "label": "1", "likely_label": "7", "quality": 1 / 3, "part": "test"}
    )
    write_table(root / "runs/a/label_issues.csv", issues.round({"quality": 6}))
    text = (root / "runs/a/label_issues.csv").read_text()
    assert text.splitlines()[1].lstrip('"').startswith("./=1+1.png")
    again = open_run("runs/a").read_table("label_issues.csv", quality=float)
    assert again["filename"].tolist() == issues["filename"].tolist()
    assert again["quality"].tolist() == [0.333333, 0.333333]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 1}, "folds is 1: it must be an integer from 2 to the 40 different images"),
        ({"folds": 41}, "folds is 41"),
        ({"folds": 2.0}, "folds is 2.0"),
        ({"folds": True}, "folds is True"),
        ({"repeats": 0}, "repeats is 0"),
    ],
)
def test_folds_that_can_not_be_are_refused(digits: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(DigitError, match=said):
        cross_validate(prepare(digits, "runs/a", mode="none"), get_recipe("tiny"), **options)


@pytest.mark.slow
def test_networks_judge_only_what_they_have_not_seen(digits: Path) -> None:
    """An image whose label is wrong must be judged as before: its own label can't have had an influence."""
    run = prepare(digits, "runs/a", mode="none")
    table = run.split
    planted = inject_label_noise(table, 0.05, seed=1)
    done = cross_validate(run, get_recipe("tiny", epochs=12), planted, folds=4)
    true, wrong = table["class"].astype(int), planted["planted"]
    predicted = done.probabilities.argmax(axis=1)
    assert (predicted == true).mean() > 0.7
    assert (predicted == true)[wrong].mean() > 0.5
    assert (predicted == planted["class"].astype(int))[wrong].mean() < 0.3
    pd.testing.assert_frame_equal(table, run.split)
