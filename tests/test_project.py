"""The project's own promises: every room documents itself, and both entry scripts are executable."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_two_commands_of_the_readme_are_executable():
    for script in ("todoku", "test", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script
