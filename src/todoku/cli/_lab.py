"""Which lab a verb means: `--lab`, else $TODOKU_LAB, else `default`, else the only one there is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., object])

lab_option: Callable[[Function], Function] = click.option(
    "--lab",
    "-L",
    "lab",
    metavar="NAME",
    default="",
    help="The lab; default: $TODOKU_LAB, or `default`.",
)


def chosen(lab: str) -> str:
    """The name of the lab that is meant; it need not exist."""
    from todoku.lab import state
    from todoku.lab.labfile import DEFAULT_NAME
    from todoku.lab.paths import Paths

    name = named(lab)
    if name:
        return name
    if Paths(DEFAULT_NAME).state.exists():
        return DEFAULT_NAME
    names = state.names()
    if len(names) == 1:
        return names[0]
    if names:
        raise click.UsageError(f"which lab? there are {', '.join(names)}; say --lab NAME")
    return DEFAULT_NAME


def named(lab: str) -> str:
    """The name that was given, with the option or in the environment; "" if none was."""
    name = lab or os.environ.get("TODOKU_LAB", "")
    if name:
        _check(name)
    return name


def _check(name: str) -> None:
    """A name becomes a folder; nothing but a lab's name may."""
    from todoku.lab.labfile import valid_name

    if not valid_name(name):
        raise click.UsageError(
            f'"{name}" is no lab name: at most 32 lower-case letters, digits and hyphens'
        )
