"""Workflows, issue forms, Dockerfile and dev container: as GitHub and docker read them, and with the project's pinned versions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[1]
WORKFLOW = TOP / ".github" / "workflows" / "check.yml"
SCHEMAS = {
    "github-workflows": ".github/workflows/*.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "dependabot": ".github/dependabot.yml",
    "citation-file-format": "CITATION.cff",
}


def installs(text: str) -> list[str]:
    """Return what pip installs, line by line, without the options that only make it quiet or quick."""
    found = re.findall(r"-m pip install (.+?)(?: && .*)?$", text, re.MULTILINE)
    return [re.sub(r"--(quiet|disable-pip-version-check|no-compile) ", "", options) for options in found]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_for_others_are_as_their_schema_says(schema: str) -> None:
    pytest.importorskip("check_jsonschema")
    files = list(map(str, TOP.glob(SCHEMAS[schema])))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, "--force-filetype", "yaml", *files], capture_output=True, text=True)
    assert files
    assert done.returncode == 0, done.stdout


def test_workflows_have_no_finding_of_zizmor() -> None:
    if (program := shutil.which("zizmor", path=Path(sys.executable).parent) or shutil.which("zizmor")) is None:
        pytest.skip("zizmor is not installed")
    command = [program, "--offline", "--quiet", "--no-progress", "--persona", "pedantic", TOP / ".github"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_systems_and_pythons_are_checked_with_least_privileges() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["check"]["strategy"]["matrix"]
    assert [name.partition("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    classifiers = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    assert matrix["python"] == re.findall(r'"Programming Language :: Python :: (3\.\d+)"', classifiers)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name) for name in used)


def test_windows_and_the_container_install_what_make_does() -> None:
    rules = (TOP / "Makefile").read_text(encoding="utf-8").partition("$(RUN): ")[2]
    run, own, rest = installs(rules)
    assert installs((TOP / "Dockerfile").read_text(encoding="utf-8")) == [run, own]
    assert installs(WORKFLOW.read_text(encoding="utf-8")) == [rest, own]


def test_the_container_has_the_files_that_it_copies_and_the_dev_container_is_built_from_it() -> None:
    lines = (TOP / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1] if name[:2] != "--"]
    assert all((TOP / name).exists() for name in copied)
    assert lines.index("USER learner") < next(n for n, line in enumerate(lines) if line.startswith("CMD "))
    container = json.loads((TOP / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert (TOP / ".devcontainer" / container["build"]["dockerfile"]).resolve() == TOP / "Dockerfile"
    assert f"WORKDIR {container['workspaceFolder']}" in lines
    assert f"USER {container['remoteUser']}" in lines
