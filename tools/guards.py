"""What no commit may hold; pre-commit calls it with the files of a commit, the tests with all files.

``python tools/guards.py paths FILE...`` and the same with ``addresses``, ``sizes`` and ``notebooks`` print a line a fault and
exit with 1 if there is any; ``tidy`` removes the traces of an execution from notebooks' metadata and leaves their outputs,
which the tests compare, as they are.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_BYTES = 200_000
"""Of any file but the lists of versions; GitHub's pages and a clone stay quick."""

MOST_NOTEBOOK_BYTES = 200_000

LISTS = ("constraints.txt", "constraints-min.txt", "constraints-run.txt")

ABSOLUTE = re.compile(r"(?<![\w.])/(?:work|root|tmp|home|Users)/|(?<!\w)[A-Z]:\\\\?Users")
"""Folders of one person or one machine."""

ADDRESS = re.compile(
    r"(?:index-url|find-links|registry)[ =:\"']+https?:|https?://[^\s\"')]+/(?:simple|packages|pypi|conda)(?:/|\b)"
)
"""Where packages come from is everyone's own setting; a list of pinned versions with hashes needs no address."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""Of every notebook: any Python that Jupyter calls python3."""


def matches(pattern: re.Pattern[str], path: Path, what: str) -> Iterator[str]:
    """Yield a fault for each line of a text file in which the pattern is found."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if found := pattern.search(line):
            yield f"{path}:{number}: {what} {found.group()!r}"


def paths(path: Path) -> Iterator[str]:
    """Yield absolute paths; this file, its pattern being one, is left out."""
    if path.resolve() != Path(__file__).resolve():
        yield from matches(ABSOLUTE, path, "an absolute path:")


def addresses(path: Path) -> Iterator[str]:
    """Yield addresses of package registries."""
    yield from matches(ADDRESS, path, "an address of a package registry:")


def sizes(path: Path) -> Iterator[str]:
    """Yield files that are too large."""
    if path.name not in LISTS and path.stat().st_size > MOST_BYTES:
        yield f"{path}: {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}; what can be made again is not kept"


def notebooks(path: Path) -> Iterator[str]:
    """Yield what keeps a notebook from being read, executed by papermill and compared by nbval."""
    if path.stat().st_size >= MOST_NOTEBOOK_BYTES:
        yield f"{path}: {path.stat().st_size:,} bytes, more than {MOST_NOTEBOOK_BYTES:,}"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    outputs = json.dumps([cell["outputs"] for cell in code])
    if [cell["execution_count"] for cell in code] != list(range(1, len(code) + 1)):
        yield f"{path}: not executed from top to bottom; make notebooks does it"
    if not any(cell["outputs"] for cell in code):
        yield f"{path}: no outputs; they are compared with what others get, so keep them"
    shown = [output for cell in code for output in cell["outputs"] if "image/png" in output.get("data", {})]
    if not all(output["metadata"].get("image/png", {}).get("alt") for output in shown):
        yield f"{path}: a figure without alt text; digitlib.plots.show(figure, alt=...) gives it one"
    if '"stderr"' in outputs:
        yield f"{path}: an output holds warnings or log lines (stderr)"
    if found := ABSOLUTE.search(outputs):
        yield f"{path}: an output holds an absolute path: {found.group()!r}"
    if tidied(notebook) != notebook:
        yield f"{path}: its metadata tell of an execution; python tools/guards.py tidy {path} removes that"


def tidied(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook with nothing but tags in its cells' metadata; sources, outputs and counts stay."""
    kept = [
        cell | {"metadata": {name: value for name, value in cell["metadata"].items() if name == "tags"}}
        for cell in notebook["cells"]
    ]
    return notebook | {"cells": kept, "metadata": METADATA}


def tidy(path: Path) -> Iterator[str]:
    """Tidy a notebook in place; yield that it was needed, so that the commit is looked at again."""
    before = json.loads(path.read_text(encoding="utf-8"))
    after = tidied(before)
    if after != before:
        path.write_text(json.dumps(after, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        yield f"{path}: metadata tidied; add it to the commit"


GUARDS = {"paths": paths, "addresses": addresses, "sizes": sizes, "notebooks": notebooks, "tidy": tidy}


def main(arguments: list[str]) -> int:
    """Print what one guard finds in some files."""
    name, *files = arguments
    faults = [fault for file in files for fault in GUARDS[name](Path(file))]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
