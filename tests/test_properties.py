"""What holds for any input: fuzzed image files, any names, any sizes of the sets."""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faults import SOAK
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import digitlib as d
from digitlib.data.decoding import read_files
from digitlib.files import read_table, write_table

FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP")
FUZZED = 3_000 if SOAK else 300

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=20).filter(
    lambda text: text not in (".", "..")
)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with some changed, cut, repeated or added."""
    kind = chance.randrange(4)
    place = chance.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + chance.randbytes(chance.randint(1, 40)) + data[place:]
    if kind == 2:
        return data[:place] + data[place + chance.randint(1, 40) :]
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("form", FORMATS)
def test_a_mutated_file_is_an_image_or_has_a_reason(tmp_path: Path, form: str) -> None:
    chance = random.Random(form)
    store = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)).save(store, form)
    paths = []
    for number in range(FUZZED // len(FORMATS)):
        paths.append(str(tmp_path / f"{number}"))
        Path(paths[-1]).write_bytes(mutated(store.getvalue(), chance))
    for result in read_files(paths):
        assert (result.image is None) == (result.reason != "")
        assert "\n" not in result.reason
        if result.image is not None:
            assert result.image.dtype == np.uint8
            assert result.image.ndim == 3
            assert result.image.shape[2] in (1, 3)


@settings(deadline=None, max_examples=500 if SOAK else 50)
@given(st.lists(names, unique=True, min_size=1))
def test_any_name_survives_the_manifest(found: list[str]) -> None:
    # What a file system can hold is what survives its own encoding.
    found = [name for name in found if name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") == name]
    table = pd.DataFrame({"filename": [f"a/{name}" for name in found] + found, "reason": "not an image"}, dtype=str)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rejected.csv"
        write_table(path, table)
        again = read_table(path)
    assert again["filename"].tolist() == table["filename"].tolist()
    assert again["reason"].tolist() == table["reason"].tolist()


@settings(deadline=None, max_examples=200 if SOAK else 20)
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(12, 40), min_size=2),
    st.floats(0.1, 0.6),
    st.floats(0.1, 0.6),
    st.sampled_from(["random", "hash"]),
    st.randoms(use_true_random=False),
)
def test_any_split_is_whole_and_does_not_depend_on_the_order(
    sizes: dict[str, int], test_size: float, validation_size: float, assign: str, chance: random.Random
) -> None:
    rows = [(f"{name}/{number}.png", name, "") for name, size in sizes.items() for number in range(size)]
    files = pd.DataFrame(rows, columns=["filename", "class", "part"], dtype=str)
    files["sha256"] = [hashlib.sha256(name.encode()).hexdigest() for name in files["filename"]]
    options = {"test_size": test_size, "validation_size": validation_size, "assign": assign}
    try:
        manifest = d.data.assign_parts(files, **options)
    except d.DigitError:
        return  # too few images for sets of these sizes
    assert sorted(manifest["filename"]) == sorted(files["filename"])
    assert set(manifest["part"]) == {"train", "validation", "test"}
    places = list(range(len(files)))
    chance.shuffle(places)
    shuffled = files.iloc[places].reset_index(drop=True)
    pd.testing.assert_frame_equal(d.data.assign_parts(shuffled, **options), manifest)
