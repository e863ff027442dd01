"""Bring ``docs/dependencies.md`` up to date: names and bounds as in pyproject.toml, versions as pinned, users as in the code.

Who maintains a package, what would go without it and why the bound is what it
is are written by hand in that table and kept; ``python tools/dependencies.py``
fills the other columns.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

TOP = Path(__file__).parents[1]
TABLE = TOP / "docs" / "dependencies.md"
MARKS = "<!-- table -->\n", "<!-- end of table -->"

IMPORTED_AS = {
    "pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage", "scikit-learn": "sklearn",
    "flask-cors": "flask_cors", "types-pyyaml": "", "ai-edge-litert": "ai_edge_litert",
}  # fmt: skip

COME_WITH = {
    "IPython": "ipykernel",
    "jupyter_client": "nbclient",
    "jupyter_core": "nbclient",
    "llvmlite": "numba",
    "traitlets": "anywidget",
}
"""Imported here too; the package that brings it is built upon it, and chooses the version that suits."""


def declared() -> dict[str, tuple[str, str]]:
    """Return each dependency's group ("" for what everyone gets) and bound, in pyproject.toml's order."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"]} | project["optional-dependencies"]
    found = {}
    for group, lines in groups.items():
        for line in lines:
            name, bound = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", line).groups()  # type: ignore[union-attr]
            if name != "digitlib":
                found[name] = (group, bound)
    return found


def pinned(name: str) -> dict[str, str]:
    """Return the versions in a list of pinned versions."""
    lines = (TOP / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;\\]+)", lines, re.MULTILINE))


def users() -> dict[str, list[str]]:
    """Return for each imported package the modules of digitlib that import it."""
    found = defaultdict(set)
    for path in TOP.glob("digitlib/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in names:
                found[name.split(".")[0]].add(path.stem)
    return {name: sorted(modules) for name, modules in found.items()}


def rows(text: str) -> dict[str, list[str]]:
    """Return what is written by hand about each package: its maintainer, what would go without it, why the bound."""
    found = {}
    for line in text.partition(MARKS[0])[2].partition(MARKS[1])[0].splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[0]] = [cells[4], cells[6], cells[7]]
    return found


def filled(text: str) -> str:
    """Return the page with its table filled anew."""
    by_hand, used, oldest, newest = (
        rows(text),
        users(),
        pinned("constraints-min.txt"),
        pinned("constraints.txt"),
    )
    lines = [
        "| Package | For | Bound | Lowest to newest | Kept by | Used in | Without it | Why this bound |",
        "|:--" * 8 + "|",
    ]
    for name, (group, bound) in declared().items():
        modules = used.get(IMPORTED_AS.get(name, name.replace("-", "_")), [])
        where = ", ".join(modules[:4]) + (f" and {len(modules) - 4} more" if len(modules) > 4 else "")
        versions = " to ".join(dict.fromkeys(x for x in (oldest.get(name), newest.get(name)) if x))
        who, without, why = by_hand.get(name, ["?", "?", "?"])
        lines.append(
            f"| {name} | {group or 'all'} | {bound} | {versions} | {who} | {where or '–'} | {without} | {why} |"
        )
    before, after = text.partition(MARKS[0])[0], text.partition(MARKS[1])[2]
    return before + MARKS[0] + "\n".join(lines) + "\n" + MARKS[1] + after


if __name__ == "__main__":
    TABLE.write_text(filled(TABLE.read_text(encoding="utf-8")), encoding="utf-8")
