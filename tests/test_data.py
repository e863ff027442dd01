"""Sources, split, manifest, counts and folders, on real small images."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
from faults import fingerprint
from PIL import Image
from sklearn.model_selection import train_test_split

import digitlib as d
from digitlib.data.datasets import as_folder


def unlabelled(run: d.Run) -> tuple[Path, list[str]]:
    folder = Path(run.read_json("source.json")["unlabelled"])
    return folder, d.data.list_images(folder)


def test_the_split_is_the_classic_notebooks(digits: Path) -> None:
    manifest = d.read_split(d.prepare(digits, "runs/a"))
    for digit in range(10):
        names = sorted(path.name for path in (digits / "trainingSet" / str(digit)).iterdir())
        train, test = train_test_split(names, test_size=0.2, random_state=42)
        rows = manifest[manifest["class"] == str(digit)]
        in_test = rows["part"] == "test"
        assert {Path(name).name for name in rows["filename"][in_test]} == set(test)
        assert {Path(name).name for name in rows["filename"][~in_test]} == set(train)


def test_counts_come_from_the_files_and_agree_with_the_manifest(digits: Path) -> None:
    run = d.prepare(digits, "runs/a")
    assert (d.data.split_counts(run).iloc[:-1].to_numpy() == [28, 4, 8, 40]).all()
    table = d.class_counts(run)
    assert table["Classes"].tolist() == [str(digit) for digit in range(10)]
    assert table["Train_images"].tolist() == [32] * 10
    assert table["Test_images"].tolist() == [8] * 10
    next((run / "TRAIN" / "3").iterdir()).unlink()
    assert d.class_counts(run)["Train_images"].tolist() == [32, 32, 32, 31, 32, 32, 32, 32, 32, 32]


@pytest.mark.parametrize("mode", ["copy", "link", "none"])
def test_the_source_is_left_as_it_was_and_a_second_time_changes_nothing(digits: Path, mode: str) -> None:
    before = fingerprint(digits)
    run = d.prepare(digits, "runs/a", mode=mode)
    made = fingerprint(run.folder)
    d.prepare(digits, "runs/a", mode=mode)
    assert fingerprint(digits) == before
    assert fingerprint(run.folder) == made


def test_moved_files_come_back(digits: Path) -> None:
    before = fingerprint(digits)
    run = d.prepare(digits, "runs/a", mode="move")
    assert len(fingerprint(digits)) == 12
    assert len(fingerprint(run / "TRAIN")) + len(fingerprint(run / "TEST")) == 400
    assert d.undo(run) == []
    assert fingerprint(digits) == before


def test_hash_keeps_every_image_in_its_set_when_others_are_added(digits: Path) -> None:
    hidden = digits.parent / "later"
    hidden.mkdir()
    for path in sorted((digits / "trainingSet" / "4").iterdir())[:10]:
        shutil.move(path, hidden)
    before = d.read_split(d.prepare(digits, "runs/a", assign="hash")).set_index("filename")["part"]
    for path in hidden.iterdir():
        shutil.move(path, digits / "trainingSet" / "4")
    after = d.read_split(d.prepare(digits, "runs/b", assign="hash")).set_index("filename")["part"]
    assert len(after) == len(before) + 10
    assert after[before.index].equals(before)


def test_letters_in_natural_order(root: Path, sample: Path) -> None:
    images = sorted((sample / "trainingSet" / "7").iterdir())
    for number, name in enumerate(["b", "class 10", "class 9", "ä"]):
        (root / "scans" / name).mkdir(parents=True)
        for path in images[number * 20 : number * 20 + 20]:
            shutil.copy2(path, root / "scans" / name)
    run = d.prepare(root / "scans", "runs/a")
    assert run.class_names.index("class 9") < run.class_names.index("class 10")
    assert len(d.read_split(run)) == 80


def test_what_is_no_image_is_left_out_with_its_reason(digits: Path) -> None:
    folder = digits / "trainingSet" / "5"
    good = next(folder.iterdir()).read_bytes()
    (folder / "cut.jpg").write_bytes(good[:200])
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").touch()
    run = d.prepare(digits, "runs/a")
    rejected = run.read_table("rejected.csv").set_index("filename")["reason"]
    assert {Path(name).name for name in rejected.index} == {"cut.jpg", "text.jpg", "empty.png"}
    assert (rejected != "").all()
    assert len(d.read_split(run)) == 400


def test_an_image_in_two_sets_leaves_training(digits: Path) -> None:
    manifest = d.read_split(d.prepare(digits, "runs/a"))
    in_test = manifest[manifest["part"] == "test"].iloc[0]
    in_train = manifest[(manifest["part"] == "train") & (manifest["class"] == in_test["class"])].iloc[0]
    (digits / in_train["filename"]).exists() or pytest.fail("the manifest names files relative to the source")
    shutil.copy2(digits / in_test["filename"], digits / in_train["filename"])
    run = d.prepare(digits, "runs/b")
    assert not run.split["sha256"].duplicated().any()
    assert in_train["filename"] in run.read_table("rejected.csv")["filename"].tolist()
    kept = d.read_split(run).set_index("filename")["part"]
    assert kept[in_test["filename"]] == "test"


def test_sets_that_are_given_are_kept(digits: Path) -> None:
    for part, number in (("validation", 5), ("test", 6)):
        for digit in range(10):
            for path in sorted((digits / "trainingSet" / str(digit)).iterdir())[:number]:
                target = digits / part / str(digit) / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    (digits / "trainingSample").mkdir()
    run = d.prepare(digits, "runs/a")
    split = d.read_split(run)
    assert split["part"].value_counts().to_dict() == {"train": 290, "test": 60, "validation": 50}
    assert all(
        split.loc[split["part"] != "train", "filename"].str.split("/").str[0]
        == split.loc[split["part"] != "train", "part"]
    )
    passed = run.read_table("rejected.csv").set_index("filename")["reason"]
    assert passed.to_dict() == {
        "testSet": "beside the folder of class folders",
        "trainingSample": "beside the folder of class folders",
    }
    shutil.rmtree(digits / "test")
    assert d.data.split_counts(d.prepare(digits, "runs/b")).loc["3"].tolist() == [23, 5, 6, 34]


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_validation_images_may_be_called_as_training_images_are(digits: Path, mode: str) -> None:
    for digit in range(10):
        others = sorted((digits / "trainingSet" / str(digit)).iterdir())
        (digits / "val" / str(digit)).mkdir(parents=True)
        for other, named in zip(others[:5], others[5:], strict=False):
            other.rename(digits / "val" / str(digit) / named.name)
    before = fingerprint(digits)
    run = d.prepare(digits, "runs/a", mode=mode)
    copied = [hash for part in ("TRAIN", "TEST") for hash in fingerprint(run / part).values()]
    assert sorted(copied) == sorted(d.read_split(run)["sha256"])
    assert (
        d.class_counts(run)["Train_images"].sum()
        == d.data.split_counts(run)[["train", "validation"]].iloc[:-1].sum().sum()
    )
    assert d.undo(run) == []
    assert fingerprint(digits) == before


def test_another_split_is_not_put_over_copies(digits: Path) -> None:
    run, other = d.prepare(digits, "runs/a"), d.prepare(digits, "runs/b", seed=2, mode="none")
    before = fingerprint(run.folder)
    with pytest.raises(d.DigitError, match="digitlib undo runs/a"):
        d.data.share_split(other, run)
    assert fingerprint(run.folder) == before
    d.undo(run)
    d.data.share_split(other, run)
    assert d.read_split(run).equals(d.read_split(other))


def test_what_all_runs_share_is_not_moved(digits: Path) -> None:
    archive = shutil.make_archive(str(digits.parent / "scans"), "zip", digits)
    with pytest.raises(d.DigitError, match=r"scans.zip.* can't be moved: choose mode 'copy'"):
        d.prepare(archive, "runs/a", mode="move")
    assert len(d.read_split(d.prepare(archive, "runs/a"))) == 400


def test_an_address_is_copied_once_and_continues_where_it_was_stopped(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, copied, stop = fsspec.filesystem("memory"), [], 5
    there.put(str(digits / "trainingSet"), "/bucket/scans", recursive=True)
    there.pipe("/bucket/scans/.hidden/x.png", b"x")
    real = there.get

    def get(_: object, some: list[str], to: list[str]) -> None:
        copied.extend(some[:stop])
        real(some[:stop], to[:stop])
        if stop:
            raise OSError("the line is dead")

    monkeypatch.setattr(type(there), "get", get)
    with pytest.raises(d.DigitError, match=r"memory://bucket/scans can't be copied \(the line is dead\)"):
        as_folder("memory://bucket/scans")
    stop = None
    folder = as_folder("memory://bucket/scans")
    assert sorted(fingerprint(folder).items()) == sorted(fingerprint(digits / "trainingSet").items())
    there.rm("/bucket", recursive=True)
    assert as_folder("memory://bucket/scans/") == folder
    assert len(copied) == len(set(copied)) == 400
    assert as_folder(f"file://{digits}") == digits
    with pytest.raises(d.DigitError, match=r"memory://bucket/none (can't be copied|holds no files)"):
        as_folder("memory://bucket/none")


def test_an_archive_of_a_packer_for_windows(digits: Path) -> None:
    archive = digits.parent / "scans.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((digits / "trainingSet").rglob("*.png")):
            name = str(path.relative_to(digits)).replace("/", "\\")
            packed.write(path, name)
    assert len(d.find_images(as_folder(archive)).files) == 400


def test_an_archive_of_classes_that_differ_by_case_is_refused_where_they_would_be_one(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = digits.parent / "letters.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for digit, name in enumerate("Aa"):
            for path in (digits / "trainingSet" / str(digit)).iterdir():
                packed.write(path, f"{name}/{path.name}")
    with monkeypatch.context() as patched:
        # A disk that ignores case has "cASE" where "Case" was written.
        exists = Path.exists
        patched.setattr(Path, "exists", lambda path: exists(path) or path.name == "cASE")
        with pytest.raises(d.DigitError, match="'A' and 'a', which are one on this disk"):
            as_folder(archive)
    assert d.find_images(as_folder(archive)).class_names == ["A", "a"]


def test_classes_that_differ_by_case_do_not_make_a_class_of_the_unlabelled(digits: Path) -> None:
    plain = digits / "trainingSet"
    for digit, name in enumerate(("A", "a")):
        (plain / str(digit)).rename(digits / name)
    shutil.rmtree(plain)
    assert d.find_images(digits).class_names == ["A", "a"]


def test_an_empty_folder_of_unlabelled_images_is_none(digits: Path) -> None:
    for path in (digits / "testSet").iterdir():
        path.unlink()
    assert d.prepare(digits, "runs/a").read_json("source.json")["unlabelled"] == ""


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("history.csv", "epoch,loss,seconds,learning_rate\n1,much,1,1\n", "loss must be a number, not 'much'"),
        ("history.csv", "epoch,loss,seconds,learning_rate\n2,0.5,1,1\n", "epoch must be 1, 2, 3 …"),
        ("recipe.json", "{", ".*"),
        ("recipe.json", '{"name": "a", "model": 3}', "model must be string, not 3"),
        ("source.json", "{}", "it must contain .*'pixels'.*"),
        ("source.json", "[1]", r"it must be object, not \[1\]"),
        ("split.csv", "", ".*"),
        ("split.csv", "filename;class;part\n", ".*"),
        (
            "split.csv",
            "filename,class,part,sha256,size\na,3,training,x,5\n",
            "part must be one of .*'train'.*, not 'training'",
        ),
    ],
)
def test_a_damaged_file_is_named(digits: Path, name: str, content: str, fault: str) -> None:
    run = d.prepare(digits, "runs/a", mode="none")
    (run / name).write_text(content, encoding="utf-8")
    by = "05_training_history" if name in ("history.csv", "recipe.json") else "01_data_preparation"
    read = {"history.csv": d.read_history, "recipe.json": lambda run: run.read_json("recipe.json")}
    with pytest.raises(d.DigitError, match=rf"runs/a/{name} is damaged \({fault}\): move it away and run {by} again"):
        read.get(name, partial(d.training.generator_from_split, sets="train"))(run)


def test_the_top_may_be_given_relative_to_the_current_folder(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(digits.parent.parent)
    monkeypatch.setenv("DIGITLIB_ROOT", digits.parent.name)
    assert len(d.read_split(d.prepare("scans", "runs/a", mode="none"))) == 400
    assert (digits.parent / "runs/a/split.csv").exists()


@pytest.mark.parametrize(("name", "inner"), [("unlabelled", "2024"), ("unlabelled", "3"), ("testSet", "scans")])
def test_unlabelled_images_may_stand_in_folders(digits: Path, name: str, inner: str) -> None:
    (digits / "testSet").rename(digits / "away")
    (digits / name / "more").mkdir(parents=True)
    (digits / "away").rename(digits / name / inner)
    next((digits / "trainingSet" / "1").iterdir()).rename(digits / name / "more" / "x.png")
    run = d.prepare(digits, "runs/a")
    assert run.class_names == list("0123456789")
    folder, names = unlabelled(run)
    assert folder == digits / name
    assert len(names) == 13


def test_a_folder_of_links_says_why_nothing_is_taken(digits: Path, root: Path) -> None:
    for digit in range(10):
        (root / "linked" / str(digit)).mkdir(parents=True)
        for path in (digits / "trainingSet" / str(digit)).iterdir():
            (root / "linked" / str(digit) / path.name).symlink_to(path)
    with pytest.raises(
        d.DigitError, match=r"no class folders with images.* Passed over: '0/.*' \(link out of the data folder\)"
    ):
        d.find_images("linked")
    assert len(d.data.list_images("linked/3")) == 40  # to be named, they are only read


def test_a_class_of_copies_is_refused(digits: Path) -> None:
    images = sorted((digits / "trainingSet" / "4").iterdir())
    for path in images[1:]:
        shutil.copy(images[0], path)
    with pytest.raises(
        d.DigitError,
        match=r"class '4' has 8 images and none of them in the training set: 32 are copies of images in a later set",
    ):
        d.prepare(digits, "runs/a")
    assert not (digits.parent / "runs").exists()


def test_a_class_called_total_is_counted(digits: Path) -> None:
    (digits / "trainingSet" / "9").rename(digits / "trainingSet" / "total")
    table = d.data.split_counts(d.prepare(digits, "runs/a", mode="none"))
    assert table.iloc[-2].tolist() == [28, 4, 8, 40]
    assert table.iloc[-1].tolist() == [280, 40, 80, 400]


def test_another_npz_of_the_same_name_is_another_folder(root: Path) -> None:
    for name, value in (("one", 10), ("two", 200)):
        (root / name).mkdir()
        images, labels = np.full((20, 28, 28), value, np.uint8), np.arange(20) % 2
        np.savez(root / name / "digits.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
        folder = as_folder(f"{name}/digits.npz")
        assert np.asarray(Image.open(next((folder / "train" / "0").iterdir())))[0, 0] == value


@pytest.mark.parametrize("name", ["testSet", "unlabelled"])
def test_unlabelled_images_beside_class_folders_are_no_class(digits: Path, name: str) -> None:
    plain = digits / "trainingSet"
    (digits / "testSet").rename(plain / name)
    run = d.prepare(plain, "runs/a")
    assert run.class_names == list("0123456789")
    folder, names = unlabelled(run)
    assert folder == plain / name
    assert len(names) == 12
    assert len(d.read_split(run)) == 400
    assert name not in "".join(run.read_table("rejected.csv")["filename"])


def test_a_test_set_beside_class_folders_is_no_class(digits: Path) -> None:
    plain = digits / "trainingSet"
    for digit in "01":
        image = next((plain / digit).iterdir())
        (plain / "test" / digit).mkdir(parents=True)
        image.rename(plain / "test" / digit / image.name)
    source = d.find_images(plain)
    assert source.class_names == list("0123456789")
    assert source.files["part"].value_counts().to_dict() == {"train": 398, "test": 2}


def remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda scans: remove(scans), "doesn't exist"),
        (lambda scans: remove(scans / "trainingSet"), "only one class folder with images, 'testSet'"),
        (lambda scans: remove(scans / "testSet", *scans.glob("trainingSet/[1-9]")), "only one class folder"),
        (lambda scans: remove(*sorted(scans.glob("trainingSet/6/*"))[2:]), "class '6' has only 2 images"),
        (lambda scans: [path.write_text("x") for path in scans.glob("trainingSet/6/*")], "class '6' .* not an image"),
    ],
)
def test_bad_folders_get_one_sentence_and_nothing_is_written(digits: Path, spoil, said: str) -> None:
    spoil(digits)
    with pytest.raises(d.DigitError, match=said) as told:
        d.prepare(digits, "runs/a")
    assert "\n" not in str(told.value)
    assert not (digits.parent / "runs").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("test_size", 1.2), ("validation_size", 0), ("mode", "steal"), ("assign", "x")]
    + [("seed", value) for value in (-1, 2**32, "x")],
)
def test_bad_options_name_the_parameter(digits: Path, name: str, value: object) -> None:
    with pytest.raises(d.DigitError, match=name):
        d.prepare(digits, "runs/a", **{name: value})
    assert not (digits.parent / "runs").exists()


def test_the_sample_is_5000_real_digits(sample: Path) -> None:
    labelled = [len(list((sample / "trainingSet" / str(digit)).iterdir())) for digit in range(10)]
    assert sum(labelled) + len(list((sample / "testSet").iterdir())) == 5000
    assert set(labelled) == {450}
    numbers = [int(name.removeprefix("img_").removesuffix(".png")) for name in d.data.list_images(sample / "testSet")]
    assert numbers == list(range(1, 501))


def test_a_disk_that_does_not_answer_is_no_empty_folder(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = os.scandir

    def scandir(folder: str | os.PathLike[str]) -> object:
        if Path(folder).name == gone:
            raise OSError(errno.ESTALE, "Stale file handle")
        return listing(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    gone = "7"
    rejected = d.find_images(digits).rejected
    assert "trainingSet/7,can't be read: Stale file handle" in rejected.to_csv(index=False)
    gone = "trainingSet"
    with pytest.raises(d.DigitError, match="can't be listed: Stale file handle"):
        d.find_images(digits)
