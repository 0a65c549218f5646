"""`python -m todoku` is the command line."""

import sys

try:
    from todoku.cli import main
except KeyboardInterrupt:  # Ctrl-C while modules load: nothing has begun
    sys.exit(130)

main()
