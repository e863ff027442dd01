"""What can be known of Windows without it: names, paths, and the commands of README and the guide as cmd reads them."""

from __future__ import annotations

import ntpath
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd
import pytest
from snippets import TOP, blocks, snippets

import digitlib as d
from digitlib import files
from digitlib.cli import main
from digitlib.data.datasets import find_inputs, is_address

ODD = [
    "CON",
    "nul",
    "com1",
    "LPT9.png",
    "aux.tar.gz",
    "a/prn/b",
    "a.",
    "a ",
    "a./1.png",
    "a/b ",
    "nul .png",
    "x/a:b",
    "x?",
]
EVEN = ["a", "7", "con1", "console", "a.b", "./a", ".hidden", "com10", "ä 1", "a/b.c/1.png", "null", "aCON"]

PAGES = (TOP / "README.md", TOP / "docs/operating.md")


def test_names_that_windows_takes_for_something_else() -> None:
    assert [name for name in ODD if not files.NOT_ON_WINDOWS.search(name)] == []
    assert [name for name in EVEN if files.NOT_ON_WINDOWS.search(name)] == []
    if sys.version_info >= (3, 13):  # Python's own list
        assert [name for name in ODD if not ntpath.isreserved(name)] == []
        assert [name for name in EVEN if ntpath.isreserved(name)] == []


@pytest.mark.parametrize("name", ["CON", "a.", "lpt1.x"])
def test_odd_names_from_elsewhere_are_refused_there_and_only_there(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(root / "x.zip", "w") as packed:
        packed.writestr(f"{name}/1.png", "an image")
    pixels, labels = np.zeros((4, 8, 8), np.uint8), [name, "b", name, "b"]
    assert (d.as_folder(root / "x.zip") / name / "1.png").exists()
    assert (d.as_folder((pixels, labels)) / "train" / name).exists()
    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setenv("DIGITLIB_ROOT", str(root / "there"))
    with pytest.raises(d.DigitError, match=r"holds .*/1\.png', which leads out of its folder: nothing was unpacked"):
        d.as_folder(root / "x.zip")
    with pytest.raises(d.DigitError, match=f"a class '{re.escape(name)}', which can't be the name of a folder"):
        d.as_folder((pixels, labels))
    assert not list((root / "there").rglob("*.png"))


@pytest.mark.parametrize("path", ["C:\\scans", "C:scans", "c:/scans/7", "\\\\server\\share\\scans", "D:\\a\\*.png"])
def test_a_drive_is_no_address(path: str) -> None:
    assert not is_address(path)
    assert PureWindowsPath(path).drive


def test_a_list_with_the_line_ends_and_the_encoding_of_powershell(digits: Path) -> None:
    names = [f"trainingSet/7/{path.name}" for path in sorted((digits / "trainingSet" / "7").iterdir())[:3]]
    for encoding in ("utf-16", "utf-8-sig"):
        (digits / "list.txt").write_bytes("\r\n".join(names).encode(encoding))
        assert find_inputs(digits / "list.txt") == (digits, names)
        table = pd.DataFrame({"filename": names}).to_csv(index=False, lineterminator="\r\n")
        (digits / "list.csv").write_bytes(table.encode(encoding))
        assert find_inputs(digits / "list.csv") == (digits, names)


def cmd_words(line: str) -> list[str]:
    """Return the words that cmd and a program's C library make of a line; no variable, operator or escape may be in it."""
    bare = re.sub(r'"[^"]*"', "", line)
    assert not re.search(r"[&|<>^%!'`;]", bare), line
    assert "%" not in line
    assert line.count('"') % 2 == 0
    return [word.replace('"', "") for word in re.findall(r'(?:"[^"]*"|[^\s"])+', line)]


def test_batch_commands_call_programs_that_are_set_up_with_commands_that_exist() -> None:
    lines = "".join(text for page in PAGES for language, text in blocks(page) if language == "bat").splitlines()
    assert len(lines) >= 5
    for line in lines:
        program, *rest = cmd_words(line)
        assert "/" not in program  # cmd would take it for an option
        name = PureWindowsPath(program).name
        assert program in (name, f".venv\\Scripts\\{name}")
        assert name in ("python", "digitlib", "jupyter"), line
        if name == "digitlib":
            assert rest[0] in main.commands
        if rest[:1] == ["-m"]:
            assert rest[1] in ("venv", "pip")


def test_commands_for_a_shell_mean_the_same_in_cmd() -> None:
    lines = [line for page in PAGES for language, line in snippets(page) if language == "sh"]
    shared = [line for line in lines if line.startswith(("digitlib ", "papermill "))]
    assert len(shared) >= 10
    for line in shared:
        assert cmd_words(line) == shlex.split(line)
        assert cmd_words(subprocess.list2cmdline(shlex.split(line))) == shlex.split(line)
