"""Tasks in this process, in processes of this machine and on Dask's workers: the same results, and workers that die."""

from __future__ import annotations

import os
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import joblib
import pytest
from faults import KILL
from loopback import loopback

from digitlib.data import decoding
from digitlib.errors import DigitError
from digitlib.scale import cluster
from digitlib.scale.cluster import each, workers


def half(n: int) -> float:
    if n % 2:
        raise DigitError(f"{n} is odd")
    return n / 2


def die_once(marker: str) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), KILL)
    return os.getpid()


def threads(_: int) -> list[str]:
    return [os.environ[name] for name in ("TF_NUM_INTRAOP_THREADS", "NUMBA_NUM_THREADS", "DIGITLIB_ROOT")]


def test_tasks_are_done_here_in_order_and_their_errors_told_apart() -> None:
    with workers():
        done = list(each(half, {str(n): (n,) for n in range(3)}))
    assert done == [("0", 0, ""), ("1", None, "1 is odd"), ("2", 1, "")]


@pytest.mark.slow
def test_processes_have_one_thread_and_outlive_one_that_is_killed(root: Path) -> None:
    with workers(2):
        done = {name: (value, error) for name, value, error in each(half, {str(n): (n,) for n in range(20)})}
        assert [done[str(n)][0] for n in range(0, 20, 2)] == list(range(10))
        assert done["7"] == (None, "7 is odd")
        assert next(iter(each(threads, {"x": (1,)})))[1] == ["1", "1", str(root)]
        ((_, process, error),) = each(die_once, {"die": (str(root / "marker"),)})
    assert process != os.getpid()
    assert error == ""
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_and_outlives_a_worker_that_is_killed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(Path(__file__).parent)]))
    with loopback(root, 2) as running, workers(scheduler=running.address):
        done = {name: (value, error) for name, value, error in each(half, {str(n): (n,) for n in range(20)})}
        assert [done[str(n)][0] for n in range(0, 20, 2)] == list(range(10))
        assert done["7"] == (None, "7 is odd")
        ((_, process, error),) = each(die_once, {"die": (str(root / "marker"),)})
        assert process in [worker.pid for worker in running.workers]
        assert error == ""


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tls://127.0.0.1:9"])
def test_a_scheduler_that_does_not_answer_gets_one_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", 1)
    with pytest.raises(DigitError, match=f"No scheduler answers at {address} .*start one with"), workers(0, address):
        pass


def test_something_else_that_answers_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the dashboard, whose port is next to the scheduler's."""
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", 2)
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        with pytest.raises(DigitError, match="No scheduler answers"), workers(0, address):
            pass
        server.shutdown()


def test_a_scheduler_and_processes_are_refused_together() -> None:
    with pytest.raises(DigitError, match="leave out --workers"), workers(2, "tcp://127.0.0.1:1"):
        pass


@pytest.mark.slow
def test_tasks_go_to_processes_after_images_were_decoded_by_others(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PARALLEL_FROM", -1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 2)
    assert len(list(decoding.read_files([str(path) for path in digits.rglob("*.png")][:20]))) == 20
    for _ in range(2):
        with workers(2):
            assert sorted(value for _, value, _ in each(half, {"a": (2,), "b": (4,)})) == [1, 2]
        assert len(list(decoding.read_files([str(path) for path in digits.rglob("*.png")][:20]))) == 20
