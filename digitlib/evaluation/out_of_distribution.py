"""How much a picture is like what a network was trained on, by what the network's own layers make of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from digitlib.errors import DigitError, is_whole
from digitlib.progress import progress
from digitlib.training.backend import keras
from digitlib.training.generators import ImageBatches

UNFAMILIAR = 0.002
"""Share of validation images that each limit declines; chosen on these and on other scripts in another font."""

FARTHEST = 10.0
"""Standard deviations beyond which a feature counts no more: pictures unlike any other can give any number."""


def feature_extractor(model: keras.Model) -> keras.Model:
    """Return a model that gives the network's probabilities and what each of its convolutions saw.

    Parameters
    ----------
    model : keras.Model
        A network in one row of layers, as those of `digitlib.training.models`, or several side by side, as of
        `digitlib.training.models.join_networks`.

    Returns
    -------
    keras.Model
        From images to probabilities, shape (n, classes), and features, shape (n, d): mean and maximum over the
        picture of every channel behind each ReLU.

    Raises
    ------
    DigitError
        If the network has no convolution.
    """
    maps = [layer.output for layer in model.layers if _gives_map(layer)]
    if not maps:
        raise DigitError("this network has no convolution with ReLU, which familiarity is measured by.")
    means = [keras.ops.mean(one, axis=(1, 2)) for one in maps]
    maxima = [keras.ops.max(one, axis=(1, 2)) for one in maps]
    features = keras.ops.concatenate([keras.ops.cast(one, "float32") for one in means + maxima], axis=1)
    return keras.Model(model.inputs, [model.outputs[0], features])


def extract_features(observer: keras.Model, batches: ImageBatches) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and features of the images of an unshuffled generator, float32."""
    probabilities, features = observer.predict(batches, verbose=0)
    return np.asarray(probabilities), np.asarray(features)


@dataclass(frozen=True)
class OutlierDetector:
    """Two measures of how far a picture is from the training images, and the limit of each.

    The first is the Mahalanobis distance to the mean of the predicted class (after K. Lee et al., 2018,
    https://arxiv.org/abs/1807.03888), which finds what is unlike any writing. The second is a network of one hidden
    layer that has learned to tell the training images from written characters of other scripts (after D. Hendrycks
    et al., 2019, https://arxiv.org/abs/1812.04606), which finds what was written, but is none of the classes.

    Attributes
    ----------
    centre, scale : numpy.ndarray
        Mean and standard deviation of each feature, shape (d,).
    means, whitening : numpy.ndarray
        Mean of each class in the first half of the features, shape (classes, d / 2), and the matrix that makes their
        scatter even in all directions, shape (d / 2, d / 2).
    hidden, hidden_bias, output, output_bias : numpy.ndarray
        Weights of the one hidden layer, shapes (d, h), (h,), (h, 1), (1,).
    limits : numpy.ndarray
        Largest distance and smallest likeness of what is familiar, shape (2,).
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

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it as plain float32 arrays, to be written."""
        return {field.name: np.asarray(getattr(self, field.name), np.float32) for field in fields(self)}

    def distance(self, features: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance to the mean of each image's predicted class, shape (n,)."""
        means = self._scaled(features)[:, : self.means.shape[1]]
        return np.linalg.norm((means - self.means[predicted]) @ self.whitening, axis=1)

    def likeness(self, features: np.ndarray) -> np.ndarray:
        """Return the log-odds that an image is one of the classes and no other character, shape (n,)."""
        inner = np.maximum(self._scaled(features) @ self.hidden + self.hidden_bias, 0)
        return (inner @ self.output + self.output_bias)[:, 0]

    def familiar(self, features: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Return whether each image is within both limits: bool, shape (n,)."""
        return (self.distance(features, predicted) <= self.limits[0]) & (
            self.likeness(features) >= self.limits[1]
        )

    def _scaled(self, features: np.ndarray) -> np.ndarray:
        return np.clip((features - self.centre) / self.scale, -FARTHEST, FARTHEST)


def fit_outlier_detector(
    known: np.ndarray, labels: np.ndarray, drawn: np.ndarray, other: np.ndarray, n_classes: int, seed: int = 0
) -> OutlierDetector:
    """Learn from features what is familiar, without limits yet; see `with_limits`.

    Parameters
    ----------
    known, labels : numpy.ndarray
        Features of training images, shape (n, d), and their classes, int, shape (n,).
    drawn, other : numpy.ndarray
        Features of the classes' own characters and of others, drawn by the same pen, shapes (m, d) and (k, d): so that
        it is not how they were drawn that tells them apart.
    n_classes : int
        Number of classes.
    seed : int
        Of the hidden layer's first weights.

    Returns
    -------
    OutlierDetector
    """
    centre, scale, half = known.mean(axis=0), known.std(axis=0) + 1e-3, known.shape[1] // 2
    scaled = np.clip((np.concatenate([known, drawn, other]) - centre) / scale, -FARTHEST, FARTHEST)
    near = scaled[: len(known), :half]
    members = np.eye(n_classes)[labels]
    means = members.T @ near / np.maximum(members.sum(axis=0)[:, None], 1)
    scatter = np.cov(near - means[labels], rowvar=False)
    scatter += (1e-2 * np.trace(scatter) / half + 1e-6) * np.eye(
        half
    )  # few images leave directions without any
    answers = np.arange(len(scaled)) < len(known) + len(drawn)
    learner = MLPClassifier((64,), alpha=1e-2, early_stopping=True, max_iter=40, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 40 rounds are enough for what it is for
        learner.fit(scaled, answers)
    (hidden, output), (hidden_bias, output_bias) = learner.coefs_, learner.intercepts_
    return OutlierDetector(
        centre, scale, means, np.linalg.cholesky(np.linalg.inv(scatter)), hidden, hidden_bias, output, output_bias,
        limits=np.array([np.inf, -np.inf]),
    )  # fmt: skip


def with_limits(familiarity: OutlierDetector, features: np.ndarray, predicted: np.ndarray) -> OutlierDetector:
    """Return it with limits that each decline the share `UNFAMILIAR` of these validation images; of a few, none.

    Parameters
    ----------
    familiarity : OutlierDetector
        As from `fit_outlier_detector`.
    features, predicted : numpy.ndarray
        Of validation images: shape (n, d), and the predicted classes, int, shape (n,).
    """
    # Rounded to float32 as when it is stored: at a limit the rounding decides.
    kept = OutlierDetector(**familiarity.arrays())
    farthest = np.quantile(kept.distance(features, predicted), 1 - UNFAMILIAR, method="higher")
    least = np.quantile(kept.likeness(features), UNFAMILIAR, method="lower")
    return replace(kept, limits=np.array([farthest, least], np.float32))


def _gives_map(layer: keras.layers.Layer) -> bool:
    """Say whether a layer gives the picture that a convolution makes of its input, negative values cut off."""
    if isinstance(layer, keras.layers.Conv2D):
        return layer.activation is keras.activations.relu
    return isinstance(layer, keras.layers.ReLU) and len(layer.output.shape) == 4


SIDE, BOX = 28, 20
"""Pixels a side of an MNIST picture, and of the box in it that holds the digit."""

SIZE, CANVAS = 36, 72
"""Pixels of the font, and of the picture that a character is first drawn in."""


def default_font() -> ImageFont.FreeTypeFont:
    """Return the font that Pillow brings along (Aileron, Latin characters and digits).

    Raises
    ------
    DigitError
        If this Pillow was built without FreeType.
    """
    font = ImageFont.load_default(SIZE)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise DigitError("Drawing letters needs a Pillow with FreeType: install Pillow anew from its wheel.")
    return font


def matplotlib_font(name: str = "DejaVuSans") -> ImageFont.FreeTypeFont:
    """Return a font that Matplotlib brings along; DejaVu Sans has characters of many scripts."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{name}.ttf", SIZE)


def write_glyphs(
    characters: str, fonts: list[ImageFont.FreeTypeFont], n: int, random: np.random.Generator
) -> np.ndarray:
    """Return characters chosen at random, each written by `write_glyph`.

    Parameters
    ----------
    characters : str
        To choose from.
    fonts : list of PIL.ImageFont.FreeTypeFont
        To choose from, of `SIZE` pixels.
    n : int
        How many.
    random : numpy.random.Generator
        Chooses.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 28, 28, 1).
    """
    made = np.empty((n, SIDE, SIDE, 1), np.uint8)
    for place in progress(range(n), n, "Drawing characters"):
        character, font = str(random.choice(list(characters))), fonts[random.integers(len(fonts))]
        made[place, ..., 0] = np.round(write_glyph(character, font, random))
    return made


def write_glyph(text: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> np.ndarray:
    """Return a character as if written by hand.

    The printed glyph is slanted, turned, stretched and bent; its middle line is then drawn anew with a pen of some
    width, and put into MNIST's form; see `to_mnist_form`.

    Parameters
    ----------
    text : str
        One character.
    font : PIL.ImageFont.FreeTypeFont
        Of `SIZE` pixels.
    random : numpy.random.Generator
        Decides slant (±0.35), turn (±12°), stretch (0.75 to 1.25), bends and width of the pen.

    Returns
    -------
    numpy.ndarray
        float, shape (28, 28), 0 (ground) to 255 (ink).
    """
    from skimage.morphology import skeletonize

    canvas = Image.new("L", (CANVAS, CANVAS), 0)
    ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), text, fill=255, font=font, anchor="mm")
    line = skeletonize(_bent(np.asarray(canvas, float), random) > 110)
    distance = ndimage.distance_transform_edt(~line)
    pen = random.uniform(1.2, 2.6)
    return to_mnist_form(255 * np.clip(pen - distance + 0.5, 0, 1) * line.any())


def to_mnist_form(ink: np.ndarray) -> np.ndarray:
    """Return a drawing fitted into 20 x 20 pixels and centred by its mass in 28 x 28.

    As MNIST's digits were (LeCun et al., 1998, http://yann.lecun.com/exdb/mnist/), but more roughly than
    `digitlib.handwriting.mnist_format.to_mnist_format`, which is for digits that are to be read: with whole pixels for both sides, and the centre
    half a pixel further up and left. Characters so made teach better what is unfamiliar: with the other form, fewer of
    the letters in benchmarks/trust.py were declined.

    Parameters
    ----------
    ink : numpy.ndarray
        Shape (height, width), 0 (ground) to 255 (ink).

    Returns
    -------
    numpy.ndarray
        float, shape (28, 28), 0 to 255; without ink all zeros.
    """
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


def _bent(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a picture slanted, turned, stretched about its middle, and bent by a smooth random field."""
    turn, slant = np.radians(random.uniform(-12, 12)), random.uniform(-0.35, 0.35)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = (
        np.array([[cos, -sin], [sin, cos]]) @ [[1, 0], [slant, 1]] @ np.diag(random.uniform(0.8, 1.33, 2))
    )
    places = np.indices((CANVAS, CANVAS), float)
    coarse = random.normal(size=(2, 6, 6)).astype(np.float32)
    smooth = (Image.fromarray(one).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC) for one in coarse)
    bends = np.stack([np.asarray(one) for one in smooth])
    moved = np.tensordot(matrix, places - CANVAS / 2, 1) + CANVAS / 2 + random.uniform(0.4, 1.8) * bends
    return ndimage.map_coordinates(picture, moved, order=1)


LETTERS = "ACEFHKLMNPRTUVWXYacdefhkmnprtuvwx"
"""Those of the Latin alphabet, large and small, that a reader would not take for a digit."""

LIKE_DIGITS = "BDGIJOQSZbgijloqsyz"
"""Left out: without a word around it, each may also be an 8, 0, 6, 1, 1, 0, 0, 5, 2, 6, 9, 1, 1, 1, 0, 9, 5, 4 or 2."""

PICTURES = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "rocket")
"""Pictures that come with scikit-image, so that nothing is downloaded."""


def make_ood_images(kind: str, n: int, seed: int = 0) -> np.ndarray:
    """Return pictures that show no digit; the same seed gives the same pictures.

    Parameters
    ----------
    kind : {"blanks", "noise", "letters", "photos", "drawn digits"}
        "blanks" are even areas of any brightness, some with a slight shade and the noise of a scanner. "noise" is
        random pixels: even, normal or sparse, coarse or fine. "letters" are `LETTERS` in Pillow's own font as a pen
        would write them, see `digitlib.evaluation.out_of_distribution.write_glyph`. "photos" are cut from `PICTURES`. "drawn digits" are a
        check on the letters: 0 to 9 by the same font and pen, which should *not* be declined for how they were drawn.
    n : int
        How many.
    seed : int
        Of NumPy's random generator.

    Returns
    -------
    numpy.ndarray
        uint8, shape (n, 28, 28, 1).

    Raises
    ------
    DigitError
        If there is no such kind, or `n` is less than 1.
    """
    if kind not in KINDS:
        raise DigitError(f"kind is {kind!r}: choose one of {', '.join(KINDS)}.")
    if not is_whole(n) or n < 1:
        raise DigitError(f"n is {n!r}: give a whole number from 1 on.")
    return KINDS[kind](n, np.random.default_rng((seed, list(KINDS).index(kind))))


def _each(
    make: Callable[[np.random.Generator], np.ndarray],
) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Return a function that makes `n` pictures from one that makes a single one."""

    def several(n: int, random: np.random.Generator) -> np.ndarray:
        return np.clip(np.round([make(random) for _ in range(n)]), 0, 255).astype(np.uint8)[..., None]

    return several


def _blank(random: np.random.Generator) -> np.ndarray:
    ramp = np.outer(np.ones(SIDE), np.linspace(-1, 1, SIDE)) * random.choice([0, random.uniform(0, 25)])
    grain = random.normal(size=(SIDE, SIDE)) * random.choice([0, random.uniform(0, 6)])
    level = random.choice([0, 255, random.uniform(0, 255)])
    return level + np.rot90(ramp, int(random.integers(4))) + grain


def _noise(random: np.random.Generator) -> np.ndarray:
    kind = random.choice(["even", "normal", "sparse"])
    if kind == "even":
        return random.uniform(0, 255, (SIDE, SIDE))
    if kind == "sparse":
        return 255.0 * (random.random((SIDE, SIDE)) < random.uniform(0.02, 0.5))
    grain = ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE)), random.choice([0, 0.5, 1, 2]))
    return 127 + random.uniform(40, 100) * grain / grain.std()


def _letters(n: int, random: np.random.Generator) -> np.ndarray:
    return write_glyphs(LETTERS, [default_font()], n, random)


def _drawn_digits(n: int, random: np.random.Generator) -> np.ndarray:
    return write_glyphs("0123456789", [default_font()], n, random)


def _photo(random: np.random.Generator) -> np.ndarray:
    picture = _picture(str(random.choice(PICTURES)))
    side = random.integers(SIDE, min(picture.shape) + 1)
    top, left = (random.integers(0, length - side + 1) for length in picture.shape)
    cut = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BOX), float)


@cache
def _picture(name: str) -> np.ndarray:
    from skimage import data

    return np.asarray(Image.fromarray(getattr(data, name)()).convert("L"))


KINDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "blanks": _each(_blank),
    "noise": _each(_noise),
    "letters": _letters,
    "photos": _each(_photo),
    "drawn digits": _drawn_digits,
}
