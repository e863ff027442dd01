"""Stratified train, validation and test parts, and the manifest that records them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Literal
import numpy as np
import pandas as pd
from natsort import natsorted
from sklearn.model_selection import StratifiedKFold, train_test_split
from digitlib.errors import DigitError
from digitlib.files import resolve, display_path
from digitlib.data.decoding import read_files, rims_are_light
from digitlib.data.folders import fill_folders, moved_already, target_path
from digitlib.data.cache import Reading, key_of, pixels_for, read_images
from digitlib.data.folders import check_places
from digitlib.data.folders import Mode
from digitlib.run import Run, open_run
from digitlib.data.datasets import as_folder
from digitlib.data.sources import Source, find_images
from digitlib.errors import is_number, is_whole
import shutil
from pathlib import Path
from typing import Any
from digitlib.errors import DigitError
from digitlib.files import atomic, make_folder, resolve, display_path
from digitlib.data.folders import holds_files
from digitlib.run import Run


PARTS = ("train", "validation", "test")

Assign = Literal["random", "hash"]


def prepare(
    data: str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    *,
    test_size: float = 0.2,
    validation_size: float = 0.1,
    seed: int = 42,
    mode: Mode = "copy",
    assign: Assign = "random",
) -> Run:
    """Find, check and split the images of a folder, and fill TRAIN/ and TEST/ in the run's folder.

    Writes ``source.json``, ``split.csv`` (the manifest) and ``rejected.csv``
    into the run. Doing it again with the same arguments and files changes nothing.

    Parameters
    ----------
    data : str or path-like
        See `digitlib.data.datasets.as_folder`.
    run_dir : str or path-like
        The run's folder.
    test_size : float
        Share of each class set aside for the test, between 0 and 1.
    validation_size : float
        Share of the remaining training images of each class, between 0 and 1.
    seed : int
        ``random_state`` of `sklearn.model_selection.train_test_split`.
    mode : {"copy", "link", "move", "none"}
        How TRAIN/ and TEST/ get their files. "move" takes the files out of
        the source folder; "none" writes the manifest alone.
    assign : {"random", "hash"}
        "random" gives the classic notebook's split. "hash" decides by an
        image's content, so that it keeps its part when others are added.

    Returns
    -------
    Run
        With ``split.csv``, ``rejected.csv`` and ``source.json``.

    Raises
    ------
    DigitError
        If the data can't be split this way; nothing has been written then.
    """
    check_options(test_size=test_size, validation_size=validation_size, seed=seed, mode=mode, assign=assign)
    # NumPy's numbers can't be written to source.json
    test_size, validation_size, seed = float(test_size), float(validation_size), int(seed)
    root = as_folder(data)
    run = open_run(run_dir)
    options = {
        "test_size": test_size,
        "validation_size": validation_size,
        "seed": seed,
        "mode": mode,
        "assign": assign,
    }
    if moved_already(run, root, options):
        fill_folders(run)
        return run
    if mode == "move" and root != resolve(data):
        raise DigitError(
            f"data {os.fspath(data)!r} is written out once, for all runs, so that its images can't be moved: choose mode "
            "'copy', 'link' or 'none', or give a folder."
        )
    source = find_images(root)
    check_places(source, run, mode)
    reading = read_images([str(source.root / name) for name in source.files["filename"]])
    table, rejected = _checked(source, reading)
    manifest, repeated = drop_repeated(
        assign_parts(table, test_size=test_size, validation_size=validation_size, seed=seed, assign=assign)
    )
    _check_parts(
        manifest,
        f": {len(repeated)} images were left out as copies of images in a later part"
        if len(repeated)
        else "",
    )
    rejected = pd.concat([rejected, repeated], ignore_index=True)
    unlabelled = "" if source.unlabelled is None else str(source.unlabelled)
    about = {
        "data": os.fspath(data), "root": str(source.root), "class_names": source.class_names, "unlabelled": unlabelled,
        "given": sorted(set(source.files["part"]) & {"test", "validation"}), "pixels": key_of(reading.sha256), **options,
    }  # fmt: skip
    fill_folders(run, manifest, about, rejected)
    return run


def assign_parts(
    files: pd.DataFrame,
    *,
    test_size: float = 0.2,
    validation_size: float = 0.1,
    seed: int = 42,
    assign: Assign = "random",
) -> pd.DataFrame:
    """Assign every image to a part, class by class.

    With ``assign="random"`` the sorted file names of each class go through
    `sklearn.model_selection.train_test_split`, exactly as in the classic
    notebook, and its training names through it once more for the validation
    part: the order in which a file system lists files has no influence.

    Parameters
    ----------
    files : pandas.DataFrame
        Columns ``filename``, ``class``, ``part`` and, for ``assign="hash"``,
        ``sha256``. Where ``part`` says "test" or "validation" already, it is
        respected, and only what is missing is taken out of "train".
    test_size, validation_size, seed, assign
        See `prepare`.

    Returns
    -------
    pandas.DataFrame
        `files` with ``part`` filled in, sorted by class and file name in natural order.

    Raises
    ------
    DigitError
        If a class has too few images for all three parts.
    """
    files = files.copy()
    given = set(files["part"])
    sizes = (0.0 if "test" in given else test_size, 0.0 if "validation" in given else validation_size)
    for class_name, rows in files.groupby("class", sort=False):
        names = rows.loc[~rows["part"].isin(["test", "validation"]), "filename"]
        if assign == "hash":
            parts = _by_hash(rows.loc[names.index], *sizes)
        else:
            parts = names.map(_by_chance(str(class_name), sorted(names), *sizes, seed))
        files.loc[names.index, "part"] = parts
    _check_parts(files)
    order = {name: number for number, name in enumerate(natsorted(files["class"].unique()))}
    place = {name: number for number, name in enumerate(natsorted(files["filename"]))}
    keys = pd.DataFrame({"class": files["class"].map(order), "filename": files["filename"].map(place)})
    return files.loc[keys.sort_values(["class", "filename"]).index].reset_index(drop=True)


def _by_chance(
    class_name: str, names: list[str], test_size: float, validation_size: float, seed: int
) -> dict[str, str]:
    """Return each name's part; `names` are sorted."""
    train, test, validation = names, [], []
    try:
        if test_size:
            train, test = train_test_split(names, test_size=test_size, random_state=seed)
        if validation_size:
            train, validation = train_test_split(sorted(train), test_size=validation_size, random_state=seed)
    except ValueError as error:
        raise DigitError(
            f"class {class_name!r} has only {len(names)} image{'s' * (len(names) != 1)}, too few for a train, a validation "
            "and a test part: add images, remove the class, or choose other sizes of the parts."
        ) from error
    return {
        **dict.fromkeys(train, "train"), **dict.fromkeys(validation, "validation"), **dict.fromkeys(test, "test")
    }  # fmt: skip


def _by_hash(rows: pd.DataFrame, test_size: float, validation_size: float) -> pd.Series:
    """Return parts that depend on nothing but each image's content."""
    share = rows["sha256"].map(lambda text: int(text[:13], 16) / 16**13)
    parts = pd.Series("train", index=rows.index)
    parts[share < test_size + (1 - test_size) * validation_size] = "validation"
    parts[share < test_size] = "test"
    return parts


def drop_repeated(manifest: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take images out of training that stand, byte for byte, in a later part as well.

    A test image that the network has seen in training makes the test easier
    than the world. The copy in the test part stays, since it was set aside
    first; that in validation stays before that in train.

    Returns
    -------
    manifest : pandas.DataFrame
        Without the rows taken out.
    repeated : pandas.DataFrame
        ``filename``, ``reason``.
    """
    rank = manifest["part"].map({part: number for number, part in enumerate(PARTS)})
    last = rank.groupby(manifest["sha256"]).transform("max")
    repeated = manifest.loc[rank < last, ["filename"]].copy()
    kept = manifest.loc[rank == last].drop_duplicates("sha256").set_index("sha256")
    twins = manifest.loc[repeated.index, "sha256"].map(kept["filename"])
    repeated["reason"] = (
        "same bytes as "
        + twins
        + " in the "
        + manifest.loc[repeated.index, "sha256"].map(kept["part"])
        + " part"
    )
    return manifest.loc[rank == last].reset_index(drop=True), repeated


def read_split(run: Run) -> pd.DataFrame:
    """Return the manifest of a run.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.

    Returns
    -------
    pandas.DataFrame
        ``filename``, ``class``, ``part``, ``sha256``, ``size`` (bytes, int64).
    """
    return run.read_table("split.csv", size="int64")


def class_names_of(run: Run) -> list[str]:
    """Return the class names of a run in natural order.

    Parameters
    ----------
    run : Run
        A run that notebook 01 has prepared.

    Returns
    -------
    list of str
        Numbers by their value (2 before 10).
    """
    return list(run.read_json("source.json")["class_names"])


def stratified_folds(manifest: pd.DataFrame, number: int, seed: int) -> Iterator[np.ndarray]:
    """Cut images into parts with the classes in equal shares; copies go together, or a network would know what it judges.

    Parameters
    ----------
    manifest : pandas.DataFrame
        As from `read_split`: ``class`` and ``sha256`` are used.
    number : int
        How many parts, from 2 (`sklearn.model_selection.StratifiedKFold`).
    seed : int
        Of the cuts.

    Yields
    ------
    numpy.ndarray
        bool, shape (n,): the images of one part.
    """
    content, classes = pd.factorize(manifest["sha256"])[0], manifest.drop_duplicates("sha256")["class"]
    for _, held in StratifiedKFold(number, shuffle=True, random_state=seed).split(classes, classes):
        yield np.isin(content, held)


def _checked(source: Source, reading: Reading) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide the files into usable ones with hash and size, and rejected ones with their reason."""
    files = source.files.assign(sha256=reading.sha256, size=reading.sizes)
    reasons = pd.Series(reading.rejected, dtype=str)
    unusable = files.loc[reasons.index, ["filename"]].assign(reason=reasons)
    rejected = pd.concat([source.rejected, unusable], ignore_index=True)
    files = files.drop(index=reasons.index)
    for name in source.class_names:
        if not (files["class"] == name).any():
            of_it = source.files.loc[reasons.index, "class"] == name
            raise DigitError(
                f"class {name!r} in {display_path(source.root)} has no file that can be read as an image: {reasons[of_it].iloc[0]}."
            )
    return files, rejected


def check_options(**options: Any) -> None:
    """Refuse options of `prepare` that can't be, of those that are given."""
    seed = options.get("seed", 0)
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise DigitError(f"seed is {seed!r}: give a whole number from 0 to {2**32 - 1}.")
    for name in ("test_size", "validation_size"):
        value = options.get(name, 0.5)
        if not is_number(value) or not 0 < value < 1:
            raise DigitError(f"{name} is {value!r}: give a share between 0 and 1, such as 0.2.")
    for name, choices in (("mode", ("copy", "link", "move", "none")), ("assign", ("random", "hash"))):
        if name in options and options[name] not in choices:
            raise DigitError(f"{name} is {options[name]!r}: choose one of {', '.join(choices)}.")


def _check_parts(files: pd.DataFrame, why: str = "") -> None:
    """Make sure that every class is in every part."""
    counts = pd.crosstab(files["class"], files["part"]).reindex(columns=list(PARTS), fill_value=0)
    for class_name, row in counts.iterrows():
        images = int(row.sum())
        for part in PARTS:
            if row[part] == 0:
                raise DigitError(
                    f"class {class_name!r} has {images} image{'s' * (images != 1)} and none of them in the {part} part{why}: "
                    "add images, remove the class, or choose other sizes of the parts."
                )


def pixels_of(run: Run, manifest: pd.DataFrame, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of the manifest's files, and where each file's image stands in them; see `pixels_for`."""
    first = run.read_json("source.json")["pixels"]
    return pixels_for(lambda: paths_of(run, manifest), manifest["sha256"].tolist(), image_size, first)


def paths_of(run: Run, manifest: pd.DataFrame) -> Sequence[str]:
    """Return where the files of some rows of the manifest lie now."""
    about = run.read_json("source.json")
    if about["mode"] == "move":
        columns = zip(manifest["part"], manifest["class"], manifest["filename"], strict=True)
        return [str(target_path(run, part, class_name, filename)) for part, class_name, filename in columns]
    return [str(os.path.join(about["root"], name)) for name in manifest["filename"]]  # noqa: PTH118 - a million of them


PREPARED = ("source.json", "rejected.csv", "split.csv")
"""What a split consists of; its list last, since with it a run counts as prepared."""


def split_once(data: str, prepared: Run, **options: Any) -> Run:
    """Split data for several runs, unless those in the folder belong to other data.

    Parameters
    ----------
    data, **options
        See `digitlib.data.split.prepare`.
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
            f"{display_path(prepared.folder.parent)} holds {len(finished)} finished run{'s' * (len(finished) > 1)} of another split: "
            f"the files of {data!r} have changed since, or how they are split. Choose another --out, or remove these runs."
        )
    return prepared


def refuse_other_data(run: Run, data: str, place: Path) -> None:
    """Refuse data other than those that `run` has been split from, so that what is in `place` is not lost."""
    if (run / "source.json").exists():
        before = str(run.read_json("source.json")["data"])
        if resolve(before) != resolve(data):
            raise DigitError(
                f"{display_path(place)} holds runs of {before!r}, not of {data!r}: choose another --out."
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


def dark_on_light(run: Run, n: int = 100) -> bool:
    """Tell by the rims of `n` images whether a run's images are dark on light; False if none is there any more."""
    if not (run / "split.csv").exists():
        return False
    rows = read_split(run)
    some = rows.iloc[np.linspace(0, len(rows) - 1, min(n, len(rows)), dtype=int)]
    images = [done.image for done in read_files(paths_of(run, some), "grayscale") if done.image is not None]
    return bool(images) and rims_are_light(images)
