"""The list of dependencies: as declared, as used, as documented, and the lowest versions as asked for."""

from __future__ import annotations

import re
import sys

from packaging.specifiers import SpecifierSet

from tools import dependencies


def test_the_documented_dependencies_are_those_declared_pinned_and_used() -> None:
    text = dependencies.TABLE.read_text(encoding="utf-8")
    assert dependencies.filled(text) == text, "run: python tools/dependencies.py"
    assert list(dependencies.rows(text)) == list(dependencies.declared())
    assert not re.search(r"\|\s*\?", text), "say who keeps a new package, and what would go without it"


def test_all_that_is_imported_is_declared() -> None:
    names = {dependencies.IMPORTED_AS.get(name, name.replace("-", "_")) for name in dependencies.declared()}
    imported = set(dependencies.users()) - set(sys.stdlib_module_names) - {"digitlib"}
    assert imported - names == set(dependencies.COME_WITH)
    assert set(dependencies.COME_WITH.values()) <= set(dependencies.declared())


def test_the_lowest_and_the_newest_versions_fit_the_bounds() -> None:
    oldest, newest = (dependencies.pinned(f"constraints{which}.txt") for which in ("-min", ""))
    for name, (group, bound) in dependencies.declared().items():
        assert SpecifierSet(bound).contains(newest[name]), name
        if group not in ("dev", "docs"):
            assert SpecifierSet(bound).contains(oldest[name]), name
            lowest = re.search(r">=([\d.]+)", bound)
            assert lowest, f"{name} has no lower bound"
            assert (oldest[name] + ".0").startswith(lowest[1]), f"{name}: run make constraints-min"
