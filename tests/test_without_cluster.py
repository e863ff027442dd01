"""Without the extra `scale`, sweeps work in one process, and what needs it says so in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MISSING = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"bokeh", "dask", "distributed", "fsspec", "optuna", "pyarrow", "s3fs", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
"""

CODE = """
import sys
from digitlib import scale
from digitlib.errors import DigitError

lines = {"data": sys.argv[1], "recipe": "tiny", "epochs": 1, "seed": [1, 2]}
table = scale.run_sweep(scale.check_space(lines), "runs/sweep", workers=2)
assert table["state"].tolist() == ["done", "done"], table
search = lines | {"sampler": "optuna", "trials": 2, "learning_rate": {"low": 0.001, "high": 0.01}}
for call in (
    lambda: scale.run_sweep(scale.check_space(lines), "runs/sweep", scheduler="tcp://127.0.0.1:1"),
    lambda: scale.run_sweep(scale.check_space(search), "runs/search"),
    lambda: scale.read_space("space.yml"),
    lambda: scale.predict_bulk("runs/sweep/" + table["run"][0], sys.argv[1], "parts"),
):
    try:
        call()
    except DigitError as error:
        print(error)
"""


def test_one_process_needs_no_extra(digits: Path, root: Path) -> None:
    (root / "hidden").mkdir()
    (root / "hidden" / "sitecustomize.py").write_text(MISSING)
    path = os.pathsep.join([str(root / "hidden"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    (root / "code.py").write_text(
        "if __name__ == '__main__':\n" + "\n".join("    " + line for line in CODE.splitlines())
    )
    command = [sys.executable, str(root / "code.py"), str(digits)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "pip install" in line]
    assert [re.search(r"install (\w+):", line)[1] for line in said] == ["distributed", "optuna", "yaml", "pyarrow"]
    assert all(line.endswith('[scale]"') for line in said)
