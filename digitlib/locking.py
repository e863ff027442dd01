"""One command at a time in a run's folder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from digitlib.errors import DigitError
from digitlib.files import make_folder, shown
from digitlib.runs import Run

AGAIN_AFTER = 2
"""Seconds between two looks at whether a folder has become free."""


class InUse(DigitError):
    """Another process works in a run's folder."""


@contextmanager
def alone(run: Run) -> Iterator[None]:
    """Hold the run's folder, or say that another process does.

    The operating system gives the lock back when a process ends, however it
    ends: what a killed one leaves behind is in nobody's way.

    Raises
    ------
    InUse
        If another process holds it.
    DigitError
        If nothing can be written there.
    """
    make_folder(run.folder)
    path = run / ".lock"
    with ExitStack() as ended:
        if sys.platform == "win32":  # where a file can't be removed before it is closed
            ended.callback(_remove, path)
        file = ended.enter_context(_locked(run, path))
        if sys.platform != "win32":  # where it can, and must be while nobody else can have locked it
            ended.callback(_remove, path)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def in_turn(run: Run) -> Iterator[None]:
    """Hold the run's folder as `alone` does, once whoever holds it has ended; say so when that takes waiting."""
    told = False
    while True:
        with ExitStack() as held:
            try:
                held.enter_context(alone(run))
            except InUse:
                if not told:
                    print(f"Another digitlib works in {run}: waiting until it has ended.", file=sys.stderr)
                told = True
                time.sleep(AGAIN_AFTER)
                continue
            yield
            return


@contextmanager
def _locked(run: Run, path: Path) -> Iterator[TextIO]:
    """Open and lock a file that is still the one of that name when it is locked."""
    while True:
        try:
            file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise DigitError(
                f"{shown(path)} can't be written: {error.strerror}. Choose another run_dir."
            ) from error
        with file:
            try:
                _lock(file)
            except (BlockingIOError, PermissionError) as error:
                file.seek(0)
                raise InUse(
                    f"{run} is in use by another digitlib (process {file.read() or 'unknown'}): wait until it has ended, "
                    "or choose another run_dir."
                ) from error
            except OSError as error:
                raise DigitError(
                    f"the file system of {run} can't lock files ({error.strerror}), so that two commands could write there at "
                    "once: choose a run_dir on another, or have this one mounted with locks (Lustre: -o flock)."
                ) from error
            if _same(file, path):
                yield file
                return


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _same(file: TextIO, path: Path) -> bool:
    """Tell whether `path` still is this file: whoever held it before may just have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _lock(file: TextIO) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(1000)  # a byte that is not there, so that the others can still be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
