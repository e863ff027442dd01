"""The notebooks in order, headless."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import click
import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from digitlib.data.datasets import as_folder
from digitlib.data.folders import holds_moved
from digitlib.data.sources import find_images
from digitlib.data.split import check_options
from digitlib.errors import DigitError, did_you_mean, is_whole
from digitlib.files import StrPath, atomic, display_path, file_hash, make_folder, project_root, resolve
from digitlib.pipeline.report import write_report
from digitlib.progress import bar, environment, watched
from digitlib.run import Run, open_run, run_lock
from digitlib.training.recipes import RECIPE_PARAMETERS, get_recipe

SERIES = "0[1-7]_*.ipynb"
"""Names of the notebooks that hand on to each other."""

COPIED = ("[0-9][0-9]_*.ipynb", "photos/*", "solutions/[0-9][0-9]_*.ipynb")
"""What a reader needs to step through; ``tools/hatch_build.py`` puts the same into the wheel."""

KERNELS = {"TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""Keeps progress bars and TensorFlow's messages out of the notebooks."""


def run_series(
    run: Run | StrPath, parameters: dict[str, Any], *, only: Iterable[str] = (), resume: bool = False
) -> list[Path]:
    """Execute the notebooks with papermill into ``notebooks/`` of the run, write ``report.html``, and return their paths.

    Parameters
    ----------
    parameters : dict
        Each notebook gets those it has; all get ``run_dir``.
    only : iterable of str
        Numbers, for example "01"; empty for all.
    resume : bool
        Begin with the first notebook that has not been executed to its end with these parameters and the run's split.

    Raises
    ------
    DigitError
        For a parameter or notebook that can't work, before anything is executed; for an error in a notebook, with its cell;
        and if another process works in this run.

    Examples
    --------
    >>> run_series("runs/default", {"data": "sample", "recipe": "fast"}, only=["05", "06"])  # doctest: +SKIP
    """
    run = open_run(run)
    series = notebooks_folder()
    if not series.is_relative_to(Path(__file__).parents[2]):
        click.echo(f"The notebooks of {display_path(series)} are used: they are a copy of the series.")
    names = {path: set(papermill.inspect_notebook(str(path))) for path in sorted(series.glob(SERIES))}
    chosen = _choose(list(names), only)
    _check_parameters(run, names, chosen, parameters)
    given = {"run_dir": str(run), **parameters}
    tasks = [
        (path, run / f"notebooks/{path.name}", {n: given[n] for n in given if n in names[path]}) for path in chosen
    ]
    if tasks[0][1].resolve() == chosen[0].resolve():
        raise DigitError(f"run_dir {run} is where the notebooks themselves are: choose another folder.")
    with _removed_if_refused(run), run_lock(run):
        make_folder(run / "notebooks")
        ahead = list[_Kernel]()
        with (
            bar(len(tasks), "Series", "notebook", delay=0) as shown,
            environment(KERNELS | {"DIGITLIB_ROOT": str(project_root())}),
            ExitStack() as ended,
        ):
            ended.callback(_end_all, ahead)
            for number, (path, output, values) in enumerate(tasks, 1):
                start, resume = time.perf_counter(), resume and _is_done(run, output, values)
                if not resume:
                    shown.set_description(path.stem)
                    ahead += [_Kernel.started(one) for one in chosen[number - 1 :][len(ahead) : 2]]
                    _execute(path, output, values, ahead.pop(0), shown)
                    notebook = nbformat.read(output, as_version=4)
                    notebook.metadata["made_from"] = run.hashes()
                    with atomic(output) as temporary:
                        nbformat.write(notebook, temporary)
                took = "done before" if resume else f"{time.perf_counter() - start:.0f} s"
                # Through tqdm where a bar is shown, else at once, also into a pipe.
                (tqdm.write if watched() else click.echo)(f"{path.stem}: {took}", file=sys.stdout)
                shown.update()
        write_report(run, [path for one in names if (path := run / f"notebooks/{one.name}").exists()])
    return [output for _, output, _ in tasks]


def _choose(every: list[Path], only: Iterable[str]) -> list[Path]:
    """Return the notebooks with some numbers, in order; all without numbers."""
    numbers, wanted = [path.name[:2] for path in every], [text.strip().zfill(2) for text in only]
    for number in wanted:
        if number not in numbers:
            raise DigitError(f"there is no notebook {number!r}: choose from {', '.join(numbers)}.")
    return [path for path in every if not wanted or path.name[:2] in wanted]


def _check_parameters(run: Run, names: dict[Path, set[str]], chosen: list[Path], parameters: dict[str, Any]) -> None:
    """Refuse what can't work, also what would fail after hours of training; papermill ignores unknown names."""
    known = sorted(set().union(*names.values()))
    used = set().union(*(names[path] for path in chosen))
    for name, value in parameters.items():
        if name not in known:
            raise DigitError(f"no notebook has a parameter {name!r}: {did_you_mean(name, known)}")
        if name not in used and name not in ("data", "recipe"):
            click.echo(f"Warning: the chosen notebooks have no parameter {name!r}; it is not used.", err=True)
        if name in ("shown", "gallery") and not (is_whole(value) and value >= 0):
            raise DigitError(f"{name} is {value!r}: it must be an integer ≥ 0.")
    settings = {name: value for name, value in parameters.items() if name in RECIPE_PARAMETERS}
    recipe = get_recipe(parameters.get("recipe", "fast"), **settings)
    split = ("test_size", "validation_size", "seed", "mode", "assign", "corrections")
    check_options(**{name: value for name, value in parameters.items() if name in split})
    if "target_accuracy" in parameters:
        from digitlib.evaluation.selective import check_target

        check_target(parameters["target_accuracy"])
    if "data" in used and not holds_moved(run):  # else the images are no longer there
        recipe.check_memory(len(find_images(as_folder(parameters.get("data", "sample"))).files))


def _is_done(run: Run, output: Path, parameters: dict[str, Any]) -> bool:
    """Tell whether a notebook came to its end with these parameters and the split that the run has now."""
    if not output.exists():
        return False
    about = nbformat.read(output, as_version=4).metadata
    execution, made_from = about.get("papermill", {}), about.get("made_from", {})
    ended = execution.get("parameters") == parameters and execution.get("end_time") and not execution.get("exception")
    if (file := parameters.get("corrections")) and (run / "source.json").exists():
        applied = run.read_json("source.json").get("corrections", {}).get("sha256")
        ended = ended and applied == file_hash(resolve(file))
    return bool(ended) and made_from.get("split") == run.hashes()["split"]


@contextmanager
def _removed_if_refused(run: Run) -> Iterator[None]:
    """Remove a new run's folder, and an empty new one above it, after an error that came before anything was made."""
    new = [folder for folder in (run.folder, run.folder.parent) if not folder.exists()]
    try:
        yield
    except DigitError as error:
        # After another error the notebook shows the traceback.
        refused = getattr(error.__cause__, "ename", "DigitError") == "DigitError"
        if new and refused and not (run / "split.csv").exists():
            shutil.rmtree(run.folder, ignore_errors=True)
            with suppress(OSError):
                new[-1].rmdir()
        raise


class _Kernel(AsyncKernelManager):
    """A kernel that imports what its notebook does, which takes seconds, while the notebook before is executed."""

    used: Any = None

    @classmethod
    def started(cls, notebook: Path) -> Self:
        """Return a kernel that has begun to import: apart from the notebook's own names, which come with its cells."""
        kernel, cells = cls(kernel_name="python3"), nbformat.read(notebook, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        imports = "; ".join(re.findall(r"^((?:import|from) [^(\\#\n]+?) *(?:#.*)?$", code, re.MULTILINE))
        options = [
            "--IPKernelApp.log_level=CRITICAL",
            "--HistoryManager.hist_file=:memory:",
            f"--IPKernelApp.exec_lines=def ahead(): pass; {imports}\nahead(); del ahead",
        ]
        run_sync(kernel.start_kernel)(extra_arguments=options, cwd=str(project_root()))
        return kernel

    def client(self, **options: Any) -> Any:
        """Return a client, and remember it: nbclient leaves that of a kernel it did not start open."""
        self.used = super().client(**options)
        return self.used

    def end(self) -> None:
        """End the kernel at once: its results are kept by then, and TensorFlow takes seconds to end in order."""
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


def _execute(notebook: Path, output: Path, parameters: dict[str, Any], kernel: _Kernel, shown: tqdm) -> None:
    """Have papermill execute a notebook, with another kernel if one does not get as far as to answer."""
    for left in (2, 1, 0):  # another process may have taken a kernel's ports before it could (nteract/papermill#511)
        try:
            papermill.execute_notebook(
                str(notebook), str(output), parameters, kernel_name="python3", progress_bar=False, cwd=str(project_root()),
                km=kernel, start_timeout=600, stdout_file=_LastLine(shown),
            )  # fmt: skip
            return
        except PapermillExecutionError as error:
            first = next((line.strip() for line in error.source.splitlines() if line.strip()), "")
            reason = error.evalue
            if error.ename != "DigitError":
                text = (error.evalue or "").strip().partition("\n")[0][:200]
                reason = f"{error.ename}: {text} (in full in {display_path(output)})"
            raise DigitError(f"{notebook.name}, cell [{error.exec_count}] ({first[:60]}): {reason}") from error
        except RuntimeError as error:  # nbclient's, for whatever is wrong with the kernel itself
            if isinstance(error, DeadKernelError) or not left:
                raise DigitError(f"{notebook.name}: its kernel died ({error}). Is there enough memory?") from error
        finally:
            kernel.end()
        kernel = _Kernel.started(notebook)


def _end_all(kernels: Iterable[_Kernel]) -> None:
    for kernel in kernels:
        kernel.end()


class _LastLine(io.StringIO):
    """A file for papermill that shows the last line written to it behind a progress bar."""

    def __init__(self, shown: tqdm) -> None:
        super().__init__()
        self._shown = shown

    def write(self, text: str) -> int:
        lines = [line.strip() for line in re.split(r"[\r\n\b]+", text) if line.strip()]
        self._shown.set_postfix_str("".join(lines[-1:])[:60])
        return len(text)


def notebooks_folder() -> Path:
    """Return the folder with the series: that of this digitlib, or a reader's own whole copy in ``notebooks/`` of the project.

    Notebooks of other people may have the same names: a folder counts as a copy if it has every notebook of the series.

    Examples
    --------
    >>> sorted((notebooks_folder() / "photos").glob("*.jpg"))[0].suffix
    '.jpg'
    """
    package, own = Path(__file__).parents[1], project_root() / "notebooks"
    for place in (package / "notebooks", package.parent / "notebooks"):
        if names := {path.name for path in place.glob(SERIES)}:
            return own if names <= {path.name for path in own.glob(SERIES)} else place
    raise DigitError("this digitlib came without its notebooks: install it from its wheel.")


def copy_notebooks(folder: StrPath, *, exercises: bool = False) -> list[Path]:
    """Copy the notebooks and the photos that they show to a folder of your own, and return the notebooks' paths.

    Parameters
    ----------
    exercises : bool
        For a class: without outputs, without the answers of the quizzes, and without the notebooks of solutions.

    Raises
    ------
    DigitError
        If one of the files is already there; nothing has been copied then.

    Examples
    --------
    >>> copy_notebooks("notebooks")[0].name  # doctest: +SKIP
    '01_data_preparation.ipynb'
    """
    source, target = notebooks_folder(), resolve(folder)
    patterns = COPIED[:2] if exercises else COPIED
    files = [path.relative_to(source) for pattern in patterns for path in sorted(source.glob(pattern))]
    for name in files:
        if (target / name).exists():
            raise DigitError(
                f"{display_path(target / name)} is already there and may hold changes of yours: choose another folder."
            )
    for name in files:
        with atomic(target / name) as temporary:
            if exercises and name.suffix == ".ipynb":
                nbformat.write(_without_answers(nbformat.read(source / name, as_version=4)), temporary)
            else:
                shutil.copyfile(source / name, temporary)
    return [target / name for name in files if name.suffix == ".ipynb"]


def _without_answers(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook without its outputs and its cells with answers."""
    notebook.cells = [cell for cell in notebook.cells if "answers" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    return notebook
