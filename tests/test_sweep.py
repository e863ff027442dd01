"""A sweep: each run once, what fails is told, what is held is waited for; on a cluster the same networks as without."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from loopback import drama
from PIL import Image
from training import run_command

import digitlib as d
from digitlib.cli import main
from digitlib.files import write_json, write_table
from digitlib.run import Run, run_lock
from digitlib.scale import sweep_run
from digitlib.scale.sweep_run import DONE, Job, do_run, is_done, results_so_far
from digitlib.scale.sweep_space import Settings, settings_of
from digitlib.scale.sweep_table import labels_of, summary


class Trainer:
    """Stands in for the training, so that the rest is fast: leaves metrics, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.failing: set[int] = set()

    def __call__(self, run: Run, settings: Settings) -> None:
        recipe = settings.recipe_of()
        self.seeds.append(recipe.seed)
        if recipe.seed in self.failing:
            raise MemoryError("no room for the network\nand more")
        metrics = {
            "validation_accuracy": 0.9 + recipe.seed / 100, "n_validation": 100, "n_test": 80, "best_epoch": 1, "epochs": 2,
            "fit_seconds": 3.0 - recipe.seed / 10, "parameters": 1000, "test_accuracy": 0.8125, "test_accuracy_low": 0.71,
            "test_accuracy_high": 0.88,
        }  # fmt: skip
        write_json(run / "metrics.json", metrics)
        d.save_recipe(run, recipe)

    def asked(self) -> list[int]:
        """Return what it was asked for since the last time."""
        seeds, self.seeds = self.seeds, []
        return seeds


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    one = Trainer()
    monkeypatch.setattr(sweep_run, "train_and_evaluate", one)
    monkeypatch.setattr(sweep_run, "set_threads", lambda n: True)
    return one


def sweep(data: Path, *seeds: int, **lines: Any) -> Any:
    space = d.check_space(
        {"data": str(data), "recipe": "tiny", "seed": list(seeds), **lines}, notebooks=False
    )
    return d.run_sweep(space, "runs/sweep", notebooks=False)


def test_what_is_finished_is_not_done_again(digits: Path, trainer: Trainer) -> None:
    table = sweep(digits, 1, 2)
    assert trainer.asked() == [1, 2]
    assert table["seed"].tolist() == ["2", "1"]
    assert table["state"].tolist() == ["done", "done"]
    sweep(digits, 1, 2)
    assert trainer.asked() == []
    assert len(sweep(digits, 3, 1, 2)) == 3
    assert trainer.asked() == [3]
    (digits.parent / "runs/sweep" / table["run"][0] / DONE).unlink()
    sweep(digits, 1, 2)
    assert trainer.asked() == [2]
    sweep(digits, 1, 2, threads=2)
    assert trainer.asked() == [1, 2]


def test_what_an_earlier_sweep_finished_stays_in_the_table(digits: Path, trainer: Trainer) -> None:
    first = sweep(digits, 1, 2)
    table = sweep(digits, 3, learning_rate=[0.01, 0.02])
    assert trainer.asked() == [1, 2, 3, 3]
    assert set(first["run"]) < set(table["run"])
    assert len(table) == 4
    kept = table.set_index("run").loc[first["run"]]
    assert kept["validation_accuracy"].tolist() == first["validation_accuracy"].tolist()
    assert d.varied_settings(table) == ["seed", "learning_rate"]
    assert len(sweep(digits, 3, threads=2)) == 1  # nothing that was computed otherwise
    (digits.parent / "runs/sweep/sweep.csv").write_text("")  # damaged: it is written anew
    assert len(sweep(digits, 3, threads=2)) == 1


def test_a_notebook_goes_on_with_its_own_stopped_sweep_and_looks_at_others_only(
    digits: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = ({"data": str(digits), "recipe": "tiny", "seed": seeds} for seeds in ([1, 2], [1, 3]))
    own, other = d.check_space(own, notebooks=False), d.check_space(other, notebooks=False)
    assert d.is_unfinished("runs/sweep", own)

    def stopped(run: Run, settings: Settings) -> None:
        if trainer.seeds:
            raise KeyboardInterrupt
        trainer(run, settings)

    with monkeypatch.context() as until_stopped:
        until_stopped.setattr(sweep_run, "train_and_evaluate", stopped)
        with pytest.raises(KeyboardInterrupt):
            d.run_sweep(own, "runs/sweep", notebooks=False)
    assert d.is_unfinished("runs/sweep", own)
    assert not d.is_unfinished("runs/sweep", other)
    d.run_sweep(own, "runs/sweep", notebooks=False)
    assert trainer.asked() == [1, 2]
    assert not d.is_unfinished("runs/sweep", own)


def test_finished_runs_are_not_lost_over_other_images(digits: Path, trainer: Trainer) -> None:
    sweep(digits, 1)
    trainer.asked()
    place = digits.parent / "runs/sweep"
    before = {path: path.read_bytes() for path in place.rglob("*.*") if path.is_file()}
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(digits / "trainingSet" / "3" / "new.png")
    with pytest.raises(d.DigitError, match=r"holds 1 finished run of another split: .* Choose another --out"):
        sweep(digits, 1)
    assert trainer.asked() == []
    assert {path: path.read_bytes() for path in place.rglob("*.*") if path.is_file()} == before
    with pytest.raises(d.DigitError, match=r"holds runs of .*, not of 'sample': choose another --out"):
        sweep(Path("sample"), 1)


def test_a_sweep_does_not_go_into_a_run(digits: Path, trainer: Trainer) -> None:
    d.prepare(digits, "runs/sweep", mode="none")
    with pytest.raises(d.DigitError, match="runs/sweep is a run with files of its own"):
        sweep(digits, 1)
    assert trainer.asked() == []


def test_what_was_made_from_other_images_is_no_run(digits: Path, trainer: Trainer) -> None:
    run = Run(digits.parent / "runs/sweep" / sweep(digits, 1)["run"][0])
    (run / "best_model.keras").write_bytes(b"a network")
    assert d.find_members(["runs/sweep"])
    for name in ("metrics.json", DONE):  # as if it had been stopped before it was evaluated
        (run / name).unlink()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(digits / "trainingSet" / "3" / "new.png")
    trainer.failing = {1}
    assert sweep(digits, 1)["state"].tolist() == ["failed"]
    assert not (run / "best_model.keras").exists()
    with pytest.raises(d.DigitError):
        d.find_members(["runs/sweep"])


def test_a_run_that_ends_after_the_images_changed_is_not_taken_for_one_of_the_new(
    digits: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(digits, 1)
    job, settings = (
        Job(str(digits.parent / "runs/sweep"), 1, False),
        settings_of({"recipe": "tiny", "seed": 5}),
    )

    def train(run: Run, settings: Settings) -> None:
        split = job.split / "split.csv"
        split.write_text(split.read_text().replace("test", "train", 1))
        trainer(run, settings)

    monkeypatch.setattr(sweep_run, "train_and_evaluate", train)
    sweep_run._work(job.run_of(settings), job, settings)
    assert (job.run_of(settings) / DONE).exists()
    assert not is_done(job, settings)


def test_other_threads_mean_notebooks_executed_anew(
    digits: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_notebooks(run: Run, job: Job, settings: Settings) -> None:
        if not (run / "notebooks").exists():  # as a series that goes on
            trainer(run, settings)
            (run / "notebooks").mkdir()

    monkeypatch.setattr(sweep_run, "_with_notebooks", with_notebooks)
    for threads, asked in ((1, [1]), (1, []), (2, [1])):
        space = d.check_space(
            {"data": str(digits), "recipe": "tiny", "seed": [1], "threads": threads}, notebooks=True
        )
        d.run_sweep(space, "runs/sweep", notebooks=True)
        assert trainer.asked() == asked


def test_a_run_that_fails_is_a_row_with_its_reason(digits: Path, trainer: Trainer) -> None:
    trainer.failing = {2}
    (digits.parent / "space.yml").write_text(f"data: {digits}\nrecipe: tiny\nseed: [1, 2, 3]")
    arguments = ["sweep", "space.yml", "--no-notebooks", "--out", "runs/sweep"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    table = d.read_sweep("runs/sweep")
    assert table["state"].tolist() == ["done", "done", "failed"]
    assert table["reason"][2] == "MemoryError: no room for the network"
    assert "failed: MemoryError: no room for the network" in result.output
    trainer.asked()
    trainer.failing = set()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert trainer.asked() == [2]


def test_a_run_that_another_holds_is_waited_for(
    digits: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_run, "LOOK_AGAIN", 0.05)
    sweep(digits, 1)
    job, settings = (
        Job(str(digits.parent / "runs/sweep"), 1, False),
        settings_of({"recipe": "tiny", "seed": 5}),
    )
    run, held, results = job.run_of(settings), threading.Event(), []
    trainer.asked()
    with run_lock(run):
        waiting = threading.Thread(target=lambda: (held.set(), results.append(do_run(job, settings))))
        waiting.start()
        held.wait(60)
        trainer(run, settings)
        write_json(run / DONE, job.mark(settings))
        assert not results
    waiting.join(60)
    assert trainer.asked() == [5]  # the one who held it; not a second time
    assert results[0]["validation_accuracy"] == 0.95
    assert is_done(job, settings)


def test_the_test_part_chooses_nothing_and_is_shown_for_the_best_alone(
    digits: Path, trainer: Trainer
) -> None:
    table = sweep(digits, 1, 2, 3)
    assert not [name for name in table if "test" in name]
    text = summary(table, "runs/sweep")
    assert text.count("81.25%") == 1
    assert "Best: runs/sweep/tiny-seed3-" in text
    assert d.best_run("runs/sweep").folder.name == table["run"][0]
    assert table["validation_low"][0] < table["validation_accuracy"][0] < table["validation_high"][0]
    assert d.recipe_code(d.best_run("runs/sweep")) == "recipe = get_recipe('tiny', seed=3)"


def test_ctrl_c_says_how_to_go_on(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("digitlib.scale.sweep.run_sweep", stop)
    monkeypatch.setattr("sys.argv", ["digitlib", "sweep", "my space.yml", "--no-notebooks"])
    (digits.parent / "space.yml").write_text("recipe: tiny")
    result = CliRunner().invoke(main, ["sweep", "space.yml", "--no-notebooks"])
    assert result.exit_code == 130
    assert "go on with: digitlib sweep 'my space.yml' --no-notebooks" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep", "nowhere.yml"], "nowhere.yml can't be read"),
        (["sweep", "space.yml", "-p", "epochs", "many"], "epochs is 'many'"),
        (["sweep", "space.yml", "-p", "data", "nowhere"], "nowhere"),
        (["sweep", "space.yml", "-p", "test_size", "2"], "test_size is 2"),
        (["sweep", "space.yml", "--scheduler", "nonsense"], "no scheduler answers at 'nonsense'"),
    ],
)
def test_bad_commands_get_one_sentence_and_leave_nothing(
    digits: Path, arguments: list[str], said: str
) -> None:
    (digits.parent / "space.yml").write_text(f"data: {digits}\nrecipe: tiny")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("Error: ")]) == 1
    assert not (digits.parent / "runs").exists()


def test_the_front_is_what_no_other_run_beats(digits: Path, trainer: Trainer) -> None:
    table = sweep(digits, 1, 2, 3, epochs=[2, 3])
    table["seconds"], table["validation_accuracy"] = [4, 3, 2, 1, 5, 6], [0.99, 0.98, 0.98, 0.9, 0.97, 0.991]
    front = d.pareto_front(table)
    assert front["seconds"].tolist() == [1, 2, 4, 6]
    assert front["validation_accuracy"].is_monotonic_increasing
    assert set(labels_of(table)) == {
        f"seed {seed}, epochs {epochs}" for seed in (1, 2, 3) for epochs in (2, 3)
    }
    assert len(d.plot_pareto(table).collections) == 1
    with pytest.raises(d.DigitError, match="no run of the sweep has come to its end"):
        d.plot_sweep(table.assign(validation_accuracy=np.nan))
    axes = d.plot_sweep(table)
    assert [text.get_text() for text in axes.get_yticklabels()] == labels_of(table)


def same_weights(one: Path, other: Path) -> bool:
    a, b = (d.load_best_model(Run(path)).get_weights() for path in (one, other))
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.slow
def test_a_cluster_whose_parts_are_killed_trains_the_networks_of_a_serial_sweep(digits: Path) -> None:
    root = digits.parent
    (root / "space.yml").write_text(f"data: {digits}\nrecipe: tiny\nepochs: 3\nseed: [1, 2, 3, 4]")
    happened = drama(root, "space.yml", "runs/cluster")
    assert happened["code"] == 0, (root / "cluster.log").read_text()
    assert happened["done_again"] == []
    table = d.read_sweep("runs/cluster")
    assert table["state"].tolist() == ["done"] * 4
    assert sorted(table["seed"]) == ["1", "2", "3", "4"]
    done = run_command("digitlib", "sweep", "space.yml", "--no-notebooks", "--out", "runs/serial", root=root)
    assert done.returncode == 0, done.stderr
    for name in table["run"]:
        assert same_weights(root / "runs/cluster" / name, root / "runs/serial" / name)
    # Two of them as notebooks, on workers: the same networks again, and something to read.
    words = ("--out", "runs/read", "-p", "seed", "[1, 2]", "--workers", "2")
    done = run_command("digitlib", "sweep", "space.yml", *words, root=root)
    assert done.returncode == 0, done.stderr
    names = d.read_sweep("runs/read")["run"]
    assert len(names) == 2
    for name in names:
        assert same_weights(root / "runs/read" / name, root / "runs/serial" / name)
        assert len(list((root / "runs/read" / name / "notebooks").glob("0[456]_*.ipynb"))) == 3
    assert done.stderr == ""


def test_of_a_run_stopped_early_the_epoch_counts_that_its_recipe_keeps(digits: Path) -> None:
    run = d.prepare(digits, "runs/stopped", mode="none")
    n = int((d.read_split(run)["part"] == "validation").sum())
    history = {
        "epoch": [1, 2, 3],
        "val_accuracy": np.array([n - 3, n - 1, n - 2]) / n,
        "seconds": [1.0, 2.0, 3.0],
    }
    write_table(run / "history.csv", pd.DataFrame(history))
    for keep, epoch, wrong in (("best", 2, 1), ("last", 3, 2)):
        results = results_so_far(run, settings_of({"recipe": "tiny", "keep": keep}))
        assert (results["best_epoch"], results["epochs_done"], results["seconds"]) == (epoch, 3, 3.0)
        assert results["validation_accuracy"] == (n - wrong) / n


@pytest.mark.slow
def test_optuna_tries_stops_and_goes_on(digits: Path) -> None:
    (digits.parent / "space.yml").write_text(
        f"data: {digits}\nrecipe: tiny\nepochs: 4\nsampler: optuna\ntrials: 6\n"
        "learning_rate: {low: 1e-6, high: 1e-2, log: true}\nbatch_size: [32, 64]"
    )
    arguments = ("digitlib", "sweep", "space.yml", "--no-notebooks", "--out", "runs/optuna")
    done = run_command(*arguments, root=digits.parent)
    assert done.returncode == 0, done.stderr
    table = d.read_sweep("runs/optuna")
    assert len(table) == 6
    assert set(table["state"]) <= {"done", "pruned"}
    assert len(set(table["learning_rate"])) == 6
    assert table.loc[table["state"] == "pruned", "epochs_done"].lt(4).all()
    again = run_command(*arguments, "-p", "trials", "7", root=digits.parent)
    assert "6 of 7 runs: done before" in again.stdout
    assert len(d.read_sweep("runs/optuna")) == 7
    assert "validation accuracy" in again.stdout
    shutil.rmtree(digits.parent / "runs/optuna/trial-000")
    again = run_command(*arguments, "-p", "trials", "7", root=digits.parent)
    assert "6 of 7 runs: done before" in again.stdout
    assert d.read_sweep("runs/optuna")["state"].isin(["done", "pruned"]).all()
    other = run_command(*arguments, "-p", "validation_size", "0.3", root=digits.parent)
    assert "finished runs of another split" in other.stderr


@pytest.mark.slow
def test_the_last_epoch_is_never_too_late_to_be_stopped(digits: Path) -> None:
    from digitlib.scale.sweep_pruning import Report

    class Trial:
        reported: ClassVar[list[int]] = []

        def report(self, value: float, step: int) -> None:
            self.reported.append(step)

        def should_prune(self) -> bool:
            return self.reported[-1] >= 2

    for epochs, stopped in ((2, False), (3, True)):
        Trial.reported = []
        report = Report(Trial(), d.open_run("runs/none"))
        report.set_params({"epochs": epochs})
        report.set_model(d.build_model(d.get_recipe("tiny"), list("01")))
        for epoch in range(2):
            report.on_epoch_end(epoch, {"val_accuracy": 0.5})
        assert Trial.reported == [1, 2]
        assert report.stopped is stopped
