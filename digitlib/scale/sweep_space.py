"""What a sweep is to try: the file SPACE.yml, read and checked before any work."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from digitlib.errors import DigitError, did_you_mean, is_number, is_whole
from digitlib.files import display_path, resolve
from digitlib.training.recipes import (
    CLASSIC_AUGMENTATION,
    RECIPE_PARAMETERS,
    RECIPES,
    Recipe,
    get_recipe,
)

FIELDS = tuple(
    item.name
    for item in fields(Recipe)
    if item.name not in ("name", "augmentation", "train_on", "validate_on")
)
"""Fields of a recipe that can be tried: all but those that say which images it is trained and chosen on."""

VARIED = ("vertical_flip", "fill_mode", "cval", *(name for name in CLASSIC_AUGMENTATION if name != "rescale"))
"""Settings of its augmentation that can be tried."""

AMOUNTS = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range", "cval")
"""Of these, those that may be a range."""

SPLIT_OPTIONS = ("test_size", "validation_size", "assign")
"""How the images are split, once for all runs; see `digitlib.data.split.prepare`."""

ONCE = ("data", "threads", "sampler", "trials", *SPLIT_OPTIONS)
"""Lines that have one value for the whole sweep."""

RANGE = {"low", "high", "log", "step"}
"""What a range can say; see `optuna.trial.Trial.suggest_float`."""


@dataclass(frozen=True)
class Settings:
    """The settings of one run.

    Attributes
    ----------
    recipe : str
        Name of the recipe.
    changes : mapping of str to object
        Fields of it that are given, the seed always among them.
    """

    recipe: str
    changes: Mapping[str, Any]

    def recipe_of(self) -> Recipe:
        """Return the whole recipe.

        Raises
        ------
        DigitError
            If a value can't be.
        """
        varied = {name: value for name, value in self.changes.items() if name in VARIED}
        recipe = get_recipe(
            self.recipe, **{name: v for name, v in self.changes.items() if name not in varied}
        )
        return replace(recipe, augmentation={**recipe.augmentation, **varied}) if varied else recipe

    @property
    def differing(self) -> dict[str, Any]:
        """What differs from the recipe as it comes, and the seed."""
        settings, plain = self.recipe_of(), RECIPES[self.recipe]
        return {
            name: _of(settings, name)
            for name in (*FIELDS, *VARIED)
            if name == "seed" or _of(settings, name) != _of(plain, name)
        }

    @property
    def key(self) -> str:
        """Name of the run's folder: readable, with a hash of all that differs from the recipe as it comes.

        It depends on this run's settings alone, so that what is finished stays so when a space grows.
        """
        settings, differing = self.recipe_of(), self.differing
        text = json.dumps({"recipe": self.recipe, **differing}, sort_keys=True, default=list)
        words = [self.recipe, f"seed{settings.seed}"]
        for name in sorted(self.changes.keys() - {"seed"}):
            others = {other: value for other, value in self.changes.items() if other != name}
            if Settings(self.recipe, others).recipe_of() != settings:  # else it is the recipe's own value
                words.append(f"{name}{_word(_of(settings, name))}")
        return f"{'-'.join(words)[:60].rstrip('-.')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _of(recipe: Recipe, name: str) -> Any:
    """Return the value of a field of a recipe, or of a setting of its augmentation."""
    return recipe.augmentation.get(name) if name in VARIED else getattr(recipe, name)


@dataclass(frozen=True)
class Space:
    """What a sweep is to try.

    Attributes
    ----------
    data : str
        See `digitlib.data.datasets.as_folder`.
    choices : mapping of str to list
        ``recipe`` and fields of it, each with all its values.
    ranges : mapping of str to dict
        Fields that Optuna chooses from a range: ``low``, ``high`` and perhaps ``log`` or ``step``.
    split : mapping of str to object
        Options of `digitlib.data.split.prepare`.
    trials : int
        How many runs Optuna may try; 0 for every combination.
    threads : int
        With how many threads each run computes. The last bits of a network depend on it.
    """

    data: str
    choices: Mapping[str, list[Any]]
    ranges: Mapping[str, dict[str, Any]]
    split: Mapping[str, Any]
    trials: int = 0
    threads: int = 1

    def combinations(self) -> list[Settings]:
        """Return the settings of every combination, each once, seeds varying fastest."""
        names = sorted(self.choices, key=lambda name: (name == "seed", list(self.choices).index(name)))
        every = [
            dict(zip(names, values, strict=True)) for values in product(*(self.choices[n] for n in names))
        ]
        found = {one.key: one for one in (settings_of(values) for values in every)}
        return list(found.values())


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the settings that a mapping of ``recipe`` and its fields stands for, with the recipe's own seed if none is given."""
    changes = {name: value for name, value in values.items() if name != "recipe"}
    return Settings(values["recipe"], {"seed": RECIPES[values["recipe"]].seed, **changes})


def read_space(
    path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None, notebooks: bool = True
) -> Space:
    """Read and check a file that says what to try.

    Parameters
    ----------
    path : str or path-like
        A YAML file; see the notes.
    changes : mapping, optional
        Lines that stand in for those of the file.
    notebooks : bool
        Whether each run executes notebooks, which take fewer fields than a recipe has.

    Returns
    -------
    Space
        With every combination checked.

    Raises
    ------
    DigitError
        If it is no YAML, or a line of it can't be; every combination has been checked then.

    Notes
    -----
    Each line is ``name: value`` or ``name: [value, value]``, where the name is ``recipe``, a field of
    `digitlib.training.recipes.Recipe` or a setting of its augmentation, such as ``rotation_range``. Once for the whole sweep there
    may be ``data``, ``test_size``, ``validation_size``, ``assign`` and ``threads``. An image that is not square is a list
    in the list: ``image_size: [[28, 32]]``. With ``sampler: optuna`` and ``trials: N`` there may also be ranges, such as
    ``learning_rate: {low: 1e-4, high: 1e-2, log: true}``.
    """
    return check_space({**_lines_of(resolve(path)), **(changes or {})}, display_path(path), notebooks)


def check_space(lines: Mapping[str, Any], what: str = "the space", notebooks: bool = True) -> Space:
    """Return the space that some lines describe, checked; see `read_space`.

    Parameters
    ----------
    lines : mapping
        As in the file.
    what : str
        Its name, for messages.
    notebooks : bool
        See `read_space`.

    Returns
    -------
    Space
        With every combination checked.

    Raises
    ------
    DigitError
        Naming the line and the way out.
    """
    for name in lines:
        if name not in (known := ("recipe", *ONCE, *FIELDS, *VARIED)):
            raise DigitError(
                f"{what} has a line {name!r}, which is nothing to try: {did_you_mean(name, known)}"
            )
        if notebooks and name in (*FIELDS, *VARIED) and name not in RECIPE_PARAMETERS:
            raise DigitError(
                f"{what}: {name} can't be given to the notebooks: add --no-notebooks, or try {', '.join(RECIPE_PARAMETERS)}."
            )
    trials = _trials(lines, what, notebooks)
    ranges = {name: _range(name, value, what) for name, value in lines.items() if isinstance(value, dict)}
    if ranges and not trials:
        raise DigitError(
            f"{what}: {next(iter(ranges))} is a range: add `sampler: optuna` and `trials: 20`, or list its values."
        )
    choices = {
        name: _values(name, value, what)
        for name, value in ({"recipe": "fast"} | dict(lines)).items()
        if name not in ONCE and name not in ranges
    }
    space = Space(
        data=str(lines.get("data", "sample")),
        choices=choices,
        ranges=ranges,
        split={name: lines[name] for name in SPLIT_OPTIONS if name in lines},
        trials=trials,
        threads=_whole("threads", lines.get("threads", 1), what),
    )
    _check_all(space, what)
    return space


def _lines_of(path: Path) -> dict[str, Any]:
    """Return the content of the file."""
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        tree = yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise DigitError(
            f"{display_path(path)} can't be read: {error.strerror or error}. Write a file with lines such as `recipe: [tiny, fast]`."
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that is none
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = (
            "it is no text in UTF-8"
            if isinstance(error, UnicodeDecodeError)
            else getattr(error, "problem", None) or str(error)
        )
        raise DigitError(
            f"{display_path(path)}{place} is no YAML ({reason}): write lines such as `recipe: [tiny, fast]`."
        ) from error
    if not isinstance(content, dict) or not content:
        raise DigitError(
            f"{display_path(path)} says nothing to try: write lines such as `recipe: [tiny, fast]` and `seed: [1, 2, 3]`."
        )
    names = Counter(
        key.value for key, _ in (tree.value if tree else ())
    )  # PyYAML takes the last of two lines, and says nothing
    if twice := [name for name, times in names.items() if times > 1]:
        raise DigitError(
            f"{display_path(path)} has two lines {twice[0]!r}: write one, with a list of values."
        )
    return {name: value if name == "data" else _number(value) for name, value in content.items()}


def _number(value: Any) -> Any:
    """Return ``1e-4`` as a number: YAML 1.1, which PyYAML reads, takes it for text where there is no point."""
    if isinstance(value, dict):
        return {name: _number(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_number(one) for one in value]
    if isinstance(value, str) and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _values(name: str, value: Any, what: str) -> list[Any]:
    """Return all values of a line."""
    value = value if isinstance(value, list) else [value]
    if not value:
        raise DigitError(f"{what}: {name} is an empty list: give at least one value, or leave the line out.")
    inner = [each for one in value for each in (one if isinstance(one, list) else [one])]
    if any(one is None or isinstance(one, (dict, list)) for one in inner):
        raise DigitError(
            f"{what}: {name} has a value that is empty, a mapping, or a list too deep: give values, or leave the line out."
        )
    return [tuple(one) if isinstance(one, list) else one for one in value]


def _trials(lines: Mapping[str, Any], what: str, notebooks: bool) -> int:
    """Return how many runs Optuna may try, 0 without it."""
    sampler = lines.get("sampler", "grid")
    if sampler not in ("grid", "optuna"):
        raise DigitError(f"{what}: sampler is {sampler!r}: choose 'grid' (every combination) or 'optuna'.")
    if sampler == "grid":
        if "trials" in lines:
            raise DigitError(f"{what}: trials is for Optuna: add `sampler: optuna`, or leave trials out.")
        return 0
    if "trials" not in lines:
        raise DigitError(f"{what}: Optuna needs to know how often to try: add a line such as `trials: 20`.")
    if notebooks:
        raise DigitError(
            f"{what}: Optuna stops hopeless runs while they train, which a notebook can't be told: add --no-notebooks."
        )
    return _whole("trials", lines["trials"], what)


def _whole(name: str, value: Any, what: str) -> int:
    if not is_whole(value) or value < 1:
        raise DigitError(f"{what}: {name} is {value!r}: give a whole number from 1 on.")
    return value


def _range(name: str, value: dict[str, Any], what: str) -> dict[str, Any]:
    """Return a range, checked."""
    example = f"{name}: {{low: 1e-4, high: 1e-2, log: true}}"
    if name == "seed" or (name not in AMOUNTS and Recipe.__annotations__.get(name) not in ("int", "float")):
        raise DigitError(f"{what}: {name} can't be a range: give one value or a list.")
    if not {"low", "high"} <= set(value) <= RANGE:
        raise DigitError(f"{what}: {name} is no range: write it such as {example}.")
    low, high = value["low"], value["high"]
    if not (is_number(low) and is_number(high)) or low >= high or (value.get("log") and low <= 0):
        raise DigitError(f"{what}: {name} goes from {low!r} to {high!r}: write a range such as {example}.")
    if Recipe.__annotations__.get(name) == "int":
        for part in ("low", "high", "step"):
            if not is_whole(value.get(part, 1)):
                raise DigitError(f"{what}: {part} of {name} is {value[part]!r}: give a whole number.")
    if not isinstance(value.get("log", False), bool):
        raise DigitError(f"{what}: log of {name} is {value['log']!r}: give true or false.")
    if not (is_number(value.get("step", 1)) and value.get("step", 1) > 0):
        raise DigitError(f"{what}: step of {name} is {value['step']!r}: give a number above 0.")
    if value.get("log") and "step" in value:
        raise DigitError(f"{what}: {name} can't have both log and step: leave one out.")
    return value


def _check_all(space: Space, what: str) -> None:
    """Check every combination, and both ends of every range."""
    try:
        for one in space.choices["recipe"]:
            if "test" in get_recipe(one).validate_on:
                raise DigitError(
                    f"recipe {one!r} chooses its best epoch on the test images, and the sweep would choose by them too: "
                    "leave it out."
                )
        for settings in space.combinations():
            _check_augmentation(settings.recipe_of())
        for end in ("low", "high"):
            ends = {name: limits[end] for name, limits in space.ranges.items()}
            for recipe in space.choices["recipe"]:
                _check_augmentation(settings_of({"recipe": recipe, **ends}).recipe_of())
    except DigitError as error:
        raise DigitError(f"{what}: {error}") from error


def _check_augmentation(recipe: Recipe) -> None:
    """Refuse settings of the augmentation that can't be."""
    if recipe.augmentation != RECIPES[recipe.name].augmentation:
        from digitlib.training.augmentation import Augmentation  # with Numba, which takes its time

        Augmentation.named(dict(recipe.augmentation))


def _word(value: Any) -> str:
    """Return a value as part of a file name."""
    text = (
        "x".join(map(str, dict.fromkeys(value)))  # one side of a square
        if isinstance(value, (list, tuple))
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return "".join(letter if letter.isalnum() or letter in ".-+" else "_" for letter in text)
