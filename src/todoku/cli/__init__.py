"""The command line: one file per verb, loaded only when it is asked for; see README.md beside this file."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys
from typing import NoReturn

import click

from todoku import KUBERNETES_VERSION, __version__

DONE, FAILED, WRONG_USE, UNKNOWN, INTERRUPTED = 0, 1, 2, 3, 130

# The order of `todoku --help`; verbs that are not named here follow by name.
_ORDER = (
    ("Labs", ("demo", "up", "down", "stop", "start", "status", "list", "init")),
    ("Using a lab", ("kubeconfig", "kubectl", "exec", "shell", "forward", "open", "node", "fault")),
    ("Who reaches what", ("reach", "check", "trace", "graph", "explain")),
    ("Around it", ("image", "manifests", "log", "doctor", "cleanup")),
)


class ExpectationFailed(Exception):
    """Exit 1: what was asked for was found to be otherwise; the text says what."""


class CouldNotTell(Exception):
    """Exit 3: it was not possible to find out; the text says why."""


class Verbs(click.Group):
    """Every module of this package that has no leading underscore is a verb; its `command` is run."""

    def list_commands(self, context: click.Context) -> list[str]:
        present = {
            name
            for _, name, package in pkgutil.iter_modules(__path__)
            if name[0] != "_" and not package
        }
        names = {name.rstrip("_").replace("_", "-") for name in present}
        ordered = [verb for _, verbs in _ORDER for verb in verbs if verb in names]
        return ordered + sorted(names - set(ordered))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module = name.replace("-", "_")
        for candidate in (module, f"{module}_"):  # `import` or `exec_` where Python keeps the word
            try:
                loaded = importlib.import_module(f"{__name__}.{candidate}")
            except ModuleNotFoundError as error:
                if error.name != f"{__name__}.{candidate}":
                    raise
                continue
            command: click.Command = loaded.command
            return command
        return None

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(context, args[0]) is None:
            near = _nearest(args[0], self.list_commands(context))
            hint = f"; did you mean `{near}`?" if near else "; `todoku --help` lists what there is"
            raise click.UsageError(f"there is no verb `{args[0]}`{hint}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(context)
        shown: set[str] = set()
        for title, verbs in (*_ORDER, ("More", tuple(names))):
            rows = [
                (name, command.get_short_help_str(70))
                for name in verbs
                if name in names
                and name not in shown
                and (command := self.get_command(context, name)) is not None
            ]
            shown.update(name for name, _ in rows)
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="todoku %(version)s, Kubernetes " + KUBERNETES_VERSION)
def todoku() -> None:
    """A Kubernetes lab on one Linux machine: who can reach a Service, from where, and how."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and end the process with the exit code that DESIGN promises."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        signal.signal(signal.SIGTERM, _interrupt)  # undone like Ctrl-C
        code = run(_without_script_options(given))
    except KeyboardInterrupt:  # it came just before or after `run` was ready for it
        code = INTERRUPTED
    sys.stdout.flush()
    sys.exit(code)


def _without_script_options(words: list[str]) -> list[str]:
    """The entry script's `--no-install` means nothing here; behind `--` the words are somebody else's."""
    end = words.index("--") if "--" in words else len(words)
    return [word for word in words[:end] if word != "--no-install"] + words[end:]


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """Run the command line; its exit code."""
    try:
        result = todoku.main(arguments, prog_name="todoku", standalone_mode=False)
        return result if isinstance(result, int) else DONE
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return DONE
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except ExpectationFailed as error:
        _say(str(error))
        return FAILED
    except CouldNotTell as error:
        _say(str(error))
        return UNKNOWN
    except Exception as error:
        return _report(error)


def _report(error: Exception) -> int:
    """Errors of the rooms, told apart by kind only when one happens."""
    from todoku.api.errors import ApiError
    from todoku.lab.control import Refused
    from todoku.lab.labfile import LabFileError
    from todoku.lab.lifecycle import LabError

    if isinstance(error, (LabError, LabFileError)):
        _say(str(error))
        return WRONG_USE
    if isinstance(error, (Refused, ApiError)):
        _say(str(error))
        return FAILED
    if isinstance(error, PermissionError) and os.geteuid() != 0:
        _say(f"needs root ({error}); labs belong to root: try again with sudo")
        return WRONG_USE
    if isinstance(error, OSError):
        _say(str(error))
        return UNKNOWN
    raise error


def _say(text: str) -> None:
    click.echo(f"todoku: {text}", err=True)


def _nearest(word: str, known: list[str]) -> str:
    import difflib

    found = difflib.get_close_matches(word, known, n=1)
    return found[0] if found else ""


def _close_output() -> None:
    """The reader of a pipe has left: say nothing more, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
