"""The supervisor's socket, seen by who asks: one JSON request per connection, JSON lines as the answer.

    -> {"op": "up" | "stop" | "status" | "power-off" | ..., ...}
    <- {"progress": text} ...                   as the work goes on
    <- {"result": value}  or  {"error": text}   the last line

A client that goes away cancels the work it asked for.  The answering side is `serving`: a verb of the command line
asks, and need not load an event loop for it.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

from todoku.lab.paths import Paths

Json = dict[str, Any]
Progress = Callable[[str], None]


class Refused(Exception):
    """The supervisor could not do what was asked; the text is for the user."""


class NoSupervisor(OSError):
    """Nobody listens: the lab is down, or its supervisor died."""


class Unheard(NoSupervisor):
    """The supervisor was killed before it read the question: another one may safely be asked.

    A socket closed with unread bytes resets its peer; one that was read only ends (unix(7)).
    """


@contextlib.contextmanager
def connected(paths: Paths) -> Iterator[socket.socket]:
    """A connection to the lab's supervisor.  Raises NoSupervisor."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            client.connect(str(paths.supervisor_socket))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoSupervisor(f"lab {paths.name} is not running") from error
        yield client
    finally:
        client.close()


def ask(paths: Paths, op: str, *, progress: Progress = lambda _: None, **fields: Any) -> Any:
    """Ask the supervisor and wait for the result.  Raises Refused, NoSupervisor, Unheard."""
    with connected(paths) as client:
        for message in _answers(paths, client, {"op": op, **fields}):
            if "progress" in message:
                progress(message["progress"])
            elif "error" in message:
                raise Refused(message["error"])
            else:
                return message["result"]
    raise NoSupervisor(f"the supervisor of lab {paths.name} ended; see its log")


def _answers(paths: Paths, client: socket.socket, question: Json) -> Iterator[Json]:
    try:
        client.sendall(json.dumps(question).encode() + b"\n")
        with client.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)
    except (ConnectionResetError, BrokenPipeError) as error:
        raise Unheard(f"the supervisor of lab {paths.name} was killed as it was asked") from error
