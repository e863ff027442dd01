"""What several tests begin with: a command run as a person would, and a trained run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import digitlib as d
from digitlib.run import Run
from digitlib.training.recipes import Recipe

TOP = Path(__file__).parents[1]


def run_command(*arguments: str, root: Path, **kwargs: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    environment |= {"DIGITLIB_ROOT": str(root), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", *arguments]
    for _ in range(3):  # plain papermill loses a kernel whose port was taken meanwhile (nteract/papermill#511)
        done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, **kwargs)
        if "Address already in use" not in done.stderr:
            break
    return done


def trained(data: Path, run_dir: str, recipe: Recipe) -> tuple[Run, Recipe]:
    """Return a run with a network of a recipe, and that recipe with its epochs for so many images."""
    run = d.prepare(data, run_dir, mode="none")
    return run, d.train_run(run, recipe)
