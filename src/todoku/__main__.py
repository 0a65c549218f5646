"""`python -m todoku` is the command line."""

from todoku.cli import main

main()
