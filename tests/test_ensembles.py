"""Several runs as one network: the mean of their answers, in a folder that works like any run's."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import digitlib as d
from digitlib.cli import main
from digitlib.files import write_json
from digitlib.run import run_lock
from digitlib.scale.members import train_member
from digitlib.training.recipes import RECIPES

pytestmark = pytest.mark.slow

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def top(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a project's top with 40 images of each digit and three members trained on them, the third at 32 x 32."""
    root = tmp_path_factory.mktemp("ensembles")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DIGITLIB_ROOT", str(root))
        for digit in range(10):
            folder = root / "scans" / str(digit)
            folder.mkdir(parents=True)
            for path in sorted((sample / "trainingSet" / str(digit)).iterdir())[:40]:
                shutil.copy2(path, folder)
        prepared = d.prepare(root / "scans", "runs/split", mode="none")
        recipes = [d.get_recipe("tiny", seed=seed, epochs=4) for seed in SEEDS]
        recipes[2] = replace(recipes[2], image_size=(32, 32))
        d.train_members(prepared, "runs/members", recipes)
        yield root


@pytest.fixture
def members(top: Path, monkeypatch: pytest.MonkeyPatch) -> list[d.Run]:
    monkeypatch.setenv("DIGITLIB_ROOT", str(top))
    return d.find_members(["runs/members"])


def said(run: d.Run, part: str) -> np.ndarray:
    return d.load_best_model(run).predict(d.eval_generator(run, d.load_recipe(run), part), verbose=0)


def test_the_ensemble_says_the_mean_of_what_its_members_say(members: list[d.Run], tmp_path: Path) -> None:
    result = d.make_ensemble(members[:2], tmp_path / "both")
    both = d.open_run(tmp_path / "both")
    mean = (said(members[0], "test") + said(members[1], "test")) / 2
    np.testing.assert_allclose(said(both, "test"), mean, atol=1e-5)
    images = d.eval_generator(both, d.load_recipe(both), "test")
    right = mean.argmax(axis=1) == images.classes
    assert result["test_accuracy"] == right.mean()
    best = max(members[:2], key=lambda run: run.read_json("metrics.json")["validation_accuracy"])
    best_right = said(best, "test").argmax(axis=1) == images.classes
    assert result["members"][result["best_member"]]["run"] == str(best)
    assert result["only_ensemble"] == (right & ~best_right).sum()
    assert result["only_best_member"] == (best_right & ~right).sum()
    assert result["p_value"] == d.mcnemar(right, best_right)["p_value"]
    assert (result["test_accuracy_low"], result["test_accuracy_high"]) == d.wilson_interval(
        right.sum(), len(right)
    )
    rows = result["members"]
    assert [row["validation_accuracy"] for row in rows] == [
        pytest.approx(member.read_json("metrics.json")["validation_accuracy"]) for member in members[:2]
    ]
    assert {row["seed"] for row in rows} == {1, 2}


def test_its_folder_works_like_any_run(members: list[d.Run], top: Path, tmp_path: Path) -> None:
    result = d.make_ensemble(members[:2], tmp_path / "both")
    lines = d.ensemble_lines(result)
    table = [
        line.split() for line in lines[1:3]
    ]  # a member's test accuracy is shown of the one chosen by validation alone
    assert [len(row) for row in table] == [3 if n == result["best_member"] else 2 for n in range(2)]
    both = d.open_run(tmp_path / "both")
    (file,) = list((top / "scans" / "7").glob("*.png"))[:1]
    done = CliRunner().invoke(main, ["predict", str(both), str(file), "--out", str(tmp_path / "p.csv")])
    assert done.exit_code == 0, done.output
    assert d.export_model(both, formats=["onnx"])["difference"].iloc[0] < 1e-4
    card = (both / "model_card.md").read_text()
    assert "the members' best epochs were chosen by it" in card
    assert d.results_table(both).set_index("result")["value"]["Recipe"] == "ensemble of 2"
    with pytest.raises(d.DigitError, match="Export to ONNX or LiteRT"):
        d.export_model(both, formats=["html"])
    exported = CliRunner().invoke(main, ["export", str(both)])
    assert exported.exit_code == 0, exported.output
    assert [line.split()[0] for line in exported.output.splitlines()] == ["onnx", "litert", "card"]
    before = (both / "metrics.json").read_bytes()
    assert d.evaluate_run(both)["test_accuracy"] == result["test_accuracy"]
    assert (both / "metrics.json").read_bytes() == before
    with pytest.raises(d.DigitError, match="is an ensemble, which a training would write over"):
        d.train_run(both, d.get_recipe("tiny"))
    trust = d.fit_trust(both, d.load_recipe(both), d.load_best_model(both), 0.9)
    d.save_trust(both, trust)
    test = d.eval_generator(both, d.load_recipe(both), "test")
    judged = d.open_judge(both).part(both, d.load_recipe(both), "test")
    named = d.predict_generator(d.load_best_model(both), test)
    assert judged["predicted"].tolist() == named["predicted"].tolist()
    assert judged["correct"].mean() == pytest.approx(result["test_accuracy"])
    with pytest.raises(d.DigitError, match="both is an ensemble itself: name the runs"):
        d.make_ensemble([both, members[0]], tmp_path / "nested")


def test_members_are_trained_on_workers(top: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIGITLIB_ROOT", str(top))
    words = [
        "--train",
        "2",
        "--recipe",
        "tiny",
        "-p",
        "epochs",
        "4",
        "--data",
        str(top / "scans"),
        "--workers",
        "2",
    ]
    done = CliRunner().invoke(main, ["ensemble", "--out", str(tmp_path / "five"), *words])
    assert done.exit_code == 0, done.output
    for member in d.find_members([tmp_path / "five" / "members"]):
        told = member.read_json("metrics.json")
        alone_here = d.open_run(f"runs/members/tiny-{told['seed']}").read_json("metrics.json")
        # One thread and two add up in another order: the networks are equal but for their last digits.
        assert told["validation_accuracy"] == pytest.approx(alone_here["validation_accuracy"], abs=0.1)
    assert json.loads((tmp_path / "five" / "ensemble.json").read_text())["test_accuracy"] > 0.5


@pytest.mark.parametrize(
    "words", [["--rotate"], ["--recipe", "tiny"], ["--model", "deep"], ["-p", "epochs", "3"]]
)
def test_options_for_training_are_refused_where_nothing_is_trained(
    members: list[d.Run], tmp_path: Path, words: list[str]
) -> None:
    done = CliRunner().invoke(
        main, ["ensemble", str(members[0]), str(members[1]), "--out", str(tmp_path / "e"), *words]
    )
    assert done.exit_code == 1
    assert f"{words[0]} is for members to be trained: say how many with --train" in done.output
    assert not (tmp_path / "e").exists()


def test_members_of_another_size_get_the_picture_resized(members: list[d.Run], tmp_path: Path) -> None:
    result = d.make_ensemble(members, tmp_path / "all")
    run = d.open_run(tmp_path / "all")
    recipe = d.load_recipe(run)
    losses = {}
    for size in (28, 32):
        joined = d.join_networks([d.load_best_model(member) for member in members], (size, size, 1))
        images = d.eval_generator(run, replace(recipe, image_size=(size, size)), "validation")
        losses[size] = joined.evaluate(images, verbose=0, return_dict=True)["loss"]
    assert recipe.image_size[0] == min(losses, key=losses.get)
    assert result["test_accuracy"] >= min(row["test_accuracy"] for row in result["members"])


def test_what_does_not_go_together_is_refused_before_anything_is_written(
    members: list[d.Run], top: Path, tmp_path: Path
) -> None:
    other = d.prepare(top / "scans", tmp_path / "other", mode="none", seed=7)
    for name in ("recipe.json", "best_model.keras", "history.csv"):
        shutil.copy(members[0] / name, other / name)
    out = tmp_path / "out"
    for runs, words in (
        ([members[0], other], "has another test part than"),
        (members[:1], "two members or more, not 1"),
    ):
        with pytest.raises(d.DigitError, match=words):
            d.make_ensemble(runs, out)
    with pytest.raises(d.DigitError, match="is a member itself"):
        d.make_ensemble(members, members[0].folder)
    coloured = d.open_run(tmp_path / "coloured")
    shutil.copytree(members[0].folder, coloured.folder)
    content = coloured.read_json("recipe.json") | {"color_mode": "rgb"}
    write_json(coloured / "recipe.json", content)
    with pytest.raises(d.DigitError, match="color_mode 'rgb'"):
        d.make_ensemble([members[0], coloured], out)
    with pytest.raises(d.DigitError, match="doesn't exist"):
        d.find_members(["runs/nowhere"])
    write_json(coloured / "recipe.json", members[0].read_json("recipe.json"))
    before = (coloured / "best_model.keras").read_bytes()
    with pytest.raises(d.DigitError, match="coloured holds a network of its own"):
        d.make_ensemble(members, coloured.folder)
    assert (coloured / "best_model.keras").read_bytes() == before
    seen = members[0].read_json("recipe.json") | {"train_on": ["train", "validation"]}
    write_json(coloured / "recipe.json", seen)
    with pytest.raises(d.DigitError, match="coloured is trained on the validation images too"):
        d.make_ensemble([members[0], coloured], out)
    assert not out.exists()


def test_images_that_were_moved_stay_known(members: list[d.Run], top: Path, tmp_path: Path) -> None:
    shutil.copytree(top / "scans", tmp_path / "scans")
    files = sorted(path.relative_to(tmp_path) for path in (tmp_path / "scans").rglob("*.*"))
    d.prepare(tmp_path / "scans", tmp_path / "own", mode="move")
    with pytest.raises(d.DigitError, match="own holds TRAIN/ and TEST/"):
        d.make_ensemble(members, tmp_path / "own")
    d.undo(d.open_run(tmp_path / "own"))
    assert sorted(path.relative_to(tmp_path) for path in (tmp_path / "scans").rglob("*.*")) == files


def train_two(top: Path) -> list[str]:
    return ["ensemble", "--train", "2", "--recipe", "tiny", "--data", str(top / "scans"), "--out", "runs/e"]


def test_the_command_trains_what_is_missing_and_nothing_twice(
    members: list[d.Run], top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "tiny", d.get_recipe("tiny", epochs=1))
    command = train_two(top)
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    assert "McNemar: p = " in first.output
    files = sorted((top / "runs/e/members").glob("*/best_model.keras"))
    assert [path.parent.name for path in files] == ["tiny-1", "tiny-2"]
    times = [path.stat().st_mtime_ns for path in files]
    (top / "runs/e/members/tiny-2/metrics.json").unlink()  # as if it had been stopped before the end
    assert CliRunner().invoke(main, command).exit_code == 0
    assert times[0] == files[0].stat().st_mtime_ns, "what is finished is left alone"
    assert times[1] != files[1].stat().st_mtime_ns
    times = [path.stat().st_mtime_ns for path in files]
    turned = CliRunner().invoke(main, [*command, "--rotate"])
    assert turned.exit_code == 1
    assert "held out other validation images: choose another --out" in turned.output
    assert times == [path.stat().st_mtime_ns for path in files]


def test_members_that_took_turns_leave_no_validation_images(
    members: list[d.Run], top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "tiny", d.get_recipe("tiny", epochs=1))
    command = [*train_two(top)[:-1], "runs/r", "--rotate"]
    first = CliRunner().invoke(main, command)
    assert first.exit_code == 0, first.output
    assert "no validation accuracy of the ensemble can be measured" in first.output
    files = sorted((top / "runs/r/members").glob("*/best_model.keras"))
    times = [path.stat().st_mtime_ns for path in files]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert times == [path.stat().st_mtime_ns for path in files]
    ensemble = d.open_run("runs/r")
    assert ensemble.read_json("metrics.json")["validation_accuracy"] is None
    with pytest.raises(d.DigitError, match=r"has no validation images.* leave --trust out"):
        d.load_trust(ensemble)
    assert set(d.read_split(ensemble)["part"]) == {"train", "test"}
    assert json.loads((top / "runs/r/ensemble.json").read_text())["validation_accuracy"] is None


def test_members_take_turns_with_the_networks_that_are_named(
    members: list[d.Run], top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "tiny", d.get_recipe("tiny", epochs=1))
    turns = "--recipe tiny --model small --model tiny -p weight_decay 0.2"
    command = f"ensemble --train 3 {turns} --out runs/turns --data {top}/scans"
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    result = d.open_run("runs/turns").read_json("ensemble.json")
    assert [(row["model"], row["seed"]) for row in result["members"]] == [
        ("small", 1),
        ("tiny", 2),
        ("small", 3),
    ]
    assert d.load_recipe(d.open_run("runs/turns/members/tiny-3")).weight_decay == 0.2
    seeded = CliRunner().invoke(main, f"{command} -p seed 4")
    assert seeded.exit_code == 1
    assert "seed can't be set for all members" in seeded.output
    unknown = CliRunner().invoke(main, f"{command} --model smal")
    assert unknown.exit_code == 1
    assert "model is 'smal'" in unknown.output


def test_a_member_that_another_process_trains_is_waited_for(
    members: list[d.Run], capsys: pytest.CaptureFixture[str]
) -> None:
    held, recipe = (
        members[0],
        replace(d.load_recipe(members[0]), augmentation=dict(d.load_recipe(members[0]).augmentation)),
    )
    recipe = pickle.loads(pickle.dumps(recipe))  # as a worker gets it
    before = (held / "best_model.keras").stat().st_mtime_ns
    task = (str(held.folder), str(held.folder), recipe, None)
    waiting = threading.Thread(target=train_member, args=task)
    with run_lock(held):
        waiting.start()
        waiting.join(3)
        assert waiting.is_alive()
    assert capsys.readouterr().err == f"Another digitlib works in {held}: waiting until it has ended.\n"
    waiting.join(60)
    assert not waiting.is_alive()
    assert (held / "best_model.keras").stat().st_mtime_ns == before


def test_members_that_take_turns_hold_out_every_image_once(members: list[d.Run]) -> None:
    split = d.read_split(members[0])
    rest = split["part"] != "test"
    number = round(rest.sum() / (split["part"] == "validation").sum())
    turns = [d.rotated(split, turn) for turn in range(number + 1)]
    for one in turns:
        assert ((one["part"] != "test") == rest).all()
        assert (one["part"] == "validation").sum() == (split["part"] == "validation").sum()
    held = np.stack([(one["part"] == "validation").to_numpy() for one in turns[:number]])
    assert (held.sum(axis=0) == rest).all()
    assert turns[number].equals(turns[0])


def test_copies_are_held_out_together() -> None:
    sha256 = [f"{number % 50:02d}" for number in range(100)]
    split = pd.DataFrame({"sha256": sha256, "class": [str(number % 50 % 2) for number in range(100)]})
    split["part"] = np.where(
        split["sha256"] < "05", "test", np.where(split["sha256"] < "12", "validation", "train")
    )
    for turn in range(3):
        parts = d.rotated(split, turn)
        known = set(parts.loc[parts["part"] == "train", "sha256"])
        assert not known & set(parts.loc[parts["part"] == "validation", "sha256"])


def test_members_of_other_data_stay_what_they_are(members: list[d.Run], top: Path) -> None:
    shutil.copytree(top / "scans" / "1", top / "two" / "1")
    shutil.copytree(top / "scans" / "7", top / "two" / "7")
    before = [path.stat().st_mtime_ns for path in (top / "runs").rglob("*") if path.is_file()]
    recipe = d.get_recipe("tiny", epochs=1)
    d.share_split(members[0], d.open_run("runs/o/split"))
    with pytest.raises(d.DigitError, match=r"runs/o holds runs of .*scans.*, not of .*two"):
        d.gather_members([], "runs/o", [recipe, replace(recipe, seed=2)], str(top / "two"))
    assert not list((top / "runs/o").rglob("*.keras"))
    with pytest.raises(d.DigitError, match="has other classes than"):
        d.gather_members([members[0].folder], "runs/p", [recipe], str(top / "two"))
    assert not list((top / "runs/p").rglob("*.keras"))
    assert set(before) <= {path.stat().st_mtime_ns for path in (top / "runs").rglob("*") if path.is_file()}
    both = [*members[:2], *d.find_members([members[0].folder])]
    assert d.gather_members([run.folder for run in both], "runs/o") == members[:2]


@pytest.mark.parametrize(
    ("changes", "out", "said"),
    [
        ({"train_on": ("train", "validation")}, "runs/new", "is trained on the validation images too"),
        ({}, "runs/members/tiny-1", "tiny-1 holds a network of its own"),
        ({}, "runs/copies", "copies holds TRAIN/ and TEST/"),
    ],
)
def test_what_can_be_no_ensemble_is_said_before_the_training(
    members: list[d.Run], top: Path, changes: dict, out: str, said: str
) -> None:
    if out == "runs/copies":
        d.prepare(top / "scans", out)
    recipes = [d.get_recipe("tiny", epochs=1, seed=seed, **changes) for seed in (8, 9)]
    with pytest.raises(d.DigitError, match=said):
        d.gather_members([], out, recipes, str(top / "scans"))
    assert not (top / out / "members").exists()
