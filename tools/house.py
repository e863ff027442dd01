"""Draw the house from its code: which room holds which modules of digitlib, and which rooms use which.

``python tools/house.py`` reads the imports and writes ``docs/house.svg``; the
edges stand in the picture's metadata, where a test compares them with the code.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from textwrap import wrap

TOP = Path(__file__).parents[1]
PICTURE = TOP / "docs" / "house.svg"

ROOMS = {
    "ground": "errors project files progress showing runs shipped locking cluster backend precision recipes",
    "sources": "stores ingest samples sources inputs decoding pixels image_rows tables partitions",
    "split": "placing places folders split sharing counts duplicates",
    "generators": "resampling affine generators",
    "models": "models joining",
    "training": "history resuming training seeds",
    "evaluation": (
        "evaluation comparing calibration rejecting mistakes drawing familiarity trust unknowns why held_out "
        "cross_validation labels"
    ),
    "pictures": "plots image_plots trust_plots label_plots pages gallery",
    "prediction": "writing prediction",
    "handwriting": "sheet inking segmentation writing_lines forms naming reading readings strokes pad",
    "export": "card webnet page exporting",
    "series": "report kernels forecast series",
    "many runs": (
        "unattended members ensembles validating jobs parts bulk sweep_space sweep_table sweep_plots sweep_progress "
        "sweep_pruning sweep_run sweep_search sweep"
    ),
    "command": "completing installed doctor cli __main__",
}
"""In the data's order: a module uses its own room and those above it. One that is not listed goes as low as it must."""


def imports() -> dict[str, set[str]]:
    """Return for each module of digitlib the modules of digitlib that it imports, anywhere in it.

    Imports for the type checker alone are left out: they are not executed.
    """
    found: dict[str, set[str]] = {}
    for path in sorted((TOP / "digitlib").glob("*.py")):
        if path.stem == "__init__":
            continue  # it imports by name, when a name is first used
        found[path.stem] = set()
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("digitlib."):
                found[path.stem].add(str(node.module).split(".")[1])
    return found


def executed(tree: ast.AST) -> list[ast.AST]:
    """Return the nodes of a module without what stands below ``if TYPE_CHECKING``."""
    nodes = [tree]
    for node in nodes:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            nodes.extend(ast.iter_child_nodes(node))
    return nodes


def rooms_of(edges: dict[str, set[str]]) -> dict[str, str]:
    """Return each module's room; raise `graphlib.CycleError` if modules import each other in a circle."""
    order = list(ROOMS)
    listed = {module: room for room, modules in ROOMS.items() for module in modules.split()}
    rooms: dict[str, str] = {}
    for module in TopologicalSorter(edges).static_order():
        lowest = max([order.index(rooms[used]) for used in edges[module]], default=0)
        rooms[module] = listed.get(module, order[lowest])
    return rooms


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Return the imports that point the wrong way, to a room further down."""
    order, rooms = list(ROOMS), rooms_of(edges)
    return [
        f"{module} ({rooms[module]}) imports {used} ({rooms[used]})"
        for module, every in edges.items()
        for used in sorted(every)
        if order.index(rooms[used]) > order.index(rooms[module])
    ]


def recorded(picture: Path = PICTURE) -> dict[str, list[str]]:
    """Return the edges that a picture was drawn from."""
    found = re.search(r"EDGES (\{.*?\})", picture.read_text(encoding="utf-8"))
    return json.loads(found[1].replace("&quot;", '"')) if found else {}


def draw(edges: dict[str, set[str]], picture: Path = PICTURE) -> None:
    """Draw the rooms below each other; an arc at the side for each room that uses another, thicker for more imports."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "house"  # the same code gives the same file
    from matplotlib import pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    from digitlib.plots import BLUE, GREY, ORANGE

    rooms = rooms_of(edges)
    texts = {
        room: wrap("\u00a0· ".join(sorted(name for name, its in rooms.items() if its == room)), 68)
        for room in ROOMS
    }
    figure, axes = plt.subplots(figsize=(8.6, 0.32 * sum(map(len, texts.values())) + 0.33 * len(ROOMS) + 0.3))
    places, y = {}, 0.0
    for room, lines in texts.items():
        height = 0.42 + 0.3 * len(lines)
        color = GREY if room == "ground" else BLUE
        box = FancyBboxPatch(
            (2.6, y), 7.4, height, boxstyle="round,pad=0,rounding_size=0.1", fc=color, alpha=0.13, lw=0
        )
        axes.add_patch(box)
        axes.text(2.75, y + height / 2, room, weight="bold", va="center", size=10, color="black")
        axes.text(4.3, y + height / 2, "\n".join(lines), va="center", size=9, linespacing=1.35)
        places[room], y = y + height / 2, y + height + 0.16
    uses = Counter((rooms[module], rooms[used]) for module, every in edges.items() for used in every)
    order = list(ROOMS)
    for (user, used), times in sorted(uses.items()):
        if user != used and used != "ground":
            far = order.index(user) - order.index(used)
            axes.add_patch(
                FancyArrowPatch(
                    (2.58, places[user] - 0.08), (2.58, places[used] + 0.08), arrowstyle="-|>", mutation_scale=9,
                    connectionstyle=f"arc3,rad={-0.2 - 0.32 / far}", lw=0.5 + 0.3 * min(times, 6), color=ORANGE, alpha=0.75,
                )
            )  # fmt: skip
    axes.set(xlim=(0, 10.1), ylim=(y, -0.1))
    axes.axis("off")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99)
    data = json.dumps({name: sorted(every) for name, every in sorted(edges.items())})
    figure.savefig(
        picture, metadata={"Date": None, "Title": "The rooms of digitlib", "Description": f"EDGES {data}"}
    )


if __name__ == "__main__":
    draw(imports())
