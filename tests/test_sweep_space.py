"""SPACE.yml: what a sweep tries, and one sentence for what can't be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from digitlib.errors import DigitError
from digitlib.scale import check_space, read_space
from digitlib.scale.sweep import recipe_of, run_name
from digitlib.training.recipes import get_recipe

OPTUNA = {"recipe": "tiny", "sampler": "optuna", "trials": 5}


def test_every_combination_has_a_name_of_its_own_that_does_not_change_as_the_space_grows(root: Path) -> None:
    (root / "space.yml").write_text("recipe: [tiny, fast]\nseed: [1, 2]\nlearning_rate: [1e-3, 0.01]\n")
    space = read_space("space.yml")
    names = space.combinations()
    assert len(names) == 8
    assert set(names) < set(read_space("space.yml", {"seed": [1, 2, 3]}).combinations())
    first, settings = next(iter(names.items()))
    assert settings == {"recipe": "tiny", "seed": 1, "learning_rate": 0.001}
    assert first.startswith("tiny-seed1-")
    assert space.data == "sample"


def test_a_value_that_is_the_recipes_own_makes_no_other_run() -> None:
    assert len(check_space({"recipe": "tiny", "seed": [42, 42], "batch_size": [64]}).combinations()) == 1
    assert run_name(get_recipe("tiny", seed=1)) != run_name(get_recipe("tiny", seed=2))


def test_augmentation_and_networks_of_ones_own_can_be_tried() -> None:
    space = check_space({"recipe": "fast", "rotation_range": [5, 20], "image_size": [[28, 32]]})
    recipes = [recipe_of(settings) for settings in space.combinations().values()]
    assert [recipe.augmentation["rotation_range"] for recipe in recipes] == [5, 20]
    assert {recipe.image_size for recipe in recipes} == {(28, 32)}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ({"learning_rat": 1}, "'learning_rat' is not a setting: did you mean 'learning_rate'?"),
        ({"recipe": "tinny"}, "tinny"),
        ({"epochs": []}, "epochs must be values"),
        ({"epochs": None}, "epochs must be values"),
        ({"epochs": [1, -1]}, "epochs"),
        ({"sampler": "random"}, "Optuna needs"),
        ({"sampler": "optuna"}, "Optuna needs"),
        ({"trials": 3}, "Optuna needs"),
        ({**OPTUNA, "trials": 0.5}, "Optuna needs"),
        ({"learning_rate": {"low": 1e-4, "high": 1}}, "a range needs `sampler: optuna`"),
        ({**OPTUNA, "learning_rate": {"low": 1}}, "learning_rate must be a range"),
        ({**OPTUNA, "learning_rate": {"low": 1, "high": 0.1}}, "learning_rate must be a range"),
        ({**OPTUNA, "epochs": {"low": 1.5, "high": 3}}, "epochs"),
        ({"recipe": ["tiny", "classic"]}, "classic chooses its epoch on the test set"),
    ],
)
def test_what_can_not_be_tried_gets_one_sentence(lines: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DigitError) as raised:
        check_space(lines, "space.yml")
    assert str(raised.value).startswith("space.yml")
    assert sentence in str(raised.value)


def test_notebooks_take_fewer_settings() -> None:
    for lines in ({"weight_decay": 0.1}, {"rotation_range": 5}, OPTUNA):
        with pytest.raises(DigitError, match="--no-notebooks"):
            check_space(lines, notebooks=True)


@pytest.mark.parametrize("text", ["a: [", "- tiny", "", "\x00"])
def test_a_file_that_is_no_space_gets_one_sentence(root: Path, text: str) -> None:
    (root / "space.yml").write_text(text)
    with pytest.raises(DigitError, match=r"space\.yml"):
        read_space("space.yml")


def test_a_file_that_is_not_there_gets_one_sentence(root: Path) -> None:
    with pytest.raises(DigitError, match=r"none\.yml can't be read"):
        read_space("none.yml")
