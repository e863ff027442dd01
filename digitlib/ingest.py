"""Data at an address, copied once below ``data/`` so that it can be split and trained on like any folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from digitlib.errors import DigitError
from digitlib.files import atomic, shown, told
from digitlib.locking import in_turn
from digitlib.progress import bar
from digitlib.project import project_root
from digitlib.runs import Run
from digitlib.stores import RemoteFolder, open_store


def copy_here(address: str) -> Path:
    """Return a copy of what is at an address, fetching what of it is not here yet.

    Many files are under way at once. A copy that was stopped goes on: what is here with its full length is not fetched
    again. A finished copy is used as it is, also offline; delete its folder to have it fetched anew.

    Parameters
    ----------
    address : str
        A folder or one file, such as ``s3://bucket/scans``; see `digitlib.stores.open_store`.

    Returns
    -------
    pathlib.Path
        ``data/NAME-HASH``, the hash being that of the address; for ``file://``, and for a single file, what it names.

    Raises
    ------
    DigitError
        If a driver is missing, the address can't be reached, or a name there leads out of the folder.
    """
    store = open_store(address)
    if not isinstance(store, RemoteFolder):
        return Path(store.address)
    name = store.address.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    folder = project_root() / "data" / f"{name}-{hashlib.sha256(store.address.encode()).hexdigest()[:8]}"
    if not folder.is_dir():
        with in_turn(Run(folder.parent)):
            _fetch_once(store, folder)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_file() else folder


def _fetch_once(store: RemoteFolder, folder: Path) -> None:
    """Fetch what another process has not fetched meanwhile; the folder gets its name when it is whole."""
    if folder.is_dir():
        return
    half = folder.with_name(f"{folder.name}.incomplete")
    _fetch(store, half)
    with told(f"Can't write {shown(folder)}", "Make room and try again."):
        half.rename(folder)


def _fetch(store: RemoteFolder, folder: Path) -> None:
    """Bring a folder to hold exactly the files of a store."""
    files = store.files()
    for name, _ in files:
        if leads_out(name) or "\\" in name or "\0" in name:
            raise DigitError(f"{store} holds {name!r}, which leads out of its folder: rename it there.")
    names = {name for name, _ in files}
    for path in folder.rglob("*"):  # what an earlier attempt copied and is gone there now
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()
    missing = [(name, size) for name, size in files if _length(folder / name) != size]
    with bar(len(files), "Copying images") as shown_bar:
        shown_bar.update(len(files) - len(missing))
        contents = store.read([name for name, _ in missing], [size for _, size in missing])
        for (name, _), content in zip(missing, contents, strict=True):
            if isinstance(content, OSError):
                raise DigitError(f"{store}/{name} can't be read ({content}): see to it and run again.")
            with atomic(folder / name) as temporary:
                temporary.write_bytes(content)
            shown_bar.update()


def leads_out(name: str) -> bool:
    """Tell whether a name with ``/`` between its parts would be outside of the folder it is put into, on any system."""
    parts = name.split("/")
    return ".." in parts or name.startswith("/") or ":" in parts[0]


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -2
