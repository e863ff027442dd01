"""Archives, names, models and parameters that were made to do harm."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import digitlib as d
from digitlib.data import datasets as samples
from digitlib.files import read_table, write_table
from digitlib.pipeline.report import write_report
from digitlib.run import Run

TOP = Path(__file__).parents[1]
CODE = ['"; __import__("os").abort() #', "'''\n\"\"\"", "\\", "\\n", "{x}", "%s", "ä👍\udcff", "\n!touch x", "= 1"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "\\evil", "..\\evil", "C:evil", "C:\\evil", "a/..\\..\\evil", "link"]
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(root: Path, name: str) -> None:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16 if name == "link" else 0
    with zipfile.ZipFile(root / "x.zip", "w") as packed:
        packed.writestr("a/1.png", "harmless")
        packed.writestr(member, "/etc")
    for take in (d.as_folder, d.data.find_inputs):
        with pytest.raises(d.DigitError, match="leads out of its folder: nothing was unpacked"):
            take(root / "x.zip")
    assert {path.name for path in root.rglob("*")} == {"x.zip", "data"}
    assert not (root.parent / "evil").exists()


@pytest.mark.parametrize("kind", ["size", "count", "lie"])
def test_an_archive_that_would_fill_the_disk_is_refused(root: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MAX_ARCHIVE_FILES", 100)
    with zipfile.ZipFile(root / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(101 if kind == "count" else 1):
            packed.writestr(f"a/{number}", bytes(20_000_000 if kind != "count" else 1))
    if kind == "lie":  # the sizes in the list of contents are not those of the contents
        data = bytearray((root / "x.zip").read_bytes())
        for head, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
            at = data.index(head) + place
            data[at : at + 4] = (1000).to_bytes(4, "little")
        (root / "x.zip").write_bytes(data)
    with pytest.raises(d.DigitError, match="zip bomb" if kind != "lie" else "isn't a zip archive that can be unpacked"):
        d.as_folder(root / "x.zip")
    assert [path.name for path in (root / "data").iterdir()] == []


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive at all"])
def test_what_is_no_archive_is_refused(root: Path, data: bytes) -> None:
    (root / "x.zip").write_bytes(data)
    with pytest.raises(d.DigitError, match="isn't a zip archive"):
        d.as_folder(root / "x.zip")


def test_no_table_holds_a_name_that_a_spreadsheet_executes(root: Path) -> None:
    names = ["=1+1.png", "+cmd|' /C calc'!A0", "-2.png", "@SUM(1)", "\tx", "\rx", "a\rb", "plain.png"]
    predictions = pd.DataFrame({"filename": names, "label": "1", "confidence": 0.5, "reason": ""})
    d.pipeline.write_predictions(root / "predictions.csv", predictions)
    write_table(root / "rejected.csv", pd.DataFrame({"filename": names, "reason": "not an image"}))
    for table in ("predictions.csv", "rejected.csv"):
        cells = pd.read_csv(root / table, dtype=str)["filename"]
        assert not cells.str.match(r"[=+\-@\t\r]").any()
        assert [Path(cell) for cell in cells] == [Path(name) for name in names]  # the same files
        assert read_table(root / table)["filename"].tolist() == names
    d.pipeline.write_predictions(root / "predictions.parquet", predictions)  # where nothing is executed
    assert pd.read_parquet(root / "predictions.parquet")["filename"].tolist() == names


def write_images(folder: Path, *names: str) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8)).save(folder / name / f"{number}.png")


@pytest.mark.parametrize("name", ["=cmd|'x'!A0", "@SUM(A1)", "+a", "-a", "=1"])
def test_classes_named_like_formulas_are_refused(root: Path, name: str) -> None:
    write_images(root / "scans", "a", name)
    with pytest.raises(d.DigitError, match="begins like a formula"):
        d.prepare(root / "scans", "runs/a")


def test_signs_and_numbers_are_good_names_of_classes(root: Path) -> None:
    write_images(root / "scans", "=", "+", "-", "-1", "+2.5", "@")
    run = d.prepare(root / "scans", "runs/a")
    assert set(d.read_split(run)["class"]) == {"=", "+", "-", "-1", "+2.5", "@"}
    assert run.split.equals(d.prepare(root / "scans", "runs/a").split)
    assert d.undo(run) == []


EVIL = "<img src=x onerror=alert(1)>&`*_[a](javascript:1)"


def test_names_that_are_html_are_text_in_the_report(root: Path) -> None:
    run = Run(root / f"runs{EVIL}")
    notebook = nbformat.v4.new_notebook()
    table = pd.DataFrame({"filename": [EVIL], "label": EVIL})
    outputs = [
        nbformat.v4.new_output("stream", text=EVIL + " https://example.org"),
        nbformat.v4.new_output("display_data", {"text/html": table.to_html(), "text/plain": ""}),
        nbformat.v4.new_output("display_data", {"text/html": table.style.format(escape="html").to_html()}),
        nbformat.v4.new_output("error", ename="DigitError", evalue=EVIL, traceback=[EVIL]),
    ]
    notebook.cells.append(nbformat.v4.new_code_cell("1", outputs=outputs))
    run.folder.mkdir(parents=True)
    nbformat.write(notebook, root / "x.ipynb")
    report = write_report(run, [root / "x.ipynb"]).read_text(encoding="utf-8")
    page = (run / "notebooks/x.html").read_text(encoding="utf-8")
    assert report.count("&lt;img src=x") == 2
    assert page.count("&lt;img src=x") >= 5
    assert_loads_nothing(report)
    assert_loads_nothing(page)


def test_names_that_are_html_are_text_in_the_gallery(root: Path) -> None:
    write_images(root, "a")
    names = ["a/0.png", EVIL, "a/1.png"]
    predictions = pd.DataFrame({"filename": names, "label": [EVIL, "", "1"], "confidence": [0.5, np.nan, 0.6],
        "reason": ["", EVIL, ""], "label_2": EVIL, "confidence_2": 0.1})  # fmt: skip
    d.pipeline.write_gallery(root / "page.html", root, predictions)
    page = (root / "page.html").read_text(encoding="utf-8")
    assert page.count("&lt;img src=x") == 6
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 2
    assert "default-src 'none'" in page
    assert_loads_nothing(page)


def assert_loads_nothing(page: str) -> None:
    """Check that a page, its styles and its scripts fetch nothing from anywhere."""
    assert "<script" not in page
    assert "<img src=x" not in page
    tags = re.findall(r"<(?:script|link|img|iframe|object|embed|source|video|audio|form)\b[^>]*>", page)
    assert not [tag for tag in tags if re.search(r"(src|href|data|action)\s*=\s*[\"']?(https?:)?//", tag)]
    assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import|\bimport\s*\(|\bfetch\(|XMLHttpRequest", page)
    assert not re.search(r"\bfrom\s+[\"']https?:|\bimport\s+[\"']https?:", page)


def test_the_notebooks_style_no_table_without_escaping() -> None:
    for path in sorted((TOP / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and ".style." in source and "training_accuracy" not in source:
                assert 'escape="html"' in source or "history.tail()" in source, path.name


def test_papermill_hands_on_parameters_as_they_are() -> None:
    from papermill.translators import PythonTranslator

    given = {"data": CODE, "run_dir": "".join(CODE), "epochs": {'"': CODE[0]}, "size": [1, 2]}
    text = PythonTranslator.codify(given)
    found: dict[str, object] = {}
    exec(text, {}, found)
    assert found == given


def test_values_of_the_command_line_are_not_executed(root: Path) -> None:
    from digitlib.cli import values

    for text in [*CODE, "__import__('os').abort()", "[].append(1)", "(" * 300]:
        assert values([("x", text)]) == {"x": text}
    for text in ("[1, 2]", "(1, 2)", "1, 2"):
        assert values([("x", text)]) == {"x": [1, 2]}


@pytest.mark.parametrize("pattern", [r"\bpickle", r"allow_pickle=True", r"\bjoblib\.(load|dump)", r"\bdill\b", r"\bexec\(",
    r"(?<!literal_)(?<![.\w])eval\(", r"shell=True", r"os\.system", r"torch\.load", r"yaml\.load", r"safe_mode=False"])  # fmt: skip
def test_nothing_is_read_that_could_be_code(pattern: str) -> None:
    for path in [*TOP.glob("digitlib/**/*.py"), *TOP.glob("notebooks/*.ipynb"), *TOP.glob("tools/*.py")]:
        text = re.sub(r"allow_pickle=False", "", path.read_text(encoding="utf-8"))
        assert not re.search(pattern, text), path.name


MODELS = """
import sys, zipfile, json
from pathlib import Path
from digitlib.training.backend import keras
top = Path(sys.argv[1])
lambda_layer = keras.layers.Lambda(lambda x: __import__("os").system(f"touch {sys.argv[1]}/executed") or x)
inner = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
keras.Sequential([*inner, keras.layers.Lambda(lambda x: x)]).save(top / "lambda.keras")
good = keras.Sequential(inner)
good.save(top / "good.keras")
good.save(top / "good.h5")
(top / "cut.keras").write_bytes((top / "good.keras").read_bytes()[:3000])
(top / "text.keras").write_text("a network")
(top / "empty.keras").touch()
for name, change in {
    "os": {"module": "os", "class_name": "system", "config": {"command": f"touch {top}/executed"}, "registered_name": "os"},
    "builtins": {"module": "builtins", "class_name": "exec", "config": {"source": "raise SystemExit"}, "registered_name": None},
}.items():
    with zipfile.ZipFile(top / "good.keras") as old, zipfile.ZipFile(top / f"{name}.keras", "w") as new:
        for item in old.namelist():
            data = old.read(item)
            if item == "config.json":
                config = json.loads(data)
                config["config"]["layers"][1] = change
                data = json.dumps(config).encode()
            new.writestr(item, data)
from digitlib.errors import DigitError
from digitlib import Classifier
names = list("0123456789")
assert Classifier.load(top / "good.keras", names).model.count_params() == 7850
for name in ["lambda.keras", "os.keras", "builtins.keras", "cut.keras", "text.keras", "empty.keras", "good.h5", "none.keras"]:
    try:
        Classifier.load(top / name, names)
        print(name, "LOADED")
    except DigitError as error:
        print(name, "refused", str(error).count("\\n"))
"""


@pytest.mark.slow
def test_models_that_hold_code_or_are_none_are_refused(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MODELS, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.endswith("refused 0") for line in lines), lines
    assert not (tmp_path / "executed").exists()
