"""The one exception that a user of digitlib is meant to read."""

from __future__ import annotations


class DigitError(Exception):
    """Something the user can mend, told in one sentence that names the way out.

    Jupyter shows the sentence alone, without the traceback; the command line
    prints it and exits with status 1.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]
