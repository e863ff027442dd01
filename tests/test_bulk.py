"""Predictions partition by partition: from folders, Parquet and S3, resumed, damaged, on workers that die."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import digitlib as d
from digitlib import run as locking
from digitlib.cli import main
from digitlib.data import datasets as ingest
from digitlib.data.stores import _of_one_file, goes_in_parts, open_store, without_scheme
from digitlib.data.tables import _rows_at_once
from digitlib.run import Run
from digitlib.scale import jobs, parts
from digitlib.scale.parts import predict_partition
from tests.training import trained

pytestmark = pytest.mark.slow  # a network is trained

SIZE = 25


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give this module a project's top, with credentials for a server of its own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("bulk")
        patch.setenv("DIGITLIB_ROOT", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run(place: Path, sample: Path) -> Run:
    return trained(sample, "runs/bulk", d.get_recipe("tiny", epochs=1))[0]


@pytest.fixture(scope="module")
def images(place: Path, sample: Path) -> Path:
    """Return 60 images in two folders, and two files that are none."""
    for number, path in enumerate(sorted((sample / "testSet").iterdir())[:60]):
        target = place / "images" / "ab"[number % 2] / f"img_{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (place / "images" / "a" / "img_3[x].jpg").write_bytes(b"\xff\xd8\xff but no picture")
    (place / "images" / "b" / "img_100.png").write_bytes(b"")
    return place / "images"


@pytest.fixture(scope="module")
def whole(place: Path, run: Run, images: Path) -> pd.DataFrame:
    """Return what one process says of all images in one table."""
    d.predict_to_files(run.folder, *d.find_inputs(images), place / "one.parquet")
    return pd.read_parquet(place / "one.parquet")


@pytest.fixture(scope="module")
def bucket(place: Path, images: Path) -> Iterator[str]:
    """Start an S3-compatible server and put the images there."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()  # what is cached has another server's address
        store = s3fs.S3FileSystem()
        store.mkdir("digits")
        store.put(str(images), "digits/scans", recursive=True)
        yield "s3://digits"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def assert_same(parts: str | Path, whole: pd.DataFrame) -> None:
    table = pd.read_parquet(parts)
    numbers = ["confidence", "confidence_2", "confidence_3"]
    pd.testing.assert_frame_equal(table.drop(columns=numbers), whole.drop(columns=numbers))
    np.testing.assert_allclose(table[numbers], whole[numbers], atol=1e-6)


def test_parts_hold_what_one_table_would(place: Path, run: Run, images: Path, whole: pd.DataFrame) -> None:
    out = place / "plain"
    arguments = [str(run.folder), str(images), "--out", f"{out}/", "--partition-size", str(SIZE)]
    told = CliRunner().invoke(main, ["predict", *arguments])
    assert told.exit_code == 0, told.output
    assert "62 images, 2 of them unreadable (see the column reason); 3 partitions: plain" in told.output
    assert_same(out, whole)
    parts = sorted(path.name for path in out.glob("*.parquet"))
    assert parts == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert [pq.read_metadata(out / name).num_rows for name in parts] == [25, 25, 12]


def test_a_job_goes_on_and_does_damaged_parts_again(
    place: Path, run: Run, images: Path, whole: pd.DataFrame
) -> None:
    out = place / "again"
    first = d.predict_in_parts(run.folder, images, out, partition_size=10)
    assert (first["images"], first["partitions"], first["found"]) == (62, 7, 0)
    (out / "part-00001.parquet").unlink()
    cut = out / "part-00002.parquet"
    cut.write_bytes(cut.read_bytes()[:-20])
    turned = bytearray((out / "part-00003.parquet").read_bytes())
    turned[60] ^= 1
    (out / "part-00003.parquet").write_bytes(turned)
    shutil.copy(out / "part-00005.parquet", out / "part-00004.parquet")  # whole, but of other images
    second = d.predict_in_parts(run.folder, images, out, partition_size=10)
    assert [one["number"] for one in second["tasks"] if not one["found"]] == [1, 2, 3, 4]
    assert second["unreadable"] == 2
    assert_same(out, whole)


def test_a_worker_reads_of_the_list_what_it_needs(
    place: Path, run: Run, images: Path, whole: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (jobs, parts):
        monkeypatch.setattr(module, "LISTED", 2)
    out = place / "listed_in_two"
    assert d.predict_in_parts(run.folder, images, out, partition_size=SIZE)["partitions"] == 3
    assert [pq.ParquetFile(path).num_row_groups for path in sorted(out.glob("_job/manifest-*"))] == [2, 1]
    assert_same(out, whole)
    (out / "_job" / "manifest-00000.parquet").unlink()  # of the first two partitions
    (out / "part-00002.parquet").unlink()
    parts._list_of.cache_clear()
    job = jobs.job_of(open_store(out), (out / "_job" / "job.json").read_bytes())
    assert not parts.predict_partition(str(out), job.key, 2)["found"]


def test_a_resumed_job_keeps_its_list(place: Path, run: Run, images: Path, whole: pd.DataFrame) -> None:
    out = place / "kept"
    d.predict_in_parts(run.folder, images, out, partition_size=40)
    (out / "part-00001.parquet").unlink()
    late = images / "a" / "img_0000.png"
    shutil.copy(images / "a" / "img_0.png", late)
    try:
        assert d.predict_in_parts(run.folder, images, out, partition_size=40)["found"] == 1
    finally:
        late.unlink()
    assert_same(out, whole)


def test_another_job_in_the_same_folder_is_refused(place: Path, run: Run, images: Path) -> None:
    out = place / "mixed"
    d.predict_in_parts(run.folder, images / "a", out)
    before = (out / "part-00000.parquet").read_bytes()
    with pytest.raises(d.DigitError, match=r"mixed holds the parts of another SOURCE \(.*images/a\)"):
        d.predict_in_parts(run.folder, images, out)
    with pytest.raises(d.DigitError, match=r"another --partition-size \(20000\)"):
        d.predict_in_parts(run.folder, images / "a", out, partition_size=7)
    other = place / "other"
    shutil.copytree(run.folder, other)
    d.build_model(d.get_recipe("tiny"), [str(n) for n in range(10)]).save(other / "best_model.keras")
    with pytest.raises(d.DigitError, match="another network"):
        d.predict_in_parts(other, images / "a", out)
    assert (out / "part-00000.parquet").read_bytes() == before
    with pytest.raises(d.DigitError, match="images holds other files"):
        d.predict_in_parts(run.folder, images / "a", images)


def test_a_table_beside_pictures_does_not_make_parts_of_them(digits: Path) -> None:
    (digits / "testSet" / "named.parquet").touch()
    assert not goes_in_parts(str(digits / "testSet"), None)


def test_parquet_files_of_other_columns_are_refused_by_name_before_any_work(root: Path, run: d.Run) -> None:
    (root / "rows").mkdir()
    columns = {"image": [b"x"], "filename": ["a"]}
    pq.write_table(pa.table(columns), root / "rows" / "1.parquet")
    pq.write_table(pa.table({"image": [b"x"]}), root / "rows" / "2.parquet")
    with pytest.raises(d.DigitError, match=r"2.parquet has no column 'filename', as 1.parquet has"):
        d.predict_in_parts(run.folder, root / "rows", root / "out/")
    assert not (root / "out").exists()


def test_two_processes_copy_an_address_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = open_store("memory://scans"), []
    store.put("1/a.png", b"one")
    store.put("2/b.png", b"two")
    fetch = ingest._fetch
    monkeypatch.setattr(locking, "AGAIN_AFTER", 0.05)
    monkeypatch.setattr(ingest, "_fetch", lambda *where: (asked.append(1), time.sleep(0.2), fetch(*where)))
    with ThreadPoolExecutor(2) as both:
        first, second = both.map(ingest.copy_here, ["memory://scans"] * 2)
    assert first == second
    assert (first / "2/b.png").read_bytes() == b"two"
    assert len(asked) == 1
    with locking.alone(Run(first.parent)):  # another address is being copied: a finished one needs not wait
        assert ThreadPoolExecutor(1).submit(ingest.copy_here, "memory://scans").result(timeout=30) == first


def test_a_folder_of_parquet_files_goes_in_parts(root: Path) -> None:
    (root / "rows").mkdir()
    assert not goes_in_parts("rows", None)
    (root / "rows" / "train-00000.parquet").touch()
    assert goes_in_parts("rows", None)
    assert not goes_in_parts("nowhere", None)


@pytest.mark.parametrize(
    ("address", "path"),
    [("file:///data/x", "/data/x"), ("file:///C:/x", "C:/x"), ("s3://a/b", "s3://a/b"), ("scans", "scans")],
)
def test_an_address_of_this_machine_is_a_path_on_windows_too(address: str, path: str) -> None:
    assert without_scheme(address) == path


def test_one_file_at_an_address(place: Path, run: Run, images: Path, whole: pd.DataFrame) -> None:
    name = "img_0.png"
    store = open_store("memory://one")
    store.put(name, (images / "a" / name).read_bytes())
    rows = pa.table({"image": [(images / "a" / name).read_bytes()], "filename": [name]})
    pq.write_table(rows, place / "rows.parquet")
    store.put("rows.parquet", (place / "rows.parquet").read_bytes())
    for number, file in enumerate((name, "rows.parquet")):
        out = place / f"single_{number}"
        done = d.predict_in_parts(run.folder, f"memory://one/{file}", out)
        assert (done["images"], done["unreadable"]) == (1, 0)
        (row,) = pd.read_parquet(out).to_dict("records")
        assert row["label"] == whole.set_index("filename")["label"][f"a/{name}"]


def test_a_worker_that_sees_another_folder_says_so(place: Path) -> None:
    with pytest.raises(d.DigitError, match="elsewhere as this worker sees it holds no job"):
        predict_partition(str(place / "elsewhere"), "key", 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "1", "--out", "x.csv"], "partitions are written to a folder"),
        (["--out", "x/", "--gallery", "x.html"], "without --submission and --gallery"),
        (["--out", "nowhere://x/y"], "nowhere://x/y can't be reached"),
    ],
)
def test_what_parts_can_not_do_is_said(
    place: Path, run: Run, images: Path, arguments: list[str], said: str
) -> None:
    told = CliRunner().invoke(main, ["predict", str(run.folder), str(images), *arguments])
    assert told.exit_code == 1
    assert told.output.startswith("Error: ")
    assert said in told.output


@pytest.mark.parametrize(
    ("module", "address", "said"),
    [
        ("s3fs", "s3://b/x", r"pip install \"digitlib\[cluster\]\""),
        ("gcsfs", "gs://b/x", "pip install gcsfs"),
    ],
)
def test_an_address_without_its_driver_gets_one_sentence(
    module: str, address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fsspec.core", module):  # as if neither were installed
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(d.DigitError, match=f"^{address} needs a driver .*{said}"):
        open_store(address)


def as_rows(images: Path, names: list[str], shape: str) -> pa.Table:
    contents = [(images / name).read_bytes() for name in names]
    if shape == "struct":
        return pa.table({"image": [{"bytes": b, "path": n} for b, n in zip(contents, names, strict=True)]})
    if shape == "nameless":
        return pa.table({"label": list(range(len(names))), "image": contents})
    return pa.table({"bytes": contents, "file_name": names})


@pytest.mark.parametrize("shape", ["plain", "struct", "nameless"])
def test_parquet_holds_images_too(
    place: Path, run: Run, images: Path, whole: pd.DataFrame, shape: str
) -> None:
    folder, names = place / f"rows_{shape}", whole["filename"].tolist()
    folder.mkdir()
    pq.write_table(as_rows(images, names[:33], shape), folder / "a.parquet", row_group_size=10)
    pq.write_table(as_rows(images, names[33:], shape), folder / "b.parquet", row_group_size=10)
    out = place / f"of_rows_{shape}"
    done = d.predict_in_parts(run.folder, folder, out, partition_size=15)
    assert done["partitions"] == 3  # row groups of 10 10, 10 3 10, 10 9
    expected = whole
    if shape == "nameless":
        numbers = [f"a.parquet#{n}" for n in range(33)] + [f"b.parquet#{n}" for n in range(29)]
        expected = whole.assign(filename=numbers)
    assert_same(out, expected)
    assert d.predict_in_parts(run.folder, folder, out, partition_size=15)["found"] == 3


def test_parquet_without_images_is_refused(place: Path, run: Run) -> None:
    pq.write_table(pa.table({"a": [1]}), place / "numbers.parquet")
    with pytest.raises(d.DigitError, match="no column of encoded images, only a"):
        d.predict_in_parts(run.folder, place / "numbers.parquet", place / "numbers")


def test_from_and_to_an_s3_server(place: Path, run: Run, bucket: str, whole: pd.DataFrame) -> None:
    out = f"{bucket}/named"
    done = d.predict_in_parts(run.folder, f"{bucket}/scans", out, partition_size=SIZE)
    assert (done["images"], done["unreadable"], done["found"]) == (62, 2, 0)
    assert_same(out, whole)
    open_store(out)._fs.rm("digits/named/part-00001.parquet")
    open_store(out)._fs.rm("digits/scans/b/img_1.png")
    again = d.predict_in_parts(run.folder, f"{bucket}/scans/", out, partition_size=SIZE)
    assert (again["found"], again["images"]) == (2, 62)
    reasons = pd.read_parquet(out).set_index("filename")["reason"]
    assert reasons["b/img_1.png"].startswith("can't be read: ")
    with pytest.raises(d.DigitError, match="s3://digits/nothing holds no files"):
        d.predict_in_parts(run.folder, f"{bucket}/nothing", f"{bucket}/none")


def test_data_at_an_address_is_copied_once(place: Path, bucket: str) -> None:
    store = open_store(f"{bucket}/x")._fs
    for label in "01":
        for number in range(3):
            store.pipe_file(f"digits/train/{label}/{number}.png", bytes([number + 1]) * 9)
    folder = d.as_folder(f"{bucket}/train")
    assert [len(list((folder / label).iterdir())) for label in "01"] == [3, 3]
    half = folder.with_name(f"{folder.name}.incomplete")
    folder.rename(half)
    (half / "0" / "0.png").write_bytes(b"x" * 9)  # of full length, so it is not fetched again
    (half / "0" / "1.png").write_bytes(b"half")
    (half / "0" / "gone.png").touch()
    assert d.as_folder(f"{bucket}/train") == folder
    assert (folder / "0" / "0.png").read_bytes() == b"x" * 9
    assert (folder / "0" / "1.png").read_bytes() == bytes([2]) * 9
    assert not (folder / "0" / "gone.png").exists()
    store.rm("digits/train", recursive=True)
    assert d.as_folder(f"{bucket}/train") == folder  # also without a network


def test_a_source_that_is_away_is_not_taken_for_damaged_files(
    place: Path, run: Run, images: Path, whole: pd.DataFrame
) -> None:
    source, out = place / "mounted", place / "of_mounted"
    shutil.copytree(images, source)
    d.predict_in_parts(run.folder, source, out, partition_size=SIZE)
    (out / "part-00001.parquet").unlink()
    source.rename(place / "away")
    with pytest.raises(d.DigitError, match=r"1 of 3 partitions are not done \(mounted can't be reached now"):
        d.predict_in_parts(run.folder, source, out, partition_size=SIZE)
    source.mkdir()  # as where something was mounted
    with pytest.raises(d.DigitError, match=r"none of 25 images, from .* on, can be read in mounted"):
        d.predict_in_parts(run.folder, source, out, partition_size=SIZE)
    source.rmdir()
    (place / "away").rename(source)
    assert d.predict_in_parts(run.folder, source, out, partition_size=SIZE)["found"] == 2
    assert_same(out, whole)


def test_a_job_begun_meanwhile_by_another_command_is_not_mixed_with_it(
    place: Path, run: Run, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, find = place / "two", jobs.find_partitioned
    with monkeypatch.context() as patch:
        patch.setattr(
            jobs, "find_partitioned", lambda source: (begin(images / "b"), find(source))[1]
        )  # while the source is listed

        def begin(source: Path) -> None:
            patch.setattr(jobs, "find_partitioned", find)
            d.predict_in_parts(run.folder, source, out)

        with pytest.raises(d.DigitError, match=r"two holds the parts of another SOURCE \(.*images/b\)"):
            d.predict_in_parts(run.folder, images / "a", out)
    assert pd.read_parquet(out)["filename"].tolist() == d.list_images(images / "b")
    with pytest.raises(d.DigitError, match="holds the parts of another job"):
        predict_partition(str(out), "key", 0)


def test_another_list_of_the_same_name_is_another_source(place: Path, run: Run, images: Path) -> None:
    (images.parent / "list.txt").write_text("images/a/img_0.png\n")
    assert d.predict_in_parts(run.folder, "@list.txt", place / "listed")["images"] == 1
    assert d.predict_in_parts(run.folder, "list.txt", place / "listed")["found"] == 1
    (images.parent / "list.txt").write_text("images/b/img_1.png\n")
    with pytest.raises(d.DigitError, match="another SOURCE"):
        d.predict_in_parts(run.folder, "@list.txt", place / "listed")


@pytest.mark.parametrize(
    ("name", "content"),
    [("job.json", b"{"), ("recipe.json", None), ("source.json", b"{}"), ("manifest-00000.parquet", b"x")],
)
def test_a_damaged_job_gets_one_sentence(
    place: Path, run: Run, images: Path, name: str, content: bytes | None
) -> None:
    out = place / f"damaged_{name}"
    d.predict_in_parts(run.folder, images / "a", out)
    (out / "part-00000.parquet").unlink()
    (out / ".tmp-notes").write_text("a user's")
    os.utime(out / ".tmp-notes", (0, 0))
    (out / "_job" / name).unlink()
    if content is not None:
        (out / "_job" / name).write_bytes(content)
    for kept in (parts._opened, parts._list_of, parts._network):
        kept.cache_clear()
    with pytest.raises(d.DigitError, match=f"_job/{name} is damaged or gone.*choose a new --out"):
        d.predict_in_parts(run.folder, images / "a", out)
    assert (out / ".tmp-notes").exists()


@pytest.mark.parametrize(
    "kind", [pa.dictionary(pa.int32(), pa.binary()), pa.large_binary(), pa.binary_view()]
)
def test_other_columns_of_bytes_are_read_as_well(
    place: Path, run: Run, images: Path, kind: pa.DataType
) -> None:
    folder = place / f"kind_{str(kind)[:8]}"
    folder.mkdir()
    contents = pa.array([(images / "a" / f"img_{n}.png").read_bytes() for n in (0, 2)], pa.binary())
    names = pa.array([b"zero", "zw\u00f6lf".encode()], pa.binary())
    pq.write_table(pa.table({"image": contents.cast(kind), "filename": names}), folder / "r.parquet")
    if kind == pa.large_binary():
        (folder / "r.parquet").rename(folder / os.fsdecode(b"r\xff.parquet"))
    assert d.predict_in_parts(run.folder, folder, f"{folder}_out")["unreadable"] == 0
    assert pd.read_parquet(f"{folder}_out")["filename"].tolist() == ["zero", "zw\u00f6lf"]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"image": [{"bytes": b"x", "path": "y"}]}, "2.parquet has struct<.*> in its column 'image'"),
        ({"image": ["text"]}, "2.parquet has string in its column 'image', and the first file binary"),
    ],
)
def test_parquet_files_that_keep_images_otherwise_are_refused_before_any_work(
    root: Path, run: Run, second: dict, said: str
) -> None:
    (root / "rows").mkdir()
    pq.write_table(pa.table({"image": [b"x"]}), root / "rows" / "1.parquet")
    pq.write_table(pa.table(second), root / "rows" / "2.parquet")
    with pytest.raises(d.DigitError, match=said):
        d.predict_in_parts(run.folder, root / "rows", root / "out/")
    twice = pa.Table.from_arrays([pa.array([b"x"]), pa.array([b"y"])], names=["image", "image"])
    pq.write_table(twice, root / "rows" / "1.parquet")
    with pytest.raises(d.DigitError, match=r"1\.parquet has two columns 'image'"):
        d.predict_in_parts(run.folder, root / "rows", root / "out/")


def test_large_rows_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(4_000_000)
    pq.write_table(pa.table({"image": [noise] * 40}), tmp_path / "large.parquet", use_dictionary=False)
    pq.write_table(pa.table({"image": [b"small"] * 40}), tmp_path / "small.parquet")
    rows = {
        name: _rows_at_once(pq.read_metadata(tmp_path / f"{name}.parquet").row_group(0))
        for name in ("large", "small")
    }
    assert rows["large"] in range(4, 17)
    assert rows["small"] == 512


def test_tables_are_meant_where_no_picture_is_beside_them_at_any_depth(root: Path) -> None:
    (root / "hub" / "data").mkdir(parents=True)
    (root / "hub" / "README.md").touch()
    (root / "hub" / "data" / "train.parquet").touch()
    assert goes_in_parts("hub", None)
    (root / "hub" / "data" / "1.pgm").touch()
    assert not goes_in_parts("hub", None)


def test_folders_that_a_store_keeps_as_empty_files_are_passed_over(place: Path, bucket: str) -> None:
    store = open_store(f"{bucket}/x")._fs
    for name in ("marked/", "marked/a/", "marked/a/1.png"):
        store.pipe_file(f"digits/{name}", b"" if name.endswith("/") else b"one")
    assert open_store(f"{bucket}/marked").files() == [("a/1.png", 3)]
    assert [path.name for path in d.as_folder(f"{bucket}/marked").rglob("*.png")] == ["1.png"]


def test_what_concerns_all_files_of_a_store_is_no_fault_of_one() -> None:
    class Answer(Exception):
        def __init__(self, code: str) -> None:
            self.response = {"Error": {"Code": code}}

    for code, own in (
        ("AccessDenied", True),
        ("NoSuchKey", True),
        ("ExpiredToken", False),
        ("NoSuchBucket", False),
    ):
        error = PermissionError("no")
        error.__cause__ = Answer(code)
        assert _of_one_file(error) == own
    assert _of_one_file(FileNotFoundError("x"))
    assert not _of_one_file(TimeoutError("x"))


def test_the_inside_of_an_archive_has_an_address_and_an_archive_at_one_is_refused(
    place: Path, run: Run, images: Path
) -> None:
    shutil.make_archive(str(place / "scans"), "zip", images)
    inside = open_store(f"zip://::file://{place}/scans.zip")
    names = [name for name, _ in inside.files()]
    assert names == d.list_images(images)
    assert next(iter(inside.read(names[:1], [-1]))) == (images / names[0]).read_bytes()
    open_store("memory://archive").put("scans.zip", b"PK")
    with pytest.raises(d.DigitError, match=r"scans\.zip is an archive: unpack it there"):
        d.predict_in_parts(run.folder, "memory://archive/scans.zip", place / "archived")


def kill_one_worker(out: Path, over: threading.Event, killed: list[int]) -> None:
    """Kill a process that predicts, once the first part is there."""
    while not over.wait(0.05):
        if any(out.glob("part-*.parquet")):
            for child in psutil.Process().children(recursive=True):
                if "spawn_main" in " ".join(child.cmdline()) and child.memory_info().rss > 300_000_000:
                    child.kill()
                    killed.append(child.pid)
                    return


def test_two_workers_one_killed_name_what_one_process_names(place: Path, run: Run, sample: Path) -> None:
    source, out = sample / "trainingSet", place / "workers"
    over, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_one_worker, args=(out, over, killed))
    killer.start()
    try:
        lines: list[str] = []
        done = d.predict_in_parts(run.folder, source, out, workers=2, partition_size=150, tell=lines.append)
    finally:
        over.set()
        killer.join()
    assert killed
    assert "Dashboard: http" in lines[0]
    assert (done["images"], done["partitions"]) == (4500, 30)
    d.predict_to_files(run.folder, *d.find_inputs(source), place / "all.parquet")
    assert_same(out, pd.read_parquet(place / "all.parquet"))
