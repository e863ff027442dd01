"""What a person sees while a sweep goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click
from tqdm import tqdm

from digitlib.progress import bar, watched
from digitlib.scale.cluster import Here, Outcome, Workers


def follow(
    crew: Here | Workers,
    function: Callable[..., Any],
    tasks: Sequence[tuple[str, tuple[Any, ...]]],
    total: int,
) -> Iterator[Outcome]:
    """Yield what comes of tasks, with a progress bar over `total` runs, of which some are done already."""
    if isinstance(crew, Workers):
        click.echo(f"{crew.size} workers; what they do: {crew.dashboard}")
    if len(tasks) < total:
        click.echo(f"{total - len(tasks)} of {total} runs: done before")
    with bar(total, "Sweep", unit="run", initial=total - len(tasks), delay=0) as shown_bar:
        for ended in crew.run(function, tasks):
            yield ended
            shown_bar.update()


def tell(row: Mapping[str, Any]) -> None:
    """Print what came of one run."""
    if row["state"] == "failed":
        line = f"{row['run']}: failed: {row['reason']}"
    else:
        line = f"{row['run']}: {row['state']}, validation accuracy {row['validation_accuracy']:.2%}"
        line += f" in {row['seconds']:.0f} s"
    tqdm.write(line, file=sys.stdout) if watched() else click.echo(line)
