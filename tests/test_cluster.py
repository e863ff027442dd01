"""Tasks here and on Dask's workers: the same answers, faults told apart, workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import digitlib as d
from digitlib import cluster
from digitlib.cluster import AHEAD, Here, open_workers


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


def test_an_encrypted_scheduler_without_certificates_gets_one_sentence() -> None:
    with (
        pytest.raises(d.DigitError, match="needs certificates: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
        open_workers("tls://127.0.0.1:9"),
    ):
        pass


def test_a_script_without_a_main_part_gets_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("from digitlib.cluster import open_workers\nwith open_workers(workers=2):\n    pass\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "workers can't be started (" in done.stderr.splitlines()[-1]
    assert 'it has to do so below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
