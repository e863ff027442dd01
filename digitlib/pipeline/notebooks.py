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

from digitlib.errors import DigitError, did_you_mean
from digitlib.files import atomic, display_path, make_folder, project_root, resolve
from digitlib.pipeline.kernels import READY_WITHIN, STARTS, Kernel, Kernels, start_kernel
from digitlib.pipeline.report import write_report
from digitlib.progress import bar, watched
from digitlib.run import Run, run_lock

BAR = "{desc} |{bar}| {elapsed}{postfix}"
"""Cells differ a hundredfold in time, so tqdm's own estimate from their number would mislead."""


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
    with run_lock(run):
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
    while resume and done < len(chosen) and _is_executed(outputs[done], values[done]):
        done += 1
        click.echo(f"{chosen[done - 1].path.stem}: done before")
    cells = [len(nbformat.read(notebook.path, 4).cells) + 1 for notebook in chosen]
    todo = list(zip(chosen, outputs, values, strict=True))[done:]
    make_folder(outputs[0].parent)
    with (
        bar(sum(cells), "Series", unit="cell", delay=0, bar_format=BAR) as shown_bar,
        _environment(),
        Kernels([notebook.path for notebook, *_ in todo]) as kernels,
    ):
        shown_bar.update(sum(cells[:done]))
        for notebook, output, given in todo:
            _execute(notebook, output, given, kernels.take(), shown_bar)


def _is_executed(output: Path, parameters: dict[str, Any]) -> bool:
    """Tell whether a notebook came to its end with these parameters before."""
    if not output.exists():
        return False
    about = nbformat.read(output, as_version=4).metadata.get("papermill", {})
    return (
        bool(about.get("end_time")) and not about.get("exception") and about.get("parameters") == parameters
    )


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
            raise DigitError(f"no notebook has a parameter {name!r}: {did_you_mean(name, known)}")
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
) -> None:
    """Execute one notebook; the last line that it prints stands behind the bar."""
    start = time.perf_counter()

    def show(step: int = 0, last: str = "") -> None:
        shown_bar.set_description(f"{notebook.path.stem}", False)
        if last:
            shown_bar.set_postfix_str(last, False)
        shown_bar.update(step)
        shown_bar.refresh()

    show()
    _until_its_end(
        notebook, output, parameters, kernel,
        stdout_file=_LastLine(show), on_cell_executed=lambda **_: show(1),
    )  # fmt: skip
    line = f"{notebook.path.stem}: {time.perf_counter() - start:.0f} s"
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
    return f"{place}: {error.ename}: {reason} (in full in {display_path(output)})"


SERIES = "0[1-9]_*.ipynb"
"""Names of the notebooks that hand on to each other."""

COPIED = ("[0-9][0-9]_*.ipynb", "photos/*")
"""What a reader needs to step through; ``tools/hatch_build.py`` puts the same into the wheel."""


def notebooks_folder() -> Path:
    """Return the folder that holds the series.

    A reader's own copy in ``notebooks/`` of `digitlib.files.project_root` comes first, so that what they have changed
    is what runs.

    Returns
    -------
    pathlib.Path
        With at least one of the notebooks 01 to 09 in it.

    Raises
    ------
    DigitError
        If there are none, as in a copy of the library's files alone.
    """
    package = Path(__file__).parents[1]
    places = [project_root() / "notebooks", package.parent / "notebooks", package / "notebooks"]
    for place in places:
        if any(place.glob(SERIES)):
            return place
    raise DigitError(
        f"there is no notebook in {display_path(places[0])}, and none came with this digitlib: install it from its wheel, or "
        "run this in the project's own folder."
    )


def copy_notebooks(folder: str | os.PathLike[str]) -> list[Path]:
    """Copy the notebooks, with the photos that they show, to a folder of one's own.

    Parameters
    ----------
    folder : str or path-like
        Made if need be. A relative path starts from `digitlib.files.project_root`.

    Returns
    -------
    list of pathlib.Path
        The copied notebooks, in order.

    Raises
    ------
    DigitError
        If one of the files is already there, before any has been copied, or if the folder can't be written to.
    """
    source, target = notebooks_folder(), resolve(folder)
    files = sorted(path.relative_to(source) for pattern in COPIED for path in source.glob(pattern))
    there = [name for name in files if (target / name).exists()]
    if there:
        raise DigitError(
            f"{display_path(target / there[0])} is already there and may hold changes of yours: choose another folder."
        )
    for name in files:
        with atomic(target / name) as temporary:
            shutil.copyfile(source / name, temporary)
    return [target / name for name in files if name.suffix == ".ipynb"]
