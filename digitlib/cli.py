"""The command `digitlib`: thin, each command calls the library."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import click

from digitlib import __version__
from digitlib.errors import DigitError, needs
from digitlib.files import DISK, atomic, display_path, project_root, resolve

# What else a command needs it imports itself: the first line and the shell's completion should not wait for TensorFlow.

Pairs = tuple[tuple[str, str], ...]


def pairs_option(text: str) -> Callable[..., Any]:
    """Return the option ``-p NAME VALUE``."""
    return click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help=text)


def on_workers(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the two options that say where its tasks are done."""
    scheduler = click.option(
        "--scheduler", metavar="ADDRESS", help="Use the workers of this Dask scheduler, such as tcp://10.0.0.1:8786."
    )
    workers = click.option(
        "--workers",
        default=0,
        type=click.IntRange(0),
        help="Use this many processes with one thread each. Default: this process.",
    )
    return scheduler(workers(command))


tracked = click.option(
    "--track", "tracker", type=click.Choice(["tensorboard", "mlflow"]),
    help="Also write parameters, curves, figures, results and network to this tracker, once all is done.",
)  # fmt: skip


class _Group(click.Group):
    """Print a `DigitError` as one sentence instead of a traceback, and how to go on after Ctrl-C."""

    def main(self, *args: Any, **options: Any) -> Any:
        # On Windows, where no shell does it, click replaces patterns by the files that match; `predict` takes one pattern.
        return super().main(*args, windows_expand_args=sys.argv[1:2] != ["predict"], **options)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        for before, word in zip(["digitlib", *args], args, strict=False):
            if not word or (word.startswith("--") and word.endswith("=")):
                raise click.UsageError(f"{before if not word else word[:-1]} has no value: is a variable not set?")
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            project_root()  # raises before NumPy is loaded, which Python 3.13 can't do in a folder that was removed
            with needs("this command"):
                return super().invoke(context)
        except DigitError as error:
            click.echo(f"Error: {error}", err=True)
        except OSError as error:
            if error.errno is None or error.errno not in DISK:
                raise
            where = f" ({error.filename})" if error.filename else ""
            click.echo(f"Error: {error.strerror}{where}. Make room and try again; what is finished stays.", err=True)
        sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="digitlib")
def main() -> None:
    """Train, evaluate and use a small CNN on folders of images of handwritten digits."""


@main.command()
@click.option(
    "--data",
    help="sample, mnist, a folder with one sub-folder for each class, a zip of one, labelled images in Parquet or .npz, a CSV of "
    "pixels or of file names and labels, or a folder with train.csv and test.csv. Default: sample; with --resume or --only, the "
    "data of the run.",
)
@click.option(
    "--recipe", help="tiny, fast, accurate or classic. Default: fast; with --resume or --only, that of the run."
)
@click.option("--out", "run_dir", default="runs/default", show_default=True, help="The run's folder.")
@click.option("--only", default="", help="Execute only these notebooks, for example 01,02.")
@click.option("--resume", is_flag=True, help="Begin with the first notebook that is not finished.")
@tracked
@pairs_option("Set a parameter of the notebooks, for example -p epochs 3. May be repeated.")
def run(
    data: str | None, recipe: str | None, run_dir: str, only: str, resume: bool, tracker: Any, pairs: Pairs
) -> None:
    """Execute notebooks 01 to 07 in order and write a report."""
    parameters = values(pairs)
    for name, option in (("data", "--data"), ("recipe", "--recipe"), ("run_dir", "--out")):
        if name in parameters:
            raise DigitError(f"-p {name} can't be used: give it as {option}.")
    numbers = [part for part in only.split(",") if part.strip()]
    if only and not numbers:
        raise DigitError(f"--only {only!r} has no numbers: give notebooks such as 05,06.")
    before = _settings_of(run_dir) if only or resume else {}
    data, recipe = data or before.get("data", "sample"), recipe or before.get("recipe", "fast")
    click.echo(f"digitlib run: {data}, recipe {recipe}, into {run_dir}")
    if parameters.get("mode") == "move":
        click.echo(
            f"The images of {data} will be moved into {run_dir}/TRAIN and TEST; `digitlib undo {run_dir}` moves them back."
        )
    from digitlib.pipeline.notebooks import run_series
    from digitlib.pipeline.report import results_table
    from digitlib.run import open_run

    this = open_run(run_dir)
    again = ["run", "--resume", "--data", data, "--recipe", recipe, "--out", str(this)]
    again += [*(("--track", tracker) if tracker else ()), *(("--only", only) if only else ())]
    again += [*(word for pair in pairs for word in ("-p", *pair))]
    with tracking(tracker, this):
        with resumable("Stopped. Go on with", again):
            run_series(this, {"data": data, "recipe": recipe, **parameters}, only=numbers, resume=resume)
        if (this / "metrics.json").exists():
            click.echo("\n" + results_table(this).to_string(index=False, header=False, justify="left"))
        click.echo(f"\nReport: {display_path(this / 'report.html')}")


def _settings_of(run_dir: str) -> dict[str, str]:
    """Return the data and the recipe of a run that has begun; a network without a recipe has none."""
    from digitlib.run import open_run

    this, known = open_run(run_dir), {"data": ("source.json", "data"), "recipe": ("recipe.json", "name")}
    return {what: this.read_json(file)[key] for what, (file, key) in known.items() if (this / file).exists()}


@main.command()
@click.argument("space_file", metavar="SPACE.yml")
@on_workers
@click.option("--out", default="runs/sweep", show_default=True, help="The folder for all runs and their table.")
@click.option("--no-notebooks", is_flag=True, help="Train without notebooks, which is faster.")
@tracked
@pairs_option("Replace a setting of SPACE.yml. May be repeated.")
def sweep(
    space_file: str, scheduler: str | None, workers: int, out: str, no_notebooks: bool, tracker: Any, pairs: Pairs
) -> None:  # fmt: skip
    """Train every combination of the settings in SPACE.yml; finished runs are not trained again.

    SPACE.yml is a text file with a line for each setting:

    \b
      recipe: [tiny, fast]
      seed: [1, 2, 3]
      learning_rate: [0.005, 0.01]

    Settings are the fields of a recipe and, with --no-notebooks, those of its augmentation (rotation_range: [5, 15]). data,
    test_size, validation_size, assign and corrections have one value for all runs. With --no-notebooks, Optuna can choose
    the values:

    \b
      sampler: optuna
      trials: 20
      learning_rate: {low: 0.0001, high: 0.01, log: true}
    """  # noqa: D301 - click knows a block that is not to be filled by this character
    from digitlib.pipeline.notebooks import run_series
    from digitlib.scale.sweep import read_space, run_sweep, summary

    with tracking(tracker, out):
        space = read_space(space_file, values(pairs), not no_notebooks)
        notebooks = None if no_notebooks else partial(run_series, only=("04", "05", "06"), resume=True)
        with resumable():
            table = run_sweep(space, out, scheduler=scheduler, workers=workers, notebooks=notebooks)
        click.echo(summary(out))
    sys.exit(int((table["state"] == "failed").any()))


@main.command()
@click.argument("run_or_model")
@click.argument("source")
@click.option(
    "--out",
    help="Table to write: .csv, .parquet, or submission.csv for Kaggle's form. Default: predictions.csv. A folder ending in / "
    "or an address gets one Parquet file for each partition.",
)
@click.option("--submission", help="Also write Kaggle's table (ImageId,Label) to this file.")
@click.option("--gallery", help="Also write a page of the 200 least confident images to this .html file.")
@on_workers
@click.option("--partition-size", type=click.IntRange(1, 10**6), help="Images in a partition. Default: 20,000.")
def predict(
    run_or_model: str, source: str, out: str | None, submission: str | None, gallery: str | None, scheduler: str | None,
    workers: int, partition_size: int | None,
) -> None:  # fmt: skip
    """Predict the classes of the images in SOURCE with the network of RUN_OR_MODEL.

    RUN_OR_MODEL is a run's folder, a .keras file, or a folder that `digitlib
    export` wrote an ONNX file to, which needs no TensorFlow.

    SOURCE is a folder, a zip archive, a list of files (@list.txt, or a .csv
    with a column filename), a .csv of pixels such as Kaggle's test.csv, a
    pattern in quotes such as "scans/**/*.png", or one image.

    An address such as s3://bucket/folder, a Parquet file with images, --workers, --scheduler or an --out that ends in /
    is predicted partition by partition; the same command again predicts only what is missing.
    """
    from digitlib.pipeline.predict_folder import is_bulk

    if bulk := bool(scheduler or workers or is_bulk(source, out)):
        if submission or gallery:
            raise DigitError(
                "--submission and --gallery don't work with partitions: leave them out, or --workers and --scheduler."
            )
        from digitlib.scale.bulk import predict_bulk

        size = {"partition_size": partition_size} if partition_size else {}
        with resumable():
            done = predict_bulk(run_or_model, source, out, scheduler=scheduler, workers=workers, **size)
        out = f"{done['partitions']:,} partitions, {done['found']:,} of them done before, in {done['out']}"
    elif partition_size:
        raise DigitError("--partition-size needs --workers, or an --out that ends in /.")
    else:
        from digitlib.pipeline.predict_folder import predict_to_files

        out = out or "predictions.csv"
        done = predict_to_files(run_or_model, source, out, submission=submission, gallery=gallery)
    bad = f", {done['unreadable']:,} unreadable (see the column reason)" if done["unreadable"] else ""
    bad += f", {done['rejected']:,} rejected (see the column accepted)" if done.get("rejected") else ""
    click.echo(f"{done['images']:,} images{bad}: {', '.join(filter(None, (out, submission, gallery)))}")
    if done["unreadable"] and not bulk and (submission or out.rpartition("/")[2].startswith("submission")):
        click.echo(
            "Warning: Kaggle refuses rows without a label. Take the unreadable files out of the folder.", err=True
        )


@main.command()
@click.argument("run_or_model")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option("--json", "json_file", help="Write boxes, labels and confidences to this file.")
@click.option("--drawn", help="Draw the boxes on the photo and save it as this .png file; one photo only.")
def read(run_or_model: str, photos: tuple[str, ...], json_file: str | None, drawn: str | None) -> None:
    """Read the digits on photos or scans, and print a line for each line of writing."""
    from digitlib.handwriting.reader import read_photos

    for name, lines in read_photos(run_or_model, photos, json_file, drawn):
        if len(photos) > 1:
            click.echo(f"{name}:")
        click.echo("\n".join(lines))


@main.command()
@click.argument("run_dir")
@click.option("--out", help="Folder for the files. Default: export/ in the run's folder.")
@click.option("--format", "formats", multiple=True, help="onnx, litert or html. Default: all. May be repeated.")
@click.option(
    "--html", metavar="PAGE", help="Write only the page, to this file; with --format, also the other formats."
)
def export(run_dir: str, out: str | None, formats: tuple[str, ...], html: str | None) -> None:
    """Write the network of RUN_DIR as ONNX, LiteRT and an HTML page with a drawing pad, and a model card."""
    from digitlib.evaluation.classifier import Classifier
    from digitlib.export.formats import FORMATS, check_formats

    check_formats(formats)
    classifier, failed = Classifier.load(run_dir), []
    wanted = [*formats, *(["html"] if html else [])] or list(FORMATS)
    for name in dict.fromkeys(wanted):
        try:
            path = classifier.export(name, out, html if name == "html" else None)
        except DigitError as error:  # the other formats are written
            click.echo(f"{name:<6}  not written: {error}", err=True)
            failed.append(name)
            continue
        checked = "" if name == "html" else ", probabilities within 1e-4 of Keras's"
        click.echo(f"{name:<6}  {display_path(path)} ({path.stat().st_size / 1e6:.1f} MB{checked})")
    place = resolve(run_dir)
    with atomic(card := (place if place.is_dir() else place.parent) / "model_card.md") as temporary:
        temporary.write_text(classifier.model_card(), encoding="utf-8", errors="backslashreplace")
    click.echo(f"card    {display_path(card)}")
    sys.exit(int(bool(set(failed) & {*formats, "onnx", "litert", "html" if html else ""})))


@main.command()
@click.argument("folder", default="notebooks")
@click.option("--exercises", is_flag=True, help="For a class: without outputs, answers and solutions.")
def notebooks(folder: str, exercises: bool) -> None:
    """Copy the notebooks to FOLDER, notebooks/ by default, to step through and change."""
    from digitlib.pipeline.notebooks import copy_notebooks

    copied = copy_notebooks(folder, exercises=exercises)
    place = typed(["jupyter", "lab", display_path(copied[0].parent)])
    click.echo(f"{len(copied)} notebooks. Open them with: {place}")


@main.command()
@click.argument("run_dir")
def undo(run_dir: str) -> None:
    """Undo the split of RUN_DIR, and move images that were moved back to where they were."""
    from digitlib.data.folders import undo as undo_split
    from digitlib.run import open_run, run_lock

    this = open_run(run_dir)
    with run_lock(this) if this.folder.is_dir() else nullcontext():
        kept = undo_split(this)
    for path in kept:
        click.echo(f"kept {display_path(path)}: it is not what the split put there, or its original is gone", err=True)
    click.echo(f"The split of {this} is undone." if not kept else f"{len(kept)} files were left in {this}.")


@contextmanager
def tracking(tracker: str | None, place: Any) -> Iterator[None]:
    """Check that a tracker can be used before the work begins, and write a run or sweep to it once all is done."""
    if not tracker:
        yield
        return
    from digitlib.pipeline.tracking import check_tracker, track

    check_tracker(tracker)
    yield
    click.echo(f"Tracked, shown by: {typed(track(place, tracker))}")


def typed(words: list[str]) -> str:
    """Return a command as one would type it here."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


@contextmanager
def resumable(
    what: str = "Stopped. What is finished stays; go on with", words: list[str] | None = None
) -> Iterator[None]:
    """Say after Ctrl-C with which command to go on: the same by default."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\n{what}: {typed(['digitlib', *(words or sys.argv[1:])])}", err=True)
        sys.exit(130)


def values(pairs: Pairs) -> dict[str, Any]:
    """Read parameters as Python would: 3, 0.1, True, None, [1, 2]; anything else is text."""
    found: dict[str, Any] = {}
    for name, text in pairs:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = text
        found[name] = list(value) if isinstance(value, tuple) else value  # papermill would make text of a tuple
    return found
