"""The command `digitlib`: thin, each command calls the library."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import click

from digitlib import __version__
from digitlib.errors import DigitError
from digitlib.files import project_root
from digitlib.training.recipes import (
    RECIPE_PARAMETERS,
    RECIPES,
    get_recipe,
)

# What else a command needs it imports itself: the first line and the shell's completions should not wait for pandas.


def on_workers(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the two options that say where its tasks are done."""
    scheduler = click.option(
        "--scheduler", default=None, metavar="ADDRESS",
        help="Work on the workers of a running Dask scheduler, such as tcp://10.0.0.1:8786.",
    )  # fmt: skip
    workers = click.option(
        "--workers", default=0, type=click.IntRange(0),
        help="Or on so many processes of this machine, one thread each; none by default.",
    )  # fmt: skip
    return scheduler(workers(command))


class _Group(click.Group):
    """Tell a `DigitError` in one sentence instead of a traceback, and leave patterns to `predict`, which orders their files."""

    def main(self, *args: Any, **options: Any) -> Any:
        # On Windows, where no shell does it, click replaces patterns by the files that match; `predict` takes one pattern.
        return super().main(*args, windows_expand_args=sys.argv[1:2] != ["predict"], **options)

    def invoke(self, context: click.Context) -> Any:
        try:
            project_root()  # raises before NumPy is loaded, which Python 3.13 can't do in a folder that was removed
            return super().invoke(context)
        except DigitError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="digitlib")
def main() -> None:
    """Classify folders of handwritten digits with a small CNN."""


@main.command()
@click.option(
    "--data",
    default=None,
    help="sample, mnist, a folder of class folders, a zip of one, or labelled images in Parquet; sample by default, with "
    "--resume or --only the run's.",
)
@click.option(
    "--recipe",
    default=None,
    help=f"One of {', '.join(RECIPES)}; fast by default, with --resume or --only the run's.",
)
@click.option(
    "--out",
    "run_dir",
    default="runs/default",
    show_default=True,
    help="The run's folder.",
)
@click.option("--only", default="", help="Numbers of notebooks, such as 01,02; all by default.")
@click.option("--resume", is_flag=True, help="Go on with the first notebook that has not finished.")
@click.option(
    "-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Another parameter of the notebooks."
)
def run(
    data: str | None,
    recipe: str | None,
    run_dir: str,
    only: str,
    resume: bool,
    pairs: tuple[tuple[str, str], ...],
) -> None:
    """Execute the notebooks in order and write a report."""
    extra = {name: _value(text) for name, text in pairs}
    for name, option in (("data", "--data"), ("recipe", "--recipe"), ("run_dir", "--out")):
        if name in extra:
            raise DigitError(f"-p {name} would go past what else is done with it: give it as {option}.")
    numbers = [part for part in only.split(",") if part.strip()]
    if only and not numbers:
        raise DigitError(f"--only {only!r} names no notebook: give numbers such as 05,06.")
    before = _settings_of(run_dir) if only or resume else {}
    data, named = data or before.get("data", "sample"), recipe or before.get("recipe", "fast")
    recipe = (
        named if recipe or named in RECIPES else "fast"
    )  # an ensemble's is none that a notebook could train
    click.echo(f"digitlib run: {data}, recipe {named}, into {run_dir}")
    # What can't work is refused before a kernel is started.
    get_recipe(recipe, **{name: value for name, value in extra.items() if name in RECIPE_PARAMETERS})
    _check_parameters(extra)
    from digitlib.data.datasets import as_folder
    from digitlib.data.folders import holds_moved
    from digitlib.data.sources import find_images
    from digitlib.files import display_path
    from digitlib.run import open_run

    this = open_run(run_dir)
    if not holds_moved(this):  # else the images are no longer there
        find_images(as_folder(data))
    if extra.get("mode") == "move":
        click.echo(
            f"The images of {data} will be moved into {this}/TRAIN and TEST; `digitlib undo {this}` moves them back."
        )
    from digitlib.pipeline.notebooks import run_series
    from digitlib.pipeline.report import results_table

    parameters = {"data": data, "recipe": recipe} | extra
    try:
        run_series(this, parameters, only=numbers, resume=resume)
    except KeyboardInterrupt:
        again = ["digitlib", "run", "--resume", "--data", data, "--recipe", recipe, "--out", str(this)]
        again += ["--only", only] if only else []
        again += [word for name, value in pairs for word in ("-p", name, value)]
        click.echo(f"\nStopped. Go on with: {_typed(again)}", err=True)
        sys.exit(130)
    if (this / "metrics.json").exists():
        table = results_table(this)
        width = table["result"].str.len().max()
        click.echo(
            "\n" + "\n".join(f"{name:<{width}}  {value}" for name, value in table.itertuples(index=False))
        )
    click.echo(f"\nReport: {display_path(this / 'report.html')}")


def _settings_of(run_dir: str) -> dict[str, str]:
    """Return the data and the recipe of a run that has begun, by their parameters' names."""
    from digitlib.run import open_run

    this = open_run(run_dir)
    known = {"data": ("source.json", "data"), "recipe": ("recipe.json", "name")}
    return {what: this.read_json(file)[key] for what, (file, key) in known.items() if (this / file).exists()}


def _check_parameters(extra: dict[str, Any]) -> None:
    """Refuse parameters of the notebooks that can't work, also of those that come after hours of training."""
    from digitlib.data.split import check_options
    from digitlib.errors import is_whole
    from digitlib.evaluation.selective import check_wanted

    of_split = ("test_size", "validation_size", "seed", "mode", "assign")
    check_options(**{name: value for name, value in extra.items() if name in of_split})
    if "wanted_accuracy" in extra:
        check_wanted(extra["wanted_accuracy"])
    for name in ("shown", "gallery"):
        if not (is_whole(extra.get(name, 0)) and extra.get(name, 0) >= 0):
            raise DigitError(f"{name} is {extra[name]!r}: give a number of images.")


@main.command()
@click.argument("space_file", metavar="SPACE.yml")
@on_workers
@click.option("--out", default="runs/sweep", show_default=True, help="Folder for all runs and their table.")
@click.option(
    "--no-notebooks", is_flag=True, help="Train with the library alone: faster, and nothing to read."
)
@click.option(
    "-p",
    "pairs",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="A line that stands in for one of the file.",
)
def sweep(
    space_file: str,
    scheduler: str | None,
    workers: int,
    out: str,
    no_notebooks: bool,
    pairs: tuple[tuple[str, str], ...],
) -> None:
    """Train every combination of the recipes, seeds and other settings in SPACE.yml; what is finished is not done again.

    SPACE.yml is a text file with a line for each setting:

    \b
      recipe: [tiny, fast]
      seed: [1, 2, 3]
      learning_rate: [0.005, 0.01]

    Settings are the fields of a recipe and, with --no-notebooks, those of its augmentation (rotation_range: [5, 15]). data,
    test_size, validation_size, assign and threads are the same for all runs. With --no-notebooks, Optuna can choose:

    \b
      sampler: optuna
      trials: 20
      learning_rate: {low: 0.0001, high: 0.01, log: true}
    """  # noqa: D301 - click knows a block that is not to be filled by this character
    from digitlib.scale.sweep import run_sweep
    from digitlib.scale.sweep_space import read_space
    from digitlib.scale.sweep_table import summary

    space = read_space(space_file, {name: _value(text) for name, text in pairs}, not no_notebooks)
    with _goes_on():
        table = run_sweep(space, out, scheduler=scheduler, workers=workers, notebooks=not no_notebooks)
    click.echo(summary(table, out))
    sys.exit(int((table["state"] == "failed").any()))


@main.command()
@click.argument("run_or_model")
@click.argument("source")
@click.option(
    "--out",
    default=None,
    help="Table to write: .csv, .parquet, or submission.csv for Kaggle's form; predictions.csv by default. A folder "
    "ending in / or an address gets a Parquet file a partition; predictions.parquet/ by default.",
)
@click.option("--submission", default=None, help="Also write Kaggle's ImageId,Label here.")
@click.option(
    "--gallery", default=None, help="Also write a page of the least sure images here, such as page.html."
)
@click.option(
    "--gallery-size",
    "limit",
    default=200,
    show_default=True,
    help="Pictures on that page.",
    type=click.IntRange(1),
)
@click.option(
    "--trust",
    is_flag=True,
    help="Have confidences mean what they say, and add a column answered: False where the network had better not be "
    "believed. Notebook 06 finds out when.",
)
@on_workers
@click.option(
    "--partition-size",
    default=20_000,
    show_default=True,
    help="Images a partition, where it is done partition by partition.",
    type=click.IntRange(1, 10**6),
)
def predict(
    run_or_model: str, source: str, out: str | None, submission: str | None, gallery: str | None, limit: int,
    trust: bool, scheduler: str | None, workers: int, partition_size: int,
) -> None:  # fmt: skip
    """Name the images of SOURCE with the network of RUN_OR_MODEL.

    SOURCE is a folder, a zip archive, a list of files (@list.txt, or a .csv
    with a column filename), a pattern in quotes such as "scans/**/*.png", or one image.

    An address such as s3://bucket/folder, a Parquet file with images, --workers, --scheduler or an --out that ends in /
    is predicted partition by partition; the same command again goes on where it was stopped.
    """
    from digitlib.data.inputs import find_inputs
    from digitlib.data.stores import goes_in_parts
    from digitlib.files import display_path, resolve
    from digitlib.pipeline.predict_folder import form_of, summary_of
    from digitlib.run import run_and_model

    if scheduler or workers or goes_in_parts(source, out):
        from digitlib.scale.bulk import predict_to_parts

        options = {
            "scheduler": scheduler,
            "workers": workers,
            "partition_size": partition_size,
            "trust": trust,
        }
        with _goes_on():
            click.echo(
                predict_to_parts(run_or_model, source, out, (submission, gallery), tell=click.echo, **options)
            )
        return
    _refuse_given(
        "is for predictions partition by partition: add --workers, or an --out that ends in /",
        "partition_size",
    )
    out = out or "predictions.csv"
    form_of(out)  # what can't work is refused before TensorFlow is loaded
    targets = [resolve(path) for path in (out, submission, gallery) if path]
    if len(set(targets)) < len(targets):
        raise DigitError("--out, --submission and --gallery are written to one file: give each its own.")
    if gallery and not gallery.lower().endswith((".html", ".htm")):
        raise DigitError(f"--gallery {gallery!r} is no name of a page: end it with .html.")
    folder, found = find_inputs(source)
    filenames = [
        name for name in found if folder / name not in targets
    ]  # what an earlier command has written there
    if not filenames:
        raise DigitError(
            f"{display_path(folder)} holds nothing but tables that this command wrote before: give a folder of images."
        )
    run_and_model(run_or_model)
    from digitlib.pipeline.predict_folder import predict_to_files

    done = predict_to_files(
        run_or_model, folder, filenames, out, submission=submission, gallery=gallery, limit=limit, trust=trust
    )
    click.echo(f"{summary_of(done)}: {display_path(out)}{f' and {display_path(gallery)}' if gallery else ''}")
    numbered = submission or (out if form_of(out) == "kaggle" else "")
    if numbered and done["unreadable"]:
        click.echo(
            f"Warning: rows of {display_path(numbered)} without a label: {done['unreadable']:,}. Take the files that are no image out "
            "of the folder, or Kaggle will refuse the table.",
            err=True,
        )


@main.command()
@click.argument("run_or_model")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option("--json", "json_file", default=None, help="Write boxes, labels and confidences here.")
@click.option("--drawn", default=None, help="Save the photo with its boxes here, as .png; one photo only.")
def read(run_or_model: str, photos: tuple[str, ...], json_file: str | None, drawn: str | None) -> None:
    """Read the digits on photos or scans: a line of digits for each line of writing."""
    from digitlib.handwriting.reader import read_photos

    for name, lines in read_photos(run_or_model, photos, json_file, drawn):
        if len(photos) > 1:
            click.echo(f"{name}:")
        click.echo("\n".join(lines))


@main.command()
@click.argument("run_dir")
@click.option("--out", default=None, help="Folder for the files; export/ in the run by default.")
@click.option(
    "--format", "formats", multiple=True, help="onnx, litert or html; may be given again; all by default."
)
@click.option(
    "--html",
    default=None,
    metavar="PAGE",
    help="Write the page, and only it unless --format says more, to PAGE.",
)
def export(run_dir: str, out: str | None, formats: tuple[str, ...], html: str | None) -> None:
    """Take the network of RUN_DIR elsewhere: ONNX, LiteRT, a page for the browser, and a model card."""
    from digitlib.run import open_run

    this = open_run(run_dir)
    this.require("best_model.keras")
    from digitlib.export.formats import export_files

    for line in export_files(this, out, formats, html):
        click.echo(line)


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--out", default="runs/ensemble", show_default=True, help="The ensemble's folder.")
@click.option(
    "--train",
    "n",
    default=0,
    type=click.IntRange(0),
    help="Train so many members first, with seeds 1, 2, 3 ...",
)
@click.option("--recipe", default="accurate", show_default=True, help="What to train them with.")
@click.option(
    "-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Another setting of the recipe."
)
@click.option(
    "--data", default="sample", show_default=True, help="What to train them on; see `digitlib run`."
)
@on_workers
def ensemble(
    runs: tuple[str, ...],
    out: str,
    n: int,
    recipe: str,
    pairs: tuple[tuple[str, str], ...],
    data: str,
    **where: Any,
) -> None:
    """Join trained runs to one network, which is mostly right more often than each.

    RUN is a run's folder, or a folder of runs such as a sweep's. With --train,
    members that are missing are trained, in OUT/members.
    """
    from digitlib.data.datasets import as_folder
    from digitlib.data.sources import find_images
    from digitlib.files import display_path

    if n == 0:
        _refuse_given(
            "is for members to be trained: say how many with --train",
            "recipe",
            "pairs",
            "data",
        )
    changes = {name: _value(text) for name, text in pairs}
    recipes = [get_recipe(recipe, **changes | {"seed": seed}) for seed in range(1, n + 1)]
    if n:
        find_images(as_folder(data))
    elif len(runs) == 0:
        raise DigitError("name the runs to join, or train some with --train 5.")
    from digitlib.scale.ensemble import ensemble_lines, make_ensemble
    from digitlib.scale.members import gather_members

    with _goes_on():
        members = gather_members(runs, out, recipes, data, **where)
    click.echo("\n".join(ensemble_lines(make_ensemble(members, out))))
    click.echo(f"\n{display_path(out)}: a run's folder, for `digitlib predict` and all else that takes one.")


@main.command()
@click.argument("folder", default="notebooks")
def notebooks(folder: str) -> None:
    """Copy the notebooks to FOLDER, notebooks/ by default, to step through and change."""
    from digitlib.files import display_path
    from digitlib.pipeline.notebooks import copy_notebooks

    copied = copy_notebooks(folder)
    click.echo(
        f"{len(copied)} notebooks. Open them with: jupyter lab {_typed([display_path(copied[0].parent)])}"
    )


@main.command()
@click.argument("run_dir")
def undo(run_dir: str) -> None:
    """Take back the split of RUN_DIR: moved images return to where they were."""
    from digitlib.data.folders import undo as undo_split
    from digitlib.files import display_path
    from digitlib.run import open_run, run_lock

    this = open_run(run_dir)
    with run_lock(this) if this.folder.is_dir() else nullcontext():
        kept = undo_split(this)
    for path in kept:
        click.echo(
            f"kept {display_path(path)}: it is not what the split put there, or its original is gone",
            err=True,
        )
    click.echo(f"The split of {this} is undone." if not kept else f"{len(kept)} files were left in {this}.")


def _refuse_given(why: str, *names: str) -> None:
    """Refuse options that were given and would do nothing."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if option.name in names and given:
            raise DigitError(f"{option.opts[-1]} {why}.")


def _typed(words: list[str]) -> str:
    """Return a command as one would type it here."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


@contextmanager
def _goes_on() -> Iterator[None]:
    """Say after Ctrl-C how to go on with a command that does nothing twice."""
    try:
        yield
    except KeyboardInterrupt:
        again = _typed(["digitlib", *sys.argv[1:]])
        click.echo(f"\nStopped. What is finished stays; go on with: {again}", err=True)
        sys.exit(130)


def _value(text: str) -> Any:
    """Read a parameter as Python would: 3, 0.1, True, None, [1, 2]; anything else is text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return list(value) if isinstance(value, tuple) else value  # papermill would make text of a tuple
