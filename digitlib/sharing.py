"""One split for several runs, so that all are judged on the same images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from digitlib.errors import DigitError
from digitlib.files import atomic, make_folder, resolve, shown
from digitlib.folders import holds_files
from digitlib.runs import Run
from digitlib.split import prepare

PREPARED = ("source.json", "rejected.csv", "split.csv")
"""What a split consists of; its list last, since with it a run counts as prepared."""


def split_once(data: str, prepared: Run, **options: Any) -> Run:
    """Split data for several runs, unless those in the folder belong to other data.

    Parameters
    ----------
    data, **options
        See `digitlib.split.prepare`.
    prepared : Run
        Gets the split; the runs are beside it.

    Returns
    -------
    Run
        `prepared`.

    Raises
    ------
    DigitError
        If it holds the split of other data; if runs are finished there that were made from another split of the same;
        or this can't be split so.
    """
    refuse_other_data(prepared, data, prepared.folder.parent)
    kept = {name: (prepared / name).read_bytes() for name in PREPARED if (prepared / name).exists()}
    prepare(data, prepared.folder, mode="none", **options)
    finished = [
        *prepared.folder.parent.glob("*/metrics.json"), *prepared.folder.parent.glob("members/*/metrics.json"),
    ]  # fmt: skip
    if finished and "split.csv" in kept and (prepared / "split.csv").read_bytes() != kept["split.csv"]:
        for name, content in kept.items():
            with atomic(prepared / name) as temporary:
                temporary.write_bytes(content)
        raise DigitError(
            f"{shown(prepared.folder.parent)} holds {len(finished)} finished run{'s' * (len(finished) > 1)} of another split: "
            f"the files of {data!r} have changed since, or how they are split. Choose another --out, or remove these runs."
        )
    return prepared


def refuse_other_data(run: Run, data: str, place: Path) -> None:
    """Refuse data other than those that `run` has been split from, so that what is in `place` is not lost."""
    if (run / "source.json").exists():
        before = str(run.read_json("source.json")["data"])
        if resolve(before) != resolve(data):
            raise DigitError(
                f"{shown(place)} holds runs of {before!r}, not of {data!r}: choose another --out."
            )


def share_split(prepared: Run, run: Run) -> None:
    """Give `run` the split of another run, so that both are judged on the same images.

    Parameters
    ----------
    prepared : Run
        A run that notebook 01 has prepared.
    run : Run
        Gets copies of ``source.json``, ``rejected.csv`` and ``split.csv``; the images stay where they are.

    Raises
    ------
    DigitError
        If `prepared` has no split, or images were moved into it; if `run` has a TRAIN/ and TEST/ of its own; or if nothing
        can be written.
    """
    prepared.require("split.csv")
    if prepared.read_json("source.json").get("mode") == "move":
        raise DigitError(
            f"{prepared} holds the images itself: split them with mode 'copy' to share the split."
        )
    refuse_copies(run)
    make_folder(run.folder)
    for name in PREPARED:
        if (prepared / name).exists():
            with atomic(run / name) as temporary:
                shutil.copyfile(prepared / name, temporary)


def refuse_copies(run: Run) -> None:
    """Refuse a run whose own split has put images into it, as another one must not be laid over that."""
    if holds_files(run):
        raise DigitError(
            f"{run} holds TRAIN/ and TEST/, and its own split says where their images belong: take that back with "
            f"`digitlib undo {run}`, or choose another folder."
        )
