"""Kernels that have loaded what their notebook needs by the time its turn comes."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any, Self

import nbformat
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

import digitlib
from digitlib.files import project_root

READY_WITHIN = 600
"""Seconds that a kernel may take for its imports; on a slow disk TensorFlow alone needs minutes."""

STARTS = 3
"""How often a kernel is started until it answers. Its ports are chosen before it can take them, and with many kernels at
work, as in a sweep, another process has now and then taken one by then (nteract/papermill#511)."""

AHEAD = 2
"""Kernels that get ready while one is at work; each holds TensorFlow, about 400 MB."""


class Kernel(AsyncKernelManager):
    """A running kernel, which also knows the client that papermill asks it for."""

    used: Any = None

    def client(self, **options: Any) -> Any:
        """Return a client, and remember it: nbclient leaves that of a kernel it did not start open."""
        self.used = super().client(**options)
        return self.used

    def end(self) -> None:
        """End the kernel at once: its results are kept by then, and to take TensorFlow down in order takes seconds."""
        run_sync(self._end)()

    async def _end(self) -> None:
        # After Ctrl-C the execution is still waiting, and would tell of the kernel's death in a traceback.
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if self.used is not None:
            self.used.stop_channels()
        await self.shutdown_kernel(now=True)


class Kernels:
    """One kernel for each of some notebooks, in order.

    While one is at work, the next two start and import: for a short notebook that takes longer than all the rest.

    Parameters
    ----------
    notebooks : list of pathlib.Path
        In the order in which their kernels will be asked for.
    """

    def __init__(self, notebooks: list[Path]) -> None:
        self._left = list(notebooks)
        self._ready: list[Kernel] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for kernel in self._ready:
            kernel.end()

    def take(self) -> Kernel:
        """Return the kernel of the next notebook, which the caller ends, and start those after it."""
        while self._left and len(self._ready) < 1 + AHEAD:
            self._ready.append(start_kernel(self._left.pop(0)))
        return self._ready.pop(0)


def start_kernel(notebook: Path) -> Kernel:
    """Return a kernel that is loading what a notebook needs."""
    kernel = Kernel(kernel_name="python3")
    options = [
        "--IPKernelApp.log_level=CRITICAL",
        "--HistoryManager.hist_file=:memory:",
        f"--IPKernelApp.exec_lines={preparation_of(notebook)}",
    ]
    run_sync(kernel.start_kernel)(extra_arguments=options, cwd=str(project_root()))
    return kernel


def preparation_of(notebook: Path) -> str:
    """Return one line that does the imports of a notebook's first code cell, and loads what its cells take from digitlib.

    ``import digitlib`` alone loads next to nothing: each name brings its module, TensorFlow included, when it is used.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    bodies = [_parsed(cell.source) for cell in cells if cell.cell_type == "code"]
    imports = [line for line in next(iter(bodies), []) if isinstance(line, (ast.Import, ast.ImportFrom))]
    known_as = {one.asname or one.name for line in imports for one in line.names if one.name == "digitlib"}
    taken = {
        ast.unparse(node)
        for body in bodies
        for node in ast.walk(ast.Module(body, []))
        if isinstance(node, ast.Attribute) and node.attr in digitlib.__all__
        if isinstance(node.value, ast.Name) and node.value.id in known_as
    }
    return "; ".join([*map(ast.unparse, imports), *sorted(taken)])


def _parsed(source: str) -> list[ast.stmt]:
    """Return the statements of a cell; none of one that is not plain Python."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return []
