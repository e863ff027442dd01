"""Stratified training, validation and test sets, and the table that records them: split.csv."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from natsort import index_natsorted, natsorted

from digitlib.data.cache import Reading, key_of, pixels_for, read_images
from digitlib.data.corrections import apply_corrections, corrected_classes, read_corrections
from digitlib.data.datasets import as_folder
from digitlib.data.decoding import ColorMode, read_files, rims_are_light
from digitlib.data.folders import Mode, check_places, fill_folders, holds_moved, place_files, target_path, with_labels
from digitlib.data.sources import Source, find_images
from digitlib.errors import DigitError, is_number, is_whole, require
from digitlib.files import StrPath, atomic, display_path, file_hash, resolve, write_json
from digitlib.run import Run, open_run

PARTS = ("train", "validation", "test")
"""The sets, as column ``part`` of split.csv calls them."""

NAME_OF = {"train": "training", "validation": "validation", "test": "test"}

SEVERAL_CLASSES = "same bytes under the classes"
"""How the reason begins for which a file with two labels is left out."""

OTHER_SIZES = "Add images, remove the class, or choose other sizes of the sets."

Assign = Literal["random", "hash"]


def prepare(
    data: Any,
    run_dir: StrPath,
    *,
    test_size: float = 0.2,
    validation_size: float = 0.1,
    seed: int = 42,
    mode: Mode = "copy",
    assign: Assign = "random",
    corrections: StrPath = "",
) -> Run:
    """Find, check and split the images of a folder, and fill TRAIN/ and TEST/ in the run's folder.

    Writes ``split.csv``, ``rejected.csv`` and ``source.json``. Doing it again with the same arguments and files changes
    nothing; if the data can't be split this way, nothing is written.

    Parameters
    ----------
    data : str, path-like, DataFrame or tuple of arrays
        See `digitlib.data.datasets.as_folder`.
    run_dir : str or path-like
        The run's folder.
    test_size : float
        Share of each class for the test set, between 0 and 1.
    validation_size : float
        Share of each class's remaining images for the validation set, between 0 and 1.
    seed : int
        ``random_state`` of `sklearn.model_selection.train_test_split`.
    mode : {"copy", "link", "move", "none"}
        How TRAIN/ and TEST/ get their files: "link" makes hard links, "move" takes the files out of the source folder,
        "none" writes the tables alone. Files of the source are touched by "move" only.
    assign : {"random", "hash"}
        "random" gives the classic notebook's split. "hash" decides by an image's content, so that it keeps its set when
        other images are added.
    corrections : str or path-like
        A CSV file of labels corrected by hand, as `digitlib.pipeline.ImageCleaner` writes it: images are left out or
        counted in another class, and keep the set that they have without it. No file is touched.

    Examples
    --------
    >>> run = prepare("sample", "runs/default")  # doctest: +SKIP
    """
    check_options(test_size=test_size, validation_size=validation_size, seed=seed, mode=mode, assign=assign)
    check_options(corrections=corrections)
    # As Python's own numbers, since JSON takes no others.
    sizes: dict[str, Any] = {"test_size": float(test_size), "validation_size": float(validation_size)}
    sizes |= {"seed": int(seed), "assign": assign}
    root, run = as_folder(data), open_run(run_dir)
    name = os.fspath(data) if isinstance(data, str | os.PathLike) else ""  # else where it was written is its name
    if holds_moved(run):
        about = run.read_json("source.json")
        same = all(about[name] == value for name, value in {"root": str(root), "mode": mode, **sizes}.items())
        fixed = file_hash(resolve(corrections)) if corrections else None
        if not same or about.get("corrections", {}).get("sha256") != fixed:
            what = f"{run} holds images moved out of {display_path(about['root'])} by another split"
            raise DigitError(f"{what}: move them back with `digitlib undo {run}`, or choose another run_dir.")
        place_files(run)
        return run
    if mode == "move" and (not name or root != resolve(name)):
        raise DigitError(
            f"data {name or display_path(root)!r} is shared by all runs and can't be moved: choose mode 'copy'."
        )
    source = find_images(root)
    if corrections:
        corrected = corrected_classes(source.files, read_corrections(corrections, source))
        source = replace(source, files=source.files.assign(corrected=corrected))
    check_places(source, run, mode)
    reading = read_images([f"{source.root}{os.sep}{name}" for name in source.files["filename"]])
    usable, rejected = _checked(source, reading)
    manifest, applied = assign_parts(usable, **sizes), {}
    if corrections:
        manifest, dropped, applied["corrections"] = apply_corrections(manifest, corrections)
        rejected = pd.concat([rejected, dropped], ignore_index=True)
    manifest, repeated = drop_repeated(manifest)
    _require_all_parts(manifest, f": {len(repeated)} are copies of images in a later set" if len(repeated) else "")
    about = {"data": name or display_path(root), "root": str(source.root), "class_names": source.class_names}
    about |= {"unlabelled": str(source.unlabelled or ""), "given": sorted(set(source.files["part"]) - {"train", ""})}
    about |= {"pixels": key_of(reading.sha256), "mode": mode, **sizes, **applied}
    fill_folders(run, manifest, about, pd.concat([rejected, repeated], ignore_index=True))
    return run


def check_options(**options: Any) -> None:
    """Refuse options of `prepare` that can't be, of those that are given."""
    for name, value in options.items():
        if name == "seed":
            require(name, value, is_whole(value) and 0 <= value < 2**32, f"an integer from 0 to {2**32 - 1}")
        elif name.endswith("_size"):
            require(name, value, is_number(value) and 0 < value < 1, "a share between 0 and 1, for example 0.2")
        elif name == "corrections":
            read_corrections(value) if value else None
        else:
            choices = get_args(Mode if name == "mode" else Assign)
            require(name, value, value in choices, f"one of {', '.join(choices)}")


def assign_parts(
    files: pd.DataFrame,
    *,
    test_size: float = 0.2,
    validation_size: float = 0.1,
    seed: int = 42,
    assign: Assign = "random",
) -> pd.DataFrame:
    """Assign every image to a set, class by class.

    With ``assign="random"`` the sorted file names of each class go through `sklearn.model_selection.train_test_split`,
    exactly as in the classic notebook, and its training names through it once more for the validation set.

    Parameters
    ----------
    files : pandas.DataFrame
        Columns ``filename``, ``class``, ``part`` and, for ``assign="hash"``, ``sha256``. Where ``part`` says "test" or
        "validation" already it is kept, and only the missing one is taken out of "train".
    test_size, validation_size, seed, assign
        See `prepare`.

    Returns
    -------
    pandas.DataFrame
        `files` with ``part`` filled in, sorted by class and file name in natural order.

    Examples
    --------
    >>> files = pd.DataFrame([(f"{i}.png", "ab"[i % 2], "") for i in range(40)], columns=["filename", "class", "part"])
    >>> assign_parts(files)["part"].value_counts().to_dict()
    {'train': 28, 'test': 8, 'validation': 4}
    """
    files = files.copy()
    given = set(files["part"])
    sizes = (0.0 if "test" in given else test_size, 0.0 if "validation" in given else validation_size)
    for class_name, rows in files.groupby("class", sort=False):
        names = rows.loc[~rows["part"].isin(["test", "validation"]), "filename"]
        if assign == "hash":
            parts = _by_hash(rows.loc[names.index, "sha256"], *sizes)
        else:
            parts = names.map(_by_chance(str(class_name), list(names), sizes, seed))
        files.loc[names.index, "part"] = parts
    _require_all_parts(files)
    files["rank"] = files["class"].map({name: number for number, name in enumerate(natsorted(set(files["class"])))})
    by_name = files.iloc[index_natsorted(files["filename"])]
    return by_name.sort_values("rank", kind="stable", ignore_index=True).drop(columns="rank")


def _by_chance(class_name: str, names: list[str], sizes: tuple[float, float], seed: int) -> dict[str, str]:
    """Return the set of each name."""
    from sklearn.model_selection import train_test_split

    parts = dict.fromkeys(names, "train")
    for part, size in zip(("test", "validation"), sizes, strict=True):
        try:
            if size:
                names, taken = train_test_split(sorted(names), test_size=size, random_state=seed)
                parts |= dict.fromkeys(taken, part)
        except ValueError as error:
            what = f"only {len(parts)} image{'s' * (len(parts) > 1)}, too few for a training, validation and test set"
            raise DigitError(f"class {class_name!r} has {what}. {OTHER_SIZES}") from error
    return parts


def _by_hash(sha256: pd.Series, test_size: float, validation_size: float) -> pd.Series:
    """Return sets that depend on nothing but each image's content."""
    share = sha256.map(lambda text: int(text[:13], 16) / 16**13)
    validation = share < test_size + (1 - test_size) * validation_size
    return pd.Series("train", index=sha256.index).mask(validation, "validation").mask(share < test_size, "test")


def _require_all_parts(files: pd.DataFrame, why: str = "") -> None:
    """Refuse a split in which a class is missing from a set."""
    counts = pd.crosstab(files["class"], files["part"]).reindex(columns=list(PARTS), fill_value=0)
    for class_name, *row in counts.itertuples(name=None):
        if 0 in row:
            what = f"{sum(row)} image{'s' * (sum(row) > 1)} and none of them in the {NAME_OF[PARTS[row.index(0)]]} set"
            raise DigitError(f"class {class_name!r} has {what}{why}. {OTHER_SIZES}")


def drop_repeated(manifest: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take images out of training that are, byte for byte, in the validation or test set too, and out of validation.

    A test image that the network has seen in training makes the test easier than the world.

    Returns
    -------
    manifest : pandas.DataFrame
        Without the rows taken out.
    repeated : pandas.DataFrame
        ``filename``, ``reason``.
    """
    rank = manifest["part"].map({part: number for number, part in enumerate(PARTS)})
    stays = rank == rank.groupby(manifest["sha256"]).transform("max")
    kept = manifest[stays].drop_duplicates("sha256").set_index("sha256")
    twins = kept.loc[manifest.loc[~stays, "sha256"]]
    reasons = [f"same bytes as {twin.filename} in the {NAME_OF[twin.part]} set" for twin in twins.itertuples()]
    return manifest[stays].reset_index(drop=True), manifest.loc[~stays, ["filename"]].assign(reason=reasons)


def _checked(source: Source, reading: Reading) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide the files into usable ones with hash and size, and rejected ones with their reason."""
    files = source.files.assign(sha256=reading.sha256, size=reading.sizes)
    rejected = files.loc[list(reading.rejected)].assign(reason=list(reading.rejected.values()))
    usable = files.drop(index=rejected.index)
    label = "corrected" if "corrected" in usable else "class"
    torn = usable[usable.groupby("sha256")[label].transform("nunique") > 1]  # no network could get both right
    names = torn.groupby("sha256")[label].transform(lambda them: " and ".join(map(repr, natsorted(set(them.dropna())))))
    rejected = pd.concat([rejected, torn.assign(reason=[f"{SEVERAL_CLASSES} {classes}" for classes in names])])
    usable = usable.drop(index=torn.index)
    for name in set(source.class_names) - set(usable["class"]):
        why = rejected.loc[rejected["class"] == name, "reason"].iloc[0]
        raise DigitError(f"class {name!r} in {display_path(source.root)} has no file that is an image: {why}.")
    return usable, pd.concat([source.rejected, rejected[["filename", "reason"]]], ignore_index=True)


def read_split(run: StrPath | Run) -> pd.DataFrame:
    """Return the table of a run's images, as `digitlib.run.Run.split` does.

    Examples
    --------
    >>> read_split("runs/mine")["part"].value_counts()  # doctest: +SKIP
    """
    return open_run(run).split


def stratified_folds(manifest: pd.DataFrame, number: int, seed: int) -> Iterator[np.ndarray]:
    """Cut images into stratified folds; identical files are in the same fold.

    Parameters
    ----------
    manifest : pandas.DataFrame
        Some rows of a run's split: ``class`` and ``sha256`` are used.
    number : int
        How many folds, from 2 (`sklearn.model_selection.StratifiedKFold`).
    seed : int
        Of the cuts.

    Yields
    ------
    numpy.ndarray
        bool, shape (n,): the images of one fold.

    Examples
    --------
    >>> manifest = pd.DataFrame({"class": list("aabb"), "sha256": list("1234")})
    >>> [manifest["class"][held].tolist() for held in stratified_folds(manifest, 2, seed=0)]
    [['a', 'b'], ['a', 'b']]
    """
    from sklearn.model_selection import StratifiedKFold

    content, classes = pd.factorize(manifest["sha256"])[0], manifest.drop_duplicates("sha256")["class"]
    for _, held in StratifiedKFold(number, shuffle=True, random_state=seed).split(classes, classes):
        yield np.isin(content, held)


def pixels_of(
    run: Run, manifest: pd.DataFrame, image_size: tuple[int, int], resize: str = "squeeze"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of some rows of a run's split and each row's place in them; see `pixels_for`."""
    first = run.read_json("source.json")["pixels"]
    return pixels_for(lambda: paths_of(run, manifest), manifest["sha256"].tolist(), image_size, first, resize)


def paths_of(run: Run, manifest: pd.DataFrame) -> Sequence[str]:
    """Return the paths of the files of some rows of a run's split."""
    about = run.read_json("source.json")
    if about["mode"] == "move":
        rows = with_labels(manifest)[["part", "class", "filename", "given_label"]].itertuples(index=False, name=None)
        return [str(target_path(run, *row)) for row in rows]
    return [str(os.path.join(about["root"], name)) for name in manifest["filename"]]  # noqa: PTH118 - a million of them


def split_once(data: str, prepared: Run, **options: Any) -> Run:
    """Split data for several runs beside `prepared`, unless these were made from other data or another split.

    Parameters
    ----------
    data, **options
        See `digitlib.data.split.prepare`.
    prepared : Run
        Gets the split, and is returned.
    """
    place = prepared.folder.parent
    before = prepared.read_json("source.json")["data"] if (prepared / "source.json").exists() else data
    if resolve(before) != resolve(data):
        raise DigitError(f"{display_path(place)} holds runs of {before!r}, not of {data!r}: choose another --out.")
    finished = len([*place.glob("*/metrics.json")])
    names = ("source.json", "rejected.csv", "split.csv")
    kept = {name: (prepared / name).read_bytes() for name in names if finished and (prepared / name).exists()}
    prepare(data, prepared.folder, mode="none", **options)
    if kept and (prepared / "split.csv").read_bytes() != kept.get("split.csv"):
        for name, content in kept.items():
            with atomic(prepared / name) as temporary:
                temporary.write_bytes(content)
        what = f"{display_path(place)} holds {finished} finished run{'s' * (finished > 1)} of another split"
        raise DigitError(f"{what}: the files of {data!r} or its options have changed. Choose another --out.")
    return prepared


def share_split(prepared: StrPath | Run, run: StrPath | Run) -> None:
    """Give `run` the split of another run, so that both are judged on the same images, which stay where they are.

    Parameters
    ----------
    prepared : Run
        A run that notebook 01 has prepared, with a mode other than "move".
    run : Run
        Gets copies of ``source.json``, ``rejected.csv`` and ``split.csv``; it may not have a TRAIN/ and TEST/ of its own.

    Examples
    --------
    >>> share_split("runs/mine", "runs/other")  # doctest: +SKIP
    """
    prepared, run = open_run(prepared), open_run(run)
    prepared.require("split.csv", "rejected.csv")
    about = prepared.read_json("source.json")
    if about["mode"] == "move":
        raise DigitError(f"{prepared} holds the images itself: split them with mode 'copy' to share the split.")
    if (run / "TRAIN").exists() or (run / "TEST").exists():
        raise DigitError(f"{run} holds TRAIN/ and TEST/ of another split: remove them with `digitlib undo {run}`.")
    for name in ("rejected.csv", "split.csv"):
        with atomic(run / name) as temporary:
            shutil.copyfile(prepared / name, temporary)
    write_json(run / "source.json", {**about, "mode": "none"})


def dark_on_light(run: StrPath | Run, n: int = 100) -> bool:
    """Tell by the rims of `n` images whether a run's images are dark on light; False if none is there any more.

    Examples
    --------
    >>> dark_on_light("runs/mine")  # doctest: +SKIP
    """
    images = some_images(run, n, "grayscale")
    return bool(images) and rims_are_light(images)


def some_images(run: StrPath | Run, n: int, color_mode: ColorMode = "native") -> list[np.ndarray]:
    """Return `n` images from all over a run's split, uint8, as they are on disk; none where there is no split."""
    run = open_run(run)
    rows = run.split if (run / "split.csv").exists() else pd.DataFrame()
    some = rows.iloc[np.linspace(0, len(rows) - 1, min(n, len(rows)), dtype=int)]
    paths = paths_of(run, some) if len(some) else []
    return [done.image for done in read_files(paths, color_mode) if done.image is not None]
