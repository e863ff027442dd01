"""What a large prediction is, settled when it first begins and kept beside its parts."""

from __future__ import annotations

import hashlib
import io
import json
import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from digitlib.data.inputs import list_of
from digitlib.data.split import class_names_of
from digitlib.data.stores import LocalFolder, Store, is_address, without_scheme
from digitlib.errors import DigitError
from digitlib.files import resolve
from digitlib.run import Run, check_split, in_turn, run_and_model
from digitlib.scale.partitions import Images, find_partitioned
from digitlib.training.recipes import load_recipe

JOB, MODEL = "_job/job.json", "_job/best_model.keras"
"""What a job keeps beside its parts; readers of Parquet pass over names that begin with ``_``."""


LISTED = 100
"""Partitions in one file of the list: what a worker holds of the list does not grow with the job."""

TRUST = ("trust.json", "trust.npz")
"""What a job keeps besides if answers are to be judged."""


@dataclass(frozen=True)
class Job:
    """What is predicted with what, settled when a job first begins.

    Attributes
    ----------
    source : str
        As given, paths made absolute.
    model_sha256 : str
        Hash of the network's file.
    partition_size : int
        As asked for.
    folder : str
        Where the images are read from.
    columns : tuple of str
        See `digitlib.data.tables.ImageRows`; empty for files.
    images, partitions : int
        How many there are.
    listing : tuple of str
        Hash of each file of the list of all images; see `listed_in`.
    beside : dict of str to str
        Hash of each file, by its name, that is kept beside the network and says how to use it.
    begun : str
        When the images were listed, to the minute, by the clock there.
    trust_sha256 : str
        Hash of what says when the network is believed; empty if that is not asked.
    """

    source: str
    model_sha256: str
    partition_size: int
    folder: str
    columns: tuple[str, str]
    images: int
    partitions: int
    listing: tuple[str, ...]
    beside: dict[str, str]
    begun: str
    trust_sha256: str = ""

    @property
    def key(self) -> str:
        """A short name of this job, another for another list of images."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def part(self, number: int) -> str:
        """Return the name of a part; in alphabetical order they are in their own."""
        return f"part-{number:0{max(5, len(str(self.partitions - 1)))}d}.parquet"


def settle(
    store: Store,
    run_or_model: str | os.PathLike[str],
    source: str | os.PathLike[str],
    size: int,
    trust: bool = False,
) -> Job:
    """Return the job that a folder holds, or begin it there: list the source, cut it, keep a copy of the network.

    Parameters
    ----------
    store : LocalFolder or RemoteFolder
        Where the parts go.
    run_or_model, source, size, trust
        See `digitlib.scale.bulk.predict_in_parts`.

    Returns
    -------
    Job

    Raises
    ------
    DigitError
        If the folder holds anything else, even the parts of another job, or an argument can't be used.
    """
    run, model = run_and_model(run_or_model)
    if model.name == "best_model.keras":
        check_split(run)
    network = model.read_bytes()
    judging = _judging(run_or_model, run) if trust else {}
    wanted: dict[str, Any] = {
        "source": _written(source),
        "model_sha256": _sha256(network),
        "partition_size": size,
        "trust_sha256": _sha256(b"".join(judging.values())) if trust else "",
    }
    if (known := store.get(JOB)) is not None:
        return _same(store, known, wanted)
    if any(name != "_job" and not name.startswith(".") for name in store.top()):
        raise DigitError(f"{store} holds other files: choose a new folder for the parts.")
    recipe = asdict(replace(load_recipe(run), augmentation={}))  # names images, and never trains again
    recipe["augmentation"] = {"rescale": load_recipe(run).augmentation["rescale"]}
    beside = {
        "recipe.json": _json(recipe),
        "source.json": _json({"class_names": class_names_of(run)}),
        **judging,
    }
    images = find_partitioned(source)
    total, partitions, listing = _list(images, size)
    job = Job(
        **wanted, folder=images.store.address, columns=images.columns, images=total, partitions=partitions,
        listing=tuple(map(_sha256, listing.values())), begun=f"{datetime.now():%Y-%m-%d %H:%M}",
        beside={name: _sha256(content) for name, content in beside.items()},
    )  # fmt: skip
    contents = {MODEL: network, **{f"_job/{name}": content for name, content in beside.items()}, **listing}
    with in_turn(Run(store.folder)) if isinstance(store, LocalFolder) else nullcontext():
        if (known := store.get(JOB)) is not None:  # another command has begun here meanwhile
            return _same(store, known, wanted)
        for name, content in contents.items():
            store.put(name, content)
        store.put(JOB, _json(asdict(job)))  # last: with it, the job counts as settled
    return job


def _judging(run_or_model: str | os.PathLike[str], run: Run) -> dict[str, bytes]:
    """Return what a run knows of when to believe its network, by the names under which a job keeps it."""
    from digitlib.pipeline.predict_folder import open_trust

    open_trust(run_or_model)  # refuses what is missing, damaged or another network's
    return {name: (run / name).read_bytes() for name in TRUST}


def _written(source: str | os.PathLike[str]) -> str:
    """Return a source as it is written from anywhere."""
    text = without_scheme(os.fspath(source))
    if is_address(text):
        return text.rstrip("/")
    listing = list_of(text)
    if listing and listing.is_file():  # another list of the same name is another source
        return f"{listing}, sha256 {_sha256(listing.read_bytes())[:12]}"
    return str(listing or resolve(text))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()


def _same(store: Store, known: bytes, wanted: dict[str, Any]) -> Job:
    """Return the job kept in `store`, unless it is another than the one wanted."""
    job = job_of(store, known)
    for name, what in (
        ("source", "SOURCE"),
        ("model_sha256", "network"),
        ("partition_size", "--partition-size"),
        ("trust_sha256", "--trust"),
    ):
        if getattr(job, name) != wanted[name]:
            was = "" if name.endswith("sha256") else f" ({getattr(job, name)})"
            raise DigitError(
                f"{store} holds the parts of another {what}{was}: choose a new folder, or give the same."
            )
    return job


def job_of(store: Store, content: bytes) -> Job:
    """Return the job in the content of ``job.json``."""
    try:
        fields = json.loads(content)
        return Job(**fields | {name: tuple(fields[name]) for name in ("columns", "listing")})
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(store, JOB) from error


def kept(store: Store, name: str, sha256: str) -> bytes:
    """Return what a job keeps, if it is there as it was kept."""
    content = store.get(name)
    if content is None or _sha256(content) != sha256:
        raise _damaged(store, name)
    return content


def _damaged(store: Store, name: str) -> DigitError:
    """Return the sentence for a file of a job that is gone or another."""
    return DigitError(f"{store}/{name} is damaged or gone, so that the job can't go on: choose a new --out.")


def listed_in(number: int) -> str:
    """Return the file of the list that names the images of a partition: a Parquet file, a row group a partition."""
    return f"_job/manifest-{number // LISTED:05d}.parquet"


def _list(images: Images, size: int) -> tuple[int, int, dict[str, bytes]]:
    """Return how many images and partitions there are, and the files of the list by their names."""
    total, partitions, listing = 0, 0, {}
    cut = images.cut(size)
    while some := list(islice(cut, LISTED)):
        content = io.BytesIO()
        with pq.ParquetWriter(content, some[0].schema, compression="zstd") as writer:
            for partition in some:
                writer.write_table(partition, row_group_size=len(partition))
                total += images.count(partition)
        listing[listed_in(partitions)] = content.getvalue()
        partitions += len(some)
    if not partitions:
        raise DigitError(f"{images.store} holds no images: give a source with at least one.")
    return total, partitions, listing
