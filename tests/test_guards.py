"""Each guard before a commit lets through what is right and stops what is not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import guards

TOP = Path(__file__).parents[1]
# Put together here, so that this file passes the guards itself.
HOME, HOST = "/" + "home/ann/", "http" + "s://host.example"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"execution_count": None}, "not executed from top to bottom"),
        ({"outputs": [{"output_type": "stream", "name": "stderr", "text": ["W"]}]}, "log lines"),
        ({"outputs": [{"output_type": "stream", "name": "stdout", "text": [HOME]}]}, "absolute path"),
        (
            {"outputs": [{"output_type": "display_data", "metadata": {}, "data": {"image/png": "x"}}]},
            "without alt text",
        ),
        ({"metadata": {"papermill": {"duration": 1}}}, "metadata tell of an execution"),
        ({"attachments": "x" * 200_000}, "more than 200,000"),
    ],
)
def test_notebooks(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    path = Path(shutil.copy(TOP / "notebooks" / "02_class_counts.ipynb", tmp_path))
    assert list(guards.notebooks(path)) == []
    before = path.read_bytes()
    content = json.loads(before)
    next(cell for cell in content["cells"] if cell["cell_type"] == "code").update(fields)
    path.write_text(json.dumps(content), encoding="utf-8")
    assert said in "\n".join(guards.notebooks(path))
    if "metadata" in fields:  # sources, outputs and counts stay
        assert len(list(guards.tidy(path))) == 1
        assert path.read_bytes() == before


def test_paths_and_addresses_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "note.md"
    file.write_text(f"see runs/home/x and ../tmp/y, {HOST}/about\n")
    assert [guards.main([name, str(file)]) for name in ("paths", "addresses", "sizes")] == [0, 0, 0]
    file.write_text(f"fine\nin {HOME}digits\n")
    assert guards.main(["paths", str(file)]) == 1
    assert f"{file}:2: an absolute path" in capsys.readouterr().out
    for line in (f"{HOST}/simple/click", f"index-url = {HOST}", f"--find-links {HOST}"):
        file.write_text(line)
        assert guards.main(["addresses", str(file)]) == 1
    file.write_bytes(b"\xff" * (guards.MOST_BYTES + 1))
    assert guards.main(["sizes", str(file)]) == 1


def test_the_whole_project_passes() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [path for name in listed.stdout.split("\0") if name and (path := TOP / name).is_file()]
    for guard in (guards.paths, guards.addresses, guards.sizes):
        assert [fault for path in files for fault in guard(path)] == []
