"""Predict millions of images, partition by partition, into a folder of Parquet files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from natsort import natsorted

from digitlib.data.datasets import find_inputs, is_address
from digitlib.data.decoding import decoded, unread
from digitlib.errors import DigitError, missing_extra, needs
from digitlib.evaluation.classifier import Classifier, network_file
from digitlib.files import StrPath, display_path, resolve
from digitlib.progress import progress
from digitlib.run import CALIBRATION
from digitlib.scale import cluster

# Images that a worker predicts at a time, and files or rows that it holds.
BATCH, HELD = 1024, 64
MODEL_FILES = ("best_model.keras", "training.json", *CALIBRATION)
# The classifier that this process has loaded.
_LOADED: dict[str, Classifier] = {}


def predict_bulk(
    run_or_model: StrPath, source: StrPath, out: StrPath | None = None, *, scheduler: str | None = None, workers: int = 0,
    partition_size: int = 20_000
) -> dict[str, Any]:  # fmt: skip
    """Predict the classes of images in partitions; a partition whose file is there and whole is not done again.

    Parameters
    ----------
    run_or_model : str or path-like
        As `digitlib.evaluation.classifier.Classifier.load` takes it.
    source : str or path-like
        What `digitlib.data.datasets.find_inputs` takes, an address of fsspec such as ``s3://bucket/folder``, or Parquet files
        with a column ``image`` of encoded images. Workers must be able to reach it, and `out`.
    out : str or path-like, optional
        Folder or address for ``part-00000.parquet`` and so on, which ``pandas.read_parquet`` takes as one table;
        ``predictions.parquet/`` by default.
    scheduler, workers
        See `digitlib.scale.cluster.workers`.
    partition_size : int
        Images a partition; a row group of a Parquet file is not divided.

    Returns
    -------
    dict
        ``images``, ``unreadable``, ``rejected`` (by a calibrated classifier), ``partitions``, ``found`` (partitions that
        were done before), ``out``.

    Raises
    ------
    DigitError
        If something can't be read, or `out` holds other files; partitions that fail, after the others are done.

    Examples
    --------
    >>> predict_bulk("runs/default", "s3://bucket/scans", "s3://bucket/predictions", workers=2)  # doctest: +SKIP
    """
    path = resolve(run_or_model)
    file = network_file(path)
    if not file.exists():
        raise DigitError(f"{display_path(file)} doesn't exist: give a run's folder, a .keras file or an export.")
    if file.suffix == ".onnx":
        files = {f"model.onnx{end}": file.with_name(file.name + end) for end in ("", ".json", ".npz")}
    else:
        files = {name: file.parent / name for name in MODEL_FILES} | {"best_model.keras": file}
    model = {name: one.read_bytes() for name, one in files.items() if one.exists()}
    columns, partitions = _partitions(os.fspath(source), partition_size)
    target = str(out).rstrip("/") if is_address(str(out)) else str(resolve(out or "predictions.parquet"))
    text = json.dumps([columns, partitions]).encode(errors="surrogateescape")
    key = hashlib.sha256(b"".join([text, *model.values()])).hexdigest()
    done, failed = _done(target, key), list[str]()
    found = len(done)
    given = {f"part-{number:05d}.parquet": partition for number, partition in enumerate(partitions)}
    tasks = {name: (model, key, columns, given[name], target, name) for name in given if name not in done}
    with cluster.workers(workers, scheduler):
        for name, counts, error in progress(cluster.each(_predict, tasks), len(tasks), "Predicting", "part"):
            done |= {name: counts} if counts else {}
            failed += [error] if error else []
    if failed:
        raise DigitError(f"{len(failed)} of {len(given)} partitions failed; try them again. {failed[0]}")
    sums = pd.DataFrame(list(done.values())).sum().astype(int).to_dict()
    return sums | {"partitions": len(partitions), "found": found, "out": target}


def _place(address: str) -> tuple[Any, str]:
    """Return the file system of an address or path, and the path in it."""
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(address)
    except ImportError as error:  # of fsspec, or of the address's driver
        raise missing_extra(f"{address} ({error})", "scale", error) from error


def _find(address: str) -> tuple[Any, str, list[str]]:
    """Return the file system of an address, the path in it, and all files below in natural order."""
    fs, top = _place(address)
    try:
        fs.invalidate_cache()
        return fs, top, natsorted(fs.find(top))
    except Exception as error:  # each driver has errors of its own
        raise DigitError(f"{address} can't be reached: {str(error)[:150] or type(error).__name__}") from error


def _partitions(source: str, size: int) -> tuple[list[str], list[Any]]:
    """Return the columns of images and names in Parquet files, and the images in partitions, each with its folder first."""
    if is_address(source):
        fs, top, paths = _find(source)
        top = os.path.dirname(top) if paths == [top] else top  # noqa: PTH120 - no path of this machine
        folder, names = fs.unstrip_protocol(top), [path.removeprefix(top).lstrip("/") for path in paths]
    else:
        place, names = find_inputs(source)
        folder = str(place)
    if not names:
        raise DigitError(f"{source} holds no files: give a folder of images.")
    with needs("bulk prediction"):
        import pyarrow as pa
        from pyarrow import dataset
    if not all(name.lower().endswith(".parquet") for name in names):
        return [], [[folder, *names[start : start + size]] for start in range(0, len(names), size)]
    fs, top = _place(folder)
    try:
        tables = dataset.dataset([f"{top}/{name}" for name in names], filesystem=fs)
        groups = [(one.path, group) for one in tables.get_fragments() for group in one.row_groups]
    except (OSError, pa.ArrowException) as error:
        raise DigitError(f"{source} holds a file that is not whole: fetch it again. ({error})") from error
    if "image" not in tables.schema.names:
        raise DigitError(f"{source} has no column 'image' of encoded images (JPEG or PNG bytes).")
    partitions, held, starts = list[list[Any]]([[folder]]), 0, Counter[str]()
    for path, group in groups:
        if held >= size:
            partitions, held = [*partitions, [folder]], 0
        partitions[-1].append([path.removeprefix(top).lstrip("/"), group.id, starts[path]])
        held, starts[path] = held + group.num_rows, starts[path] + group.num_rows
    return [name for name in ("image", "filename") if name in tables.schema.names], partitions


def _done(target: str, key: str) -> dict[str, dict[str, int]]:
    """Return the counts of the partitions that are there and whole."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    fs, top, paths = _find(target)
    done = {}
    for path in (one for one in paths if "/.tmp-" not in one):
        try:
            with fs.open(path) as file:
                about = pq.read_schema(file).metadata or {}
        except pa.ArrowInvalid:  # it is not whole
            continue
        if about.get(b"made_from") != key.encode():
            raise DigitError(f"{target} holds something other than these predictions: choose another --out.")
        done[path.removeprefix(top).lstrip("/")] = json.loads(about[b"counts"])
    return done


def _predict(
    model: dict[str, bytes], key: str, columns: list[str], partition: list[Any], target: str, part: str
) -> dict[str, int]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    if key not in _LOADED:
        with tempfile.TemporaryDirectory() as folder:
            for file, content in model.items():
                (Path(folder) / file).write_bytes(content)
            _LOADED.clear()
            _LOADED[key] = Classifier.load(folder)
    classifier, tables = _LOADED[key], []
    settings = (classifier.color_mode, classifier.image_size, min(classifier.image_size), classifier.resize)
    items = _rows(columns, *partition) if columns else _files(*partition)
    images = ((name, decoded(one, *settings) if isinstance(one, bytes) else unread(one)) for name, one in items)
    while batch := list(islice(images, BATCH)):
        names, read = zip(*batch, strict=True)
        table = classifier.predict_decoded(list(read))
        table.insert(0, "filename", [one.encode("utf-8", "backslashreplace").decode() for one in names])
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    counts = {"images": len(table), "unreadable": int((table["reason"] != "").sum())}
    if "accepted" in table:
        counts["rejected"] = int((~table["accepted"]).sum()) - counts["unreadable"]
    arrow, target_file = pa.Table.from_pandas(table, preserve_index=False), io.BytesIO()
    about = {**(arrow.schema.metadata or {}), "made_from": key, "counts": json.dumps(counts)}
    pq.write_table(arrow.replace_schema_metadata(about), target_file, compression="zstd")
    fs, top = _place(target)
    fs.makedirs(top, exist_ok=True)
    temporary = f"{top}/.tmp-{uuid.uuid4().hex}"
    fs.pipe_file(temporary, target_file.getvalue())
    fs.mv(temporary, f"{top}/{part}")
    return counts


def _files(folder: str, *names: str) -> Iterator[tuple[str, bytes | OSError]]:
    """Yield the content of each file, or why it can't be read."""
    fs, top = _place(folder)
    failed = 0
    for start in range(0, len(names), HELD):
        paths = [f"{top}/{name}" for name in names[start : start + HELD]]
        contents = fs.cat_ranges(paths, None, None, on_error="return")
        for name, content in zip(names[start:], contents, strict=False):
            if isinstance(content, Exception) and not isinstance(content, OSError):
                raise content
            failed += isinstance(content, OSError)
            yield name, content
    if failed == len(names) > 1:
        raise DigitError(f"none of {failed:,} images, such as {names[0]}, can be read in {folder}")


def _rows(columns: list[str], folder: str, *groups: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the images in some row groups of Parquet files."""
    from pyarrow import parquet as pq

    fs, top = _place(folder)
    for file, group, number in groups:
        with fs.open(f"{top}/{file}") as opened:
            # With a buffer, a column is read piece by piece; without, all of a row group at once.
            parquet = pq.ParquetFile(opened, buffer_size=1 << 20, pre_buffer=False)
            for batch in parquet.iter_batches(HELD, [group], columns, use_threads=False):
                for place, row in enumerate(batch.to_pylist(), number):
                    image = row["image"] if isinstance(row["image"], dict) else {"bytes": row["image"]}
                    name = row.get("filename", image.get("path"))
                    yield f"{file}#{place}" if name is None else str(name), image["bytes"] or b""
                number += len(batch)
