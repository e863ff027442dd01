"""Views of an image: what the networks of an ensemble see of it besides itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import digitlib as d
from digitlib.affine import PARAMETERS, maps_of
from digitlib.decoding import Decoded
from digitlib.evaluation import load_model
from digitlib.prediction import name_batch
from digitlib.resampling import resample
from digitlib.views import VIEWS

STILL = {name: 1.0 if name in ("zx", "zy") else 0.0 for name in PARAMETERS}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 20, 28, 1), np.uint8)


def networks() -> list:
    """Return two untrained networks; untrained ones differ most in what they say of two views."""
    recipes = [d.get_recipe("tiny", seed=seed, image_size=(20, 28)) for seed in (1, 2)]
    return [d.build_model(recipe, list("abc")) for recipe in recipes]


def test_views_are_what_training_would_make_of_an_image(images: np.ndarray) -> None:
    seen = np.asarray(d.Views()(images.astype(np.float32)))
    assert seen.shape == (3 * len(VIEWS), 20, 28, 1)
    for number, view in enumerate(VIEWS):
        settings = STILL | view
        settings |= {"tx": settings["tx"] * 28, "ty": settings["ty"] * 20}
        maps = maps_of({name: np.full(3, value) for name, value in settings.items()}, (20, 28), (20, 28))
        expected = resample(images, np.arange(3), maps, (20, 28, 1), fill_mode="nearest")
        np.testing.assert_allclose(seen[number :: len(VIEWS)], expected, atol=5e-3)


def test_the_first_view_is_the_image_and_all_are_different(images: np.ndarray) -> None:
    seen = np.asarray(d.Views()(images[:1].astype(np.float32)))
    np.testing.assert_array_equal(seen[0], images[0])
    assert len({view.tobytes() for view in seen}) == len(VIEWS)


def test_joined_networks_say_the_mean_over_members_and_views(images: np.ndarray, tmp_path: Path) -> None:
    members, pixels = networks(), images.astype(np.float32) / 255
    joined = d.join_networks(members, (20, 28, 1), views=True)
    views = np.asarray(d.Views()(pixels))
    each = np.mean([member.predict(views, verbose=0) for member in members], axis=0)
    expected = each.reshape(3, len(VIEWS), 3).mean(axis=1)
    np.testing.assert_allclose(joined.predict(pixels, verbose=0), expected, atol=1e-6)
    assert joined.count_params() == sum(member.count_params() for member in members)
    joined.save(tmp_path / "joined.keras")
    again = load_model(tmp_path / "joined.keras")
    np.testing.assert_allclose(again.predict(pixels, verbose=0), expected, atol=1e-6)


def test_a_saved_network_keeps_the_views_that_it_was_made_with(images: np.ndarray) -> None:
    layer = d.Views(VIEWS[:3])
    again = d.Views.from_config(layer.get_config())
    assert again.views == [dict(view) for view in VIEWS[:3]]
    assert np.asarray(again(images.astype(np.float32))).shape[0] == 3 * 3


def test_prediction_holds_no_more_pictures_at_once_for_having_views(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = d.join_networks(networks(), (20, 28, 1), views=True)
    shown = joined.predict_on_batch
    seen: list[int] = []
    monkeypatch.setattr(joined, "predict_on_batch", lambda part: seen.append(len(part)) or shown(part))
    monkeypatch.setattr("digitlib.prediction.BATCH", 2 * len(VIEWS))
    recipe = d.get_recipe("tiny", image_size=(20, 28))
    table = name_batch(joined, recipe, list("abc"), [Decoded(image, "", 0, "") for image in images])
    assert seen == [2, 1]
    expected = joined.predict(images.astype(np.float32) / 255, verbose=0)
    np.testing.assert_allclose(table["confidence"], expected.max(axis=1), atol=1e-6)
    assert table["label"].tolist() == [list("abc")[label] for label in expected.argmax(axis=1)]
