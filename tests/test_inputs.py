"""What can be named: folders, archives, lists, patterns, single images; and what is refused in one sentence."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

import digitlib as d
from digitlib.data.decoding import read_files


@pytest.fixture
def scans(root: Path) -> Path:
    """Return a folder of (empty) files; whether they are images is not asked here."""
    for name in ("img_2.png", "img_10.png", "a/img_1.png", "a/b/img_3.jpg", "a/.hidden.png", "Thumbs.db"):
        (root / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "scans" / name).touch()
    return root / "scans"


def test_a_folder_and_all_below_it(scans: Path) -> None:
    assert d.data.find_inputs("scans") == (scans, ["a/b/img_3.jpg", "a/img_1.png", "img_2.png", "img_10.png"])


@pytest.mark.parametrize(
    ("pattern", "folder", "names"),
    [
        ("scans/a/img_1.png", "scans/a", ["img_1.png"]),
        ("scans/*.png", "scans", ["img_2.png", "img_10.png"]),
        ("scans/**/*.png", "scans", ["a/img_1.png", "img_2.png", "img_10.png"]),
        ("scans/*", "scans", ["img_2.png", "img_10.png"]),
        ("*/a/img_[0-9].png", ".", ["scans/a/img_1.png"]),
        ("{scans}/a/*/*.jpg", "scans/a", ["b/img_3.jpg"]),
    ],
)
def test_a_pattern_starts_where_its_first_sign_is(scans: Path, pattern: str, folder: str, names: list[str]) -> None:
    found, files = d.data.find_inputs(pattern.format(scans=scans))
    assert (found, files) == ((scans.parent / folder).resolve(), names)


@pytest.mark.parametrize(
    ("name", "text"),
    [("list.txt", "img_10.png\r\nimg_2.png\r\n"), ("list.csv", "filename\r\nimg_10.png\r\nimg_2.png\r\n")],
)
def test_a_list_as_windows_powershell_writes_it(scans: Path, name: str, text: str) -> None:
    (scans / name).write_bytes(text.encode("utf-16"))
    assert d.data.find_inputs(f"scans/{name}") == (scans, ["img_10.png", "img_2.png"])


def test_what_can_not_be_read_is_named_all_the_same(scans: Path, root: Path) -> None:
    (root / "elsewhere.png").write_bytes(b"")
    (scans / "img_11.png").symlink_to(root / "elsewhere.png")
    (scans / "img_12.png").symlink_to(root / "nowhere.png")
    assert d.data.find_inputs("scans")[1][-2:] == ["img_11.png", "img_12.png"]


def test_what_exists_by_a_name_like_a_pattern_is_taken_as_it_is(scans: Path) -> None:
    (scans / "img_[12].png").touch()
    (scans / "@img.png").touch()
    assert d.data.find_inputs("scans/img_[12].png")[1] == ["img_[12].png"]
    assert d.data.find_inputs(scans / "@img.png")[1] == ["@img.png"]


@pytest.mark.parametrize("name", ["@list.txt", "list.txt", "@list"])
def test_a_text_list_in_its_own_order(scans: Path, name: str) -> None:
    (scans / name.removeprefix("@")).write_bytes(b"\xef\xbb\xbfimg_10.png\r\n\n../scans/img_2.png\n\xff.png\n")
    folder, names = d.data.find_inputs(f"scans/{name}" if name[0] != "@" else f"@scans/{name[1:]}")
    assert folder == scans
    assert [os.fsencode(item) for item in names] == [b"img_10.png", b"../scans/img_2.png", b"\xff.png"]


def test_a_table_of_predictions_is_a_list_again(scans: Path) -> None:
    (scans / "=1.png").touch()
    (scans / "list.csv").write_text('label,filename\n1,img_2.png\n2,./=1.png\n3,"not, there.png"\n')
    assert d.data.find_inputs("scans/list.csv") == (scans, ["img_2.png", "=1.png", "not, there.png"])


def test_an_archive_is_unpacked_once_beside_nothing_of_the_users(scans: Path, root: Path) -> None:
    with zipfile.ZipFile(root / "x.zip", "w") as packed:
        packed.write(scans / "img_10.png", "in/img_10.png")
        packed.write(scans / "img_2.png", "in/img_2.png")
    folder, names = d.data.find_inputs("x.zip")
    assert names == ["in/img_2.png", "in/img_10.png"]
    assert folder.parent == root / "data"
    assert d.data.find_inputs("x.zip") == (folder, names)


@pytest.mark.parametrize(
    ("source", "content", "said"),
    [
        ("nowhere", None, "'nowhere' doesn't exist: give a folder, a zip archive, a list"),
        ("scans/*.gif", None, "no file matches 'scans/*.gif': relative patterns start from 'scans'"),
        ("nowhere/*.gif", None, "no file matches 'nowhere/*.gif'"),
        ("@list.txt", None, "the list list.txt doesn't exist"),
        ("list.txt", "\n\n", "the list list.txt is empty"),
        ("list.txt", "a.png\nb.png\n", "none of the 2 files in the list list.txt exists, for example 'a.png'"),
        ("list.txt", "a\0b\n", "list.txt holds a null character"),
        ("list.csv", "file,label\na.png,1\n", "list.csv has no column 'filename', only file, label"),
        ("list.csv", "", "list.csv isn't a table"),
        ("x.zip", "", "x.zip isn't a zip archive"),
        ("x.zip", "PK\5\6" + 18 * "\0", "x.zip holds no files"),
        ("a\0b", None, "null character"),
    ],
)
def test_what_can_not_be_named_is_said_in_one_sentence(
    scans: Path, root: Path, source: str, content: str | None, said: str
) -> None:
    if content is not None:
        (root / source).write_text(content)
    with pytest.raises(d.DigitError) as caught:
        d.data.find_inputs(source)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_no_file_to_wait_for(scans: Path) -> None:
    os.mkfifo(scans / "pipe.png")
    folder, names = d.data.find_inputs(scans)
    assert "pipe.png" in names
    (read,) = read_files([str(folder / "pipe.png")])
    assert read.reason == "can't be read: not a file"


def test_a_pattern_follows_no_links_in_circles_or_away(scans: Path, root: Path) -> None:
    before = d.data.find_inputs("scans/**/*")[1]
    (scans / "up").symlink_to(scans, target_is_directory=True)
    (root / "far").mkdir()
    (root / "far" / "away.png").touch()
    (scans / "linked").symlink_to(root / "far", target_is_directory=True)
    (scans / "one.png").symlink_to(root / "far" / "away.png")
    assert set(d.data.find_inputs("scans/**/*")[1]) == {*before, "one.png"}
    assert d.data.find_inputs("scans/linked/*")[1] == ["away.png"]
