"""Tasks here and on Dask's workers: the same answers, faults told apart, workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import HTTPServer, SimpleHTTPRequestHandler
from multiprocessing import current_process, get_context
from pathlib import Path
from typing import Any

import psutil
import pytest
from joblib.externals.loky import ProcessPoolExecutor

import digitlib as d
from digitlib.scale import cluster
from digitlib.scale.cluster import AHEAD, Here, Outcome, open_workers
from digitlib.scale.sweep_run import _with_children


def half(n: int) -> float:
    if n % 2:
        raise d.DigitError(f"{n} is odd")
    return n / 2


def die_once(marker: str) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def tasks(n: int) -> list[tuple[str, tuple[int]]]:
    return [(f"half-{number}", (number,)) for number in range(n)]


def test_without_workers_tasks_are_done_here_in_order() -> None:
    with open_workers() as workers:
        assert isinstance(workers, Here)
        done = list(workers.run(half, tasks(4)))
    assert [one.value for one in done] == [0, None, 1, None]
    assert str(done[1].error) == "1 is odd"


@pytest.mark.slow
def test_workers_give_the_same_and_outlive_one_that_dies(root: Path) -> None:
    with open_workers(workers=2) as workers:
        assert workers.size == 2
        done = {one.key: one for one in workers.run(half, tasks(30), ahead=4)}
        assert [done[f"half-{n}"].value for n in range(0, 30, 2)] == list(range(15))
        assert str(done["half-7"].error) == "7 is odd"
        (one,) = workers.run(die_once, [("die", (str(root / "marker"),))])
        assert one.error is None
        assert one.value != os.getpid()
    assert AHEAD > 100


def test_a_scheduler_that_is_not_there_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", 1)
    with (
        pytest.raises(d.DigitError, match=r"no scheduler answers at 'tcp://127.0.0.1:9'"),
        open_workers("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_scheduler_and_workers_of_ones_own_are_refused() -> None:
    with pytest.raises(d.DigitError, match="leave --workers out"), open_workers("tcp://127.0.0.1:1", 2):
        pass


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """As a training does whose worker is killed."""
    child = f"import psutil, time; from digitlib.scale.sweep_run import _end_with; open({str(tmp_path / 'pid')!r}, 'w').write('x'); "
    child += "_end_with(psutil.Process().parent())"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True); sys.stdin.read()"
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    process = psutil.Process(int(starter.stdout.readline()))
    while not (tmp_path / "pid").exists():
        assert process.is_running()
        time.sleep(0.05)
    starter.kill()
    starter.communicate()
    process.wait(30)


def test_an_encrypted_scheduler_without_certificates_gets_one_sentence() -> None:
    with (
        pytest.raises(d.DigitError, match="needs certificates: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        open_workers("tls://127.0.0.1:9"),
    ):
        pass


def test_a_script_without_a_main_part_gets_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "from digitlib.scale.cluster import open_workers\nwith open_workers(workers=2):\n    pass\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "workers can't be started (" in done.stderr.splitlines()[-1]
    assert 'it has to do so below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_what_speaks_otherwise_than_a_scheduler_gets_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the dashboard, whose port is next to the scheduler's."""
    monkeypatch.setattr(cluster, "ANSWERS_WITHIN", 2)
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.server_port}"
        with pytest.raises(d.DigitError, match=f"no scheduler answers at '{address}'"), open_workers(address):
            pass
        server.shutdown()


def in_a_worker_of_dask(told: Any) -> None:
    with _with_children(), ProcessPoolExecutor(1) as fresh:
        told.put(fresh.submit(abs, -5).result())
    told.put(current_process().daemon)


def test_a_run_may_have_a_process_of_its_own_on_a_worker() -> None:
    """Dask's workers are daemons, which multiprocessing forbids to start processes."""
    start = get_context("spawn")
    told = start.Queue()
    worker = start.Process(target=in_a_worker_of_dask, args=(told,), daemon=True)
    worker.start()
    assert [told.get(timeout=60) for _ in range(2)] == [5, True]
    worker.join(60)


def test_the_end_of_the_scheduler_is_told_in_one_sentence() -> None:
    from distributed.client import FutureCancelledError

    with pytest.raises(d.DigitError, match="a is not done, since the scheduler ended: start it again"):
        Outcome("a", error=FutureCancelledError("a", "scheduler-connection-lost")).result()
