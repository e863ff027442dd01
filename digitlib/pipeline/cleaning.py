"""A grid in the notebook of images worth a look: keep, relabel or drop each, written to ``corrections.csv`` at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from digitlib.data.corrections import ACTIONS, COLUMNS, read_corrections
from digitlib.data.decoding import read_files
from digitlib.data.folders import with_labels
from digitlib.data.split import paths_of
from digitlib.errors import DigitError, require
from digitlib.files import StrPath, display_path, resolve, write_table
from digitlib.handwriting.drawing_pad import nobody_draws
from digitlib.pipeline.report import thumbnail
from digitlib.plots import plot_images, show
from digitlib.run import Run, open_run

WEB = Path(__file__).parent / "web"

LEAST = 20
"""How many of the least confident predictions are shown."""

STILL = 12
"""How many images are shown where nobody can decide."""

REASONS = {
    "quality": "label quality {quality:.3f}", "issue": "{issue}, score {score:.2f}",
    "confidence": "predicted {label} with {confidence:.0%}",
    "twin": "like {twin} ({twin_class}, {twin_part}), r = {correlation:.3f}",
}  # fmt: skip
"""What is said about an image, by a column that only one kind of table has."""

SUGGESTED = {"quality": "likely_label", "confidence": "label"}
"""The columns with the class to relabel to."""

GIVEN = "what find_label_issues, near_duplicates or image_issues returned, or predictions with their confidence"


class ImageCleaner(anywidget.AnyWidget):
    """A grid of images to keep, relabel or drop, in JupyterLab and VS Code.

    Each decision is written at once; what the file holds already is shown, and kept. No image file is touched:
    ``prepare(…, corrections=cleaner.file)`` applies the decisions.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    *tables : pandas.DataFrame
        What is worth a look: of `digitlib.evaluation.find_label_issues`, `digitlib.data.near_duplicates` or
        `digitlib.data.image_issues`, or predictions with ``filename`` as in the split, ``label`` and ``confidence``, of which
        the 20 least confident are shown. Without any, ``label_issues.csv`` of the run.
    file : str or path-like, optional
        Where decisions go: by default to the corrections that the run was prepared with, or ``corrections.csv`` in its folder.
    limit : int
        How many images are shown; those not yet decided come first.

    Attributes
    ----------
    file : pathlib.Path
        Where decisions go.
    decisions : list of [action, new label]
        One an image shown; ``["", ""]`` for none.

    Examples
    --------
    >>> ImageCleaner("runs/default", near_duplicates("runs/default"))  # doctest: +SKIP
    """

    _esm = (WEB / "cleaner.js").read_text(encoding="utf-8")
    _css = (WEB / "cleaner.css").read_text(encoding="utf-8")
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)
    class_names: traitlets.List[Any] = traitlets.List().tag(sync=True)
    decisions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)

    def __init__(self, run: StrPath | Run, *tables: pd.DataFrame, file: StrPath = "", limit: int = 100) -> None:
        super().__init__()
        run = open_run(run)
        applied = run.read_json("source.json").get("corrections", {}).get("file")
        self.file = resolve(file or applied or run / "corrections.csv")
        split, before = with_labels(run.split), self._written().set_index("filename")
        given = split.set_index("filename")["given_label"].to_dict()
        found = _reasons(tables or (run.read_table("label_issues.csv", quality=float),), given)
        names = sorted(found, key=lambda name: name in before.index)[:limit]
        self._given, self.class_names = {name: given[name] for name in names}, run.class_names
        self._paths = dict(zip(split["filename"], paths_of(run, split), strict=True))
        items = [found[name] for name in names]
        for about in items:
            about["images"] = [thumbnail(Path(self._paths[name])) for name in about["images"]]
        self.items = items  # which sends them, so whole
        self.decisions = before[["action", "new_label"]].reindex(names, fill_value="").to_numpy().tolist()
        self._say()
        self.observe(self._save, "decisions")

    def __repr__(self) -> str:
        """Say what a page shows that can't run it."""
        return f"ImageCleaner of {len(self.items)} images (open the notebook in JupyterLab or VS Code to decide)"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        if not nobody_draws():
            return super()._repr_mimebundle_(**options)
        return show(self._still()) if self.items else None  # and the text of __repr__ below it

    def _still(self) -> Figure:
        """Draw the first images as they look in use."""
        images = [one.image for one in read_files([self._paths[name] for name in [*self._given][:STILL]])]
        titles = [
            f"{' → '.join(filter(None, (one['label'], one['suggestion'])))}\n{one['reason']}"
            for one in self.items[:STILL]
        ]
        return plot_images([one for one in images if one is not None], titles, 6, alt="Images worth a look")

    def decide(self, filename: str, action: str, new_label: str = "") -> None:
        """Do what a click does: decide about one of the images shown.

        Parameters
        ----------
        filename : str
            As in the split.
        action : {"keep", "relabel", "drop", ""}
            "" takes a decision back.
        new_label : str
            The class, to relabel.
        """
        for name, value, known in (("filename", filename, self._given), ("action", action, (*ACTIONS, ""))):
            require(name, value, value in known, f"one of {', '.join(known)}"[:300])
        if action == "relabel":
            require("new_label", new_label, new_label in self.class_names, f"one of {', '.join(self.class_names)}")
        decided = dict(zip(self._given, self.decisions, strict=True))
        decided[filename] = [action, new_label if action == "relabel" else ""]
        self.decisions = list(decided.values())

    def _written(self) -> pd.DataFrame:
        return read_corrections(self.file) if self.file.exists() else pd.DataFrame(columns=COLUMNS, dtype=str)

    def _save(self, change: dict[str, Any]) -> None:
        """Write the decisions, and those about other images that the file holds."""
        rows = [(*given, *one) for given, one in zip(self._given.items(), self.decisions, strict=True) if one[0]]
        try:
            old = self._written()
            old = old[~old["filename"].isin(list(self._given))]
            write_table(self.file, pd.concat([old, pd.DataFrame(rows, columns=COLUMNS, dtype=str)]))
            self._say()
        except DigitError as error:  # raised in the kernel, nobody would see it
            self.status = f"Not written: {error}"

    def _say(self) -> None:
        done = sum(bool(action) for action, _ in self.decisions)
        self.status = f"{done} of {len(self.items)} images decided; corrections go to {display_path(self.file)}"


def _reasons(tables: tuple[pd.DataFrame, ...], given: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return for each image worth a look its label, why, the class that is suggested, and itself and the images it is like."""
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        kind = next((column for column in REASONS if column in table), "")
        if "filename" not in table or not kind:
            raise DigitError(f"a table with the columns {', '.join(table)} says nothing to clean: give {GIVEN}.")
        table = table.nsmallest(LEAST, "confidence") if kind == "confidence" else table
        for row in table.to_dict("records"):
            if (name := row["filename"]) not in given:
                continue
            shown = name.encode("utf-8", "backslashreplace").decode()
            start = {"name": shown, "label": given[name], "suggestion": "", "reason": "", "images": [name]}
            about, class_name = found.setdefault(name, start), row.get(SUGGESTED.get(kind, ""), "")
            about["reason"] += "; " * bool(about["reason"]) + REASONS[kind].format(**row).replace("_", " ")
            about["images"] += [row["twin"]] if kind == "twin" else []
            if class_name != given[name]:
                about["suggestion"] = about["suggestion"] or class_name
    return found
