"""todoku check: assertions about who reaches what, for CI."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from todoku.cli import DONE, FAILED, UNKNOWN, WRONG_USE
from todoku.cli._foreign import Elsewhere, Stranger, StrangerGround, elsewhere_options
from todoku.cli._lab import lab_option
from todoku.cli._reaching import Bench, Examined, colour, examine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from todoku.reach.judge import Result
    from todoku.reach.spec import Spec

T = TypeVar("T")
SHIPPED = {
    "article": "article-reach.yaml",
    **{f"chapter-{number}": f"reach-chapter-{number}.yaml" for number in range(5)},
}
"""Specs that need no file: the tutorial's last state, and each of its chapters."""


@click.command(
    epilog="\b\nExamples:\n  todoku check -f article\n  todoku check -f reach.yaml --strict -o junit > result.xml"
)
@lab_option
@elsewhere_options
@click.option(
    "--file", "-f", "file", required=True, type=click.Path(path_type=Path, allow_dash=True),
    help="A ReachSpec; - reads standard input; `article` and `chapter-0` to `chapter-4` are the tutorial's own.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="A denial that proves nothing fails.")
@click.option(
    "--output", "-o", default="table", type=click.Choice(["table", "tap", "junit", "json"])
)
def command(lab: str, file: Path, strict: bool, output: str, elsewhere: Elsewhere) -> int:
    """Hold the assertions of a file against real connections.

    A failed one shows the trace of its counter-example.
    Exit 0 if all hold, 1 if one failed, 2 if the file is wrong or nothing could be tested, 3 if one could not be told.
    """
    from todoku.reach.judge import strictly

    spec = read(file)
    if elsewhere:
        _refuse_for_elsewhere(spec, elsewhere)
    started = time.monotonic()
    results = examine(lab, elsewhere, lambda here: _checked(here, spec))
    if strict:
        results = strictly(results)
    click.echo(render(results, spec.name, output, time.monotonic() - started), nl=False)
    return exit_code(results)


def _refuse_for_elsewhere(spec: Spec, elsewhere: Elsewhere) -> None:
    if elsewhere.dry_run:
        raise click.UsageError("--dry-run belongs to `todoku reach`, which makes the same Jobs")
    broken = next((one for one in spec.assertions if one.given), None)
    if broken is not None:
        text = f"{spec.name} line {broken.line}: `given:` breaks machines, and that needs a lab"
        raise click.UsageError(text)


async def _checked(here: Examined, spec: Spec) -> list[Result]:
    from todoku.aio.clock import SystemClock
    from todoku.cli._checking import LabGround
    from todoku.reach.checking import Ground, run

    ground: Ground
    if isinstance(here, Stranger):
        ground = StrangerGround(here)
    else:
        assert isinstance(here, Bench)
        ground = LabGround(here)
    return await usable(run(spec, ground, SystemClock()))


async def usable(checking: Awaitable[T]) -> T:
    """What is wrong with the file is wrong use."""
    from todoku.api.located import BadFile

    try:
        return await checking
    except BadFile as error:
        raise click.UsageError(str(error)) from error


def read(file: Path) -> Spec:
    """A parsed file.  Raises UsageError with every problem."""
    from todoku.api.located import BadFile
    from todoku.cli.manifests import path
    from todoku.reach.spec import parse

    shipped = path(SHIPPED[str(file)]) if str(file) in SHIPPED and not file.exists() else None
    try:
        if str(file) == "-":
            text = sys.stdin.read()
        else:
            text = (shipped or file).read_text(encoding="utf-8")
        return parse(text, shipped.name if shipped else str(file))
    except (BadFile, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror}") from error


def exit_code(results: Sequence[Result]) -> int:
    """1 outranks 3; a file of which nothing could be tested is 2."""
    from todoku.reach.checking import verdict
    from todoku.reach.judge import Status

    codes = {Status.FAILED: FAILED, Status.UNDETERMINED: UNKNOWN, Status.SKIPPED: WRONG_USE}
    return codes.get(verdict(results), DONE)


def render(results: Sequence[Result], name: str, output: str, seconds: float) -> str:
    """The results as asked, with a newline at the end."""
    from todoku.reach import judge

    if output == "tap":
        return judge.tap(results)
    if output == "junit":
        return judge.junit(results, suite=name)
    if output == "json":
        import json

        return json.dumps(judge.to_json(results, name=name, seconds=seconds), indent=2) + "\n"
    return judge.table(results, seconds=seconds, colour=colour())
