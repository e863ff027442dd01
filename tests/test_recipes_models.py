"""Recipes, networks, optimizer and history."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import digitlib as d
from digitlib.training.backend import keras
from digitlib.training.models import MODELS
from digitlib.training.recipes import SMALLEST_SIDE

DIGITS = [str(digit) for digit in range(10)]


def test_the_seed_network_is_the_classic_one_layer_by_layer() -> None:
    table = d.layer_table(d.build_model(d.get_recipe("seed"), DIGITS))
    assert table["parameters"][table["parameters"] > 0].tolist() == [
        896,
        18_496,
        73_856,
        2_508_900,
        5_050,
        510,
    ]
    assert table["output_shape"].tolist()[:2] == [(126, 126, 32), (63, 63, 32)]


def test_the_seed_recipe_is_the_classic_one() -> None:
    seed = d.get_recipe("seed")
    assert (seed.image_size, seed.color_mode, seed.batch_size, seed.epochs) == ((128, 128), "rgb", 32, 10)
    assert (seed.train_on, seed.validate_on) == (("train", "validation"), ("test",))
    assert seed.augmentation["horizontal_flip"]
    assert seed.augmentation["rotation_range"] == 40


@pytest.mark.parametrize("name", ["tiny", "fast", "accurate"])
def test_other_recipes_leave_the_test_alone_and_mirror_nothing(name: str) -> None:
    recipe = d.get_recipe(name)
    assert recipe.validate_on == ("validation",)
    assert "horizontal_flip" not in recipe.augmentation
    model = d.build_model(recipe, DIGITS)
    out = model(np.random.default_rng(0).random((4, 28, 28, 1), np.float32))
    np.testing.assert_allclose(np.sum(out, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("small", 132_618), ("deep", 305_578), ("upright", 326_826)],
)
def test_parameters_are_as_documented(model: str, parameters: int) -> None:
    assert d.build_model(d.get_recipe("fast", model=model), DIGITS).count_params() == parameters


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two, other = (
        d.build_model(d.get_recipe("tiny", seed=s), DIGITS).get_weights()[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", ["seed", "tiny", "accurate"])
def test_the_same_seed_gives_the_same_network_though_another_thread_draws_numbers(name: str) -> None:
    """It is also the one that Keras itself would make, with nobody else about."""
    recipe, ended = d.get_recipe(name, seed=7), threading.Event()
    keras.utils.set_random_seed(7)
    alone = MODELS[recipe.model]((*recipe.image_size, 3 if name == "seed" else 1), 10)

    def sample_parameters() -> None:
        while not ended.is_set():
            random.random()

    other = threading.Thread(target=draw)
    other.start()
    try:
        disturbed = d.build_model(recipe, DIGITS)
    finally:
        ended.set()
        other.join()
    for one, same in zip(alone.variables, disturbed.variables, strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize(("images", "epochs"), [(3_240, 31), (30_240, 10), (100, 800)])
def test_small_data_gets_more_epochs(images: int, epochs: int) -> None:
    assert d.get_recipe("fast").scaled_to(images).epochs == epochs


def test_asked_for_epochs_are_what_one_gets() -> None:
    assert d.get_recipe("fast", epochs=2).scaled_to(100).epochs == 2


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("fats", {}, "fast"),
        ("fast", {"epoch": 3}, "epochs"),
        ("fast", {"epochs": 0}, "epochs"),
        ("fast", {"image_size": "big"}, "image_size"),
        ("fast", {"learning_rate": -1}, "learning_rate"),
        ("fast", {"precision": "half"}, "precision"),
        ("fast", {"keep": "first"}, "keep"),
        ("fast", {"image_size": []}, "image_size"),
        ("fast", {"image_size": [28]}, "image_size"),
        ("fast", {"image_size": True}, "image_size"),
        ("fast", {"learning_rate": float("inf")}, "learning_rate"),
        ("fast", {"learning_rate": True}, "learning_rate"),
        ("fast", {"seed": 2**32}, "seed"),
    ],
)
def test_bad_recipes_are_named(name: str, changes: dict, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        d.get_recipe(name, **changes)


@pytest.mark.parametrize("model", MODELS)
def test_the_smallest_image_size_is_what_the_network_takes(model: str) -> None:
    name, smallest = "seed" if model == "seed" else "fast", SMALLEST_SIDE[model]
    at_least = d.get_recipe(name, model=model, image_size=smallest)
    assert sees_something(at_least)
    if smallest > 1:
        with pytest.raises(d.DigitError, match=f"too small .* give {smallest} or more"):
            d.get_recipe(name, model=model, image_size=smallest - 1)
        assert not sees_something(replace(at_least, image_size=(smallest - 1, smallest - 1)))


def sees_something(recipe: d.Recipe) -> bool:
    """Tell whether any pixel is left in all layers; some versions of Keras build a network where none is."""
    try:
        network = d.build_model(recipe, DIGITS)
    except ValueError:
        return False
    return all(0 not in layer.output.shape for layer in network.layers)


def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    rate = d.make_optimizer(d.get_recipe("fast", epochs=10), steps_per_epoch=100)._learning_rate
    rates = [float(rate(step)) for step in range(0, 1000, 10)]
    assert max(rates) == pytest.approx(4e-3)
    assert rates.index(max(rates)) == 20
    assert rates[0] == pytest.approx(4e-4)
    assert rates[-1] < 4e-5


def test_the_best_epoch_is_the_first_of_the_highest() -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3, 4], "val_accuracy": [0.5, 0.9, 0.9, 0.8]})
    assert d.best_epoch(history) == 2
    assert d.best_epoch(history, "last") == 4


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_network_of_the_epoch_that_the_recipe_keeps_is_on_disk(tmp_path: Path, keep: str) -> None:
    from digitlib.training.callbacks import BestModel

    recipe = d.get_recipe("tiny", keep=keep)
    model = d.build_model(recipe, DIGITS)
    saving, weights = BestModel(tmp_path / "kept.keras", keep=recipe.keep), []
    saving.set_model(model)
    for epoch, accuracy in enumerate([0.5, 0.9, 0.8]):
        model.set_weights([np.full_like(weight, epoch) for weight in model.get_weights()])
        weights.append(model.get_weights())
        saving.on_epoch_end(epoch, {"val_accuracy": accuracy})
    kept = keras.models.load_model(tmp_path / "kept.keras").get_weights()
    for one, same in zip(kept, weights[1 if keep == "best" else 2], strict=True):
        np.testing.assert_array_equal(one, same)


def test_a_new_network_has_no_accuracy_yet_and_keeps_what_is_not_its_own(root: Path) -> None:
    from digitlib.training.callbacks import Backup, BestModel, backup_folder

    run, recipe = d.open_run("runs/a"), d.get_recipe("tiny")
    (run / "backup" / "2025").mkdir(parents=True)
    (run / "backup" / "2025" / "my_best_model.keras").write_text("mine")
    (run / "metrics.json").write_text("{}")
    earlier = backup_folder(run, d.get_recipe("fast")) / "3"
    earlier.mkdir(parents=True)
    model = d.build_model(recipe, DIGITS)
    saving, backup = BestModel(run / "best_model.keras"), Backup(backup_folder(run, recipe), 1, resume=False)
    for one in (saving, backup):
        one.set_model(model)
        one.on_train_begin()
    saving.on_epoch_end(0, {"val_accuracy": 0.5})
    backup.on_train_end()
    assert not (run / "metrics.json").exists()
    assert not earlier.exists()
    assert [path.name for path in (run / "backup").rglob("*")] == ["2025", "my_best_model.keras"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_on": "trian"}, "train_on is 'trian'"),
        ({"validate_on": ["validation", "tset"]}, "validate_on is"),
        ({"train_on": []}, "train_on is"),
        ({"train_on": 5}, "train_on is 5"),
    ],
)
def test_what_a_recipe_is_trained_on_is_checked_before_any_work(changes: dict, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        d.get_recipe("tiny", **changes)


def test_one_part_and_a_varying_of_ones_own_are_taken(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    recipe = d.get_recipe("tiny", train_on="train", augmentation={"rotation_range": 10})
    train, _ = d.train_val_generators(run, recipe)
    assert train.samples == 280
    assert 0.9 < train[0][0].max() <= 1


def test_a_recipe_survives_its_file(root: Path) -> None:
    run = d.open_run("runs/a")
    recipe = d.get_recipe("seed", epochs=3, image_size=64)
    d.save_recipe(run, recipe)
    again = d.load_recipe(run)
    assert again == recipe


def test_numpys_numbers_are_numbers(digits: Path) -> None:
    """As of `for seed in np.arange(5)`: written to a run's files, and read again."""
    run = d.prepare(digits, "runs/a", mode="none", seed=np.int64(3), test_size=np.float32(0.25))
    assert run.read_json("source.json")["seed"] == 3
    recipe = d.get_recipe("tiny", seed=np.int64(3), image_size=np.int64(20), learning_rate=np.float32(0.5))
    d.save_recipe(run, recipe)
    assert d.load_recipe(run) == d.get_recipe("tiny", seed=3, image_size=20, learning_rate=0.5)
    train, _ = d.train_val_generators(run, recipe)
    assert train.samples == 270


@pytest.mark.parametrize(
    ("name", "notebook"), [("split.csv", "01"), ("best_model.keras", "05"), ("metrics.json", "06")]
)
def test_a_missing_forerunner_is_named(root: Path, name: str, notebook: str) -> None:
    with pytest.raises(d.DigitError, match=f"run notebook {notebook}_"):
        d.open_run("runs/none").require(name)


def test_mixed_precision_trains_and_leaves_a_network_in_float32(tmp_path: Path) -> None:
    from digitlib.training.backend import keras
    from digitlib.training.callbacks import BestModel

    recipe = d.get_recipe("tiny", precision="mixed_bfloat16")
    model = d.build_model(recipe, DIGITS)
    assert keras.config.dtype_policy().name == "float32"
    assert model.layers[0].compute_dtype == "bfloat16"
    assert model.layers[-1].compute_dtype == "float32"
    model.compile(d.make_optimizer(recipe, 10), d.make_loss(recipe), metrics=["accuracy"])
    images = np.random.default_rng(0).random((64, 28, 28, 1), np.float32)
    labels = np.eye(10, dtype=np.float32)[np.arange(64) % 10]
    model.fit(
        images,
        labels,
        validation_data=(images, labels),
        callbacks=[BestModel(tmp_path / "best.keras")],
        verbose=0,
    )
    kept = keras.models.load_model(tmp_path / "best.keras")
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
    for ours, theirs in zip(model.get_weights(), kept.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(kept.predict(images, verbose=0), model.predict(images, verbose=0), atol=0.02)
    assert kept.evaluate(images, labels, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}


def test_precision_by_default_is_what_this_processor_is_fast_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import digitlib.training.backend as precision

    for has, policy in ((True, "mixed_bfloat16"), (False, "float32")):
        monkeypatch.setattr(precision, "_has_bfloat16", lambda has=has: has)
        assert precision.policy_of("auto") == policy
        assert precision.policy_of("float32") == "float32"
