"""Every page of docs/tasks is run here, each by itself, on small data and with the recipe `tiny`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from snippets import BLOCKS_NOT_RUN, COMMANDS, COMMANDS_NOT_RUN, PAGES, TASKS, TOP, as_run, fill, quick, snippets

import digitlib as d


@pytest.fixture(scope="module")
def place(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with what the pages speak of: 400 images and a trained run."""
    folder = tmp_path_factory.mktemp("guides")
    for part, n in ((f"trainingSet/{digit}", 40) for digit in range(10)):
        shutil.copytree(sample / part, folder / "scans" / part, ignore=lambda _, names, n=n: sorted(names)[n:])
    shutil.copytree(sample / "testSet", folder / "scans/testSet", ignore=lambda _, names: sorted(names)[12:])
    fill(folder, folder / "scans")
    files = sorted((folder / "my_images").rglob("*.*"))
    names = [path.relative_to(folder).as_posix() for path in files]
    labels = [path.parent.name for path in files]
    pd.DataFrame({"filename": names, "label": labels}).to_csv(folder / "labels.csv", index=False)
    np.savez(folder / "digits.npz", images=np.stack([np.asarray(Image.open(path)) for path in files]), labels=labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITLIB_ROOT", str(folder))
        run = d.prepare("my_images", "runs/mine")
        d.train_run(run, d.get_recipe("tiny"))
        d.evaluate_run(run)
        shutil.copytree(folder / "runs/mine", folder / "runs/other")
        yield folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", TASKS, ids=lambda page: page.stem)
def test_every_snippet_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.chdir(place)
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    names: dict[str, object] = {"__name__": "guide"}
    for language, text in snippets(page):
        if language == "python":
            exec(compile(quick(text), page.stem, "exec"), names)
            continue
        done = subprocess.run(as_run(text), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    plt.close("all")
    for name, right in RESULTS.get(page.stem, {}).items():
        assert right(names[name]), name


RESULTS = {
    "class_weights": {"weights": lambda weights: len(weights) > 1},
    "cross_validate": {"predicted": lambda classes: len(classes) == 400},
    "evaluate_on_labelled_images": {"errors": lambda table: not table["correct"].any()},
    "many_seeds": {"table": lambda table: len(table) == 3, "mean": lambda mean: 0 <= mean <= 1},
    "on_a_phone": {"probabilities": lambda row: abs(float(row.sum()) - 1) < 1e-3},
    "own_network": {"table": lambda table: len(table) == 12},
    "predict_a_folder": {"table": lambda table: len(table) == 12 and table["label"].notna().all()},
    "predict_an_array": {"probabilities": lambda rows: rows.shape == (100, 10)},
    "read_a_photo": {"digits": lambda images: images.shape[1:] == (28, 28)},
    "reject_uncertain_predictions": {"accepted": lambda table: table["accepted"].all()},
}
"""What the names of a page's snippets hold after it."""


def test_the_list_of_tasks_has_every_page_with_its_title() -> None:
    listed = dict(re.findall(r"\[([^]]+)\]\(tasks/(\w+)\.md\)", (TOP / "docs/library.md").read_text(encoding="utf-8")))
    titles = {page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# "): page.stem for page in TASKS}
    assert len(titles) >= 20
    assert listed == titles


def test_every_snippet_is_run_or_listed_with_the_reason() -> None:
    run = {snippet for page in [*TASKS, *COMMANDS] for snippet in snippets(page)}
    assert {language for language, _ in run} == {"python", "sh"}
    for page in PAGES:
        assert set(snippets(page)) <= run, f"{page.relative_to(TOP)}: no test runs this"
    everything = "".join(f"\n{page.read_text(encoding='utf-8')}" for page in PAGES)
    assert [start for start in (*COMMANDS_NOT_RUN, *BLOCKS_NOT_RUN) if f"\n{start}" not in everything] == []
