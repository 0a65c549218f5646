"""The command line: one file per verb, loaded only when it is asked for."""

import sys


def main() -> None:
    """Run the command line; ends the process with the exit codes of README."""
    print("todoku: no verb is built yet", file=sys.stderr)
    sys.exit(1)
