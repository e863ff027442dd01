"""What holds the project together: set-up files, pinned versions, imports, the command line's one sentence."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from digitlib import errors
from digitlib.cli import main
from digitlib.errors import EXTRAS, DigitError, needs

TOP = Path(__file__).parents[1]
NOTEBOOKS = sorted((TOP / "notebooks").glob("[0-9]*.ipynb"))


PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(*extras: str) -> list[Requirement]:
    """Return what digitlib needs with some extras, and with those that they name."""
    listed = [Requirement(line) for name in extras for line in PROJECT["optional-dependencies"][name]]
    within = [declared(*sorted(one.extras)) for one in listed if one.name == "digitlib"]
    plain = [Requirement(line) for line in PROJECT["dependencies"]]
    return sum(within, plain + [one for one in listed if one.name != "digitlib"])


def pins(name: str) -> set[tuple[str, str]]:
    lines = (TOP / name).read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^\s;\\]+)", lines, re.MULTILINE))


def test_conda_installs_what_the_series_needs() -> None:
    text = (TOP / "environment.yml").read_text(encoding="utf-8")
    assert SpecifierSet(re.search(r"- python(\S+)", text)[1]) == SpecifierSet(PROJECT["requires-python"])
    assert re.findall(r"-e \.\[(\w+)\]", text) == ["notebooks"]


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("constraints.txt", ("dev", "test")),
        ("constraints-run.txt", ("build", "notebooks")),
        ("constraints-min.txt", ("test",)),
    ],
)
def test_versions_are_pinned_with_hashes_without_addresses_and_fit_the_bounds(name: str, extras: list[str]) -> None:
    text = (TOP / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert name == "constraints-min.txt" or text.count("==") <= text.count("--hash=sha256:")
    for one in declared(*extras):
        found = [version for package, version in pins(name) if package == one.name]
        assert [version in one.specifier for version in found] == [True] * max(1, len(found)), (
            f"{one}: make constraints"
        )


def test_what_the_series_needs_is_pinned_to_the_same_versions_and_has_nothing_of_the_tests() -> None:
    assert pins("constraints-run.txt") < pins("constraints.txt")
    others = {one.name for one in declared("test")} - {one.name for one in declared("notebooks")}
    # Pyyaml comes with papermill.
    assert {package for package, _ in pins("constraints-run.txt")} & others == {"pyyaml"}


def modules_imported() -> set[str]:
    """Return the modules of other packages that digitlib imports anywhere."""
    found = set()
    for path in (TOP / "digitlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0] for name in names}
    return found - sys.stdlib_module_names - {"digitlib", "llvmlite"}  # numba brings the last


def test_an_extra_brings_every_module_that_a_plain_installation_lacks() -> None:
    packages = packages_distributions()
    plain = {one.name.lower() for one in declared()}
    missing = [name for name in modules_imported() if not plain & {one.lower() for one in packages.get(name, [])}]
    assert set(missing) - set(" ".join(EXTRAS.values()).split()) == set()
    for extra, modules in EXTRAS.items():
        brought = {one.name.lower() for one in declared(extra)} - plain
        indirect = {"IPython", "jupyter_client", "jupyter_core", "markupsafe", "threadpoolctl", "traitlets", "dask"}
        for module in set(modules.split()) - indirect & set(packages):
            assert brought & {one.lower() for one in packages.get(module, [module])}, f"{extra}: {module}"


def test_what_is_missing_is_asked_for_with_a_command_that_works_here() -> None:
    with pytest.raises(DigitError) as caught, needs("a test"):
        raise ModuleNotFoundError("No module named 'cleanlab.filter'", name="cleanlab.filter")
    sentence, _, command = str(caught.value).partition(": ")
    assert sentence == "For a test, install cleanlab"
    python, *words = shlex.split(command)
    assert words == ["-m", "pip", "install", "-e", f"{TOP}[labels]"]
    where = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert where.stdout.strip() == sys.prefix
    with pytest.raises(ModuleNotFoundError), needs("a test"):
        raise ModuleNotFoundError("No module named 'no_such_module'", name="no_such_module")


@pytest.mark.parametrize(
    ("origin", "place"),
    [
        ({"url": "file:///a%20b/digitlib-2.0.0-py3-none-any.whl", "archive_info": {}},
         '"/a b/digitlib-2.0.0-py3-none-any.whl[track]"'),
        ({"url": "https://example.org/digits", "vcs_info": {"vcs": "git"}},
         '"digitlib[track] @ git+https://example.org/digits"'),
        ({}, '"digitlib[track]"'),
    ],
)  # fmt: skip
def test_the_command_installs_from_where_digitlib_came(
    origin: dict[str, object], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return json.dumps(origin) if origin else None

    monkeypatch.setattr(errors, "distribution", lambda name: Installed())
    assert errors._source("track", tmp_path / "site-packages/digitlib") == place


def test_what_needs_no_network_loads_no_tensorflow(root: Path) -> None:
    heavy = {"tensorflow", "keras", "dask", "distributed"}
    for statement, unwanted in (
        ("import digitlib", heavy | {"pandas", "sklearn"}),
        ("import digitlib.cli", heavy),
        ("from digitlib import prepare\nprepare('sample', 'runs/x')", heavy),
    ):
        code = f"{statement}\nimport sys; print(sorted(set(sys.modules) & {unwanted!r}))"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "[]", statement


def test_the_table_of_notebooks_names_them_all() -> None:
    table = (TOP / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\[[^]]*\]\((\d\d_\w+\.ipynb)\)", table) == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run --data nowhere", "nowhere"),
        ("run --recipe fats", "fast"),
        ("run --data {digits} -p epoch 3", "epochs"),
        ("run --data {digits} -p epochs three", "three"),
        ("run --data {digits} -p image_size 8", "image_size"),
        ("run --data {digits} -p test_size 1.5", "test_size"),
        ("run --data {digits} --out /proc/nowhere/x", "/proc/nowhere/x"),
        ("run --data {digits} --only 42", "42"),
        ("run --data {digits} --only ,", "notebook"),
        ("run --data {digits} -p recipe tiny", "--recipe"),
        ("run --data {digits} -p target_accuracy 2", "target_accuracy"),
        ("run --data {digits} -p mode mvoe", "move"),
        ("run --data {digits} --only 05", "01_data_preparation"),
        ("predict runs/none {digits}", "runs/none"),
        ("predict runs/none {digits} --out x.xlsx", ".csv"),
        ("predict runs/none nowhere/*.png", "nowhere/*.png"),
        ("undo runs/none", "runs/none"),
    ],
)
def test_bad_commands_get_one_sentence_and_leave_nothing(digits: Path, command: str, said: str) -> None:
    result = CliRunner().invoke(main, command.format(digits=digits).split())
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (digits.parent / "runs").exists()
