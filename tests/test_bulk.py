"""Predictions in partitions: from folders, Parquet and S3, on workers that are killed, resumed, never twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback import loopback, until

from digitlib.errors import DigitError
from digitlib.evaluation.classifier import Classifier
from digitlib.pipeline.predict_folder import is_bulk
from digitlib.scale import bulk, predict_bulk
from digitlib.training.backend import keras

pytestmark = pytest.mark.slow  # workers load TensorFlow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give this module a project's top."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("bulk")
        patch.setenv("DIGITLIB_ROOT", str(folder))
        yield folder


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    network = keras.Sequential([*layers, keras.layers.Dense(10, "softmax")])
    return Classifier(network, [str(digit) for digit in range(10)]).save(place / "model")


@pytest.fixture(scope="module")
def images(place: Path, sample: Path) -> Path:
    """Return 58 images in two folders, and two files that are none."""
    for number, path in enumerate(sorted((sample / "testSet").iterdir())[:58]):
        target = place / "images" / "ab"[number % 2] / f"img_{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (place / "images" / "a" / "img_3[x].jpg").write_bytes(b"\xff\xd8\xff but not an image")
    (place / "images" / "b" / "img_100.png").write_bytes(b"")
    return place / "images"


@pytest.fixture(scope="module")
def whole(model: Path, images: Path) -> pd.DataFrame:
    """Return what one process predicts for all images in one table."""
    return Classifier.load(model).predict(images)


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
    pd.testing.assert_frame_equal(table.drop(columns=numbers), whole.drop(columns=numbers), check_dtype=False)
    np.testing.assert_allclose(table[numbers], whole[numbers], atol=1e-6)


def test_partitions_hold_what_one_table_would_and_are_not_done_again(
    place: Path, model: Path, images: Path, whole: pd.DataFrame
) -> None:
    out = place / "plain"
    done = predict_bulk(model, images, out, partition_size=10)
    assert done == {"images": 60, "unreadable": 2, "partitions": 6, "found": 0, "out": str(out)}
    assert sorted(path.name for path in out.iterdir()) == [f"part-0000{number}.parquet" for number in range(6)]
    assert_same(out, whole)

    times = {path: path.stat().st_mtime_ns for path in sorted(out.iterdir())}
    first, second = list(times)[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-20])
    (out / ".tmp-0123").write_bytes(second.read_bytes())  # as a worker that was killed leaves it
    assert predict_bulk(model / "best_model.keras", images, out, partition_size=10)["found"] == 4
    assert [path.stat().st_mtime_ns == time for path, time in times.items()] == [False, False, True, True, True, True]
    assert_same(out, whole)


def test_a_folder_of_something_else_is_refused(place: Path, model: Path, images: Path) -> None:
    out = place / "other"
    predict_bulk(model, images / "a", out)
    before = (out / "part-00000.parquet").read_bytes()
    for source, size in ((images / "b", 20_000), (images / "a", 5)):
        with pytest.raises(DigitError, match="something other than these predictions"):
            predict_bulk(model, source, out, partition_size=size)
    assert (out / "part-00000.parquet").read_bytes() == before


def test_images_in_rows_of_parquet(place: Path, model: Path, images: Path, whole: pd.DataFrame) -> None:
    contents = [(images / name).read_bytes() for name in whole["filename"]]
    kinds = {
        "named": {"filename": whole["filename"], "image": contents},
        "nested": {"image": [{"bytes": one, "path": None} for one in contents]},
    }
    for kind, columns in kinds.items():
        (place / kind).mkdir()
        for number, rows in enumerate((slice(0, 35), slice(35, 60))):
            part = pa.table({name: list(values[rows]) for name, values in columns.items()})
            pq.write_table(part, place / kind / f"{number}.parquet", row_group_size=10)
        done = predict_bulk(model, place / kind, place / f"{kind}_out", partition_size=15)
        assert (done["images"], done["partitions"]) == (60, 4)
    assert_same(place / "named_out", whole)
    rows = [f"0.parquet#{row}" for row in range(35)] + [f"1.parquet#{row}" for row in range(25)]
    assert_same(place / "nested_out", whole.assign(filename=rows))
    pq.write_table(pa.table({"x": [1]}), place / "bare.parquet")
    with pytest.raises(DigitError, match="no column 'image'"):
        predict_bulk(model, place / "bare.parquet", place / "bare_out")
    (place / "half.parquet").write_bytes((place / "bare.parquet").read_bytes()[:-9])
    with pytest.raises(DigitError, match="a file that is not whole"):
        predict_bulk(model, place / "half.parquet", place / "half_out")


def test_an_address_is_read_and_written(model: Path, bucket: str, whole: pd.DataFrame) -> None:
    done = predict_bulk(model, f"{bucket}/scans", f"{bucket}/predictions/", partition_size=25)
    assert (done["images"], done["unreadable"], done["partitions"]) == (60, 2, 3)
    assert_same(f"{bucket}/predictions", whole)
    assert predict_bulk(model, f"{bucket}/scans", f"{bucket}/predictions", partition_size=25)["found"] == 3
    one = predict_bulk(model, f"{bucket}/scans/a/img_0.png", f"{bucket}/one")
    assert one["images"] == 1
    with pytest.raises(DigitError, match=r"s3://none/scans (can't be reached|holds no files)"):
        predict_bulk(model, "s3://none/scans", f"{bucket}/none")


def test_every_image_once_though_a_worker_and_the_client_are_killed(
    place: Path, model: Path, images: Path, whole: pd.DataFrame
) -> None:
    out = place / "killed"
    code = "import sys; from digitlib.scale import predict_bulk; "
    code += "predict_bulk(*sys.argv[1:4], scheduler=sys.argv[4], partition_size=1)"
    with loopback(place, 2) as cluster:
        command = ("-c", code, str(model), str(images), str(out), cluster.address)
        client = cluster.start(*command)
        until(lambda: list(out.glob("part-*")), "partition")
        cluster.workers[0].kill()
        client.kill()
        client.wait()
        assert cluster.start(*command).wait(900) == 0
    assert len(list(out.glob("part-*"))) == 60
    assert_same(out, whole)


def test_partitions_that_fail_are_told_after_the_others(
    place: Path, model: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitions = bulk._partitions

    def with_one_gone(*given: object) -> object:
        columns, found = partitions(*given)  # type: ignore[arg-type]
        return columns, [*found, [str(place / "gone"), "a.png", "b.png"]]

    monkeypatch.setattr(bulk, "_partitions", with_one_gone)
    with pytest.raises(DigitError, match=r"1 of 3 partitions failed.*none of 2 images"):
        predict_bulk(model, images, place / "failed", partition_size=30)
    assert len(list((place / "failed").iterdir())) == 2


def test_what_is_predicted_in_partitions(place: Path, images: Path) -> None:
    for source, out in (("s3://x/y", None), ("a.parquet", None), ("scans", f"x{os.sep}"), ("scans", "s3://x")):
        assert is_bulk(source, out)
    assert not is_bulk(images, "predictions.csv")
    assert not is_bulk(images, None)
    with pytest.raises(DigitError, match="doesn't exist"):
        predict_bulk("runs/none", images)
