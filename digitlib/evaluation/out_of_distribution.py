"""How far an image is from the training images, measured by the network's own layers; and images that are far."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digitlib.errors import DigitError, did_you_mean, is_whole, require
from digitlib.evaluation.explain import is_map, tap
from digitlib.training.backend import keras

REJECTED = 0.002
"""Share of validation images beyond each limit; chosen on these and on other scripts in another font."""

FARTHEST = 10.0
"""Standard deviations at which a feature is cut off: images unlike any other can give any number."""

DRAWN, OTHER = 2_000, 3_000
"""Characters of the classes, and of other scripts, that an `OutlierDetector` is learned from."""

MOST_FEATURES = 5_000
"""More than this many features would take gigabytes of covariances."""


def feature_extractor(model: keras.Model) -> keras.Model | None:
    """Return a model with two outputs: the network's probabilities, and features that tell images apart.

    Features are the mean and maximum of every channel behind a convolution's nonlinearity. Of a network without one, or
    with too many channels, they are the inputs of its last dense layer.

    Returns
    -------
    keras.Model or None
        Its outputs are the probabilities, shape (n, classes), the features that distances are measured in, and perhaps
        more features; None where no layer can be seen, as in a subclassed model.
    """
    inner = tap(model, _is_activated_map)
    maps = inner.outputs[1:]
    if 0 < 2 * sum(one.shape[-1] for one in maps) <= MOST_FEATURES:
        pooled = [[pool(one, axis=(1, 2)) for one in maps] for pool in (keras.ops.mean, keras.ops.max)]
        return keras.Model(inner.inputs, [inner.outputs[0], *map(_joined, pooled)])
    inner = tap(model, lambda layer, taken, given: isinstance(layer, keras.layers.Dense), before=True)
    if len(inner.outputs) < 2 or len(inner.outputs[-1].shape) != 2 or inner.outputs[-1].shape[1] > MOST_FEATURES:
        return None
    return keras.Model(inner.inputs, [inner.outputs[0], _joined(inner.outputs[-1:])])


def _joined(tensors: list[keras.KerasTensor]) -> keras.KerasTensor:
    return keras.ops.concatenate([keras.ops.cast(one, "float32") for one in tensors], axis=1)


def _is_activated_map(layer: keras.Operation, taken: keras.KerasTensor, given: keras.KerasTensor) -> bool:
    """Tell whether a layer gives the map of a convolution behind its nonlinearity."""
    if isinstance(layer, keras.layers.Conv2D):
        return is_map(given) and layer.activation is not keras.activations.linear
    return isinstance(layer, keras.layers.ReLU | keras.layers.Activation) and is_map(given)


@dataclass(frozen=True)
class OutlierDetector:
    """Two measures of how far an image is from the training images, and the limit of each.

    The first is the Mahalanobis distance to the mean of the predicted class (after K. Lee et al., 2018,
    https://arxiv.org/abs/1807.03888), which finds what is unlike any writing. The second is a network of one hidden
    layer that has learned to tell the training images from characters of other scripts (after D. Hendrycks
    et al., 2019, https://arxiv.org/abs/1812.04606), which finds what was written, but belongs to none of the classes.

    Attributes
    ----------
    centre, scale : numpy.ndarray
        Mean and standard deviation of each feature, shape (d,).
    means, whitening : numpy.ndarray
        Mean of each class in the first k features, shape (classes, k), and the matrix that makes their scatter even in
        all directions, shape (k, k).
    hidden, hidden_bias, output, output_bias : numpy.ndarray
        Weights of the hidden layer, shapes (d, h), (h,), (h, 1), (1,).
    limits : numpy.ndarray
        Largest distance and smallest log-odds of what counts as in-distribution, shape (2,).

    Examples
    --------
    >>> random, first = np.random.default_rng(0), np.zeros(200, int)
    >>> known, other = random.normal(0, 1, (200, 6)), random.normal(9, 1, (200, 6))
    >>> detector = OutlierDetector.fit(known, np.ones((200, 1)), known, other, near=6).with_limits(known, first)
    >>> detector.in_distribution(other, first)[:3]
    array([False, False, False])
    """

    centre: np.ndarray
    scale: np.ndarray
    means: np.ndarray
    whitening: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    limits: np.ndarray

    @classmethod
    def fit(
        cls, known: np.ndarray, members: np.ndarray, drawn: np.ndarray, other: np.ndarray, near: int, seed: int = 0
    ) -> OutlierDetector:
        """Learn from features, without limits yet; see `with_limits`.

        Parameters
        ----------
        known, members : numpy.ndarray
            Features of training images, shape (n, d), and their one-hot classes, shape (n, classes).
        drawn, other : numpy.ndarray
            Features of the classes' own characters and of others, drawn by the same pen, shapes (m, d) and (k, d): so
            that the way they were drawn does not tell them apart.
        near : int
            Features, the first ones, that distances are measured in.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
        from threadpoolctl import threadpool_limits

        centre, scale = known.mean(axis=0), known.std(axis=0) + 1e-3
        scaled = np.clip((np.concatenate([known, drawn, other]) - centre) / scale, -FARTHEST, FARTHEST)
        first = scaled[: len(known), :near]
        means = members.T @ first / np.maximum(members.sum(axis=0)[:, None], 1)
        scatter = np.atleast_2d(np.cov(first - members @ means, rowvar=False))
        # A few images leave directions without any scatter.
        scatter += (1e-2 * np.trace(scatter) / len(scatter) + 1e-6) * np.eye(len(scatter))
        learner = MLPClassifier((64,), alpha=1e-2, early_stopping=True, max_iter=40, random_state=seed)
        with warnings.catch_warnings(), threadpool_limits(1):  # for such small matrices, threads wait for each other
            warnings.simplefilter("ignore", ConvergenceWarning)  # 40 epochs are enough for this
            learner.fit(scaled, np.arange(len(scaled)) < len(known) + len(drawn))
        (hidden, output), (hidden_bias, output_bias) = learner.coefs_, learner.intercepts_
        whitening, limits = np.linalg.cholesky(np.linalg.inv(scatter)), np.array([np.inf, -np.inf])
        return cls(centre, scale, means, whitening, hidden, hidden_bias, output, output_bias, limits)

    def with_limits(self, features: np.ndarray, predicted: np.ndarray) -> OutlierDetector:
        """Return it with limits that each reject the share `REJECTED` of these validation images; of a few, none.

        Parameters
        ----------
        features, predicted : numpy.ndarray
            Shape (n, d), and the predicted classes, int, shape (n,).
        """
        # Rounded to float32 as when it is stored: at a limit the rounding decides.
        kept = OutlierDetector(**self.arrays())
        farthest = np.quantile(kept.distance(features, predicted), 1 - REJECTED, method="higher")
        least = np.quantile(kept.log_odds(features), REJECTED, method="lower")
        return replace(kept, limits=np.array([farthest, least], np.float32))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it as float32 arrays by name."""
        return {field.name: np.asarray(getattr(self, field.name), np.float32) for field in fields(self)}

    def distance(self, features: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance to the mean of each image's predicted class, shape (n,)."""
        near = self._scaled(features)[:, : self.means.shape[1]]
        return np.linalg.norm((near - self.means[predicted]) @ self.whitening, axis=1)

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """Return the log-odds that an image is of one of the classes and no other character, shape (n,)."""
        inner = np.maximum(self._scaled(features) @ self.hidden + self.hidden_bias, 0)
        return (inner @ self.output + self.output_bias)[:, 0]

    def in_distribution(self, features: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return whether each image is within both limits: bool, shape (n,)."""
        near = self.distance(features, predicted) <= self.limits[0]
        return near & (self.log_odds(features) >= self.limits[1])

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.centre) / self.scale, -FARTHEST, FARTHEST)


SIDE, BOX = 28, 20
"""Pixels a side of an MNIST image, and of the box in it that holds the digit."""

SIZE, CANVAS = 36, 72
"""Pixels of the font, and of the canvas that a character is first drawn on."""

LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwx"
"""Latin letters that nobody reads as a digit: left out are B D G I J O Q S Z b g i j l o q s y z."""

PHOTOS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "rocket")
"""Images that come with scikit-image, so that nothing is downloaded."""

OTHER_SCRIPTS = (
    "ЖЯЮФШДЛПЫЭЦЩЙИджлфцшъюяωψξπλςΓΔΛΞΠΣΦΨΩ&@#%?+=*€£$"  # Cyrillic, Greek, signs
    "ԱԲԳԴԵԹԺԽԾԿՁՂՃՄՆՈՉՊՋՌՍՎՏՓՔՖաբգդեթժխծկձղճմնպջռվտփքֆ"  # Armenian
    "აბგდევზთკლმნპჟრსტუფქღყშჩცძწჭხჯჰ"  # Georgian
    "אבגדהחטלמנפצקשת"  # Hebrew
    "ⴱⴲⴳⴴⴵⴶⴷⴸⴹⴻⴼⴽⴾⵀⵂⵃⵅⵇⵉⵊⵌⵍⵎⵐⵓⵖⵛⵞⵟⵡⵣⵥ"  # Tifinagh
    "ᐁᐂᐄᐅᐆᐊᐋᐯᐱᐲᐳᐴᐸᐹᑌᑎᑏᑐᑑᑕᑖᑫᑭᑮᑯᑰᑲᑳ"  # Canadian syllabics
)
"""Characters that are neither Latin letters nor digits, all in DejaVu Sans."""


def font(name: str = "") -> ImageFont.FreeTypeFont:
    """Return a font of Matplotlib (``"DejaVuSans"`` has many scripts), or the one of Pillow itself, of `SIZE` pixels."""
    if name:
        spec: Any = find_spec("matplotlib")  # the file alone: importing Matplotlib would take a second
        return ImageFont.truetype(Path(spec.origin).parent / "mpl-data/fonts/ttf" / f"{name}.ttf", SIZE)
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(SIZE))


def draw_characters(
    characters: str, fonts: list[ImageFont.FreeTypeFont], n: int, random: np.random.Generator
) -> np.ndarray:
    """Return random characters as if written by hand: uint8, shape (n, 28, 28, 1), light on dark.

    A printed glyph is slanted (±0.35), turned (±12°), stretched (0.75 to 1.25) and bent; its middle line is drawn with
    a pen of 1.2 to 2.6 pixels and put into MNIST's format.
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    drawn = np.empty((n, SIDE, SIDE, 1), np.uint8)
    for image in drawn:
        text, chosen = str(random.choice(list(characters))), fonts[random.integers(len(fonts))]
        canvas = Image.new("L", (CANVAS, CANVAS), 0)
        ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), text, fill=255, font=chosen, anchor="mm")
        line = skeletonize(_bent(np.asarray(canvas, float), random) > 110)
        distance = ndimage.distance_transform_edt(~line)
        ink = 255 * np.clip(random.uniform(1.2, 2.6) - distance + 0.5, 0, 1) * line.any()
        image[..., 0] = np.round(_fitted(ink))
    return drawn


def draw_own_and_other(class_names: list[str], random: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return characters that are classes and then others, and how many of them are classes: 0 if these are words."""
    own = "".join(name for name in class_names if len(name) == 1)
    foreign = "".join(sorted(set(OTHER_SCRIPTS) - set(own)))
    fonts = [font(name) for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono")]
    drawn = draw_characters(own, fonts, DRAWN if own else 0, random)
    return np.concatenate([drawn, draw_characters(foreign, fonts[:1], OTHER, random)]), len(drawn)


def _bent(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return an image slanted, turned, stretched about its middle, and bent by a smooth random field."""
    from scipy import ndimage

    turn, slant = np.radians(random.uniform(-12, 12)), random.uniform(-0.35, 0.35)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ [[1, 0], [slant, 1]] @ np.diag(random.uniform(0.8, 1.33, 2))
    places = np.indices((CANVAS, CANVAS), float)
    coarse = random.normal(size=(2, 6, 6)).astype(np.float32)
    smooth = (Image.fromarray(one).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC) for one in coarse)
    bends = np.stack([np.asarray(one) for one in smooth])
    moved = np.tensordot(matrix, places - CANVAS / 2, 1) + CANVAS / 2 + random.uniform(0.4, 1.8) * bends
    return ndimage.map_coordinates(image, moved, order=1)


def _fitted(ink: np.ndarray) -> np.ndarray:
    """Return a drawing fitted into 20 × 20 pixels and centred by its mass in 28 × 28, roughly as MNIST's digits were.

    `digitlib.handwriting.to_mnist_format` does it more exactly, for digits to be read; with that one, fewer of the
    letters in benchmarks/ were rejected.
    """
    from scipy import ndimage

    placed = np.zeros((SIDE, SIDE))
    rows, columns = np.nonzero(ink > 20)
    if len(rows) == 0:
        return placed
    cut = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    size = [max(1, round(side * BOX / max(cut.shape))) for side in cut.shape[::-1]]
    small = np.asarray(Image.fromarray(cut.astype(np.uint8)).resize(size, Image.Resampling.BOX), float)
    top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    placed[top : top + small.shape[0], left : left + small.shape[1]] = small
    move = (SIDE - 1) / 2 - np.array(ndimage.center_of_mass(placed))
    return ndimage.shift(placed, np.round(move), order=0)


def make_ood_images(kind: str, n: int, seed: int = 0) -> np.ndarray:
    """Return images that show no digit; the same seed gives the same images.

    Parameters
    ----------
    kind : {"blanks", "noise", "letters", "photos", "drawn digits"}
        "blanks" are even areas of any brightness, some with a slight shade and the noise of a scanner. "noise" is
        random pixels: even, normal or sparse, coarse or fine. "letters" are `LETTERS` as a pen would write them.
        "photos" are cut from `PHOTOS`. "drawn digits" are 0 to 9 by the same font and pen, a check on the letters:
        these should *not* be rejected.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 28, 28, 1).

    Examples
    --------
    >>> make_ood_images("noise", 3).shape
    (3, 28, 28, 1)
    """
    if kind not in KINDS:
        raise DigitError(f"kind is {kind!r}: {did_you_mean(kind, KINDS)}")
    require("n", n, is_whole(n) and n >= 1, "an integer ≥ 1")
    random, make = np.random.default_rng((seed, list(KINDS).index(kind))), KINDS[kind]
    if isinstance(make, str):
        return draw_characters(make, [font()], n, random)
    return np.clip(np.round([make(random) for _ in range(n)]), 0, 255).astype(np.uint8)[..., None]


def _blank(random: np.random.Generator) -> np.ndarray:
    ramp = np.outer(np.ones(SIDE), np.linspace(-1, 1, SIDE)) * random.choice([0, random.uniform(0, 25)])
    grain = random.normal(size=(SIDE, SIDE)) * random.choice([0, random.uniform(0, 6)])
    level = random.choice([0, 255, random.uniform(0, 255)])
    return level + np.rot90(ramp, int(random.integers(4))) + grain


def _noise(random: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    kind = random.choice(["even", "normal", "sparse"])
    if kind == "even":
        return random.uniform(0, 255, (SIDE, SIDE))
    if kind == "sparse":
        return 255.0 * (random.random((SIDE, SIDE)) < random.uniform(0.02, 0.5))
    grain = ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE)), random.choice([0, 0.5, 1, 2]))
    return 127 + random.uniform(40, 100) * grain / grain.std()


def _photo(random: np.random.Generator) -> np.ndarray:
    whole = _whole_photo(str(random.choice(PHOTOS)))
    side = random.integers(SIDE, min(whole.shape) + 1)
    top, left = (random.integers(0, length - side + 1) for length in whole.shape)
    cut = Image.fromarray(whole[top : top + side, left : left + side])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BOX), float)


@cache
def _whole_photo(name: str) -> np.ndarray:
    from skimage import data

    return np.asarray(Image.fromarray(getattr(data, name)()).convert("L"))


KINDS: dict[str, str | Callable[[np.random.Generator], np.ndarray]] = {
    "blanks": _blank, "noise": _noise, "letters": LETTERS, "photos": _photo, "drawn digits": "0123456789",
}  # fmt: skip
