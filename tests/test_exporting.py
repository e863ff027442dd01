"""A network in other formats: each answers as Keras does, or there is no file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import digitlib as d
from digitlib.cli import main
from digitlib.export import formats as exporting
from digitlib.export.web_page import PlainNet, check_inputs, plain_net
from digitlib.files import write_json
from digitlib.run import Run
from digitlib.training.backend import keras

layers = keras.layers


@pytest.fixture
def run(digits: Path) -> Run:
    """Return a run with a network that has weights of its own everywhere, as after training."""
    run = d.prepare(digits, "runs/a", mode="none")
    recipe = d.get_recipe("fast")
    d.save_recipe(run, recipe)
    model = d.build_model(recipe, d.class_names_of(run))
    unsettle(model)
    model.save(run / "best_model.keras")
    return run


def unsettle(model: keras.Model) -> None:
    """Give batch normalisation means and variances that are not 0 and 1."""
    rng = np.random.default_rng(0)
    model.set_weights([weight + rng.uniform(0.05, 0.1, weight.shape) for weight in model.get_weights()])


def computed(net: PlainNet, images: np.ndarray) -> np.ndarray:
    """Compute a plain net with Keras's own operations, as the page should."""
    weights = np.concatenate(net.weights)
    values = images
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
        elif layer["kind"] == "max_pool":
            values = keras.ops.max_pool(values, layer["size"], layer["strides"], layer["padding"])
        elif layer["kind"] == "average":
            values = keras.ops.mean(values, axis=(1, 2))
        elif layer["kind"] == "flatten":
            values = keras.ops.reshape(values, (len(images), -1))
        activation = layer.get("activation", "linear")
        values = np.asarray(values if activation == "linear" else getattr(keras.ops, activation)(values))
    return values


@pytest.mark.parametrize("name", ["tiny", "fast", "accurate", "seed"])
def test_batch_normalisation_is_folded_without_changing_the_answers(name: str) -> None:
    changes = {"image_size": 32} if name == "seed" else {}
    model = d.build_model(d.get_recipe(name, precision="float32", **changes), list("0123456789"))
    unsettle(model)
    images = check_inputs(model.input_shape[1:])
    expected = model.predict_on_batch(images)
    assert expected.max() - expected.min() > 0.001  # else anything would agree
    np.testing.assert_allclose(computed(plain_net(model), images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ([layers.Conv2D(2, 3, activation="gelu")], "its activation is gelu"),
        ([layers.DepthwiseConv2D(3)], "it is a DepthwiseConv2D"),
        ([layers.Conv2D(2, 3, dilation_rate=2)], "groups, dilation"),
        (
            [layers.Conv2D(2, 3, activation="relu"), layers.BatchNormalization()],
            "doesn't follow a convolution",
        ),
        ([layers.BatchNormalization()], "doesn't follow a convolution"),
        ([layers.ReLU(6.0)], "limits of its own"),
    ],
)
def test_a_layer_that_the_page_cannot_compute_is_named(stack: list, said: str) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    with pytest.raises(d.DigitError, match=said) as caught:
        plain_net(model)
    assert "'" in str(caught.value)


@pytest.mark.slow
def test_all_formats_are_written_and_answer_as_keras(run: Run) -> None:
    table = d.export_model(run).set_index("format")
    assert list(table.index) == ["onnx", "litert", "html"]
    assert sorted(path.name for path in (run / "export").iterdir()) == [
        "model.onnx",
        "model.tflite",
        "page.html",
    ]
    assert table.loc[["onnx", "litert"], "images"].tolist() == [80, 80]
    assert (table.loc[["onnx", "litert"], "difference"] < 1e-4).all()
    assert (run / "model_card.md").exists()
    page = (run / "export/page.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", page)
    assert "default-src 'none'; script-src 'sha256-" in page


@pytest.mark.slow
def test_a_network_with_a_layer_of_our_own_is_exported_but_for_the_page(run: Run) -> None:
    recipe = d.get_recipe("fast", model="upright")
    d.save_recipe(run, recipe)
    d.build_model(recipe, d.class_names_of(run)).save(run / "best_model.keras")
    table = d.export_model(run, formats=["onnx", "litert"])
    assert (table["difference"] < 1e-4).all()
    with pytest.raises(d.DigitError, match="it is a Normalised"):
        d.export_model(run, formats=["html"])


def test_a_file_that_answers_otherwise_is_refused_and_not_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = exporting.run_onnx
    monkeypatch.setitem(exporting._RUNNERS, "onnx", lambda path, images: right(path, images) + 0.001)
    with pytest.raises(d.DigitError, match="the onnx file answers otherwise than Keras"):
        d.export_model(run, formats=["onnx"])
    assert not list((run / "export").iterdir())


def test_what_is_missing_is_asked_for_in_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exporting.NEEDS, "onnx", ("onnx", "no_such_module"))
    with pytest.raises(
        d.DigitError, match=r"needs no_such_module: install with pip install \"digitlib\[export\]\""
    ):
        d.export_model(run, formats=["onnx"])
    with pytest.raises(d.DigitError, match="there is no format 'onx'"):
        d.export_model(run, formats=["onx"])


@pytest.mark.slow
def test_the_command_writes_where_it_is_told(run: Run, root: Path) -> None:
    done = CliRunner().invoke(main, ["export", str(run.folder), "--html", "elsewhere/a page.html"])
    assert done.exit_code == 0, done.output
    assert (root / "elsewhere/a page.html").exists()
    assert not (run / "export").exists()
    assert "elsewhere/a page.html" in done.output
    done = CliRunner().invoke(main, ["export", str(run.folder), "--out", "phone", "--format", "litert"])
    assert [path.name for path in (root / "phone").iterdir()] == ["model.tflite"]
    assert "as Keras on 80 test images" in done.output


def test_the_command_before_training_says_which_notebook(digits: Path) -> None:
    d.prepare(digits, "runs/new", mode="none")
    done = CliRunner().invoke(main, ["export", "runs/new"])
    assert done.exit_code == 1
    assert "run notebook 05_training_history.ipynb first" in done.output


def test_the_card_tells_the_data_by_name_the_results_and_the_limits(run: Run, digits: Path) -> None:
    text = d.model_card(run).read_text(encoding="utf-8")
    assert "Not measured yet" in text
    write_json(run / "metrics.json", {
        "recipe": "fast", "n_test": 80, "n_validation": 32, "parameters": 132618, "epochs": 3, "best_epoch": 2,
        "validation_accuracy": 0.9, "test_accuracy": 0.95, "test_accuracy_low": 0.8784, "test_accuracy_high": 0.9804,
        "test_loss": 0.2, "test_chose_the_epoch": True,
    })  # fmt: skip
    text = d.model_card(run).read_text(encoding="utf-8")
    assert "Source: scans." in text
    assert str(digits.parent) not in text
    assert "95.00% (95 % interval 87.84% to 98.04%, n = 80); too high" in text
    parts = d.read_split(run)["part"].value_counts()
    assert f"| all | {parts['train']} | {parts['validation']} | 80 |" in text
    assert "the best epoch was chosen by it" in text
    d.save_recipe(run, d.get_recipe("fast", keep="last"))
    text = d.model_card(run).read_text(encoding="utf-8")
    assert "| epoch that is kept | the last |" in text
    assert "chosen by it" not in text
    for heading in ("What it is for", "Data", "Recipe", "Results", "Limits", "Versions"):
        assert f"## {heading}" in text


def test_names_are_told_as_they_are_and_run_nothing(digits: Path) -> None:
    (digits / "trainingSet" / "3").rename(digits / "trainingSet" / "<script>alert(1)<|b>")
    run = d.prepare(digits, "runs/odd", mode="none")
    recipe = d.get_recipe("tiny")
    d.save_recipe(run, recipe)
    d.build_model(recipe, d.class_names_of(run)).save(run / "best_model.keras")
    d.export_model(run, formats=["html"])
    for path in (run / "export/page.html", run / "model_card.md"):
        assert "<script>alert" not in path.read_text(encoding="utf-8")
