"""Files of a run that somebody has edited or that are damaged: one sentence or the same answer, never a traceback."""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from faults import SOAK, fingerprint

import digitlib as d
from digitlib import evaluation as e
from digitlib.cli import _settings_of
from digitlib.data import class_counts, split_counts
from digitlib.data.split import dark_on_light
from digitlib.evaluation import classifier
from digitlib.evaluation.metrics import evaluate_run
from digitlib.evaluation.out_of_distribution import feature_extractor
from digitlib.pipeline import report, unlabelled_images, write_predictions
from digitlib.pipeline.report import results_table, write_report
from digitlib.run import Run, best_epoch
from digitlib.scale.sweep import _results
from digitlib.training.callbacks import callbacks_for
from digitlib.training.generators import train_val_generators
from digitlib.training.models import build_model
from digitlib.training.optimizers import make_loss, make_optimizer
from digitlib.training.recipes import load_recipe

EDITED = ("source.json", "recipe.json", "training.json", "metrics.json", "calibration.json", "split.csv", "history.csv",
          "test_predictions.csv")  # fmt: skip
DAMAGED = ("best_model.keras", "calibration.npz")
EDITS, DAMAGES = (2000, 200) if SOAK else (60, 3)

WRONG = (
    None, True, -1, 0, 1, 1.5, -1e-9, 1e308, 10**30, float("nan"), float("inf"), "", "x", "3", "nan", "\0", "..", "/etc",
    "5", [], {}, [1], ["9", "8"], ["0"] * 10, {"a": 1}, {"config": 1}, [[]], [None, None], [28, -28], "move", "test",
)  # fmt: skip
"""What a value is replaced by."""

Answers = dict[str, Any]


@pytest.fixture(scope="module")
def whole(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return a run with all its files; its network was not trained, which makes no difference to its readers."""
    root = tmp_path_factory.mktemp("edited")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITLIB_ROOT", str(root))
        for digit in range(10):
            for path in sorted((sample / "trainingSet" / str(digit)).iterdir())[:10]:
                (root / "scans" / str(digit)).mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, root / "scans" / str(digit))
        run = d.prepare("scans", "runs/whole", mode="none")
        recipe = d.get_recipe("tiny", epochs=2)
        train, _ = train_val_generators(run, recipe)
        model = build_model(recipe, train.class_names)
        model.compile(make_optimizer(recipe, len(train)), make_loss(recipe), metrics=["accuracy"])
        (recorder,) = callbacks_for(run, train, recipe)
        recorder.set_model(model)
        recorder.set_params({"epochs": 2, "steps": len(train)})
        recorder.on_train_begin()
        patch.setattr(recorder, "_back_up", lambda epoch: None)  # there is no state of an optimizer yet
        for epoch, share in enumerate((0.5, 0.625)):
            recorder.on_epoch_end(epoch, {"accuracy": share, "loss": 1.5, "val_accuracy": share, "val_loss": 1.25})
        clf = e.Classifier.load(run)
        features = sum(one.shape[1] for one in feature_extractor(model).outputs[1:])
        drawn = np.random.default_rng(0).normal(size=(200, features))
        outliers = e.OutlierDetector.fit(drawn, np.eye(10)[np.arange(200) % 10], drawn, drawn + 3, drawn.shape[1] // 2)
        e.SelectiveClassifier(1.25, 0.5, 0.99, outliers.with_limits(drawn, np.arange(200) % 10)).save(run)
        evaluate_run(run)
        write_predictions(run / "predictions.csv", clf.predict(sample / "testSet" / "img_1.png"))
        # Loading a network takes longer than all that is tested here: the same bytes give the same one.
        load, networks = classifier._load_model, {}

        def loaded(path: Path) -> Any:
            data = path.read_bytes()
            if data not in networks:
                networks[data] = load(path)
            return networks[data]

        patch.setattr(classifier, "_load_model", loaded)
        patch.setattr(classifier, "feature_extractor", cache(feature_extractor))
        # Drawing takes seconds, and no reader's answer is in the figures.
        patch.setattr(report, "png_of", lambda figure: "")
        yield run


def answers(run: Run, chosen: Sequence[str]) -> Answers:
    """Return what the commands read from a run, an answer or an exception each, of some readers or of all."""
    images = np.random.default_rng(1).integers(0, 256, (3, 28, 28), np.uint8)
    readers: dict[str, Callable[[], Any]] = {
        "split": lambda: run.split,
        "class names": lambda: run.class_names,
        "counts": lambda: class_counts(run).to_csv() + split_counts(run).to_csv(),
        "colours": lambda: dark_on_light(run),
        "unlabelled": lambda: unlabelled_images(run),
        "recipe": lambda: load_recipe(run),
        "generators": lambda: train_val_generators(run, load_recipe(run)),
        "epoch": lambda: best_epoch(d.read_history(run), "best"),
        "sweep": lambda: _results(run),
        "done": lambda: run.is_done("metrics.json"),
        "settings": lambda: _settings_of(str(run.folder)),
        "results": lambda: results_table(run),
        "report": lambda: write_report(run, ()),
        "labels": lambda: e.Classifier.load(run).predict(images)["label"].tolist(),
        "card": lambda: e.Classifier.load(run).model_card(),
        "metrics": lambda: evaluate_run(run),
        "prepare": lambda: d.prepare("scans", run, mode="none"),
        "undo": lambda: d.undo(run),
    }
    found: Answers = {}
    for name in chosen or readers:
        try:
            found[name] = readers[name]()
        except Exception as error:
            found[name] = error
    return found


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value of a JSON content."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in pairs:
        yield (*at, key)
        yield from places(value, (*at, key))


def edited_json(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    content = json.loads(data)
    # The top fields matter most.
    found = [place for place in places(content) if len(place) == 1 or chance.random() < 0.3]
    *above, key = chance.choice(found)
    inner = content
    for step in above:
        inner = inner[step]
    match chance.choice(("delete", "wrong", "wrong", "wrong", "rename", "swap", "reverse", "scale")):
        case "delete":
            del inner[key]
            said = "deleted"
        case "rename" if isinstance(inner, dict):
            inner[key + chance.choice(("s", " ", "{x}", "."))] = inner.pop(key)
            said = "renamed"
        case "swap":
            other = chance.choice(list(range(len(inner)) if isinstance(inner, list) else inner))
            inner[key], inner[other] = inner[other], inner[key]
            said = f"swapped with {other}"
        case "reverse" if isinstance(inner[key], list):
            inner[key].reverse()
            said = "reversed"
        case "scale" if isinstance(inner[key], int | float):
            inner[key] *= chance.choice((-1, 0.5, 2, 1e6))
            said = f"now {inner[key]}"
        case _:
            inner[key] = value = chance.choice(WRONG)
            said = f"now {value!r}"
    return f"{'.'.join(map(str, [*above, key]))} {said}", json.dumps(content).encode()


def edited_csv(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    column, other = chance.choice(list(table)), chance.choice(list(table))
    row, twin = chance.randrange(len(table)), chance.randrange(len(table))
    place = table.columns.get_loc(column)
    match chance.choice(
        ("drop", "rename", "swap", "repeat", "cut", "exchange", "value", "value", "value", "head", "first")
    ):
        case "drop":
            return f"{column} dropped", table.drop(columns=column).to_csv(index=False).encode()
        case "rename":
            new = chance.choice((column + "s", column.upper(), other, "{x}", ""))
            return f"{column} renamed {new!r}", table.rename(columns={column: new}).to_csv(index=False).encode()
        case "swap":
            table.iloc[[row, twin], place] = table.iloc[[twin, row], place].to_numpy()
            said = f"{column} of rows {row} and {twin} swapped"
        case "exchange":
            table[[column, other]] = table[[other, column]].to_numpy()
            said = f"{column} and {other} swapped"
        case "repeat":
            table, said = pd.concat([table, table.iloc[[row]]]), f"row {row} repeated"
        case "cut":
            table, said = table.drop(index=row), f"row {row} left out"
        case "head":
            return "a name of the first line lost", data.replace(column.encode() + b",", b"", 1)
        case "first":
            return "the first line lost", data.split(b"\n", 1)[1]
        case _:
            value = chance.choice([one for one in WRONG if not isinstance(one, list | dict)])
            table.iloc[row, place] = str(value)
            said = f"{column} of row {row} now {value!r}"
    return said, table.to_csv(index=False).encode()


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return bytes of any kind of file as a disk, a copy or an editor may leave them."""
    at = chance.randrange(len(data))
    match chance.choice(
        ("cut", "cut", "flip", "flip", "zip", "empty", "list", "noise", "utf8", "twice", "deep", "bom")
    ):
        case "cut":
            return f"cut at {at}", data[:at]
        case "flip":
            return f"byte {at} flipped", data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :]
        case "zip":
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                for name in chance.choice(([], ["x.txt"], ["config.json", "metadata.json"])):
                    archive.writestr(name, "{}")
            return "another zip", file.getvalue()
        case "empty":
            return "empty", b""
        case "list":
            return "a list", b"[1]"
        case "noise":
            return "noise", chance.randbytes(chance.randrange(1, 2000))
        case "utf8":
            return f"not UTF-8 at {at}", data[:at] + b"\xff\xfe\x80" + data[at:]
        case "twice":
            return "twice", data + data
        case "deep":
            return "deep", b"[" * 100_000
        case _:
            return "with a byte order mark", b"\xef\xbb\xbf" + data


def answers_of_copy(whole: Run, name: str, data: bytes, chosen: Sequence[str] = ()) -> Answers:
    """Return the answers of a copy of a run in which one file is other."""
    copy = whole.folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole.folder, copy)
    (copy / name).write_bytes(data)
    return answers(Run(copy), chosen)


def faults_in(found: Answers, before: Answers) -> list[str]:
    """Return what is neither one sentence nor the same: other exceptions, other predictions, another test accuracy."""
    faults = [
        f"{what}: {type(one).__name__}: {one}"
        for what, one in found.items()
        if isinstance(one, Exception) and (not isinstance(one, d.DigitError) or "\n" in str(one))
    ]
    for what in {"labels", "metrics"} & set(found):
        now, then = found[what], before[what]
        if what == "metrics" and isinstance(now, dict):
            now, then = (now["test_accuracy"], now["n_test"]), (then["test_accuracy"], then["n_test"])
        if not isinstance(now, Exception) and now != then:
            faults.append(f"{what}: {now} for {then}")
    return faults


def cases(whole: Run) -> Iterator[tuple[str, str, bytes]]:
    chance = random.Random(25)
    for number in range(EDITS):
        name = EDITED[number % len(EDITED)]
        data = (whole / name).read_bytes()
        edit = edited_json if name.endswith(".json") else edited_csv
        yield name, *(damaged if chance.random() < 0.15 else edit)(data, chance)
    for number in range(DAMAGES):
        name = DAMAGED[number % len(DAMAGED)]
        yield name, *damaged((whole / name).read_bytes(), chance)


def test_edited_and_damaged_files_are_one_sentence_or_make_no_difference(whole: Run) -> None:
    scans = whole.folder.parents[1] / "scans"
    before, files = answers_of_copy(whole, "recipe.json", (whole / "recipe.json").read_bytes()), fingerprint(scans)
    assert not [one for one in before.values() if isinstance(one, Exception)]
    faults, counts, chance = [], Counter[str](), random.Random(25)
    for name, said, data in cases(whole):
        some = [] if SOAK else ["labels", *chance.sample(list(before), 4)]
        found = answers_of_copy(whole, name, data, some)
        faults += [f"{name}, {said}: {fault}" for fault in faults_in(found, before)]
        counts["refused" if any(isinstance(one, Exception) for one in found.values()) else "read"] += 1
    print(dict(counts))
    assert not faults, "\n".join(faults)
    assert fingerprint(scans) == files
