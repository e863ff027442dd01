"""Every figure comes with an alternative text made from its data, in one style."""

from __future__ import annotations

import base64
import io
import re
import warnings
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from digitlib import DigitError, plots
from digitlib.plots import style

BLANK = np.zeros((6, 28, 28), np.uint8)
TWO = pd.DataFrame(
    {"Classes": ["a", "b"], "Train_images": [30, 6], "Test_images": [10, 2], "Share": [40 / 48, 8 / 48], "class": ["a", "b"],
     "epoch": [1, 2], "accuracy": [0.5, 0.9], "loss": 1.0, "val_accuracy": [0.5, 0.75], "val_loss": 0.9, "run": ["r1", "r2"],
     "filename": "x/a_rather_long_name.png", "true": ["a", "b"], "predicted": ["b", "a"], "confidence": [0.6, 0.9],
     "label": ["a", "b"], "label_2": ["b", ""], "confidence_2": [0.1, np.nan], "likely_label": "c", "part": "test",
     "twin": "1.png", "twin_class": "a", "twin_part": "train", "correlation": 0.99, "state": "done", "recipe": "tiny",
     "seconds": [9, 90], "n": [1_000, 10_000], "step": "read", "parameters": [20_000, 30_000], "n_validation": 500,
     "validation_accuracy": [0.97, 0.95], "validation_low": 0.94, "validation_high": 0.98, "accuracy_low": 0.4,
     "accuracy_high": 1.0, "images": [10, 90], "from_confidence": 0.5, "to_confidence": 0.9, "wrong": [5, 9],
     "coverage": [1.0, 0.9], "threshold": [0.6, 0.9], "first": ["a", "c"], "second": ["b", "d"]}
    | {f"{name}{end}": [0.9, 0.8] for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")}
)  # fmt: skip
"""A table that each figure takes, since it has the columns of all."""

SEVEN = pd.concat([TWO.assign(run=f"r{n}", label=f"seed {n}") for n in range(7)])


def confusion(*rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame(rows, ["a", "b"], ["a", "b"])


@pytest.fixture(autouse=True)
def styled() -> Any:
    plt.close("all")
    with plt.style.context("default"):
        plots.use_style()
        yield


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Return what a notebook's kernel would hand to the browser."""
    outputs: list[dict[str, str]] = []
    monkeypatch.setattr(style, "get_ipython", lambda: SimpleNamespace(kernel="one"))
    monkeypatch.setattr(style, "display", lambda data, **_: outputs.append(data))
    return outputs


@pytest.mark.parametrize(
    ("draw", "alt"),
    [
        (lambda: plots.plot_counts(TWO), "48 images in all, 8 in the smallest class and 40 in the largest"),
        (lambda: plots.plot_images(BLANK[:3, ..., None], ["7\n99%", "1", "2"], alt="Scans"), "Scans, 3 images: 7 99%; 1; 2."),
        (lambda: plots.plot_images(np.zeros((50, 9, 9, 3))), "50 images."),
        (lambda: plots.plot_images([]), "0 images."),
        (lambda: plots.plot_augmented(BLANK, [BLANK / 255]), "6 original images in a row; below each, the same augmented"),
        (lambda: plots.plot_label_issues(TWO, BLANK[:2]), "a → c? …er_long_name.png"),
        (lambda: plots.plot_history(TWO, 2), "validation accuracy goes from 50.0% to 75.0% in epoch 2, which was kept"),
        (lambda: plots.plot_sweep(TWO), "2 runs with intervals, best first: 97.00% down to 95.00%"),
        (lambda: plots.plot_confusion(confusion([8, 2], [0, 9])), "a predicted as b, 2 times"),
        (lambda: plots.plot_confusion(confusion([8, 0], [0, 9])), "17 of 17 images are on the diagonal"),
        (lambda: plots.plot_per_class(TWO), "The lowest F1 is 80.0%, of b; the highest is 90.0%"),
        (lambda: plots.plot_most_confused(TWO, TWO, BLANK[:2]), "a → b (1×); b → a (1×)"),
        (lambda: plots.plot_top_losses(TWO, BLANK[:2]), "a → b 60% …er_long_name.png; b → a 90% "),
        (lambda: plots.plot_predictions(TWO, BLANK[:2], 2), "2 images: a 60% b 10%; b 90%."),
        (lambda: plots.plot_reliability({"raw": TWO}), "weighted by images: raw: 1.0%"),
        (lambda: plots.plot_risk_coverage({"score": TWO}, 0.9), "90.0% are accepted, 10.00% of these wrong"),
        (lambda: plots.plot_explanations(BLANK, {"Grad-CAM": BLANK / 255}, list("abcdef")), "below each, a map of Grad-CAM"),
    ],
)  # fmt: skip
def test_the_text_says_what_the_figure_shows(draw: Any, alt: str) -> None:
    figure = draw()
    assert alt in plots.alt_text(figure)
    style.figure_of(figure).canvas.draw()


def test_a_sweep_without_results_gets_one_sentence() -> None:
    with pytest.raises(DigitError, match="run the sweep again"):
        plots.plot_sweep(TWO.assign(validation_accuracy=np.nan))


def test_a_notebook_gets_an_image_with_its_text_and_nothing_stays_open(displayed: list[dict[str, str]]) -> None:
    plots.show(plots.plot_counts(TWO))
    _, axes = plt.subplots()
    plots.show(axes, 'a < b & "c"')
    counts, own = displayed
    assert counts["text/plain"].startswith("Figure: A bar for each of 2 classes")
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', counts["text/html"])
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).width == 720
    assert own["text/html"].startswith('<img alt="a &lt; b &amp; &quot;c&quot;" src=')
    assert not plt.get_fignums()  # or Jupyter would show it once more


def test_without_a_screen_or_words_nothing_is_said() -> None:
    figure, axes = plt.subplots()
    axes.set_title("Loss")
    assert plots.alt_text(figure) == "Loss"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.show(figure)
    assert not plt.get_fignums()


def test_the_style_leaves_formulas_in_names_alone() -> None:
    assert plt.rcParams["text.parse_math"] is False
    assert plt.rcParams["figure.figsize"][0] == style.WIDTH
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == [color for color, _ in style.LOOKS]
