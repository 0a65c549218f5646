"""What `forward` and `open` share: a local listener that lives until Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from todoku.lab import Lab


def local(port: int) -> socket.socket:
    """The listener.  Raises UsageError if the port cannot be had."""
    from todoku.lab.forwarding import listen

    try:
        return listen(port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise click.UsageError(
            f"--port {port}: {error.strerror}; leave it out and a free one is chosen"
        ) from error


def serve(listener: socket.socket, lab: Lab, via: str, host: str, port: int) -> None:
    """Relay until the user ends it, which is no failure."""
    from todoku.lab.forwarding import Forwarder

    forwarder = Forwarder(lab, via, host, port, lambda text: click.echo(text, err=True))
    try:
        asyncio.run(forwarder.serve(listener))
    except KeyboardInterrupt:
        click.echo("ended", err=True)
