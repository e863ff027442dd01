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
from digitlib.run import EVALUATION, best_epoch
from digitlib.training.backend import in_float32, keras
from digitlib.training.models import MODELS
from digitlib.training.recipes import SMALLEST_SIDE

DIGITS = [str(digit) for digit in range(10)]


def test_the_classic_network_layer_by_layer() -> None:
    layers = d.build_model(d.get_recipe("classic"), DIGITS).layers
    assert [layer.count_params() for layer in layers if layer.count_params()] == [
        896,
        18_496,
        73_856,
        2_508_900,
        5_050,
        510,
    ]
    assert [layer.output.shape[1:] for layer in layers[:3]] == [(128, 128, 3), (126, 126, 32), (63, 63, 32)]


def test_the_classic_recipe_is_that_of_the_design() -> None:
    seed = d.get_recipe("classic")
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


@pytest.mark.parametrize(("model", "parameters"), [("small", 132_618), ("wide", 337_802)])
def test_parameters_are_as_documented(model: str, parameters: int) -> None:
    assert d.build_model(d.get_recipe("fast", model=model), DIGITS).count_params() == parameters


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two, other = (d.build_model(d.get_recipe("tiny", seed=s), DIGITS).get_weights()[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", ["classic", "tiny", "accurate"])
def test_the_same_seed_gives_the_same_network_though_another_thread_draws_numbers(name: str) -> None:
    """It is also the one that Keras itself would make, with nobody else about."""
    recipe, ended = d.get_recipe(name, seed=7), threading.Event()
    keras.utils.set_random_seed(7)
    alone = MODELS[recipe.model]((*recipe.image_size, 3 if name == "classic" else 1), 10)

    def draw() -> None:
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


def test_small_data_gets_more_steps_in_each_epoch_unless_epochs_are_asked_for() -> None:
    assert d.get_recipe("fast").least_steps == 50
    assert d.get_recipe("fast", epochs=2).least_steps == 0


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("fats", {}, "fast"),
        ("fast", {"epoch": 3}, "epochs"),
        ("fast", {"epochs": 0}, "epochs"),
        ("fast", {"image_size": "big"}, "image_size"),
        ("fast", {"learning_rate": -1}, "learning_rate"),
        ("fast", {"model": "smal"}, "model is 'smal'"),
        ("fast", {"augmentation": {"rescale": 1}}, "networks take pixels 0 to 255"),
        ("fast", {"precision": "half"}, "precision"),
        ("fast", {"checkpoint": "first"}, "checkpoint"),
        ("fast", {"image_size": []}, "image_size"),
        ("fast", {"image_size": [28]}, "image_size"),
        ("fast", {"image_size": True}, "image_size"),
        ("fast", {"learning_rate": float("inf")}, "learning_rate"),
        ("fast", {"learning_rate": True}, "learning_rate"),
        ("fast", {"seed": 2**32}, "seed"),
        ("fast", {"train_on": "trian"}, "train_on is"),
        ("fast", {"validate_on": ["validation", "tset"]}, "validate_on is"),
        ("fast", {"train_on": []}, "train_on is"),
        ("fast", {"train_on": 5}, "train_on is"),
    ],
)
def test_bad_recipes_are_named(name: str, changes: dict, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        d.get_recipe(name, **changes)


@pytest.mark.parametrize("model", MODELS)
def test_the_smallest_image_size_is_what_the_network_takes(model: str) -> None:
    name, smallest = "classic" if model == "classic" else "fast", SMALLEST_SIDE[model]
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
    assert max(rates) == pytest.approx(1.5e-2)
    assert rates.index(max(rates)) == 20
    assert rates[0] == pytest.approx(1.5e-3)
    assert rates[-1] < 1.5e-4


def test_the_best_epoch_is_the_first_of_the_highest() -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3, 4], "val_accuracy": [0.5, 0.9, 0.9, 0.8]})
    assert best_epoch(history) == 2
    assert best_epoch(history, "last") == 4


class Accuracies(keras.callbacks.Callback):
    """Say what the validation accuracy is, and give all weights the epoch's number."""

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        logs["val_accuracy"] = [0.5, 0.9, 0.8][epoch]
        self.model.set_weights([np.full_like(weight, epoch) for weight in self.model.get_weights()])


def trained_on_noise(run: d.Run, recipe: d.Recipe | None, model: keras.Model, checkpoint: str = "best") -> dict:
    """Train three epochs on four images, and return the record."""
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
    train = d.ImageBatches.from_array(images, [0, 1, 2, 3], DIGITS, batch_size=4)
    callbacks = [Accuracies(), *d.callbacks_for(run, train, recipe, checkpoint)]
    model.fit(train, validation_data=train, epochs=3, callbacks=callbacks, verbose=0)
    return run.read_json("training.json")


def compiled(recipe: d.Recipe, loss: object = None) -> keras.Model:
    model = d.build_model(recipe, DIGITS)
    model.compile(d.make_optimizer(recipe, 1), loss or d.make_loss(recipe), metrics=["accuracy"])
    return model


@pytest.mark.parametrize(("checkpoint", "epoch"), [("best", 1), ("last", 2)])
def test_the_network_of_the_right_epoch_is_kept_with_its_record(root: Path, checkpoint: str, epoch: int) -> None:
    run, recipe = d.open_run("runs/a"), d.get_recipe("tiny", epochs=3, checkpoint=checkpoint)
    (run / "backup" / "2025").mkdir(parents=True)
    (run / "backup" / "2025" / "my_best_model.keras").write_text("mine")
    earlier = run / "backup" / ("0" * 16) / "3"
    earlier.mkdir(parents=True)
    for name in EVALUATION:
        (run / name).write_text("{}")
    record = trained_on_noise(run, recipe, compiled(recipe))
    assert (record["recipe"], record["network"], record["class_names"]) == ("tiny", "tiny", DIGITS)
    assert record["fit"] == {"epochs": 3, "batch_size": 4, "steps_per_epoch": 1}
    assert d.load_recipe(run) == recipe
    kept = keras.models.load_model(run / "best_model.keras").get_weights()
    assert all((weight == epoch).all() for weight in kept)
    assert not [name for name in EVALUATION if (run / name).exists()]
    assert not earlier.exists()
    assert [path.name for path in (run / "backup").rglob("*")] == ["2025", "my_best_model.keras"]


def test_a_record_names_a_recipe_only_where_its_network_optimizer_and_loss_trained(root: Path) -> None:
    run, recipe = d.open_run("runs/a"), d.get_recipe("tiny", epochs=3)
    assert trained_on_noise(run, recipe, compiled(recipe))["recipe"] == "tiny"
    for model in (
        compiled(recipe, "mse"),
        compiled(d.get_recipe("tiny", epochs=3, learning_rate=0.1)),
        compiled(d.get_recipe("fast", epochs=3, label_smoothing=0.0)),
    ):
        assert trained_on_noise(run, recipe, model)["recipe"] is None
        assert not (run / "recipe.json").exists()
    assert trained_on_noise(run, None, compiled(recipe), "last")["checkpoint"] == "last"


def test_best_needs_a_validation_accuracy(root: Path) -> None:
    run, recipe = d.open_run("runs/a"), d.get_recipe("tiny", epochs=3)
    train = d.ImageBatches.from_array(np.zeros((4, 28, 28), np.uint8), [0, 1, 2, 3], DIGITS)
    with pytest.raises(d.DigitError, match="needs val_accuracy"):
        compiled(recipe).fit(train, callbacks=d.callbacks_for(run, train, recipe), verbose=0)


def own_network(image_shape: tuple[int, int, int], n_classes: int) -> keras.Model:
    layers = keras.layers
    return keras.Sequential([keras.Input(image_shape), layers.Flatten(), layers.Dense(n_classes, "softmax")])


def test_a_recipe_takes_an_own_network() -> None:
    recipe = d.get_recipe("tiny", model=f"{__name__}:own_network")
    assert d.build_model(recipe, DIGITS).count_params() == 7850
    with pytest.raises(d.DigitError, match="there is no model"):
        d.build_model(d.get_recipe("tiny", model=f"{__name__}:nothing"), DIGITS)


def test_the_old_name_of_the_classic_recipe_warns() -> None:
    with pytest.deprecated_call(match="now called 'classic'"):
        assert d.get_recipe("seed").name == "classic"


def test_one_set_and_an_own_augmentation_are_taken(digits: Path) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    recipe = d.get_recipe("tiny", train_on="train", augmentation={"rotation_range": 10})
    train, _ = d.train_val_generators(run, recipe)
    assert train.samples == 280
    assert 230 < train[0][0].max() <= 255


def test_a_recipe_survives_its_file(root: Path) -> None:
    run = d.open_run("runs/a")
    recipe = d.get_recipe("classic", epochs=3, image_size=64)
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


def test_mixed_precision_trains_and_leaves_a_network_in_float32() -> None:
    recipe = d.get_recipe("tiny", precision="mixed_bfloat16")
    model = d.build_model(recipe, DIGITS)
    assert keras.config.dtype_policy().name == "float32"
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model.layers[-1].compute_dtype == "float32"
    model.compile(d.make_optimizer(recipe, 10), d.make_loss(recipe), metrics=["accuracy"])
    images = np.random.default_rng(0).random((64, 28, 28, 1), np.float32) * 255
    labels = np.eye(10, dtype=np.float32)[np.arange(64) % 10]
    model.fit(images, labels, verbose=0)
    kept = in_float32(model)
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
