"""Without the extra `cluster`, all commands work in one process and say what it would bring."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from training import run_command

pytestmark = pytest.mark.slow

MISSING = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"bokeh", "dask", "distributed", "fsspec", "optuna", "s3fs"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
"""


def test_every_command_works_in_one_process(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = digits.parent
    (root / "hidden").mkdir()
    (root / "hidden" / "sitecustomize.py").write_text(MISSING)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(root / "hidden"), os.environ.get("PYTHONPATH", "")])
    )
    (root / "space.yml").write_text(f"data: {digits}\nrecipe: tiny\nepochs: 2\nseed: [1, 2]\n")

    def said(*arguments: str, code: int = 0) -> str:
        done = run_command("digitlib", *arguments, root=root)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    sweep = ("sweep", "space.yml", "--no-notebooks", "--out", "runs/sweep")
    said(*sweep)
    assert pd.read_csv(root / "runs/sweep/sweep.csv")["state"].tolist() == ["done", "done"]
    said("ensemble", "runs/sweep", "--out", "runs/both")
    said("crossval", str(digits), "--recipe", "tiny", "--folds", "2", "--repeats", "1")
    said(
        "predict",
        "runs/both",
        str(digits / "testSet"),
        "--out",
        f"{root}/named.parquet/",
        "--partition-size",
        "5",
    )
    assert len(pd.read_parquet(root / "named.parquet")) == 12
    assert len(list((root / "named.parquet").glob("*.parquet"))) == 3
    for arguments in (
        (*sweep, "--workers", "2"),
        (
            "predict",
            "runs/both",
            str(digits / "testSet"),
            "--out",
            "x.parquet/",
            "--scheduler",
            "tcp://127.0.0.1:1",
        ),
        ("predict", "runs/both", "s3://bucket/scans", "--out", f"{root}/y.parquet/"),
    ):
        assert 'pip install "digitlib[cluster]"' in said(*arguments, code=1)
