"""todoku image: wrong names are wrong use, an image that cannot be had could not be found out."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import todoku.lab.paths
from todoku.cli import CouldNotTell
from todoku.cli.image import command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(todoku.lab.paths, "CACHE", tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(command, list(words))


def test_an_empty_store_lists_nothing_and_frees_nothing(run):
    assert run("ls").output.split() == ["IMAGE", "IMAGE", "ID", "SIZE", "FROM"]
    assert run("ls", "-o", "json").output.strip() == "[]"
    assert run("prune").output == "freed 0 B\n"


def test_a_name_that_no_registry_can_hold_is_wrong_use(run):
    done = run("pull", "Bad_Name:x")
    assert done.exit_code == 2
    assert 'couldn\'t parse image name "Bad_Name:x"' in done.output


def test_removing_what_is_not_there_is_wrong_use(run):
    done = run("rm", "nobody")
    assert done.exit_code == 2
    assert "no image docker.io/library/nobody:latest in the store" in done.output


def test_an_image_from_nowhere_could_not_be_had(run):
    done = run("pull", "todoku.internal/nothing:1")
    assert isinstance(done.exception, CouldNotTell)


def test_loading_what_is_no_archive_says_so(run, tmp_path: Path):
    (tmp_path / "x.tar").write_bytes(b"not a tar file")
    done = run("load", str(tmp_path / "x.tar"))
    assert done.exit_code != 0
    assert "x.tar" in f"{done.output}{done.exception}"
