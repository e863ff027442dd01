"""Whether what digitlib needs is installed here and starts: a part of `digitlib doctor`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

EXTRAS = {
    "export": "`digitlib export` writes ONNX and LiteRT files (the HTML page needs nothing)",
    "cluster": "many runs and many images at once, on this machine or several, and s3:// addresses",
}
"""What a user gains by each optional group of pyproject.toml; the other groups are for the project's own work."""

TENSORFLOW_WITHIN = 120
"""Seconds that TensorFlow may take to load; it takes about 12 on two cores, but more on a busy machine or slow disk."""

ILLEGAL_ON_WINDOWS = 0xC000001D
"""How a process ends there on a processor that lacks an instruction."""

LOAD = (
    "import json, tensorflow as tf; "
    "print(json.dumps([tf.__version__, len(tf.config.list_physical_devices('GPU'))]))"
)


@dataclass(frozen=True)
class Finding:
    """One thing that `digitlib doctor` looked at.

    Attributes
    ----------
    level : {"ok", "note", "problem"}
        A note hinders only some; a problem will stop a run.
    subject : str
        What was looked at, in a word or two.
    said : str
        What was found, and for a note or a problem the way out.
    """

    level: Literal["ok", "note", "problem"]
    subject: str
    said: str


def check_python() -> Finding:
    """Compare Python's version with what digitlib says that it needs."""
    version, wanted = (
        ".".join(map(str, sys.version_info[:3])),
        metadata.metadata("digitlib")["Requires-Python"],
    )
    if SpecifierSet(wanted).contains(version):
        return Finding("ok", "Python", f"{version} ({sys.executable})")
    return Finding(
        "problem", "Python", f"{version}, but digitlib needs {wanted}: make a .venv with such a Python."
    )


def faults_of(requirements: list[Requirement]) -> list[str]:
    """Return what is missing or of a wrong version, a phrase each, such as ``"click 7.0 (needs >=8.1)"``."""
    faults = []
    for requirement in requirements:
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            faults.append(f"{requirement.name} (missing)")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            faults.append(f"{requirement.name} {found} (needs {requirement.specifier})")
    return faults


def requirements_of(extra: str = "") -> list[Requirement]:
    """Return what the installed digitlib asks for, by itself or with one of its extras."""
    every = map(Requirement, metadata.requires("digitlib") or [])
    if not extra:
        return [one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [
        one
        for one in every
        if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
    ]


def check_packages() -> Iterator[Finding]:
    """Compare the installed packages with the bounds in pyproject.toml; an absent extra is only a note."""
    needed = requirements_of()
    if faults := faults_of(needed):
        said = f"{', '.join(faults)}: run `{Path(sys.executable).name} -m pip install digitlib`, or `make`, again."
        yield Finding("problem", "packages", said)
    else:
        yield Finding("ok", "packages", f"all {len(needed)} are there, in versions that fit")
    for extra, brings in EXTRAS.items():
        if faults := faults_of(requirements_of(extra)):
            said = f'{", ".join(faults)}; with pip install "digitlib[{extra}]": {brings}.'
            yield Finding("note", f"extra {extra}", said)
        else:
            yield Finding("ok", f"extra {extra}", brings)


def check_tensorflow(python: str = sys.executable, within: float = TENSORFLOW_WITHIN) -> Iterator[Finding]:
    """Load TensorFlow in a process of its own: on a processor that it does not support, it kills its process."""
    try:
        done = subprocess.run(
            [python, "-c", LOAD], capture_output=True, text=True, errors="replace", timeout=within
        )
    except subprocess.TimeoutExpired:
        said = f"did not load within {within:.0f} s: is the machine busy, or the disk slow? Try again."
        yield Finding("problem", "TensorFlow", said)
        return
    if done.returncode < 0 or done.returncode == ILLEGAL_ON_WINDOWS:
        name = "SIGILL" if done.returncode > 0 else signal.Signals(-done.returncode).name
        cause = {
            "SIGILL": "this processor lacks instructions it was built for (AVX): use another machine",
            "SIGKILL": "the system ended it, mostly for want of memory: close other programs",
        }.get(name, "install it anew")
        yield Finding("problem", "TensorFlow", f"died with {name} while loading: {cause}.")
    elif done.returncode:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1][:200]
        yield Finding("problem", "TensorFlow", f"does not load: {said}. Install it anew.")
    else:
        version, gpus = json.loads(done.stdout.splitlines()[-1])
        yield Finding("ok", "TensorFlow", f"{version} loads")
        yield Finding("ok", "GPU", f"{gpus} seen" if gpus else "none seen; none is needed")


def check_kernel() -> Finding:
    """Look whether the kernel named python3, which the notebooks ask for, starts a Python that has digitlib."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    mend = f"run `{sys.executable} -m ipykernel install --sys-prefix --name python3`."
    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv
    except NoSuchKernel:
        return Finding("problem", "kernel", f"Jupyter knows none named python3: {mend}")
    # As jupyter_client does: a bare name stands for the Python that Jupyter runs in.
    bare = {"python", "python3", f"python3.{sys.version_info.minor}"}
    python = sys.executable if command[0] in bare else command[0]
    try:
        done = subprocess.run(
            [python, "-c", "import ipykernel, digitlib"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding("problem", "kernel", f"python3 would start {python}, which does not run: {mend}")
    if done.returncode:
        missing = (done.stderr.strip() or "no reason given").splitlines()[-1][:200]
        return Finding("problem", "kernel", f"python3 would start {python}, which says {missing!r}: {mend}")
    return Finding("ok", "kernel", f"python3 starts {python}")
