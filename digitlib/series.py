"""The notebooks in order, headless."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from digitlib.errors import DigitError, meant
from digitlib.files import make_folder, shown
from digitlib.forecast import Forecast, expected_seconds, seconds_before
from digitlib.kernels import READY_WITHIN, STARTS, Kernel, Kernels, start_kernel
from digitlib.locking import alone
from digitlib.progress import bar, watched
from digitlib.project import project_root
from digitlib.report import write_report
from digitlib.runs import Run
from digitlib.shipped import SERIES, notebooks_folder

BAR = "{desc} |{bar}| {elapsed}{postfix}"
"""Cells differ a hundredfold in time, so tqdm's own estimate from their number would mislead; see `digitlib.forecast`."""


@dataclass(frozen=True)
class Notebook:
    """One notebook of the series.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    parameters : frozenset of str
        Names in its parameters cell.
    """

    path: Path
    parameters: frozenset[str]

    @property
    def number(self) -> str:
        """The two digits it begins with."""
        return self.path.name[:2]


def find_notebooks() -> list[Notebook]:
    """Return the notebooks of the series that hand on to each other, 01 to 09, in order.

    Raises
    ------
    DigitError
        If there are none.
    """
    paths = sorted(notebooks_folder().glob(SERIES))
    return [Notebook(path, frozenset(papermill.inspect_notebook(str(path)))) for path in paths]


def run_series(
    run: Run,
    parameters: dict[str, Any],
    *,
    only: Iterable[str] = (),
    resume: bool = False,
) -> list[Path]:
    """Execute the notebooks with papermill into ``notebooks/`` of the run, and write ``report.html``.

    Parameters
    ----------
    run : Run
        Every notebook's ``run_dir``.
    parameters : dict
        Each notebook gets those it has.
    only : iterable of str
        Numbers such as "01"; empty for all.
    resume : bool
        Begin with the first notebook that has not been executed to its end with these parameters.

    Returns
    -------
    list of pathlib.Path
        The executed notebooks.

    Raises
    ------
    DigitError
        For an unknown parameter or notebook, for a failure in one, naming notebook and cell, and if another process
        is at work in this run.
    """
    every = find_notebooks()
    chosen = _choose(every, list(only))
    check_parameters(every, chosen, parameters)
    new = [folder for folder in (run.folder, run.folder.parent) if not folder.exists()]
    outputs = [run / f"notebooks/{notebook.path.name}" for notebook in chosen]
    if outputs[0].resolve() == chosen[0].path.resolve():
        raise DigitError(f"run_dir {run} is where the notebooks themselves are: choose another folder.")
    values = [
        {
            name: value
            for name, value in {"run_dir": str(run), **parameters}.items()
            if name in notebook.parameters
        }
        for notebook in chosen
    ]
    with alone(run):
        try:
            _execute_all(chosen, outputs, values, resume)
        except DigitError as error:
            told_in_full = getattr(error.__cause__, "ename", "DigitError") == "DigitError"
            if new and told_in_full and not (run / "split.csv").exists():
                # The failure came before anything was made. Of the parent, only an empty folder is removed.
                shutil.rmtree(run.folder, ignore_errors=True)
                with suppress(OSError):
                    new[-1].rmdir()
            raise
        executed = [path for book in every if (path := run / f"notebooks/{book.path.name}").exists()]
        write_report(run, executed)
    return outputs


def _execute_all(
    chosen: list[Notebook], outputs: list[Path], values: list[dict[str, Any]], resume: bool
) -> None:
    """Execute notebooks in order; with `resume`, from the first one that has not come to its end."""
    done = 0
    while resume and done < len(chosen) and seconds_before(outputs[done], values[done]) is not None:
        done += 1
        click.echo(f"{chosen[done - 1].path.stem}: done before")
    cells = [len(nbformat.read(notebook.path, 4).cells) + 1 for notebook in chosen]
    todo = list(zip(chosen, outputs, values, strict=True))[done:]
    forecast = Forecast(expected_seconds(outputs[done:], values[done:]))
    make_folder(outputs[0].parent)
    with (
        bar(sum(cells), "Series", unit="cell", delay=0, bar_format=BAR) as shown_bar,
        _environment(),
        Kernels([notebook.path for notebook, *_ in todo]) as kernels,
    ):
        shown_bar.update(sum(cells[:done]))
        for notebook, output, given in todo:
            _execute(notebook, output, given, kernels.take(), shown_bar, forecast)


def check_parameters(every: list[Notebook], chosen: list[Notebook], parameters: dict[str, Any]) -> None:
    """Refuse parameters that no notebook has; papermill by itself would go on without them.

    Raises
    ------
    DigitError
        With the nearest name that exists.
    """
    known = sorted(set().union(*(notebook.parameters for notebook in every)))
    used = set().union(*(notebook.parameters for notebook in chosen))
    for name in parameters:
        if name not in known:
            raise DigitError(f"no notebook has a parameter {name!r}: {meant(name, known)}")
        if name not in used and name not in ("data", "recipe"):
            click.echo(
                f"Warning: none of the chosen notebooks has a parameter {name!r}; it is not used.", err=True
            )


def _choose(every: list[Notebook], only: list[str]) -> list[Notebook]:
    numbers = [notebook.number for notebook in every]
    wanted = [text.strip().zfill(2) for text in only]
    for number in wanted:
        if number not in numbers:
            raise DigitError(f"there is no notebook {number!r}: choose from {', '.join(numbers)}.")
    return [notebook for notebook in every if not wanted or notebook.number in wanted]


@contextmanager
def _environment() -> Any:
    """Give the kernels the project's folder, no progress bars, and no chatter of TensorFlow's."""
    settings = {"DIGITLIB_ROOT": str(project_root()), "TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _execute(
    notebook: Notebook,
    output: Path,
    parameters: dict[str, Any],
    kernel: Kernel,
    shown_bar: tqdm,
    forecast: Forecast,
) -> None:
    """Execute one notebook; the last line that it prints stands behind the bar."""
    start = time.perf_counter()

    def show(step: int = 0, last: str = "") -> None:
        shown_bar.set_description(f"{notebook.path.stem}{forecast.said(time.perf_counter() - start)}", False)
        if last:
            shown_bar.set_postfix_str(last, False)
        shown_bar.update(step)
        shown_bar.refresh()

    show()
    _until_its_end(
        notebook, output, parameters, kernel,
        stdout_file=_LastLine(show), on_cell_executed=lambda **_: show(1),
    )  # fmt: skip
    forecast.ended(time.perf_counter() - start)
    line = f"{notebook.path.stem}: {time.perf_counter() - start:.0f} s{forecast.said()}"
    tqdm.write(line, file=sys.stdout) if watched() else click.echo(line)


def _until_its_end(
    notebook: Notebook, output: Path, parameters: dict[str, Any], kernel: Kernel, **watched_by: Any
) -> None:
    """Have papermill execute a notebook, with another kernel if one does not get as far as to answer."""
    for left in reversed(range(STARTS)):
        try:
            papermill.execute_notebook(
                str(notebook.path), str(output), parameters, kernel_name="python3", progress_bar=False,
                cwd=str(project_root()), km=kernel, start_timeout=READY_WITHIN, **watched_by,
            )  # fmt: skip
            return
        except PapermillExecutionError as error:
            raise DigitError(_what_failed(notebook, output, error)) from error
        except RuntimeError as error:  # nbclient's, for whatever is wrong with the kernel itself
            if isinstance(error, DeadKernelError) or not left:
                raise DigitError(
                    f"{notebook.path.name}: its kernel died ({error}); is there enough memory?"
                ) from error
            tqdm.write(f"{notebook.path.stem}: {error}; another one is started", file=sys.stderr)
        finally:
            kernel.end()
        kernel = start_kernel(notebook.path)


class _LastLine:
    """A file for papermill that shows the last line written to it behind a progress bar."""

    def __init__(self, show: Callable[..., None]) -> None:
        self._show = show

    def write(self, text: str) -> None:
        lines = [line for line in text.splitlines() if line.strip()]
        if lines:
            self._show(last=lines[-1].strip()[:60])

    def flush(self) -> None:
        """Do nothing: the bar draws itself."""


def _what_failed(notebook: Notebook, output: Path, error: PapermillExecutionError) -> str:
    """Say which notebook and cell failed, and why."""
    first = next((line for line in error.source.splitlines() if line.strip()), "")
    place = f"{notebook.path.name}, cell [{error.exec_count}] ({first.strip()[:60]})"
    if error.ename == "DigitError":
        return f"{place}: {error.evalue}"
    reason = (error.evalue or "").strip().partition("\n")[0][:200]
    return f"{place}: {error.ename}: {reason} (in full in {shown(output)})"
