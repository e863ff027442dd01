"""A network in other formats: each file gives Keras's probabilities, or there is no file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import digitlib as d
from digitlib.cli import main
from digitlib.evaluation.classifier import Classifier
from digitlib.export import card_text, formats, write_page
from digitlib.export.web_page import PlainNet, check_inputs, plain_net
from digitlib.files import write_json
from digitlib.run import Run
from digitlib.training.backend import keras

layers = keras.layers
DIGITS = list("0123456789")
METRICS = {
    "recipe": "fast", "data": "a/b/scans", "n_train": 288, "n_test": 80, "n_validation": 32, "parameters": 132618,
    "epochs": 3, "best_epoch": 2, "validation_accuracy": 0.9, "test_accuracy": 0.95, "test_accuracy_low": 0.8784,
    "test_accuracy_high": 0.9804, "test_loss": 0.2, "test_chose_the_epoch": True, "seed": 42,
    "fit_seconds": 9.0, "balanced_accuracy": 0.94, "lowest_recall": 0.9, "lowest_recall_class": "8", "majority_baseline": 0.1,
}  # fmt: skip


def unsettle(model: keras.Model) -> keras.Model:
    """Give batch normalization means and variances that are not 0 and 1, as after training."""
    rng = np.random.default_rng(0)
    model.set_weights([weight + rng.uniform(0.05, 0.1, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture
def run(digits: Path) -> Run:
    """Return a run with the network of `fast`."""
    run = d.prepare(digits, "runs/a", mode="none")
    Classifier(unsettle(d.build_model(d.get_recipe("fast"), DIGITS)), DIGITS, run=run).save(run.folder)
    return run


def export(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["export", *map(str, words)])
    return done.exit_code, done.output


def computed(net: PlainNet, values: np.ndarray) -> np.ndarray:
    """Compute a plain net with Keras's own operations, as the page should."""
    weights, number = np.concatenate(net.weights), len(values)
    for layer in net.layers:
        if layer["kind"] in ("conv", "dense"):
            n = layer.get("filters", layer.get("units"))
            bias = weights[layer["bias"] : layer["bias"] + n]
            kernel = weights[layer["weights"] : layer["bias"]]
            if layer["kind"] == "dense":
                values = values @ kernel.reshape(-1, n) + bias
            else:
                kernel = kernel.reshape(*layer["kernel"], -1, n)
                values = keras.ops.conv(values, kernel, layer["strides"], layer["padding"]) + bias
        elif layer["kind"] == "rescale":
            values = values * layer["scale"] + layer["offset"]
        elif layer["kind"] == "max_pool":
            values = keras.ops.max_pool(values, layer["size"], layer["strides"], layer["padding"])
        elif layer["kind"] == "average":
            values = keras.ops.mean(values, axis=(1, 2))
        elif layer["kind"] == "flatten":
            values = keras.ops.reshape(values, (number, -1))
        activation = layer.get("activation", "linear")
        values = np.asarray(values if activation == "linear" else getattr(keras.ops, activation)(values))
    return values


@pytest.mark.parametrize("name", ["tiny", "fast", "accurate", "classic"])
def test_batch_normalization_is_folded_without_changing_the_probabilities(name: str) -> None:
    changes = {"image_size": 32} if name == "classic" else {}
    model = unsettle(d.build_model(d.get_recipe(name, precision="float32", **changes), DIGITS))
    images = check_inputs(model.input_shape[1:])
    expected = model.predict_on_batch(images)
    assert expected.max() - expected.min() > 0.001  # else anything would agree
    np.testing.assert_allclose(computed(plain_net(model), images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ([layers.Conv2D(2, 3, activation="gelu")], "activation gelu"),
        ([layers.DepthwiseConv2D(3)], "a DepthwiseConv2D"),
        ([layers.Conv2D(2, 3, dilation_rate=2)], "groups, dilation"),
        ([layers.Conv2D(2, 3, activation="relu"), layers.BatchNormalization()], "that follows no linear layer"),
        ([layers.BatchNormalization()], "that follows no linear layer"),
        ([layers.ReLU(6.0)], "limits of its own"),
        ([layers.Dense(2)], "without a Flatten"),
        ([layers.Rescaling([1.0])], "another factor for each channel"),
    ],
)
def test_a_layer_that_the_page_cannot_compute_is_named(stack: list, said: str) -> None:
    with pytest.raises(d.DigitError, match=f"the layer '.*{said}.*Export to ONNX or LiteRT"):
        plain_net(keras.Sequential([keras.Input((8, 8, 1)), *stack]))


@pytest.mark.slow
def test_the_command_writes_all_formats_where_it_is_told(run: Run, root: Path) -> None:
    code, said = export(run.folder)
    assert code == 0, said
    assert said.count("within 1e-4 of Keras's") == 2
    files = ["model.onnx", "model.onnx.json", "model.tflite", "page.html"]  # the second is for `digitlib predict`
    assert sorted(path.name for path in (run / "export").iterdir()) == files
    assert "## Data" in (run / "model_card.md").read_text(encoding="utf-8")
    page = (run / "export/page.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", page)
    assert "default-src 'none'; script-src 'sha256-" in page
    assert export(run.folder, "--html", "elsewhere/a page.html")[0] == 0
    assert (root / "elsewhere/a page.html").read_text(encoding="utf-8") == page
    assert export(run.folder, "--out", "phone", "--format", "litert")[0] == 0
    assert [path.name for path in (root / "phone").iterdir()] == ["model.tflite"]


@pytest.mark.slow
def test_a_nested_network_is_exported_but_for_the_page(digits: Path) -> None:
    run = d.prepare(digits, "runs/b", mode="none")
    backbone = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, include_top=False, pooling="avg")
    model = keras.Sequential([keras.Input((32, 32, 3)), backbone, layers.Dense(10, "softmax")])
    Classifier(model, DIGITS, run=run).save(run.folder)
    code, said = export(run.folder)
    assert code == 0, said
    assert "html    not written: the page can't compute the layer 'MobileNetV3Small' (a Functional)" in said
    assert sorted(path.name for path in (run / "export").iterdir()) == ["model.onnx", "model.onnx.json", "model.tflite"]
    assert export(run.folder, "--format", "html")[0] == 1


def test_a_file_that_differs_from_keras_is_refused_and_not_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = unsettle(d.build_model(d.get_recipe("tiny"), DIGITS)), np.zeros((3, 28, 28, 1), np.float32)
    right = formats._outputs
    assert formats.export_network(model, "onnx", root / "right.onnx", images) < 1e-4
    monkeypatch.setattr(formats, "_outputs", lambda *given: [one + 0.001 for one in right(*given)])
    with pytest.raises(d.DigitError, match=r"the onnx file differs from Keras by up to 0\.001"):
        formats.export_network(model, "onnx", root / "wrong.onnx", images)
    assert [path.name for path in root.iterdir()] == ["right.onnx"]


def test_what_is_missing_is_asked_for_in_one_sentence(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.NEEDS, "onnx", ("onnx", "no_such_module"))
    with pytest.raises(d.DigitError, match=r"^For format 'onnx', install no_such_module: .*\[export\]\"$"):
        formats.check_formats(["onnx"])
    with pytest.raises(d.DigitError, match="there is no format 'onx': did you mean 'onnx'"):
        formats.check_formats(["onx"])
    d.prepare(digits, "runs/new", mode="none")
    code, said = export("runs/new")
    assert (code, "run notebook 05_training_history.ipynb first" in said) == (1, True)


def test_the_card_tells_what_trained_the_results_and_the_limits(run: Run, digits: Path) -> None:
    assert "Not measured yet" in Classifier.load(run).model_card()
    write_json(run / "metrics.json", METRICS)
    text = Classifier.load(run).model_card()
    assert "Source: scans." in text
    assert str(digits.parent) not in text
    assert "95.00% (95 % interval 87.84% to 98.04%, n = 80); too high" in text
    parts = d.read_split(run)["part"].value_counts()
    assert f"| total | {parts['train']} | {parts['validation']} | 80 | 400 |" in text
    assert "| recipe |" not in text  # none was used
    for heading in ("What it is for", "Data", "Network and training", "Results", "Limits", "Versions"):
        assert f"## {heading}" in text


def test_a_card_of_other_classes_does_not_speak_of_digits() -> None:
    optimizer = keras.saving.serialize_keras_object(keras.optimizers.SGD(0.1))
    record = {"network": "mlp", "augmentation": {"horizontal_flip": True}, "optimizer": optimizer, "recipe": None}
    text = card_text(record, None, ["cat", "dog"])
    assert "digit" not in text.replace("digitlib", "")
    assert "SGD (learning_rate 0.1" in text
    assert "mirrored images" in card_text(record, None, ["6", "9"])


def test_names_are_told_as_they_are_and_run_nothing(root: Path) -> None:
    evil = "<script>alert(1)<|b>"
    model = d.build_model(d.get_recipe("tiny"), ["a", "b"])
    write_page(model, [evil, "b"], root / "page.html", facts={"Classes": evil})
    for text in ((root / "page.html").read_text(encoding="utf-8"), card_text({"network": evil}, None, [evil, "b"])):
        assert "<script>alert" not in text
