"""Inject faults: a process that kills itself before its n-th change of the file system, limits, other users."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from digitlib.errors import DigitError

SOAK = bool(os.environ.get("DIGITLIB_SOAK"))
"""Set by `make soak`: every fault as often as it can be."""

CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir"}

METHODS = multiprocessing.get_all_start_methods()
START_METHOD = os.environ.get("DIGITLIB_START_METHOD") or ("forkserver" if "forkserver" in METHODS else "spawn")
"""How the tests start processes: "spawn" as on Windows and macOS, many times as slow."""

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""The signal that nothing can be done about; on Windows, where there is none, Python ends the process at once for it."""

# A server that has imported the library, of which every child is a fork: they start in no time.
_processes = multiprocessing.get_context(START_METHOD)
if START_METHOD == "forkserver":
    _processes.set_forkserver_preload(["digitlib.data.split"])

"".encode("unicode_escape")  # is loaded from a file that another user may not be able to read


def fingerprint(folder: Path) -> dict[str, str]:
    """Return name and hash of every file below a folder, hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _kill_before(number: int, root: str) -> None:
    """Have this process killed before its change of that number below `root`: an audit hook sees them all."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and not isinstance(arguments[0], int):
            path = os.fsdecode(arguments[0])
            if path.startswith(root):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), KILL)

    sys.addaudithook(hook)


def _call(root: str, number: int, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"DIGITLIB_ROOT": root, "TQDM_DISABLE": "1"}
    if number:
        _kill_before(number, root)
    with redirect_stdout(StringIO()):
        call(*arguments)


def killed(root: Path, number: int, call: Callable[..., Any], *arguments: Any) -> bool:
    """Run `call` in a process that is killed before its change of the file system of that number; tell whether it was."""
    process = _processes.Process(target=_call, args=(str(root), number, call, arguments))
    process.start()
    process.join(120)
    assert process.exitcode in (0, KILL if sys.platform == "win32" else -KILL), process.exitcode
    return process.exitcode != 0


def as_nobody() -> None:
    """Give up root's privileges, before which no permission counts."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def _tell(
    connection: Connection, root: str, before: Callable[[], Any], call: Callable[..., Any], arguments: Any
) -> None:
    import digitlib.data.split  # noqa: F401 - while it may be read: `before` may be `as_nobody`

    try:
        before()
        _call(root, 0, call, arguments)
        connection.send("")
    except DigitError as error:
        connection.send(str(error))


def sentence_of(root: Path, before: Callable[[], Any], call: Callable[..., Any], *arguments: Any) -> str:
    """Run `call` in a process of its own, after `before`; return the sentence it ends with, empty if it went well."""
    here, there = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_tell, args=(there, str(root), before, call, arguments))
    process.start()
    there.close()
    process.join(120)
    assert process.exitcode == 0, "it ended with a traceback"
    return str(here.recv())
