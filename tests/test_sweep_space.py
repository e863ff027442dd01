"""What a sweep is to try: every combination once, and one sentence for what can't be."""

from __future__ import annotations

from pathlib import Path

import pytest

import digitlib as d
from digitlib.scale.sweep_space import settings_of


def space_of(text: str, root: Path, **kwargs: object) -> object:
    (root / "space.yml").write_text(text, encoding="utf-8")
    return d.read_space("space.yml", **kwargs)


def test_every_combination_once(root: Path) -> None:
    space = space_of("recipe: [tiny, fast]\nseed: [1, 2, 2]\nlearning_rate: [1e-3, 0.002]\nepochs: 2", root)
    every = space.combinations()
    assert len(every) == len({one.key for one in every}) == 8
    assert [one.changes["seed"] for one in every[:4]] == [1, 2, 1, 2]
    assert every[0].recipe_of() == d.get_recipe("tiny", seed=1, learning_rate=0.001, epochs=2)
    assert space.data == "sample"
    assert space.threads == 1


def test_a_run_keeps_its_name_when_the_space_grows_and_says_what_it_is(root: Path) -> None:
    few = {one.key for one in space_of("recipe: tiny\nseed: 1\nepochs: 2", root).combinations()}
    more = {
        one.key for one in space_of("epochs: [2, 3]\nseed: [1, 2]\nrecipe: [fast, tiny]", root).combinations()
    }
    assert few < more
    assert min(few).startswith("tiny-seed1-epochs2-")


def test_what_the_recipe_says_anyway_makes_no_other_run() -> None:
    plain, said = (
        settings_of({"recipe": "fast"}),
        settings_of({"recipe": "fast", "seed": 42, "batch_size": 128}),
    )
    assert plain.key.rpartition("-")[2] == said.key.rpartition("-")[2]
    # Who gives the number of epochs gets no more of them for a small data set: that is another training.
    assert (
        settings_of({"recipe": "fast", "epochs": 10}).key.rpartition("-")[2] != plain.key.rpartition("-")[2]
    )


def test_lines_of_the_command_stand_in_for_those_of_the_file(root: Path) -> None:
    space = space_of("recipe: tiny\nseed: [1, 2]", root, changes={"seed": [7], "data": "scans"})
    assert space.data == "scans"
    assert [one.changes["seed"] for one in space.combinations()] == [7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recipe: [tiny", r"space.yml, line 1 is no YAML"),
        ("- tiny", "says nothing to try"),
        ("", "says nothing to try"),
        ("recipe: tniy", "did you mean 'tiny'"),
        ("recipe: seed", "chooses its best epoch on the test images"),
        ("sead: 1", "did you mean 'seed'"),
        ("seed: []", "seed is an empty list"),
        ("seed: [1, x]", "seed is 'x'"),
        ("seed: 1.5", "seed is 1.5"),
        ("epochs:", "epochs has a value that is empty"),
        ("learning_rate: [0.01, -1]", "learning_rate is -1"),
        ("image_size: 8\nrecipe: fast", "image_size 8 x 8 is too small"),
        ("weight_decay: 0.1", "weight_decay can't be given to the notebooks: add --no-notebooks"),
        ("threads: 0", "threads is 0"),
        ("sampler: random", "sampler is 'random'"),
        ("sampler: optuna", "add a line such as `trials: 20`"),
        ("trials: 3", "add `sampler: optuna`"),
        ("sampler: optuna\ntrials: 3", "add --no-notebooks"),
        ("learning_rate: {low: 0.1, high: 1}", "learning_rate is a range: add `sampler: optuna`"),
    ],
)
def test_what_cannot_be_gets_one_sentence(root: Path, text: str, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        space_of(text, root)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("learning_rate: {low: 0.1}", "learning_rate is no range"),
        ("learning_rate: {low: 0.1, high: 0.01}", "goes from 0.1 to 0.01"),
        ("learning_rate: {low: 0, high: 0.01, log: true}", "goes from 0 to 0.01"),
        ("epochs: {low: 1.5, high: 3}", "epochs is 1.5"),
        ("seed: {low: 1, high: 3}", "seed can't be a range"),
        ("image_size: {low: 14, high: 28}", "image_size can't be a range"),
        ("model: [tiny, huge]", "model is 'huge'"),
        ("label_smoothing: 1", "label_smoothing is 1"),
        ("learning_rate: {low: 0.001, high: 0.01, step: 0}", "step of learning_rate is 0"),
        ("learning_rate: {low: 0.001, high: 0.01, step: abc}", "step of learning_rate is 'abc'"),
        ("learning_rate: {low: 0.001, high: 0.01, log: maybe}", "log of learning_rate is 'maybe'"),
        ("model: [[[tiny]]]", "a list too deep"),
        ("recipe: fast", "has two lines 'recipe'"),
        ("batch_size: {low: 16, high: 64, step: 0.5}", "step of batch_size is 0.5: give a whole number"),
        ("epochs: {low: 1.5, high: 3}", "low of epochs is 1.5: give a whole number"),
        ("rotation_range: [5, q]", r"space.yml: rotation_range is 'q': give a number"),
        ("zoom_range: {low: 0.1, high: 2}", "zoom_range is 2"),
        ("horizontal_flip: {low: 0, high: 1}", "horizontal_flip can't be a range"),
        ("seed: 2024-02-31", "is no YAML"),
    ],
)
def test_ranges_and_fields_are_checked_too(root: Path, line: str, said: str) -> None:
    with pytest.raises(d.DigitError, match=said):
        space_of(f"recipe: tiny\nsampler: optuna\ntrials: 3\n{line}", root, notebooks=False)


def test_a_number_without_a_point_is_a_number(root: Path) -> None:
    text = "recipe: tiny\nsampler: optuna\ntrials: 3\nlearning_rate: {low: 1e-4, high: 1e-2, log: true}"
    assert space_of(text, root, notebooks=False).ranges["learning_rate"]["low"] == 1e-4


def test_a_file_that_is_not_there_gets_one_sentence(root: Path) -> None:
    with pytest.raises(d.DigitError, match=r"nowhere\.yml can't be read"):
        d.read_space("nowhere.yml")


def test_augmentation_is_tried_by_its_settings(root: Path) -> None:
    space = space_of("recipe: tiny\nrotation_range: [5, 12]\nzoom_range: [[0.9, 1.1]]", root, notebooks=False)
    some, usual = (settings.recipe_of().augmentation for settings in space.combinations())
    assert (some["rotation_range"], usual["rotation_range"], usual["zoom_range"]) == (5, 12, (0.9, 1.1))
    assert some["shear_range"] == d.get_recipe("tiny").augmentation["shear_range"]
    assert len({settings.key for settings in space.combinations()}) == 2
    own = d.get_recipe("tiny").augmentation["rotation_range"]
    keys = {
        one.key
        for one in space_of(f"recipe: tiny\nrotation_range: {own}", root, notebooks=False).combinations()
    }
    assert keys == {one.key for one in space_of("recipe: tiny", root).combinations()}
    with pytest.raises(
        d.DigitError, match="rotation_range can't be given to the notebooks: add --no-notebooks"
    ):
        space_of("recipe: tiny\nrotation_range: 5", root)


def test_a_recipes_own_value_makes_no_other_run(root: Path) -> None:
    plain = space_of("recipe: tiny\nseed: 1", root).combinations()
    more = space_of("recipe: tiny\nseed: 1\nlearning_rate: [0.01, 0.02]\nimage_size: [28, [28, 28]]", root)
    keys = [one.key for one in more.combinations()]
    assert len(keys) == 2
    assert plain[0].key == keys[0]
    assert plain[0].differing == more.combinations()[0].differing
