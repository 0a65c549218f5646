"""The project's own promises: rooms and verbs are documented, pages are numbered, and a checkout names no machine."""

import os
import re
import subprocess
from pathlib import Path

import click
import pytest

from todoku.cli import todoku

ROOT = Path(__file__).parent.parent
ROOMS = sorted(path.parent for path in (ROOT / "src/todoku").glob("*/__init__.py"))
VERBS = todoku.list_commands(click.Context(todoku))


def test_the_two_commands_of_the_readme_are_executable():
    for script in ("todoku", "test", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_tells_its_own_story(room):
    assert (room / "README.md").read_text().startswith("# ")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb):
    pages = (ROOT / "README.md", ROOT / "src/todoku/cli/README.md")
    text = "\n".join(page.read_text() for page in pages)
    assert re.search(rf"(`|todoku ){verb}\b", text), f"`{verb}` is in neither README"


def test_decisions_have_numbers_of_their_own():
    pages = [
        path.name for path in (ROOT / "docs/decisions").glob("*.md") if path.name != "README.md"
    ]
    numbers = [
        match[1] for page in pages if (match := re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", page))
    ]
    assert len(numbers) == len(pages), pages
    assert len(set(numbers)) == len(numbers), sorted(pages)


def test_changes_say_what_kind_they_are():
    fragments = [path for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    for path in fragments:
        assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", path.name), path.name
        assert path.read_text().strip(), path.name
    assert fragments or (ROOT / "CHANGELOG.md").exists()


def test_no_file_names_the_machine_it_was_written_on():
    pattern = re.compile(r"(?<![\w}…])/(?:work|root)/")
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in _committed()
        for number, line in enumerate(_lines(ROOT / name), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def _committed() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing tells which files are committed")
    # Root may run the tests in a checkout that belongs to somebody else.
    argv = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except UnicodeDecodeError:
        return []  # packed data
