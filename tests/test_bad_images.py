"""Odd, damaged and hostile image files: each read right, compared with Pillow, or left out with its reason."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from faults import KILL
from PIL import Image, features

import digitlib as d
from digitlib.data import decoding
from digitlib.data.decoding import decode, read_file
from digitlib.data.folders import target_path

GREY = np.add.outer(np.arange(12) * 9, np.arange(10) * 12).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def saved(array: np.ndarray | Image.Image, form: str, **options: object) -> bytes:
    image = Image.fromarray(array) if isinstance(array, np.ndarray) else array
    store = io.BytesIO()
    image.save(store, form, **options)
    return store.getvalue()


PNG = saved(GREY, "PNG")


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def rotated() -> tuple[bytes, np.ndarray]:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    data = saved(RGB, "JPEG", quality=95, exif=exif)
    return data, np.rot90(by_pillow(data), -1)


def animated(form: str) -> tuple[bytes, np.ndarray]:
    frames = [Image.fromarray(array) for array in (RGB, RGB[::-1].copy())]
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], **options)
    return data, by_pillow(data)


def palette() -> tuple[bytes, np.ndarray]:
    image = Image.fromarray(RGB).quantize(16)
    return saved(image, "GIF"), np.asarray(image.convert("RGB"))


def same(data: bytes) -> tuple[bytes, np.ndarray]:
    return data, by_pillow(data)


READ: dict[str, Callable[[], tuple[bytes, np.ndarray]]] = {
    "sixteen_bits.png": lambda: (saved((GREY.astype(np.uint16) << 8) + 77, "PNG"), GREY),
    "one_bit.tif": lambda: (saved(Image.fromarray(GREY > 100), "TIFF"), np.where(GREY > 100, 255, 0)),
    "cmyk.jpg": lambda: same(saved(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=95)),
    "progressive.jpg": lambda: same(saved(RGB, "JPEG", progressive=True)),
    "transparent.png": lambda: (
        saved(np.dstack([RGB, np.full_like(GREY, 51)]), "PNG"),
        np.round(RGB * 0.2 + 255 * 0.8),
    ),
    "palette.gif": palette,
    "animated.gif": lambda: animated("GIF"),
    "animated.webp": lambda: animated("WEBP"),
    "rotated.jpg": rotated,
    "one_pixel.png": lambda: (saved(GREY[5:6, 5:6], "PNG"), GREY[5:6, 5:6]),
}
NAMES = (
    "really_a_png.jpg",
    "no_extension",
    " spaces in  front.png",
    "line\nbreak\r.png",
    'quote",comma;.png',
    "ziffer_fünf_五_👍.png",
    os.fsdecode(b"not_utf8_\xff\xe9.png"),
    "n" * 251 + ".png",
    "NA",
    "=1+1.png",
    "<script>alert(1)<⁄script>.png",
    "deep/er/and_deeper.png",
)
READ |= dict.fromkeys(NAMES, lambda: (PNG, GREY))

REJECTED: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut.jpg": (lambda: saved(RGB, "JPEG")[:400], "damaged"),
    "nothing.png": (lambda: b"", "empty file"),
    "text.jpg": (lambda: b"a letter to my aunt", "not an image"),
    "bomb.png": (lambda: saved(Image.new("1", (20_000, 20_000)), "PNG"), "too large"),
    "big.png": (lambda: saved(Image.new("1", (8_000, 8_000)), "PNG"), "too large: 8000 x 8000 pixels"),
    "head_only.png": (lambda: PNG[:40], "not an image"),
    "floats.tif": (lambda: saved(Image.fromarray(GREY / np.float32(255)), "TIFF"), "floating-point"),
}

LITTER = (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._1.png", ".hidden.png", ".hidden/1.png")


@pytest.fixture
def scans(root: Path) -> Path:
    """Return a folder of two classes with ten images each."""
    for name in ("a", "b"):
        (root / "scans" / name).mkdir(parents=True)
        for number in range(10):
            image = np.roll(GREY, number * 7 + ord(name))
            (root / "scans" / name / f"{number}.png").write_bytes(saved(image, "PNG"))
    return root / "scans"


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def outcome(scans: Path, mode: str = "copy") -> tuple[d.Run, set[str], dict[str, str]]:
    """Split, check that the counts add up, and return the names taken and those left out."""
    run = d.prepare(scans, "runs/a", mode=mode)
    manifest, rejected = d.read_split(run), run.read_table("rejected.csv")
    taken, left = set(manifest["filename"]), dict(zip(rejected["filename"], rejected["reason"], strict=True))
    assert len(taken) == len(manifest)
    assert not taken & set(left)
    assert (rejected["reason"] != "").all()
    placed = [target_path(run, row.part, row._2, row.filename) for row in manifest.itertuples()]
    assert all(path.is_file() for path in placed)
    assert len(set(placed)) == len(placed)
    assert d.class_counts(run)[["Train_images", "Test_images"]].to_numpy().sum() == len(placed)
    return run, taken, left


@pytest.mark.parametrize("name", READ, ids=ascii)
def test_odd_images_are_read_as_pillow_shows_them(scans: Path, name: str) -> None:
    if name.endswith(".webp") and not features.check("webp"):
        pytest.skip("Pillow has no WebP here")
    data, expected = READ[name]()
    put(scans / "a" / name, data)
    _, taken, left = outcome(scans)
    assert f"a/{name}" in taken or "same bytes" in left[f"a/{name}"]
    assert len(taken) + len(left) == 21
    image = read_file(scans / "a" / name).image
    assert image is not None
    assert image.dtype == np.uint8
    expected = np.atleast_3d(expected)
    if expected.shape[-1] == 3 and image.shape[-1] == 1:
        assert (expected == expected[..., :1]).all()
    assert image.shape[:2] == expected.shape[:2]
    np.testing.assert_allclose(np.broadcast_to(image, (*image.shape[:2], 3)) - expected.astype(float), 0, atol=1)


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_no_usable_image_is_left_out_with_its_reason(scans: Path, name: str) -> None:
    data, reason = REJECTED[name]
    put(scans / "a" / name, data())
    _, taken, left = outcome(scans)
    assert set(left) == {f"a/{name}"}
    assert left[f"a/{name}"].startswith(reason)
    assert len(taken) == 20


@pytest.mark.parametrize("name", LITTER)
def test_litter_is_passed_over(scans: Path, name: str) -> None:
    put(scans / "a" / name, PNG)
    put(scans / name, PNG)
    _, taken, left = outcome(scans)
    assert len(taken) == 20
    assert left == {}


@pytest.mark.parametrize(
    ("name", "to", "reason"),
    [
        ("a/loop", "../a", "link in a circle"),
        ("a/itself", "itself", "can't be read: Too many levels of symbolic links"),
        ("a/out.png", "../../elsewhere/secret.png", "link out of the data folder"),
        ("a/out", "../../elsewhere", "link out of the data folder"),
        ("c", "../elsewhere", "link out of the data folder"),
        ("a/nothing.png", "nowhere.png", "link to nothing"),
    ],
)
def test_links_are_followed_inside_the_folder_only(scans: Path, name: str, to: str, reason: str) -> None:
    put(scans.parent / "elsewhere" / "secret.png", PNG)
    (scans / name).symlink_to(to)
    _, taken, left = outcome(scans)
    assert left == {name: reason}
    assert len(taken) == 20


def test_a_link_inside_the_folder_is_an_image_like_any(scans: Path) -> None:
    (scans / "a" / "link.png").symlink_to("../a/3.png")
    _, taken, left = outcome(scans)
    assert len(taken) + len(left) == 21  # left out only if its twin is in another set


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything; see test_environment.py"
)
@pytest.mark.parametrize("name", ["a/3.png", "a/closed"])
def test_what_may_not_be_read_is_left_out(scans: Path, name: str) -> None:
    (scans / "a" / "closed").mkdir()
    (scans / name).chmod(0)
    _, _, left = outcome(scans)
    (scans / name).chmod(0o700)
    assert left[name] == "can't be read: Permission denied"


def test_names_that_differ_by_case_are_two_images(scans: Path) -> None:
    put(scans / "a" / "PAGE.png", saved(GREY[::2], "PNG"))
    put(scans / "a" / "page.png", saved(GREY[1::2], "PNG"))
    if len(list((scans / "a").glob("*.png"))) == 11:
        pytest.skip("this file system does not tell upper from lower case")
    _, taken, _ = outcome(scans)
    assert {"a/PAGE.png", "a/page.png"} <= taken


def test_an_empty_class_is_named_and_none(scans: Path) -> None:
    (scans / "c").mkdir()
    put(scans / "readme.txt", b"our scans")
    run, _, left = outcome(scans)
    assert left == {"c": "empty class folder", "readme.txt": "not in a class folder"}
    assert run.class_names == ["a", "b"]


def test_a_class_of_nothing_but_bad_images_stops_the_split(scans: Path) -> None:
    put(scans / "c" / "1.png", b"")
    with pytest.raises(d.DigitError, match=r"class 'c' .* empty file"):
        outcome(scans)


NO_UTF8 = pytest.param(
    os.fsdecode(b"\xe9t\xe9"),
    marks=pytest.mark.skipif(pd.__version__ < "3", reason="pandas 2 may count text that is no UTF-8 as several texts"),
)


@pytest.mark.parametrize("name", [NO_UTF8, "two\nlines", "ä ö"], ids=ascii)
@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_odd_names_of_classes(scans: Path, name: str, mode: str) -> None:
    before = {path.name: path.read_bytes() for path in (scans / "b").iterdir()}
    (scans / "b").rename(scans / name)
    run, taken, _ = outcome(scans, mode)
    assert run.class_names == sorted(["a", name])
    assert len(taken) == 20
    assert d.undo(run) == []
    assert {path.name: path.read_bytes() for path in (scans / name).iterdir()} == before


@pytest.mark.parametrize("options", [{}, {"quality": 20}, {"progressive": True}, {"optimize": True}, {"dpi": (72, 72)}])
@pytest.mark.parametrize("behind", [b"", bytes(9)])
def test_grey_jpegs_have_the_pixels_that_pillow_gives_them(options: dict[str, object], behind: bytes) -> None:
    data = saved(GREY, "JPEG", **options) + behind
    assert decoding._plain_grey_jpeg(data) is not None
    for mode in ("native", "grayscale"):
        np.testing.assert_array_equal(decode(data, mode)[..., 0], np.asarray(Image.open(io.BytesIO(data))))
    smaller = np.asarray(Image.open(io.BytesIO(data)).resize((5, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decode(data, "native", (6, 5))[..., 0], smaller)


def test_a_turned_grey_jpeg_is_put_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    data = saved(GREY, "JPEG", quality=95, exif=exif)
    np.testing.assert_array_equal(decode(data)[..., 0], np.rot90(np.asarray(Image.open(io.BytesIO(data))), -1))


def test_files_are_not_read_far_ahead_of_whoever_takes_them(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PARALLEL_FROM", -1)
    monkeypatch.setattr(decoding, "CHUNK", 1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    sent: list[str] = []
    executor = joblib.executor.get_memmapping_executor(2)
    submit = executor.submit
    monkeypatch.setattr(executor, "submit", lambda f, chunk, *rest: (sent.append(chunk[0]), submit(f, chunk, *rest))[1])
    path = scans / "grey.png"
    path.write_bytes(PNG)
    results = decoding.read_files([str(path)] * 100)
    assert next(results).image is not None
    assert len(sent) == 2 * decoding.AHEAD + 1
    assert len(list(results)) == 99
    assert len(sent) == 100


def die(paths: list[str], *settings: object) -> None:
    os.kill(os.getpid(), KILL)


def test_a_process_that_is_ended_from_outside_gets_one_sentence(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PARALLEL_FROM", -1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    monkeypatch.setattr(decoding, "_read_chunk", die)
    with pytest.raises(d.DigitError, match="a process that decodes images was ended from outside"):
        list(decoding.read_files([str(scans / "a")] * 3))
