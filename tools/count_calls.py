"""Count the calls of plain packages and of digitlib in notebooks: a lesson shows each step before the library does it.

``python tools/count_calls.py notebooks/0[1-7]_*.ipynb`` prints both for each notebook and for all. A call belongs to the
package that its first name comes from: ``np.stack(…)`` to NumPy, ``show(…)`` to digitlib, and ``model.fit(…)`` to Keras if
``model`` was assigned from a call of Keras. What Python itself brings does not count.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter
from pathlib import Path

PLAIN = ("keras", "matplotlib", "mlxtend", "numpy", "pandas", "PIL", "scipy", "seaborn", "sklearn", "tensorflow")
"""Packages that a learner also meets elsewhere."""


def count_calls(code: str) -> Counter[str]:
    """Return how many calls belong to each package.

    Parameters
    ----------
    code : str
        All cells of a notebook, one below the other.

    Examples
    --------
    >>> dict(count_calls("import numpy as np; rows = np.eye(3); print(rows.sum())"))
    {'numpy': 2}
    """
    origin: dict[str, str] = {}
    counts: Counter[str] = Counter()
    kinds = (
        ast.Import,
        ast.ImportFrom,
        ast.comprehension,
        ast.For,
        ast.Call,
        ast.Assign,
    )  # in this order within a line
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]
    for node in sorted(nodes, key=lambda node: (_line(node), kinds.index(type(node)))):
        if isinstance(node, ast.Call):
            counts[_origin(node.func, origin)] += 1
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                package = alias.name if isinstance(node, ast.Import) else node.module or ""
                origin[alias.asname or alias.name.partition(".")[0]] = package.partition(".")[0]
        else:
            targets, value = (node.targets, node.value) if isinstance(node, ast.Assign) else ([node.target], node.iter)
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            origin |= dict.fromkeys(names, _origin(value, origin))
    return Counter({package: n for package, n in counts.items() if package in ("digitlib", *PLAIN)})


def _line(node: ast.AST) -> int:
    """Return the line at which a call is made or a name gets its value."""
    if isinstance(node, ast.comprehension):
        return node.target.lineno
    return node.end_lineno if isinstance(node, ast.Assign) else node.lineno  # type: ignore[attr-defined, return-value]


def _origin(node: ast.AST, origin: dict[str, str]) -> str:
    """Return the package that the first name of an expression comes from, or nothing."""
    while not isinstance(node, ast.Name):
        following = getattr(node, "func", None) or getattr(node, "value", None) or getattr(node, "left", None)
        if not isinstance(following, ast.AST):
            return ""
        node = following
    return origin.get(node.id, "")


def count_notebook(path: Path) -> tuple[int, int]:
    """Return how many calls of plain packages, and how many of digitlib, a notebook has."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    counts = count_calls("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    return counts.total() - counts["digitlib"], counts["digitlib"]


def main(paths: list[str]) -> None:
    """Print the counts of some notebooks."""
    counts = {Path(path).name: count_notebook(Path(path)) for path in paths}
    counts["all"] = tuple(map(sum, zip(*counts.values(), strict=True)))  # type: ignore[assignment]
    for name, (plain, own) in counts.items():
        print(f"{name}: {plain} calls of plain packages, {own} of digitlib")


if __name__ == "__main__":
    main(sys.argv[1:])
