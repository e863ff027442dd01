"""The frozen settings of a run, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from digitlib.errors import DigitError, as_size, did_you_mean, is_number, is_whole, require

if TYPE_CHECKING:
    from digitlib.run import Run

CLASSIC_AUGMENTATION = {
    "rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2, "zoom_range": 0.2,
    "horizontal_flip": True,
}  # fmt: skip
"""The classic notebook's generator. After flips and 40 degrees some images are not digits any more."""

MILD_AUGMENTATION = {
    "rotation_range": 12, "width_shift_range": 0.08, "height_shift_range": 0.08, "shear_range": 10, "zoom_range": 0.12,
    "fill_mode": "constant",
}  # fmt: skip
"""For short runs."""

HAND_AUGMENTATION = MILD_AUGMENTATION | {
    "rotation_range": 15, "width_shift_range": 0.1, "height_shift_range": 0.1, "shear_range": 15, "zoom_range": 0.15,
}  # fmt: skip
"""About as much as handwriting differs between people; without it, longer runs overfit."""

SMALLEST_SIDE = {"classic": 22, "tiny": 1, "small": 14, "wide": 14}
"""Smallest image side, in pixels, of each network of `digitlib.training.models`; here, where TensorFlow is not needed."""


LARGE = 64
"""Images with a larger median side, in pixels, are trained on at this one."""


@dataclass(frozen=True)
class Recipe:
    """All settings of a training.

    Attributes
    ----------
    model : str
        "tiny", "small", "wide", "classic", or an own function of (image_shape, n_classes) as "package.module:function".
    image_size : tuple of int
        (height, width) the network sees, in pixels.
    resize : {"squeeze", "pad", "crop"}
        How images of another aspect ratio get it; see `digitlib.data.decoding.resized`.
    auto : tuple of str
        "image_size" and "color_mode" where the images decide; see `adapted_to`.
    learning_rate : float
        Peak of the schedule, or the constant rate.
    schedule : {"one_cycle", "constant"}
        Warm-up and cosine decay to zero, or none.
    optimizer : {"adam", "muon"}
        See `digitlib.training.optimizers`.
    weight_decay : float
        Of all kernels; without it "adam" is Adam, else AdamW.
    label_smoothing : float
        Share of the label spread over all classes, 0 to 1.
    patience : int
        Epochs without a better validation accuracy before stopping; 0 never stops early.
    min_steps : int
        A small data set gets more epochs, until training takes this many steps.
    cooldown_epochs : int
        The last epochs, with weaker augmentation; see `digitlib.training.generators.ImageBatches`.
    checkpoint : {"best", "last"}
        Which network is kept: of the epoch with the highest validation accuracy, or of the last. A few thousand
        validation images tell late epochs apart by chance, and chance may take one from before the cooldown.
    precision : {"auto", "float32", "mixed_bfloat16"}
        What the network computes in while it trains; see `digitlib.training.backend.policy_of`. Weights, and all that is
        measured afterwards, are float32.
    train_on, validate_on : tuple of str
        Sets of the split.
    augmentation : mapping
        Settings of `digitlib.training.augmentation.Augmentation`, without `rescale`.
    seed : int
        Of the weights, the order of images and their augmentation.

    Examples
    --------
    >>> get_recipe("fast").image_shape
    (28, 28, 1)
    """

    name: str
    model: str
    image_size: tuple[int, int] = (28, 28)
    color_mode: Literal["grayscale", "rgb"] = "grayscale"
    resize: Literal["squeeze", "pad", "crop"] = "squeeze"
    auto: tuple[str, ...] = ()
    batch_size: int = 128
    epochs: int = 14
    learning_rate: float = 4e-3
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    optimizer: Literal["adam", "muon"] = "adam"
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    patience: int = 0
    min_steps: int = 0
    cooldown_epochs: int = 0
    checkpoint: Literal["best", "last"] = "best"
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    train_on: tuple[str, ...] = ("train",)
    validate_on: tuple[str, ...] = ("validation",)
    augmentation: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType(MILD_AUGMENTATION))
    class_weight: Literal["none", "balanced"] = "none"
    seed: int = 42

    def as_dict(self) -> dict[str, Any]:
        """Return all fields by name, as JSON can hold them."""
        return asdict(replace(self, augmentation=dict(self.augmentation)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a worker be sent the fields, since a read-only mapping can't be serialized."""
        return _from_dict, (self.as_dict(),)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image as the network takes it."""
        return (*self.image_size, 1 if self.color_mode == "grayscale" else 3)

    @property
    def cooldown_from(self) -> int | None:
        """The epoch, counted from 0, from which augmentation is weaker: for at most a quarter of all epochs, plus one."""
        return self.epochs - min(self.cooldown_epochs, self.epochs // 4 + 1) if self.cooldown_epochs else None

    @property
    def kept_epoch(self) -> str:
        """Which epoch's network is kept, in words."""
        return "the last" if self.checkpoint == "last" else f"the best on {', '.join(self.validate_on)}"

    @property
    def test_chooses(self) -> bool:
        """Whether the test images decide which epoch is kept, or when training ends: their accuracy is too high then."""
        return "test" in self.validate_on and (self.checkpoint == "best" or self.patience > 0)

    @property
    def least_steps(self) -> int:
        """Steps that an epoch has at least: images of a small data set are seen several times in it."""
        return -(-self.min_steps // self.epochs)

    def adapted_to(self, run: Run | str) -> Recipe:
        """Return this recipe with what is `auto` chosen by a hundred images of a run, and say so where that changes it.

        A tenth of them coloured makes it rgb; a median side of more than 64 pixels, 64 × 64.

        Raises
        ------
        DigitError
            If all images at this size would take more than 4 GB.
        """
        from digitlib.data.split import some_images
        from digitlib.run import open_run

        images = some_images(run, 100) if self.auto else []
        sides = [side for image in images for side in image.shape[:2]]
        changes: dict[str, Any] = {"auto": ()}
        if "color_mode" in self.auto and sum(image.shape[2] == 3 for image in images) > len(images) / 10:
            changes["color_mode"] = "rgb"
        if "image_size" in self.auto and sides and sorted(sides)[len(sides) // 2] > LARGE:
            changes["image_size"] = (LARGE, LARGE)
        recipe = replace(self, **changes)
        if recipe.image_shape != self.image_shape:
            print(f"The images are large or in colour, so they are used as {' × '.join(map(str, recipe.image_shape))}.")
        recipe.check_memory(len(open_run(run).split))
        return recipe

    def check_memory(self, n: int) -> None:
        """Refuse an image size at which `n` images, a byte a value, would take more than 4 GB; the recipe's own is not."""
        height, width, channels = self.image_shape
        usual = [(LARGE, LARGE), *(recipe.image_size for recipe in RECIPES.values())]
        if (gigabytes := n * height * width * channels / 1e9) > 4 and self.image_size not in usual:
            what = f"{n:,} images of {height} × {width} pixels would take {gigabytes:,.0f} GB"
            raise DigitError(f"image_size {height} × {width} is too large: {what}. Give a smaller one.")


def _from_dict(fields: dict[str, Any]) -> Recipe:
    return Recipe(**fields)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("tiny", model="tiny", batch_size=64, epochs=2, min_steps=100, learning_rate=1e-2),
        Recipe(  # keeps the last epoch, as the next one does: validation images tell the late ones apart by chance alone
            "fast", model="small", batch_size=256, epochs=6, learning_rate=1.5e-2, optimizer="muon", label_smoothing=0.05,
            min_steps=300, cooldown_epochs=1, checkpoint="last", augmentation=MappingProxyType(HAND_AUGMENTATION),
        ),
        Recipe(
            "accurate", model="wide", batch_size=256, epochs=24, learning_rate=1.5e-2, optimizer="muon", label_smoothing=0.05,
            min_steps=1000, cooldown_epochs=5, checkpoint="last", augmentation=MappingProxyType(HAND_AUGMENTATION),
        ),
        Recipe(
            "classic", model="classic", image_size=(128, 128), color_mode="rgb", batch_size=32, epochs=10, learning_rate=1e-3,
            schedule="constant", weight_decay=0.0, train_on=("train", "validation"), validate_on=("test",),
            augmentation=MappingProxyType(CLASSIC_AUGMENTATION),
        ),
    )
}  # fmt: skip

SETS = ("train", "validation", "test")

Check = tuple[Callable[[Any], bool], str]


def _whole(least: int) -> Check:
    return lambda value: is_whole(value) and value >= least, f"an integer ≥ {least}"


def _one_of(*words: str) -> Check:
    return lambda value: value in words, f"one of {', '.join(words)}"


_SHARE: Check = (lambda value: is_number(value) and 0 <= value < 1, "a number ≥ 0 and < 1")
_SETS: Check = (lambda value: bool(value) and all(one in SETS for one in value), f"one or more of {', '.join(SETS)}")

CHECKS: dict[str, Check] = {
    "batch_size": _whole(1),
    "epochs": _whole(1),
    "patience": _whole(0),
    "min_steps": _whole(0),
    "cooldown_epochs": _whole(0),
    "seed": (lambda value: is_whole(value) and 0 <= value < 2**32, f"an integer ≥ 0 and < {2**32}"),
    "color_mode": _one_of("grayscale", "rgb"),
    "resize": _one_of("squeeze", "pad", "crop"),
    "schedule": _one_of("one_cycle", "constant"),
    "optimizer": _one_of("adam", "muon"),
    "checkpoint": _one_of("best", "last"),
    "class_weight": _one_of("none", "balanced"),
    "precision": _one_of("auto", "float32", "mixed_bfloat16"),
    "model": (
        lambda value: isinstance(value, str) and (value in SMALLEST_SIDE or ":" in value),
        f"one of {', '.join(SMALLEST_SIDE)}, or an own one as 'package.module:function'",
    ),
    "weight_decay": _SHARE,
    "label_smoothing": _SHARE,
    "learning_rate": (lambda value: is_number(value) and value > 0, "a number > 0, for example 0.001"),
    "train_on": _SETS,
    "validate_on": _SETS,
    "augmentation": (
        lambda value: isinstance(value, Mapping) and "rescale" not in value,
        "the options of a generator by name, without rescale, since networks take pixels 0 to 255",
    ),
}
"""What a field must be."""

RECIPE_PARAMETERS = (
    "epochs", "batch_size", "learning_rate", "image_size", "color_mode", "resize", "class_weight", "seed", "precision",
)  # fmt: skip
"""Fields that the notebooks let a run change."""


def get_recipe(name: str, /, **changes: Any) -> Recipe:
    """Return a recipe by name ("tiny", "fast", "accurate" or "classic"), with some fields changed.

    Fields that are None are left as they are.

    Examples
    --------
    >>> get_recipe("fast", epochs=3).epochs
    3
    """
    if name == "seed":
        warnings.warn("recipe 'seed' is now called 'classic'", DeprecationWarning, stacklevel=2)
        name = "classic"
    if name not in RECIPES:
        raise DigitError(f"there is no recipe {name!r}: {did_you_mean(name, RECIPES)}")
    changes = {key: value for key, value in changes.items() if value is not None}
    known = [item.name for item in fields(Recipe)]
    for key, value in changes.items():
        if key not in known:
            raise DigitError(f"a recipe has no field {key!r}: {did_you_mean(key, known)}")
        changes[key] = _checked(key, value)
    if "epochs" in changes:
        changes.setdefault("min_steps", 0)  # who asks for a number of epochs gets that number
    auto = () if name == "classic" else tuple(sorted({"color_mode", "image_size"} - changes.keys()))
    recipe = _large_enough(replace(RECIPES[name], **{"auto": auto} | changes))
    recipe.check_memory(4 * recipe.batch_size)  # the floats of a batch
    return recipe


def save_recipe(run: Run | str, recipe: Recipe) -> None:
    """Write ``recipe.json``: what a run is trained with.

    Examples
    --------
    >>> save_recipe("runs/default", get_recipe("fast"))  # doctest: +SKIP
    """
    from digitlib.files import write_json  # with pandas; the names of the recipes should cost next to nothing
    from digitlib.run import open_run

    write_json(open_run(run) / "recipe.json", recipe.as_dict())


def load_recipe(run: Run | str) -> Recipe:
    """Return the recipe that a run was trained with, as kept in ``recipe.json``.

    Examples
    --------
    >>> load_recipe("runs/default").name  # doctest: +SKIP
    'fast'
    """
    from digitlib.run import open_run

    run = open_run(run)
    content = run.read_json("recipe.json")
    try:
        return _large_enough(Recipe(**{key: _checked(key, value) for key, value in content.items()}))
    except (TypeError, DigitError) as error:
        raise run.damaged("recipe.json", error) from error


def _large_enough(recipe: Recipe) -> Recipe:
    """Refuse images that are too small for the network."""
    smallest = SMALLEST_SIDE.get(recipe.model, 1)
    if min(recipe.image_size) < smallest:
        height, width = recipe.image_size
        raise DigitError(
            f"image_size {height} x {width} is too small for the network of recipe {recipe.name!r}: give {smallest} or more, "
            "or choose another recipe."
        )
    return recipe


def _checked(key: str, value: Any) -> Any:
    """Return a value as a recipe holds it, or refuse one that makes no sense before any work is lost on it."""
    if key in ("train_on", "validate_on", "auto"):
        value = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if key == "image_size":
        return as_size(value)
    if key in CHECKS:
        ok, what = CHECKS[key]
        require(key, value, ok(value), what)
    return getattr(value, "item", lambda: value)()  # NumPy's numbers can't be written to recipe.json
