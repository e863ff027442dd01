"""The snippets of README and the guides: where each is run, and which are not run and why."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[1]
TASKS = sorted((TOP / "docs/tasks").glob("*.md"))
COMMANDS = [TOP / "README.md", TOP / "docs/operating.md", TOP / "docs/scale.md"]
"""Pages whose commands and Python tests/test_readme.py runs, in this order."""

PAGES = [
    *TOP.glob("*.md"), TOP / "notebooks/README.md", TOP / "benchmarks/results/README.md", *(TOP / "docs").rglob("*.md"),
]  # fmt: skip

COMMANDS_NOT_RUN = {
    ".venv/bin/pre-commit": "writes into .git; tests/test_guards.py runs the guards",
    "digitlib predict runs/default s3:": "needs S3; tests/test_bulk.py does it with moto",
    "digitlib sweep space.yml --scheduler": "needs a cluster; tests/test_cluster.py has one",
    "git clone": "copies this repository",
    "make check": "runs these tests",
    "make help": "lists the commands of the Makefile",
    "make lab": "goes on until it is stopped; tests/test_browser.py starts JupyterLab",
    "make soak": "runs tests for hours",
    "make test": "runs these tests",
    "python -m pip install": "sets up; tests/test_wheel.py installs the wheel",
    "source ": "for the shell of a person",
}
"""How the commands begin that no test runs as they stand, and why."""

BLOCKS_NOT_RUN = {
    "dask scheduler": "goes on until it is stopped; tests/test_cluster.py starts a scheduler and workers",
    "dask ssh": "needs several machines",
    "export DIGITLIB_ROOT=/shared": "needs several machines",
    "from dask_kubernetes": "needs Kubernetes",
    "import time\n\nfrom dask_jobqueue": "needs SLURM",
    "moto_server": "goes on until it is stopped; tests/test_bulk.py starts moto",
    "openssl req": "goes on until it is stopped",
    "python -m venv": "for Windows; tests/test_readme.py compares it with the Makefile",
}
"""How the blocks begin of which no test runs anything, and why."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each block of code of a page, but for diagrams (``text``) and directives."""
    found = re.findall(r"^```(\S*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language != "text" and "{" not in language]


def snippets(page: Path) -> Iterator[tuple[str, str]]:
    """Yield what can be run of a page: its blocks of Python, and its commands, each on one line."""
    for language, text in blocks(page):
        if text.startswith(tuple(BLOCKS_NOT_RUN)):
            continue
        if language == "python":
            yield language, text
            continue
        for line in text.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+# .*", "", line).strip()
            if command and not command.startswith(tuple(COMMANDS_NOT_RUN)):
                yield language, command


def as_run(command: str) -> list[str]:
    """Return a command with this interpreter's programs and, where it trains, the recipe `tiny`."""
    words = shlex.split(command.replace("--recipe accurate", "--recipe tiny").partition(" > ")[0])
    if words[0] == "nohup":
        words = words[1:]
    if words[:2] == ["make", "run"]:
        given = next((word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")), "")
        return ["make", "-C", str(TOP), "run", f"ARGS={given} --recipe tiny"]
    programs = Path(sys.executable).parent
    if (programs / words[0]).exists():
        words[0] = str(programs / words[0])
    if words[1:2] == ["run"] and "--recipe" not in words and "--resume" not in words:
        words += ["--recipe", "tiny"]
    return words


def quick(code: str) -> str:
    """Return Python with the recipe `tiny` and without what needs a network or time."""
    code = re.sub(r'get_recipe\("(?:fast|classic|accurate)"', 'get_recipe("tiny"', code)
    code = code.replace('recipe: str = "fast"', 'recipe: str = "tiny"')
    return code.replace('WEIGHTS = "imagenet"', "WEIGHTS = None")


def fill(place: Path, digits: Path) -> None:
    """Put into a folder the images and files that the guides speak of; `digits` is its folder ``scans``."""
    for name in ("path/to/folder", "my_images"):
        shutil.copytree(digits / "trainingSet", place / name)
    for name in ("path/to/unlabelled", "to_predict"):
        shutil.copytree(digits / "testSet", place / name)
    shutil.copy(TOP / "notebooks/photos/board.jpg", place / "photo.jpg")
    shutil.copy(next((place / "to_predict").iterdir()), place / "digit.jpg")
    (place / "notebooks").symlink_to(TOP / "notebooks")
    (place / "space.yml").write_text("data: path/to/folder\nrecipe: tiny\nepochs: 1\nseed: [1, 2]\n", encoding="utf-8")
    first = min((place / "path/to/folder/3").iterdir()).name
    (place / "corrections.csv").write_text(f"filename,label,action,new_label\n3/{first},3,drop,\n", encoding="utf-8")
