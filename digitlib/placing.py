"""One file copied, linked or moved, so that it appears under its name whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Literal

Mode = Literal["copy", "link", "move", "none"]

TEMPORARY = re.compile(r"\.tmp-\d+")
"""Name of a copy that is still being written; what a killed process leaves under it is swept away by the next."""


def place_file(mode: Mode, source: Path, target: Path, sha256: str) -> None:
    """Copy, link or move `source` to `target`.

    Raises
    ------
    OSError
        If it can't be done; then nothing has been lost.
    """
    if mode == "copy":
        copy_file(source, target)
    elif mode == "link":
        link_file(source, target)
    else:
        move_file(source, target, sha256)


def copy_file(source: Path, target: Path) -> None:
    """Copy under a temporary name, then rename."""
    temporary = target.parent / f".tmp-{os.getpid()}"
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def link_file(source: Path, target: Path) -> None:
    """Make a hard link, which takes no space."""
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EINVAL):
            raise OSError(
                error.errno, "hard links don't work between these two folders, use mode='copy'"
            ) from error
        raise


def move_file(source: Path, target: Path, sha256: str) -> None:
    """Move a file; between file systems only after the copy has been read back."""
    if not source.exists():
        if target.exists():
            return
        raise OSError(errno.ENOENT, "the file is neither here nor there")
    if target.exists():
        if not file_hash(target) == sha256 == file_hash(source):
            raise OSError(errno.EEXIST, "another file stands there")
        source.unlink()  # an earlier move was stopped after its copy had been made
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
        if file_hash(target) != sha256:
            raise OSError(errno.EIO, "the copy differs from the original, which is kept") from error
        source.unlink()


def is_spare(target: Path, original: Path, sha256: str) -> bool:
    """Tell whether `target` may be removed: nobody has changed it, and its original stands where it was."""
    try:
        return target.samefile(original) or file_hash(target) == sha256 == file_hash(original)
    except OSError:
        return False


def file_hash(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
