"""Pictures with words, and the one style of all pictures."""

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

import digitlib as d
from digitlib.plots import data as plots
from digitlib.plots import style as showing

COUNTS = pd.DataFrame(
    {"Classes": ["a", "b"], "Train_images": [30, 6], "Test_images": [10, 2], "Share": [40 / 48, 8 / 48]}
)


@pytest.fixture(autouse=True)
def no_other_pictures() -> None:
    plt.close("all")


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Return what a notebook's kernel would hand to the browser."""
    outputs: list[dict[str, str]] = []
    monkeypatch.setattr(showing, "get_ipython", lambda: SimpleNamespace(kernel="one"))
    monkeypatch.setattr(showing, "display", lambda data, **_: outputs.append(data))
    return outputs


def picture_in(data: dict[str, str]) -> Image.Image:
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', data["text/html"])
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_a_picture_comes_with_words_made_from_its_data(displayed: list[dict[str, str]]) -> None:
    with plt.style.context("default"):
        d.use_style()
        d.show(d.plot_counts(COUNTS))
    (data,) = displayed
    assert "48 images in all, 8 in the rarest class and 40 in the commonest" in data["text/html"]
    assert data["text/plain"].startswith("Picture: A bar for each of 2 classes")
    assert picture_in(data).width == 720
    assert not plt.get_fignums()  # or Jupyter would show it once more


def test_words_of_ones_own_come_first_and_can_not_be_read_as_html(displayed: list[dict[str, str]]) -> None:
    _, axes = plt.subplots()
    d.show(axes, 'a < b & "c"')
    assert displayed[0]["text/html"].startswith('<img alt="a &lt; b &amp; &quot;c&quot;" src=')


def test_a_picture_without_words_is_named_by_its_titles() -> None:
    figure, axes = plt.subplots()
    axes.set_title("Loss")
    assert d.alt_text(figure) == "Loss"
    plt.close(figure)


def test_a_program_without_a_screen_goes_on_in_silence() -> None:
    figure, _ = plt.subplots()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d.show(figure)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: d.plot_images([np.zeros((28, 28, 1))] * 3, ["7\n99%", "1", "2"], alt="Scans"), "Scans, 3 pictures: 7 99%; 1; 2."),
        (lambda: d.plot_images([np.zeros((28, 28, 1))] * 50, [""] * 50), "50 pictures."),
        (lambda: d.plot_images([], []), "0 pictures."),
        (lambda: d.plot_confusion(pd.DataFrame([[8, 2], [0, 9]], ["a", "b"], ["a", "b"])), "a taken for b, 2 times"),
        (lambda: d.plot_confusion(pd.DataFrame([[8, 0], [0, 9]], ["a", "b"], ["a", "b"])), "17 of 17 images are on the diagonal"),
        (lambda: d.plot_confusion_shares(pd.DataFrame([[8, 2], [0, 9]], ["a", "b"], ["a", "b"])), "20.0 % of a, taken for b"),
    ],
)  # fmt: skip
def test_the_words_say_what_is_seen(draw: Any, said: str) -> None:
    assert said in d.alt_text(sample_parameters())
    plt.close("all")


def test_the_style_leaves_formulas_in_names_alone_and_can_be_taken_without_digitlib() -> None:
    with plt.style.context("digitlib.digitlib"):
        assert plt.rcParams["text.parse_math"] is False
        assert plt.rcParams["figure.figsize"][0] == plots.WIDTH
        colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert colors == [
        plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED, plots.GREY,
    ]  # fmt: skip
