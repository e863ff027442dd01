"""What makes training fast leaves what it computes, and what is saved, as plain Keras has them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import digitlib as d
from digitlib.data.split import PARTS
from digitlib.training import refit_run
from digitlib.training.backend import keras
from digitlib.training.models import BatchNormalization
from digitlib.training.optimizers import ConvMuon

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3, 3, 32, 64), (6, 6, 1, 32), (3, 3, 4, 128)])
def test_an_update_of_a_kernel_is_orthogonal_and_as_large_as_adams(shape: tuple[int, ...]) -> None:
    kernel, bias = keras.Variable(np.zeros(shape, np.float32)), keras.Variable(np.zeros(shape[-1], np.float32))
    optimizer = ConvMuon(0.01, weight_decay=0, adam_weight_decay=0)
    gradient = RNG.normal(size=shape).astype(np.float32)
    optimizer.apply([gradient, RNG.normal(size=shape[-1]).astype(np.float32)], [kernel, bias])
    matrix = np.asarray(kernel).reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(gradient.reshape(matrix.shape), full_matrices=False)
    size = 0.2 * np.sqrt(max(matrix.shape)) * 0.01
    values = np.linalg.svd(matrix / size, compute_uv=False)
    assert values.min() > 0.65  # Newton and Schulz's five steps end between 0.7 and 1.2
    assert values.max() < 1.25
    assert (
        np.sum(-matrix / size * (left @ right)) / min(matrix.shape) > 0.75
    )  # 1 of the orthogonal matrix itself, 0 of another direction
    np.testing.assert_allclose(np.abs(np.asarray(bias)), 0.01, rtol=1e-3)  # AdamW's first step


def test_the_optimizer_goes_on_from_a_saved_model(tmp_path: Path) -> None:
    train = d.ImageBatches.from_array(RNG.integers(0, 255, (64, 14, 14), np.uint8), RNG.integers(0, 4, 64))
    recipe = d.get_recipe("tiny", image_size=14, optimizer="muon", precision="float32")
    model = d.build_model(recipe, train.class_names)
    model.compile(d.make_optimizer(recipe, len(train)), d.make_loss(recipe))
    model.fit(train, verbose=0)
    model.save(tmp_path / "one.keras")
    other = keras.models.load_model(tmp_path / "one.keras")
    assert type(other.optimizer) is ConvMuon
    for one in (model, other):
        one.fit(train, verbose=0)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_fused_batch_normalization_is_kerass() -> None:
    images = RNG.normal(3, 2, (32, 5, 5, 8)).astype(np.float32)
    layers = [BatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)]
    trained = [np.asarray(layer(images, training=True)) for layer in layers]
    np.testing.assert_allclose(*trained, atol=1e-5)
    for ours, theirs in zip(*(layer.get_weights() for layer in layers), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3)  # the variance is divided by n - 1
    layers[0].set_weights(layers[1].get_weights())
    np.testing.assert_allclose(*[np.asarray(layer(images)) for layer in layers], atol=1e-6)


def test_what_a_run_keeps_loads_without_digitlib(run: d.Run) -> None:
    with zipfile.ZipFile(run / "best_model.keras") as archive:
        assert "digitlib" not in archive.read("config.json").decode()
    code = f"import keras, numpy as np; model = keras.models.load_model({str(run / 'best_model.keras')!r}); "
    code += "print(model(np.zeros((1, 28, 28, 1), np.float32)).shape, type(model.layers[2]).__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True)
    assert done.stdout.split("\n")[0].startswith("(1, 10) keras.src.layers")


def test_nothing_waits_for_the_autotuning_of_tf_data(run: d.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    asked: list[Any] = []
    original = PyDatasetAdapter.get_tf_dataset
    monkeypatch.setattr(PyDatasetAdapter, "get_tf_dataset", lambda self: asked.append(original(self)) or asked[-1])
    recipe = d.get_recipe("tiny")
    train, validation = d.train_val_generators(run, recipe)
    model = d.build_model(recipe, run.class_names)
    model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=2, steps_per_epoch=3, verbose=0)
    model.evaluate(validation, verbose=0)
    model.predict(validation, verbose=0)
    assert [one.options().autotune.enabled for one in asked] == [False] * len(asked)
    assert len(asked) >= 4


def test_a_refit_network_has_seen_all_labelled_images_and_says_whose_accuracy_it_shows(run: d.Run) -> None:
    d.evaluate_run(run)
    refit = refit_run(run)
    recipe, metrics = json.loads((refit / "recipe.json").read_text()), json.loads((refit / "metrics.json").read_text())
    assert recipe["train_on"] == list(PARTS)
    assert metrics["refit"] is True
    assert metrics["test_accuracy"] == json.loads((run / "metrics.json").read_text())["test_accuracy"]
    clf = d.Classifier.load(refit)
    assert "of the network before, which had not seen the test images" in clf.model_card()
    assert clf.evaluate(d.eval_generator(run, clf, PARTS)).metrics["accuracy"] > 0.9
    written = (refit / "best_model.keras").stat().st_mtime_ns
    assert (refit_run(run) / "best_model.keras").stat().st_mtime_ns == written
    with pytest.raises(d.DigitError, match="run notebook 01"):
        clf.evaluate("test")
