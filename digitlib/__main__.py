"""`python -m digitlib` is the command `digitlib`."""

from digitlib.cli import main

main()
