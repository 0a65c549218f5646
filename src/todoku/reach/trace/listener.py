"""Which process took the connection: the socket that listens where it arrived, and who holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence

from todoku.linux.conntrack import Flow
from todoku.linux.process import pids_in
from todoku.reach.probe import Tuple5
from todoku.reach.trace.facts import Place


def listener(places: Iterable[Place], flows: Mapping[str, Sequence[Flow]], sent: Tuple5) -> str:
    """The process that listens where the connection arrived: `httpd (pid 77)`; "" if it is not found."""
    backends = {
        (flow.reply.source, flow.reply.source_port)
        for known in flows.values()
        for flow in known
        if flow.translated
    } or {(sent.destination, sent.destination_port)}
    for place in places:
        for address, port in backends:
            if address in place.addresses:
                return _process(place, port, udp=sent.protocol == "UDP")
    return ""


def _process(place: Place, port: int, *, udp: bool) -> str:
    pids = pids_in("net", os.stat(place.netns).st_ino)
    if not pids:
        return ""
    sockets = _listening(pids[0], port, udp=udp)
    for pid in sorted(pids):
        if _holds(pid, sockets):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
                return f"{file.read().strip()} (pid {pid})"
    return ""


def _listening(pid: int, port: int, *, udp: bool) -> frozenset[str]:
    """Inodes of the sockets bound to a port in a process's network namespace (proc(5) net/tcp)."""
    wanted = f":{port:04X}"
    found = set()
    for name in ("udp", "udp6") if udp else ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{name}") as file:
            for line in file.readlines()[1:]:
                words = line.split()
                if words[1].endswith(wanted) and (udp or words[3] == "0A"):
                    found.add(f"socket:[{words[9]}]")
    return frozenset(found)


def _holds(pid: int, sockets: frozenset[str]) -> bool:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") in sockets:
                    return True
    return False
