"""One page a chapter, from the chapters' own lists of public names."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import digitlib

HEAD = """
API
===

The names below are reached through their chapter, as in ``from digitlib import plots`` and ``plots.plot_history``, the
most used also from ``digitlib`` itself. Other names may change without notice.

"""


def write_api_pages(folder: Path) -> None:
    """Write ``index.rst`` and a page for each chapter; a page that has not changed is left alone."""
    folder.mkdir(exist_ok=True)
    chapters = {name: import_module(f"digitlib.{name}") for name in digitlib.CHAPTERS}
    pages = {"index": _index(chapters)} | {name: _page(chapter) for name, chapter in chapters.items()}
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index(chapters: dict[str, ModuleType]) -> str:
    """Return the list of chapters, each with its purpose and its public names."""
    lines = [HEAD]
    for name, chapter in chapters.items():
        listed = ", ".join(f":py:obj:`~digitlib.{name}.{one}`" for one in sorted(chapter.__all__))
        about = (inspect.getdoc(chapter) or "").partition("\n\n")[0]
        lines += [f":doc:`{name}`", f"    {' '.join(about.split())}", "", f"    {listed}", ""]
    return "\n".join([*lines, ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in chapters), ""])


def _page(chapter: ModuleType) -> str:
    """Return a chapter's page: its purpose, a table of its names, and each of them."""
    full = chapter.__name__
    title, names = full.removeprefix("digitlib."), sorted(chapter.__all__)
    lines = [title, "=" * len(title), "", f".. automodule:: {full}", "   :no-members:", ""]
    lines += [f".. currentmodule:: {full}", ""]
    lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    for name in names:
        value = getattr(chapter, name)
        if inspect.isclass(value):
            lines += [f".. autoclass:: {name}", "   :members:", ""]
        else:
            lines += [f".. {'autofunction' if callable(value) else 'autodata'}:: {name}", ""]
    return "\n".join(lines)
