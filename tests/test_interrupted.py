"""Two commands at once, and commands that are stopped."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import digitlib as d
from digitlib.cli import main
from digitlib.run import run_lock

HOLD = """
import sys, time
from digitlib.run import run_lock
from digitlib.run import open_run
with run_lock(open_run("runs/a")):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(root: Path) -> subprocess.Popen[str]:
    """Return another process that works in runs/a."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("command", [["run", "--data", "{digits}", "--out", "runs/a"], ["undo", "runs/a"]])
def test_the_second_of_two_commands_says_so_and_stops(
    digits: Path, holder: subprocess.Popen[str], command: list[str]
) -> None:
    before = sorted((digits.parent / "runs").rglob("*"))
    result = CliRunner().invoke(main, [word.format(digits=digits) for word in command])
    assert result.exit_code == 1
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "runs/a is in use by another digitlib command" in errors[0]
    assert sorted((digits.parent / "runs").rglob("*")) == before


def test_the_lock_of_a_killed_command_is_in_nobodys_way(root: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with run_lock("runs/a"), pytest.raises(d.DigitError, match="in use"), run_lock("runs/a"):
        pass


def test_an_interrupted_run_says_how_to_go_on(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("digitlib.pipeline.notebooks.run_series", interrupted)
    spaced = digits.rename(digits.parent / "my 'scans'")
    words = ["run", "--data", str(spaced), "--recipe", "tiny", "--out", "runs/it's", "--only", "01,05"]
    words += ["-p", "epochs", "3", "-p", "mode", "copy"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 130
    said = result.output.splitlines()[-1]
    assert said.startswith("Stopped. Go on with: digitlib run --resume ")
    again = shlex.split(said.partition(": ")[2])[1:]
    assert sorted(again) == sorted([*words, "--resume"])
    assert again[again.index("--out") + 1] == "runs/it's"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("digitlib.scale.bulk.predict_bulk", ["predict", "runs/a", "scans", "--out", "out/"]),
        ("digitlib.scale.sweep.run_sweep", ["sweep", "space.yml"]),
    ],
)
def test_what_does_nothing_twice_says_how_to_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, place: str, words: list[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    (root / "space.yml").write_text("recipe: tiny\n", encoding="utf-8")
    monkeypatch.setattr(place, interrupted)
    monkeypatch.setattr(sys, "argv", ["digitlib", *words])
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 130
    assert result.output.endswith(f"Stopped. What is finished stays; go on with: {shlex.join(['digitlib', *words])}\n")


def test_a_run_does_not_write_over_the_notebooks_themselves(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = Path(__file__).parents[1]
    result = CliRunner().invoke(main, ["run", "--data", str(digits), "--out", str(top)])
    assert result.exit_code == 1
    assert "where the notebooks themselves are" in result.output
    assert not (top / ".lock").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal's signal can't be sent there")
def test_ctrl_c_in_a_real_run_can_be_gone_on_from(digits: Path) -> None:
    words = [sys.executable, "-m", "digitlib", "run", "--data", "scans", "--recipe", "tiny", "--only", "01,02"]
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, **options)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("digitlib run: ")
    assert process.stdout.readline().startswith("01_data_preparation: ")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    again = shlex.split(said.splitlines()[-1].partition(": ")[2])
    done = subprocess.run([sys.executable, "-m", *again], **options, check=True)
    assert done.stdout.splitlines()[1] == "01_data_preparation: done before"
    assert (digits.parent / "runs" / "default" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal's signal can't be sent there")
def test_ctrl_c_with_workers_says_how_to_go_on_and_nothing_else(digits: Path) -> None:
    root = digits.parent
    (root / "space.yml").write_text("data: scans\nrecipe: tiny\nseed: [1, 2]\nepochs: 5000\n", "utf-8")
    words = [sys.executable, "-m", "digitlib", "sweep", "space.yml", "--workers", "2", "--no-notebooks"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    ends = time.monotonic() + 120
    while len(list((root / "runs").glob("sweep/*/history.csv"))) < 2 and time.monotonic() < ends:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the workers as well
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    told = [line for line in (said + errors).splitlines() if line]
    assert told[-1].startswith("Stopped. What is finished stays; go on with: digitlib sweep space.yml")
    assert len(told) == 1, told
