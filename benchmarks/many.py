"""Images by the million: real ones augmented by digitlib's generator, stored as users have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from joblib import Parallel, delayed

from digitlib.run import Run
from digitlib.training.generators import ImageBatches, generator_from_split
from digitlib.training.recipes import HAND_AUGMENTATION

# Files a folder or rows a Parquet file; rows a row group, as in Hugging Face's data sets; about the JPEGs of Kaggle's archive.
A_FOLDER, A_GROUP, QUALITY = 5_000, 1_000, 92


def make(run: Run, top: Path, n: int) -> None:
    """Fill ``top/files`` with folders and ``top/rows`` with Parquet files, of `n` images each; `n` is a multiple of `A_FOLDER`."""
    starts = range(0, n, A_FOLDER)
    Parallel(n_jobs=2)(delayed(_write)(run, top, start, kind) for kind in ("files", "rows") for start in starts)


def _write(run: Run, top: Path, start: int, kind: str) -> None:
    """Write one folder of files or one Parquet file."""
    names = [f"img_{start + number}.jpg" for number in range(A_FOLDER)]
    encoded = [simplejpeg.encode_jpeg(np.ascontiguousarray(one), QUALITY, "GRAY") for one in _augmented(run, start)]
    folder = top / kind / f"{start // A_FOLDER:04d}"
    (folder if kind == "files" else folder.parent).mkdir(parents=True, exist_ok=True)
    if kind == "files":
        for name, content in zip(names, encoded, strict=True):
            (folder / name).write_bytes(content)
    else:
        table = pa.table({"filename": names, "image": pa.array(encoded, pa.binary())})
        pq.write_table(table, folder.with_suffix(".parquet"), row_group_size=A_GROUP, compression="none")


def _augmented(run: Run, start: int) -> np.ndarray:
    """Return images that no other start gives: uint8, shape (A_FOLDER, 28, 28, 1)."""
    train = generator_from_split(run, "train", image_size=(28, 28), color_mode="grayscale", shuffle=False)
    originals = train.originals(np.random.default_rng(start).integers(train.samples, size=A_FOLDER))
    batches = ImageBatches.from_array(originals, batch_size=500, shuffle=False, seed=start, **HAND_AUGMENTATION)
    pixels = np.concatenate([batches[number][0] for number in range(len(batches))])
    return pixels.round().clip(0, 255).astype(np.uint8)
