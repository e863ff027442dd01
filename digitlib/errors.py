"""The one exception that a user of digitlib is meant to read, and what its sentences have in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DigitError(Exception):
    """Something the user can mend, told in one sentence that names the way out.

    Jupyter shows the sentence alone, without the traceback; the command line
    prints it and exits with status 1.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


def meant(name: object, known: Iterable[str]) -> str:
    """Return the way out for a name that does not exist: the one that it is nearest to, or all that there are."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}."
