"""The command `digitlib`: thin, each command calls the library."""

from __future__ import annotations

import ast
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from digitlib.errors import DigitError
from digitlib.folders import holds_moved
from digitlib.folders import undo as undo_split
from digitlib.inputs import find_inputs
from digitlib.locking import alone
from digitlib.recipes import RECIPE_PARAMETERS, RECIPES, get_recipe
from digitlib.runs import open_run, resolve, shown
from digitlib.samples import as_folder
from digitlib.sources import find_images
from digitlib.stores import goes_in_parts
from digitlib.writing import form_of


class _Group(click.Group):
    """Tell a `DigitError` in one sentence instead of a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except DigitError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="digitlib")
def main() -> None:
    """Classify folders of handwritten digits with a small CNN."""


@main.command()
@click.option(
    "--data",
    default="sample",
    show_default=True,
    help="sample, mnist, a folder of class folders, or a zip of one.",
)
@click.option("--recipe", default="fast", show_default=True, help=f"One of {', '.join(RECIPES)}.")
@click.option("--out", "run_dir", default="runs/default", show_default=True, help="The run's folder.")
@click.option("--only", default="", help="Numbers of notebooks, such as 01,02; all by default.")
@click.option("--resume", is_flag=True, help="Go on with the first notebook that has not finished.")
@click.option(
    "-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Another parameter of the notebooks."
)
def run(
    data: str, recipe: str, run_dir: str, only: str, resume: bool, pairs: tuple[tuple[str, str], ...]
) -> None:
    """Execute the notebooks in order and write a report."""
    extra = {name: _value(text) for name, text in pairs}
    # What can't work is refused before a kernel is started.
    get_recipe(recipe, **{name: value for name, value in extra.items() if name in RECIPE_PARAMETERS})
    this = open_run(run_dir)
    if not holds_moved(this):  # else the images are no longer there
        find_images(as_folder(data))
    if extra.get("mode") == "move":
        click.echo(
            f"The images of {data} will be moved into {this}/TRAIN and TEST; `digitlib undo {this}` moves them back."
        )
    from digitlib.report import results_table
    from digitlib.series import run_series

    parameters = {"data": data, "recipe": recipe} | extra
    try:
        run_series(this, parameters, only=[part for part in only.split(",") if part], resume=resume)
    except KeyboardInterrupt:
        again = ["digitlib", "run", "--resume", "--data", data, "--recipe", recipe, "--out", str(this)]
        again += ["--only", only] if only else []
        again += [word for name, value in pairs for word in ("-p", name, value)]
        click.echo(f"\nStopped. Go on with: {shlex.join(again)}", err=True)
        sys.exit(130)
    if (this / "metrics.json").exists():
        table = results_table(this)
        width = table["result"].str.len().max()
        click.echo(
            "\n" + "\n".join(f"{name:<{width}}  {value}" for name, value in table.itertuples(index=False))
        )
    click.echo(f"\nReport: {shown(this / 'report.html')}")


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
    "--scheduler", default=None, metavar="ADDRESS", help="Predict on the workers of a Dask scheduler."
)
@click.option(
    "--workers", default=0, help="Predict on so many processes of this machine.", type=click.IntRange(0)
)
@click.option(
    "--partition-size",
    default=20_000,
    show_default=True,
    help="Images a partition.",
    type=click.IntRange(1, 10**6),
)
def predict(
    run_or_model: str, source: str, out: str | None, submission: str | None, gallery: str | None, limit: int,
    scheduler: str | None, workers: int, partition_size: int,
) -> None:  # fmt: skip
    """Name the images of SOURCE with the network of RUN_OR_MODEL.

    SOURCE is a folder, a zip archive, a list of files (@list.txt, or a .csv
    with a column filename), a pattern in quotes such as 'scans/**/*.png', or one image.

    An address such as s3://bucket/folder, a Parquet file with images, --workers, --scheduler or an --out that ends in /
    is predicted partition by partition; the same command again goes on where it was stopped.
    """
    if scheduler or workers or goes_in_parts(source, out):
        from digitlib.bulk import predict_to_parts

        options = {"scheduler": scheduler, "workers": workers, "partition_size": partition_size}
        click.echo(
            predict_to_parts(run_or_model, source, out, (submission, gallery), tell=click.echo, **options)
        )
        return
    out = out or "predictions.csv"
    form_of(out)  # what can't work is refused before TensorFlow is loaded
    files = find_inputs(source)
    if not Path(resolve(run_or_model)).exists():
        raise DigitError(
            f"{run_or_model} doesn't exist: give a run's folder, such as runs/default, or its best_model.keras."
        )
    from digitlib.prediction import predict_to_files

    done = predict_to_files(run_or_model, *files, out, submission=submission, gallery=gallery, limit=limit)
    unreadable = done["unreadable"]
    more = f", {unreadable} of them unreadable (see the column reason)" if unreadable else ""
    click.echo(f"{done['images']:,} images{more}: {shown(out)}{f' and {shown(gallery)}' if gallery else ''}")


@main.command()
@click.argument("run_or_model")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
@click.option("--json", "json_file", default=None, help="Write boxes, labels and confidences here.")
@click.option("--drawn", default=None, help="Save the photo with its boxes here, as .png; one photo only.")
def read(run_or_model: str, photos: tuple[str, ...], json_file: str | None, drawn: str | None) -> None:
    """Read the digits on photos or scans: a line of digits for each line of writing."""
    from digitlib.readings import read_photos

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
    this = open_run(run_dir)
    this.require("best_model.keras")
    from digitlib.exporting import export_files

    for line in export_files(this, out, formats, html):
        click.echo(line)


@main.command()
@click.argument("run_dir")
def undo(run_dir: str) -> None:
    """Take back the split of RUN_DIR: moved images return to where they were."""
    this = open_run(run_dir)
    with alone(this) if this.folder.is_dir() else nullcontext():
        kept = undo_split(this)
    for path in kept:
        click.echo(
            f"kept {shown(path)}: it is not what the split put there, or its original is gone", err=True
        )
    click.echo(f"The split of {this} is undone." if not kept else f"{len(kept)} files were left in {this}.")


def _value(text: str) -> Any:
    """Read a parameter as Python would: 3, 0.1, True, None, [1, 2]; anything else is text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return list(value) if isinstance(value, tuple) else value  # papermill would make text of a tuple
