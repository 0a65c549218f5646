"""The command line of the small kubectl: parsing, errors, exit status."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from todoku.api.errors import ApiError
from todoku.cli.kubectl_lib.catalog import catalog
from todoku.cli.kubectl_lib.refusals import Failed, Usage, worded
from todoku.cli.kubectl_lib.session import Session
from todoku.client import Client, ClientConfig, Unreachable
from todoku.client.config import ConfigError

Command = Callable[[Session], Awaitable[int]]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_OTHERS = frozenset({
    "api-resources", "api-versions", "attach", "auth", "autoscale", "certificate", "cluster-info", "completion",
    "config", "cordon", "cp", "create", "debug", "diff", "drain", "edit", "events", "explain", "expose",
    "kustomize", "options", "patch", "plugin", "port-forward", "proxy", "replace", "run", "set", "taint",
    "top", "uncordon", "version",
})  # fmt: skip


def run(arguments: Sequence[str], *, kubeconfig: Path) -> int:
    """Run one command; returns kubectl's exit status."""
    try:
        words, command = _split(list(arguments))
        given = _parser().parse_intermixed_args(words)
        given.command = command
        return asyncio.run(_run(given, kubeconfig))
    except Usage as problem:
        print(f"error: {problem}", file=sys.stderr)
    except Failed as problem:
        if str(problem):
            print(problem, file=sys.stderr)
        return problem.code
    except ApiError as refusal:
        print(worded(refusal), file=sys.stderr)
    except (ConfigError, OSError, Unreachable) as problem:
        print(f"error: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


async def _run(given: argparse.Namespace, kubeconfig: Path) -> int:
    path = Path(given.kubeconfig or kubeconfig)
    config = ClientConfig.from_kubeconfig(path, context=given.context, user_agent="todoku-kubectl")
    async with Client(config) as client:
        namespace = given.namespace or config.namespace
        session = Session(given, client, await catalog(client), namespace)
        return await _command(given.verb)(session)


def _command(verb: str) -> Command:
    """Only what is asked for is imported."""
    from importlib import import_module

    module, name = _VERBS[verb]
    found: Command = getattr(import_module(f"todoku.cli.kubectl_lib.{module}"), name)
    return found


_VERBS = {
    "get": ("get", "get"),
    "apply": ("apply", "apply"),
    "delete": ("delete", "delete"),
    "describe": ("describe", "describe"),
    "logs": ("logs", "logs"),
    "exec": ("exec", "execute"),
    "wait": ("wait", "wait"),
    "rollout": ("rollout", "rollout"),
    "scale": ("change", "scale"),
    "label": ("change", "label"),
    "annotate": ("change", "annotate"),
}


class _Parser(argparse.ArgumentParser):
    """Refuses in kubectl's way, and names stock kubectl for what is not here."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise Usage(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="todoku kubectl", allow_abbrev=False, add_help=True,
        description="A small kubectl. Stock kubectl is used instead wherever it is installed.",
    )  # fmt: skip
    parser.set_defaults(namespace="", kubeconfig="", context="")
    parser.add_argument(
        "verb", choices=sorted(_VERBS), metavar="COMMAND", help=", ".join(sorted(_VERBS))
    )
    parser.add_argument("words", nargs="*", metavar="ARGUMENT")
    _flags(parser)
    return parser


def _flags(parser: argparse.ArgumentParser) -> None:
    """Every flag of every command: a flag means the same wherever it exists."""
    text = parser.add_argument

    def yes(*names: str) -> None:
        text(*names, action="store_true")

    text("-n", "--namespace")
    text("--kubeconfig")
    text("--context")
    yes("-A", "--all-namespaces")
    text("-l", "--selector", default="")
    text("--field-selector", default="")
    text("-o", "--output", default="", help="wide, yaml, json, name, jsonpath=TEMPLATE")
    text("-w", "--watch", nargs="?", const=True, default=None, type=_boolean)
    yes("--watch-only")
    yes("--no-headers")
    yes("--show-labels")
    text("--ignore-not-found", nargs="?", const=True, default=False, type=_boolean)
    text("-f", "--filename", action="append", default=[])
    yes("-R", "--recursive")
    text("--dry-run", choices=("none", "server"), default="none")
    yes("--all")
    text("--wait", nargs="?", const=True, default=True, type=_boolean)
    text("--timeout", type=_duration, default=None)
    text("--grace-period", type=int, default=None)
    yes("--force")
    yes("--now")
    text("--cascade", choices=("background", "foreground", "orphan"), default="background")
    text("-c", "--container", default="")
    yes("--follow")
    yes("-p", "--previous")
    yes("--timestamps")
    text("--tail", type=int, default=-1)
    text("--since", type=_duration, default=None)
    yes("-i", "--stdin")
    yes("-t", "--tty")
    text("--for", dest="condition", default="")
    text("--replicas", type=int, default=-1)
    text("--overwrite", nargs="?", const=True, default=False, type=_boolean)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Apart from what follows `--`; `logs -f` follows, elsewhere `-f` names a file."""
    command: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    verb = next((word for word in arguments if not word.startswith("-")), "")
    if verb in _OTHERS:
        raise Failed(
            f'error: "{verb}" is not in this small kubectl: install stock kubectl, and todoku uses it'
        )
    if verb == "logs":
        arguments = ["--follow" if word == "-f" else word for word in arguments]
    arguments = [part for word in arguments for part in _short_flags(word)]
    return arguments, command


def _short_flags(word: str) -> list[str]:
    """`-it` is `-i -t`, as kubectl reads it."""
    if re.fullmatch(r"-[itwAR]{2,}", word):
        return [f"-{letter}" for letter in word[1:]]
    return [word]


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text == "true"


def _duration(text: str) -> float:
    """`30s`, `1m30s`, or seconds."""
    if re.fullmatch(r"-?\d+", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f'time: invalid duration "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
