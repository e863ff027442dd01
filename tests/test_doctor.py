"""`digitlib doctor`: faults put into the machine on purpose are found, and told with the way out."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from digitlib import doctor, installed
from digitlib.cli import main
from digitlib.installed import Finding


def python_that(does: str, folder: Path) -> str:
    """Return a program that stands for a Python which does this instead of loading anything."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


def kernel_of(python: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make python3 the kernel of this interpreter."""
    place = folder / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    words = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (place / "kernel.json").write_text(json.dumps({"argv": words, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed.check_python().level == "ok"
    monkeypatch.setattr(installed.sys, "version_info", (3, 9, 1))
    found = installed.check_python()
    assert found.level == "problem"
    assert "3.9.1, but digitlib needs" in found.said


def test_missing_and_old_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["click>=8.1", "no-such-package>=1", "numpy>=999", "no-such-tool>=2; extra == 'export'"]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    packages, export, cluster = installed.check_packages()
    assert packages.level == "problem"
    assert packages.said.startswith("no-such-package (missing), numpy ")
    assert "(needs >=999)" in packages.said
    assert "click" not in packages.said
    assert export.level == "note"
    assert "digitlib[export]" in export.said
    assert cluster.level == "ok"


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("kill -ILL $$", "died with SIGILL while loading: this processor lacks instructions"),
        ("kill -KILL $$", "memory"),
        ("echo 'ImportError: DLL load failed' >&2; exit 1", "does not load: ImportError: DLL load failed"),
        ("exec sleep 60", "did not load within 1 s"),
    ],
)
def test_a_tensorflow_that_does_not_load_does_not_take_the_doctor_along(
    tmp_path: Path, does: str, said: str
) -> None:
    (found,) = installed.check_tensorflow(python_that(does, tmp_path), within=1)
    assert found.level == "problem"
    assert said in found.said


def test_graphics_processors_are_counted(tmp_path: Path) -> None:
    loaded, gpu = installed.check_tensorflow(python_that("""echo '["2.99.0", 2]'""", tmp_path))
    assert loaded == Finding("ok", "TensorFlow", "2.99.0 loads")
    assert gpu == Finding("ok", "GPU", "2 seen")


def test_a_kernel_whose_python_is_gone_or_lacks_digitlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_of(str(tmp_path / "gone"), tmp_path, monkeypatch)
    assert installed.check_kernel().level == "problem"
    assert "does not run: run `" in installed.check_kernel().said
    shutil.rmtree(tmp_path / "jupyter")
    kernel_of(python_that("echo \"No module named 'digitlib'\" >&2; exit 1", tmp_path), tmp_path, monkeypatch)
    assert "says \"No module named 'digitlib'\"" in installed.check_kernel().said
    shutil.rmtree(tmp_path / "jupyter")
    kernel_of("python3", tmp_path, monkeypatch)
    assert installed.check_kernel().said == f"python3 starts {sys.executable}"


def test_little_room_and_memory() -> None:
    assert doctor.graded(10**12, doctor.DISK, "disk", "make room.").level == "ok"
    note = doctor.graded(300_000_000, doctor.DISK, "disk", "make room.")
    assert note == Finding("note", "disk", "0.3 GB free: make room.")
    assert doctor.graded(1_000_000, doctor.DISK, "disk", "make room.").level == "problem"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 0))
    writable, disk = doctor.check_folder(tmp_path / "runs" / "not yet there")
    assert writable == Finding("ok", "folder", f"{tmp_path} can be written to")
    assert disk.level == "problem"
    assert disk.said.startswith("0.0 GB free: make room on the disk of ")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_folder_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**options: object) -> None:  # root, who runs tests in containers, may write anywhere
        raise PermissionError(13, "Permission denied")

    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refused)
    found = next(doctor.check_folder(tmp_path))
    assert found.level == "problem"
    assert "can't be written to: Permission denied. Set DIGITLIB_ROOT" in found.said


def test_a_clock_in_the_past() -> None:
    assert doctor.check_clock().level == "ok"
    assert doctor.check_clock(0.0).said.startswith(time.strftime("%Y-%m-%d", time.localtime(0)))
    assert doctor.check_clock(0.0).level == "problem"


def test_the_command_tells_all_and_fails_on_a_problem(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = [Finding("ok", "Python", "3.12"), Finding("note", "cores", "1: slow.")]
    monkeypatch.setattr(doctor, "examine", lambda folder: iter(fine))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert result.output == "ok       Python         3.12\nnote     cores          1: slow.\n"
    monkeypatch.setattr(doctor, "examine", lambda folder: iter([*fine, Finding("problem", "disk", "full.")]))
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1


def test_here_all_but_tensorflow_is_looked_at_in_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_tensorflow", lambda: iter([Finding("ok", "TensorFlow", "loads")]))
    found = list(doctor.examine("runs"))
    assert [one.said for one in found if one.level == "problem"] == []
    subjects = [one.subject for one in found]
    assert {"Python", "packages", "extra export", "cores", "memory", "folder", "disk"} <= set(subjects)
    assert {"notebooks", "encoding", "clock", "browser", "kernel", "Jupyter"} <= set(subjects)
    assert subjects[-1] == "TensorFlow"
