"""Every figure comes with an alternative text made from its data, in one style."""

from __future__ import annotations

import base64
import io
import re
import warnings
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import IPython
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
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
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what a notebook's kernel would hand to the browser."""
    outputs: list[dict[str, Any]] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel="one"))
    keep = lambda data, metadata=None, **_: outputs.append(data | {"metadata": metadata})  # noqa: E731
    monkeypatch.setattr(IPython.display, "display", keep)
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
        (lambda: plots.plot_confusion(confusion([8, 2], [0, 9])), "predicted: a → b, 2 times"),
        (lambda: plots.plot_confusion(confusion([8, 0], [0, 9])), "17 of 17 images are predicted correctly"),
        (lambda: plots.plot_per_class(TWO), "The lowest F1 is 80.0%, of b; the highest is 90.0%"),
        (lambda: plots.plot_top_losses(TWO, BLANK[:2]), "a → b 60% …er_long_name.png; b → a 90% "),
        (lambda: plots.plot_predictions(TWO, BLANK[:2], 2), "2 images: a 60% b 10%; b 90%."),
        (lambda: plots.plot_reliability({"raw": TWO}), "weighted by images: raw: 1.0%"),
        (lambda: plots.plot_explanations(BLANK, {"Grad-CAM": BLANK / 255}, list("abcdef")), "below each, a map of Grad-CAM"),
    ],
)  # fmt: skip
def test_the_text_says_what_the_figure_shows(draw: Any, alt: str) -> None:
    figure = draw()
    assert alt in plots.alt_text(figure)
    style.figure_of(figure).canvas.draw()


def test_shares_at_an_axis_are_whole_numbers_of_percent() -> None:
    axes = style.new_axes(percent="x", xlim=(0.93, 1))
    axes.figure.canvas.draw()
    assert "95%" in [label.get_text() for label in axes.get_xticklabels()]


def test_a_sweep_without_results_gets_one_sentence() -> None:
    with pytest.raises(DigitError, match="run the sweep again"):
        plots.plot_sweep(TWO.assign(validation_accuracy=np.nan))


def test_a_notebook_gets_an_image_with_its_text_and_nothing_stays_open(displayed: list[dict[str, Any]]) -> None:
    plots.show(plots.plot_counts(TWO))
    _, axes = plt.subplots()
    plots.show(axes, 'a < b & "c"')
    counts, _, own, words = displayed
    assert counts["text/plain"].startswith("Figure: A bar for each of 2 classes")
    assert Image.open(io.BytesIO(base64.b64decode(counts["image/png"]))).width == 720
    assert own["metadata"] == {"image/png": {"alt": 'a < b & "c"'}}
    assert "text/html" not in own  # or hosts that prefer it would show that instead
    assert re.fullmatch(
        r'<p class="jp-sr-only" [^>]+>Figure: a &lt; b &amp; "c"</p>', words["text/html"].replace("&quot;", '"')
    )
    assert not plt.get_fignums()  # or Jupyter would show it once more


def test_without_a_screen_or_words_nothing_is_said() -> None:
    figure, axes = plt.subplots()
    axes.set_title("Loss")
    assert plots.alt_text(figure) == "Loss"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.show(figure)
    assert not plt.get_fignums()


NAMES = {
    "CIFAR-10": "airplane automobile bird cat deer dog frog horse ship truck".split(),
    "Fashion-MNIST": ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    "long": ["a", "name_" * 21 + "_1", "W" * 107],
    "look the same": ["Brassica oleracea var. italica (leaf)", "Brassica oleracea var. gemmifera (leaf)"],
    "no font": [chr(start + n) for start in (0xE000, 0xE100) for n in range(15)],
    "odd": ["$x_1$", "two\nlines", "tab\there", "$", "<b>", "\udcff", ""],
    "100": [f"class_{n:02}" for n in range(100)],
}  # fmt: skip
"""Class names as people have them; no font has a private character."""


def overlapping(texts: list[Text]) -> list[tuple[str, str]]:
    boxes = [text.get_window_extent() for text in texts]
    return [(a.get_text(), b.get_text()) for (a, b), (one, two) in
            zip(pairwise(texts), pairwise(boxes), strict=True) if one.overlaps(two)]  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("what", ["counts", "confusion", "per class", "top losses", "own"])
def test_names_of_classes_can_be_read(kind: str, what: str, recwarn: pytest.WarningsRecorder) -> None:
    names = NAMES[kind]
    counts = 6 * np.eye(len(names), dtype=int) + np.eye(len(names), k=1, dtype=int)
    table = pd.DataFrame(
        {"Classes": names, "Train_images": 5, "Test_images": 1, "Share": 1 / len(names), "class": names}
    )
    for column in ("precision", "recall", "f1"):
        table[[f"{column}_low", column, f"{column}_high"]] = [0.5, 0.8, 1]
    pairs = pd.DataFrame({"first": names[:-1], "second": names[1:], "true": names[:-1], "predicted": names[1:],
                          "confidence": 0.99, "filename": "IMG_0001.png"}).head(4)  # fmt: skip
    images = np.zeros((len(pairs), 28, 28), np.uint8)
    draw = {
        "counts": lambda: plots.plot_counts(table),
        "confusion": lambda: plots.plot_confusion(pd.DataFrame(counts, names, names)),
        "per class": lambda: plots.plot_per_class(table),
        "top losses": lambda: plots.plot_top_losses(pairs, images),
        "own": lambda: plots.describe(table.plot.bar("class", "f1", rot=0).figure, "Drawn in a notebook."),
    }
    figure = style.figure_of(draw[what]())
    figure.canvas.draw()
    for axes in figure.axes:
        assert axes.bbox.width > 40 or axes.get_label() == "<colorbar>"
        for axis in (axes.xaxis, axes.yaxis):
            assert not overlapping([label for label in axis.get_ticklabels() if label.get_text()])
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    assert not overlapping(titles[:4])
    assert not [str(warning.message) for warning in recwarn]
    assert figure.get_figwidth() <= 1.6 * style.WIDTH
    assert figure.get_figheight() <= 16
    drawn = [text.get_text() for text in figure.findobj(Text)]
    key = [f"{number} = {name}" for name, number in style.NUMBERS.items() if number in " ".join(drawn).split()]
    assert bool(key) == (kind == "no font") or kind == "look the same"
    assert all(line in plots.alt_text(figure) for line in key)
    assert not [text for text in drawn if "mathdefault" in text or max(map(ord, text), default=0) >= 0xD800]


def test_the_key_to_numbers_is_below_the_figure(displayed: list[dict[str, Any]]) -> None:
    name = "<i>\ue0ff"
    plots.show(plots.plot_images(BLANK[:1], [name], 1), "A drawing.")
    number = style.NUMBERS[name]
    assert displayed[1]["text/html"].endswith(f"<p>{number} = &lt;i&gt;\ue0ff</p>")
    assert displayed[0]["text/plain"] == f"Figure: A drawing. {number} = {name}"


def test_a_font_of_the_machine_is_used_for_what_the_first_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "FALLBACKS", ("DejaVu Sans", "STIXNonUnicode"))
    style._family_with.cache_clear()
    assert plots.style.drawable("a\ue153") == "a\ue153"  # matplotlib brings this font along
    assert plt.rcParams["font.family"] == ["sans-serif", "DejaVu Sans", "STIXNonUnicode"]
    style._family_with.cache_clear()


def test_the_style_leaves_formulas_in_names_alone() -> None:
    assert plt.rcParams["text.parse_math"] is False
    assert plt.rcParams["figure.figsize"][0] == style.WIDTH
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == [
        plots.BLUE,
        plots.ORANGE,
        plots.GREEN,
        plots.RED,
        plots.GREY,
    ]
