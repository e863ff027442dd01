"""Data cleaned by hand: images worth a look, decisions about them, and a split that follows these."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image, ImageFilter

import digitlib as d
import digitlib.data.image_quality as image_quality
from digitlib.data import image_issues, near_duplicates
from digitlib.data.split import paths_of
from digitlib.errors import DigitError
from digitlib.handwriting import drawing_pad
from digitlib.pipeline import cleaning, results_table
from digitlib.pipeline.cleaning import ImageCleaner
from digitlib.pipeline.notebooks import _is_done
from digitlib.run import Run


def state(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, *lines: str, head: str = "filename,label,action,new_label") -> Path:
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


@pytest.fixture
def run(digits: Path) -> Run:
    return d.prepare(digits, "runs/a", mode="none")


@pytest.fixture
def issues(run: Run) -> pd.DataFrame:
    some = run.split.groupby("class").head(1).head(4)[["filename", "class", "part"]].rename(columns={"class": "label"})
    return some.assign(likely_label=["7", "8", "0", "5"], quality=[0.001, 0.01, 0.02, 0.03]).reset_index(drop=True)


def test_decisions_are_in_the_file_at_once_and_there_again_later(run: Run, issues: pd.DataFrame) -> None:
    cleaner, names = ImageCleaner(run, issues), issues["filename"].tolist()
    assert not cleaner.file.exists()
    assert [(one["label"], one["suggestion"]) for one in cleaner.items] == [
        ("0", "7"),
        ("1", "8"),
        ("2", "0"),
        ("3", "5"),
    ]
    cleaner.decide(names[0], "relabel", "7")
    cleaner.decisions = [cleaner.decisions[0], ["drop", ""], ["keep", ""], ["", ""]]  # as the browser does it
    assert (run / "corrections.csv").read_text().splitlines() == [
        "filename,label,action,new_label", f"{names[0]},0,relabel,7", f"{names[1]},1,drop,", f"{names[2]},2,keep,",
    ]  # fmt: skip
    assert cleaner.status == "3 of 4 images decided; corrections go to runs/a/corrections.csv"
    later = ImageCleaner(run, issues.tail(2))
    assert later.decisions == [["", ""], ["keep", ""]]  # what is not decided comes first
    later.decide(names[2], "")
    assert d.data.read_corrections(later.file)["filename"].tolist() == names[:2]  # the others' stay
    with pytest.raises(DigitError, match="new_label is 'x': it must be one of 0, 1"):
        later.decide(names[2], "relabel", "x")
    with pytest.raises(DigitError, match="action is 'move'"):
        later.decide(names[2], "move")
    later.file.write_text("x")
    later.decide(names[2], "keep")
    assert later.status.startswith("Not written: runs/a/corrections.csv has no column 'filename'")


def test_every_kind_of_table_says_why_an_image_is_worth_a_look(run: Run, digits: Path, issues: pd.DataFrame) -> None:
    names = run.split["filename"]
    copy = digits / names[run.split["part"] == "test"].iloc[-1]
    Image.open(copy).point(lambda value: value // 9).save(digits / "trainingSet/0/dark.png")
    Image.open(copy).save(digits / "trainingSet/4/copy.jpg", quality=95)
    run = d.prepare(digits, "runs/a", mode="none")
    predictions = pd.DataFrame({"filename": names, "label": "3", "confidence": 1.0}).replace({"confidence": {1.0: 0.9}})
    predictions.loc[5, "confidence"] = 0.2
    cleaner = ImageCleaner(run, issues, near_duplicates(run), image_issues(run), predictions)
    reasons = {one["name"]: one for one in cleaner.items}
    assert reasons["trainingSet/0/dark.png"]["reason"].startswith("dark, score 0.1")
    assert reasons[names[0]]["reason"].startswith("label quality 0.001; predicted 3 with 90%")
    assert reasons[names[5]]["suggestion"] == "3"
    (pair,) = [one for one in cleaner.items if "r = 0.9" in one["reason"] or "r = 1.0" in one["reason"]]
    assert pair["reason"].startswith("like trainingSet/")
    assert len(pair["images"]) == 2
    with pytest.raises(DigitError, match="a table with the columns filename, class says nothing to clean"):
        ImageCleaner(run, run.split[["filename", "class"]])
    with pytest.raises(DigitError, match="run notebook 10_label_check"):
        ImageCleaner(run)


@pytest.mark.parametrize("mode", ["none", "copy", "move"])
def test_prepare_applies_corrections_and_leaves_the_other_images_in_their_sets(digits: Path, mode: str) -> None:
    before, run = state(digits), d.prepare(digits, "runs/a", mode="none")
    split = run.split.set_index("filename")
    tests = split.index[split["part"] == "test"]
    moved, gone, kept = tests[0], split.index[3], split.index[4]
    lines = [f"{moved},0,relabel,9", f"{gone},0,drop,", f"{kept},0,keep,", f"{kept},0,keep,"]
    file = write(digits.parent / "c.csv", *lines)
    clean = d.prepare(digits, "runs/b", mode=mode, corrections=file)
    after = clean.split.set_index("filename")
    assert after.loc[moved, ["class", "given_label", "part"]].tolist() == ["9", "0", "test"]
    assert set(split.index) - set(after.index) == {gone}
    pd.testing.assert_series_equal(after["part"].drop(moved), split["part"].drop([moved, gone]))
    assert clean.read_table("rejected.csv").to_numpy().tolist() == [[gone, "dropped by c.csv"]]
    about = clean.read_json("source.json")["corrections"]
    assert about == {
        "file": "c.csv", "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "relabelled": 1, "dropped": 1,
        "in_test": 1 + (split.loc[gone, "part"] == "test"),
    }  # fmt: skip
    assert all(Path(path).is_file() for path in paths_of(clean, clean.split))
    if mode != "none":
        (placed,) = clean.folder.glob("TEST/9/relabelled from 0/*")
        assert placed.name == Path(moved).name
        assert len(list((clean / "TEST/9").rglob("*.*"))) == 9
    written = {name: (clean / name).read_bytes() for name in ("split.csv", "source.json", "rejected.csv")}
    d.prepare(digits, "runs/b", mode=mode, corrections=file)
    assert {name: (clean / name).read_bytes() for name in written} == written
    if mode == "move":
        with pytest.raises(DigitError, match="holds images moved out of"):
            d.prepare(digits, "runs/b", mode=mode)
    d.undo(clean)
    assert state(digits) == before


def test_corrections_that_change_nothing_give_the_same_split(digits: Path, run: Run) -> None:
    before = (run / "split.csv").read_bytes()
    file = write(
        digits.parent / "c.csv", f"{run.split['filename'][0]},0,keep,", head="\ufefffilename,label,action,new_label"
    )
    d.prepare(digits, "runs/a", mode="none", corrections="c.csv")
    assert (run / "split.csv").read_bytes() == before
    assert run.read_json("source.json")["corrections"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_an_image_under_two_classes_is_used_again_when_it_is_corrected(digits: Path) -> None:
    other = digits / "trainingSet/3/twin.png"
    other.write_bytes(
        (digits / "trainingSet/5/" / sorted(p.name for p in (digits / "trainingSet/5").iterdir())[0]).read_bytes()
    )
    run = d.prepare(digits, "runs/a", mode="none")
    assert len(run.read_table("rejected.csv")) == 2
    write(digits.parent / "c.csv", "trainingSet/3/twin.png,3,drop,")
    run = d.prepare(digits, "runs/a", mode="none", corrections="c.csv")
    assert run.read_table("rejected.csv")["filename"].tolist() == ["trainingSet/3/twin.png"]


@pytest.mark.parametrize(
    ("lines", "head", "said"),
    [
        (["NAME,0,drop,"], "filename,label,action", "c.csv has no column 'new_label': it needs the columns filename"),
        (["x.png,0,drop,"], "", "c.csv, line 2: there is no image 'x.png' in the data"),
        (["NAME,0,keep,", "NAME,0,drop,"], "", "c.csv, line 3: .* has another correction in line 2"),
        (["NAME,0,relabel,ten"], "", "c.csv, line 2: there is no class 'ten': choose from 0, 1"),
        (["NAME,0,relabel,"], "", "c.csv, line 2: action 'relabel' needs a class in new_label"),
        (["NAME,0,drop,3"], "", "c.csv, line 2: action 'drop' takes no class in new_label"),
        (["NAME,0,drops,"], "", "c.csv, line 2: action is 'drops': did you mean 'drop'?"),
        (["NAME,4,keep,"], "", "c.csv, line 2: .* has the label '0' now, not '4'"),
        (["ALL"], "", "c.csv leaves no image in class '0'"),
        ([], "none", "can't be read .No such file or directory.: it needs the columns"),
    ],
)  # fmt: skip
def test_bad_corrections_get_one_sentence_and_change_nothing(
    digits: Path, run: Run, lines: list[str], head: str, said: str
) -> None:
    before, names = state(run.folder), run.split.query("`class` == '0'")["filename"]
    if lines == ["ALL"]:
        lines = [f"{name},0,drop," for name in names]
    if head != "none":
        lines = [line.replace("NAME", names.iloc[0]) for line in lines]
        write(digits.parent / "c.csv", *lines, head=head or "filename,label,action,new_label")
    with pytest.raises(DigitError, match=said) as caught:
        d.prepare(digits, "runs/a", mode="none", corrections="c.csv")
    assert "\n" not in str(caught.value)
    assert state(run.folder) == before


@pytest.mark.slow
def test_the_report_and_the_card_say_what_was_corrected(digits: Path, run: Run) -> None:
    tests = run.split.query("part == 'test'")["filename"]
    write(digits.parent / "c.csv", f"{tests.iloc[0]},0,relabel,9", f"{tests.iloc[1]},0,drop,")
    run = d.prepare(digits, "runs/a", mode="none", corrections="c.csv")
    d.train_run(run, d.get_recipe("tiny", epochs=1, min_steps=1))
    d.evaluate_run(run)
    table = results_table(run).set_index("result")["value"]
    assert table["Corrections by hand"].endswith(
        "relabelled 1, dropped 1; 2 of these in the test set, so that results do not compare with those before"
    )
    assert "Corrected by hand: c.csv (sha256" in d.Classifier.load(run).model_card()


@pytest.mark.parametrize("by", ["cleanvision", "numpy"])
def test_images_that_are_not_as_the_others_are_found(digits: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    folder = digits / "trainingSet/5"
    if by == "numpy":
        monkeypatch.setattr(image_quality, "find_spec", lambda name: None)
    else:
        pytest.importorskip("cleanvision")
    assert image_issues(digits).empty  # digits on black are neither dark nor without information
    image = Image.open(sorted(folder.iterdir())[0])
    for name, bad in {
        "dark": image.point(lambda value: value // 5), "blank": Image.new("L", image.size),
        "white": Image.new("L", image.size, 255),
        "blurry": image.filter(ImageFilter.GaussianBlur(2)), "large": image.resize((56, 56)), "flat": image.resize((28, 9)),
        "fine": image.convert("RGB"), "transparent": image.convert("LA"), "palette": image.convert("P"),
    }.items():  # fmt: skip
        bad.save(folder / f"{name}.png")
    (folder / "note.png").write_text("not an image")
    found = image_issues(digits / "trainingSet/5")
    assert list(found) == ["filename", "issue", "score"]
    assert set(found[["filename", "issue"]].itertuples(index=False, name=None)) == {
        ("dark.png", "dark"), ("blank.png", "dark"), ("blank.png", "low_information"), ("white.png", "light"),
        ("white.png", "low_information"), ("blurry.png", "blurry"), ("large.png", "odd_size"), ("flat.png", "odd_size"),
        ("flat.png", "odd_aspect_ratio"),
    }  # fmt: skip
    scores = found.set_index(["filename", "issue"])["score"]
    assert scores["dark.png", "dark"] == pytest.approx(0.2, abs=0.01)
    assert found["score"].between(0, 1).all()
    split = d.prepare(digits, "runs/a", mode="none")
    assert set(image_issues(split)["filename"]) <= set(split.split["filename"])


def test_cleanvision_gives_the_same_scores(digits: Path) -> None:
    pytest.importorskip("cleanvision")
    paths = [str(path) for path in sorted((digits / "trainingSet").rglob("*.png"))[::20]]
    images = [image.image for image in d.data.read_files(paths)]
    measure, judge = image_quality._cleanvision()
    theirs = judge(pd.DataFrame([measure(one) for one in images]))
    ours = image_quality._judge(pd.DataFrame([image_quality._measure(one) for one in images]))
    for own, their in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(own.astype(float), their.astype(float), check_names=False)


def test_a_still_image_is_kept_where_nobody_decides(
    monkeypatch: pytest.MonkeyPatch, run: Run, issues: pd.DataFrame
) -> None:
    shown: list = []
    monkeypatch.setattr(drawing_pad, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: {"metadata": {}}))
    monkeypatch.setattr(cleaning, "show", shown.append)
    data, _ = DisplayFormatter().format(ImageCleaner(run, issues))
    assert "application/vnd.jupyter.widget-view+json" not in data
    assert "open the notebook in JupyterLab" in data["text/plain"]
    assert len(shown[0].axes) == 6
    assert not (run / "corrections.csv").exists()


def test_a_resumed_series_prepares_again_when_the_corrections_have_changed(digits: Path, run: Run) -> None:
    file = write(digits.parent / "c.csv", f"{run.split['filename'][0]},0,keep,")
    run = d.prepare(digits, "runs/a", mode="none", corrections=file)
    done = {"papermill": {"parameters": {"corrections": str(file)}, "end_time": "now"}, "made_from": run.hashes()}
    nbformat.write(nbformat.v4.new_notebook(metadata=done), run / "01.ipynb")
    assert _is_done(run, run / "01.ipynb", {"corrections": str(file)})
    write(file, f"{run.split['filename'][0]},0,drop,")
    assert not _is_done(run, run / "01.ipynb", {"corrections": str(file)})
