"""A grid in the notebook of images worth a look: keep, relabel or drop each, written to ``corrections.csv`` at once."""

from __future__ import annotations

import os
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
from digitlib.errors import DigitError, did_you_mean, require
from digitlib.files import display_path, resolve, write_table
from digitlib.handwriting.drawing_pad import nobody_draws
from digitlib.pipeline.report import thumbnail
from digitlib.plots import plot_images, show
from digitlib.run import Run, open_run

WEB = Path(__file__).parent / "web"

LEAST = 20
"""How many of the least confident predictions are shown."""

STILL = 12
"""How many images are shown where nobody can decide."""


class ImageCleaner(anywidget.AnyWidget):
    """A grid of images to keep, relabel or drop, in JupyterLab and VS Code.

    Each decision is written at once; what the file holds already is shown, and kept. No image file is touched:
    ``prepare(…, corrections=cleaner.file)`` applies the decisions.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.
    label_issues : pandas.DataFrame, optional
        From `digitlib.evaluation.find_label_issues`. By default ``label_issues.csv`` of the run, if it is there.
    duplicates : pandas.DataFrame, optional
        From `digitlib.data.near_duplicates`.
    image_issues : pandas.DataFrame, optional
        From `digitlib.data.image_issues` of the run.
    predictions : pandas.DataFrame, optional
        ``filename`` as in the split, ``label`` as predicted, ``confidence``: the 20 of lowest confidence are shown.
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
    >>> ImageCleaner("runs/default", duplicates=near_duplicates("runs/default"))  # doctest: +SKIP
    """

    _esm = (WEB / "cleaner.js").read_text(encoding="utf-8")
    _css = (WEB / "cleaner.css").read_text(encoding="utf-8")
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)
    class_names: traitlets.List[Any] = traitlets.List().tag(sync=True)
    decisions: traitlets.List[Any] = traitlets.List().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        run: str | os.PathLike[str] | Run,
        *,
        label_issues: pd.DataFrame | None = None,
        duplicates: pd.DataFrame | None = None,
        image_issues: pd.DataFrame | None = None,
        predictions: pd.DataFrame | None = None,
        file: str | os.PathLike[str] | None = None,
        limit: int = 100,
    ) -> None:
        super().__init__()
        run = open_run(run)
        if label_issues is None and (run / "label_issues.csv").exists():
            label_issues = run.read_table("label_issues.csv", quality=float)
        applied = run.read_json("source.json").get("corrections", {}).get("file")
        self.file = resolve(file or applied or run / "corrections.csv")
        split = with_labels(run.split)
        given = dict(zip(split["filename"], split["label"], strict=True))
        found = _reasons(given, label_issues, duplicates, image_issues, predictions)
        before = self._written().set_index("filename")
        names = sorted(found, key=lambda name: name in before.index)[:limit]
        self._given, self.class_names = {name: given[name] for name in names}, run.class_names
        self._paths = paths = dict(zip(split["filename"], paths_of(run, split), strict=True))
        self.items = [
            {
                "name": name.encode("utf-8", "backslashreplace").decode(),
                "label": given[name],
                "suggestion": found[name]["suggestion"],
                "reason": "; ".join(found[name]["reasons"]),
                "images": [thumbnail(Path(paths[one])) for one in (name, *found[name]["twins"])],
            }
            for name in names
        ]
        self.decisions = [
            list(before.loc[name, ["action", "new_label"]]) if name in before.index else ["", ""] for name in names
        ]
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
            f"{one['label']}{' → ' * bool(one['suggestion'])}{one['suggestion']}\n{one['reason']}" for one in self.items
        ]
        return plot_images([one for one in images if one is not None], titles[:STILL], 6, alt="Images worth a look")

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
        names = list(self._given)
        if filename not in names:
            raise DigitError(f"{filename!r} is not among the images shown: {did_you_mean(filename, names)}")
        require("action", action, action in (*ACTIONS, ""), f"one of {', '.join(ACTIONS)}, or empty")
        if action == "relabel" and new_label not in self.class_names:
            raise DigitError(f"there is no class {new_label!r}: {did_you_mean(new_label, self.class_names)}")
        place, decisions = names.index(filename), list(self.decisions)
        decisions[place] = [action, new_label if action == "relabel" else ""]
        self.decisions = decisions

    def _written(self) -> pd.DataFrame:
        return read_corrections(self.file) if self.file.exists() else pd.DataFrame(columns=COLUMNS, dtype=str)

    def _save(self, change: dict[str, Any]) -> None:
        """Write the decisions and those about other images that the file holds."""
        new = [
            (*given, *decision)
            for given, decision in zip(self._given.items(), self.decisions, strict=True)
            if decision[0]
        ]
        try:
            old = self._written()
            old = old[~old["filename"].isin(list(self._given))]
            write_table(self.file, pd.concat([old, pd.DataFrame(new, columns=COLUMNS, dtype=str)]))
            self._say()
        except DigitError as error:  # raised in the kernel, nobody would see it
            self.status = f"Not written: {error}"

    def _say(self) -> None:
        done = sum(bool(action) for action, _ in self.decisions)
        self.status = f"{done} of {len(self.items)} images decided; corrections go to {display_path(self.file)}"


def _reasons(
    given: dict[str, str],
    label_issues: pd.DataFrame | None,
    duplicates: pd.DataFrame | None,
    image_issues: pd.DataFrame | None,
    predictions: pd.DataFrame | None,
) -> dict[str, dict[str, Any]]:
    """Return for each image worth a look why, the class that is suggested, and the images it is like."""
    found: dict[str, dict[str, Any]] = {}

    def add(row: dict[Any, Any], reason: str, suggestion: str = "", *twins: str) -> None:
        if (name := row["filename"]) in given:
            about = found.setdefault(name, {"reasons": [], "suggestion": "", "twins": []})
            about["reasons"].append(reason)
            about["twins"] += twins
            if suggestion != given[name]:
                about["suggestion"] = about["suggestion"] or suggestion

    def rows(table: pd.DataFrame | None) -> list[dict[Any, Any]]:
        return [] if table is None else table.to_dict("records")

    for row in rows(label_issues):
        add(row, f"label quality {row['quality']:.3f}", row["likely_label"])
    for row in rows(duplicates):
        like = f"like {row['twin']} of class {row['twin_class']} in {row['twin_part']}, r = {row['correlation']:.3f}"
        add(row, like, "", row["twin"])
    for row in rows(image_issues):
        add(row, f"{row['issue'].replace('_', ' ')}, score {row['score']:.2f}")
    for row in rows(None if predictions is None else predictions.nsmallest(LEAST, "confidence")):
        add(row, f"predicted {row['label']} with {row['confidence']:.0%}", row["label"])
    return found
