"""One page a module, from the one list of public names, in the data's order."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import digitlib

HEAD = """
API
===

Every name below is imported from ``digitlib`` itself: ``from digitlib import prepare``. Other names in its modules
may change without notice. The modules stand in the order in which images go through them.

"""


def write_api_pages(folder: Path) -> None:
    """Write ``index.rst`` and a page for each module that has public names.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write. A page that has not changed is left alone, so that Sphinx need not read it again; one whose
        module is gone is removed.
    """
    folder.mkdir(exist_ok=True)
    pages = {"index": _index()} | {module: _page(module, names) for module, names in digitlib._HOME.items()}
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index() -> str:
    """Return the list of modules, each with its purpose and its public names."""
    lines = [HEAD]
    for module, names in digitlib._HOME.items():
        about = (inspect.getdoc(import_module(f"digitlib.{module}")) or "").partition("\n\n")[0]
        listed = ", ".join(f":py:obj:`~digitlib.{name}`" for name in names)
        lines += [f":doc:`{module}`", f"    {' '.join(about.split())}", "", f"    {listed}", ""]
    return "\n".join(
        [*lines, ".. toctree::", "   :hidden:", "", *(f"   {module}" for module in digitlib._HOME), ""]
    )


def _page(module: str, names: list[str]) -> str:
    """Return a module's page: its purpose, a table of its names, and each of them."""
    lines = [module, "=" * len(module), "", f".. automodule:: digitlib.{module}", "   :no-members:", ""]
    lines += [".. currentmodule:: digitlib", ""]
    if len(names) > 1:
        lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    for name in names:
        is_class = inspect.isclass(getattr(digitlib, name))
        lines += (
            [f".. autoclass:: {name}", "   :members:", ""] if is_class else [f".. autofunction:: {name}", ""]
        )
    return "\n".join(lines)
