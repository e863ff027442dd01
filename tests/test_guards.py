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


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """Return a copy of a committed notebook."""
    return Path(shutil.copy(TOP / "notebooks" / "02_class_counts.ipynb", tmp_path))


def change(path: Path, number: int, **fields: Any) -> None:
    """Change fields of one code cell."""
    content = json.loads(path.read_text(encoding="utf-8"))
    [cell for cell in content["cells"] if cell["cell_type"] == "code"][number].update(fields)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"execution_count": None}, "not executed from top to bottom"),
        ({"outputs": [{"output_type": "stream", "name": "stderr", "text": ["W"]}]}, "log lines"),
        ({"outputs": [{"output_type": "stream", "name": "stdout", "text": [HOME]}]}, "absolute path"),
        ({"source": ["x\n"] * 11}, "more than 10 lines"),
        ({"metadata": {"papermill": {"duration": 1}}}, "metadata tell of an execution"),
        ({"attachments": "x" * 150_000}, "more than 150,000"),
    ],
)
def test_notebooks(notebook: Path, fields: dict[str, Any], said: str) -> None:
    assert list(guards.notebooks(notebook)) == []
    change(notebook, 0, **fields)
    assert said in "\n".join(guards.notebooks(notebook))


def test_a_notebook_without_outputs(notebook: Path) -> None:
    for number in range(len(json.loads(notebook.read_text(encoding="utf-8"))["cells"])):
        try:
            change(notebook, number, outputs=[])
        except IndexError:
            break
    assert "no outputs" in "\n".join(guards.notebooks(notebook))


def test_tidying_keeps_sources_outputs_and_counts(notebook: Path) -> None:
    before = notebook.read_bytes()
    assert list(guards.tidy(notebook)) == []
    assert notebook.read_bytes() == before
    change(notebook, 1, metadata={"tags": ["parameters"], "collapsed": True})
    assert len(list(guards.tidy(notebook))) == 1
    assert notebook.read_bytes() == before


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
    assert [guards.main([name, str(file)]) for name in ("paths", "addresses", "sizes")] == [0, 0, 1]


def test_the_whole_project_passes() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [path for name in listed.stdout.split("\0") if name and (path := TOP / name).is_file()]
    found = [
        fault
        for path in files
        for guard in (guards.paths, guards.addresses, guards.sizes)
        for fault in guard(path)
    ]
    assert found == []
