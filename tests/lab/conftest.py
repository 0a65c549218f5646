"""Labs for these tests: named after this process, so that nobody else's is touched."""

import os
from collections.abc import Callable, Iterator

import pytest

from todoku.lab import lifecycle
from todoku.lab.lab import Lab
from todoku.lab.lab import open as open_lab


@pytest.fixture(scope="session")
def lab_name() -> Callable[[str], str]:
    """A name that no other test run uses."""
    return lambda suffix: f"t{os.getpid()}-{suffix}"


@pytest.fixture(scope="module")
def lab(lab_name: Callable[[str], str]) -> Iterator[Lab]:
    """A running lab, without waiting for its cluster."""
    name = lab_name("m")
    try:
        lifecycle.up(name, None, wait=False)
        yield open_lab(name)
    finally:
        lifecycle.down(name)
