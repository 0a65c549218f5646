"""The fork server: `python -m todoku.lab.forkserver LAB FD`, a single-threaded process from which children are forked.

It has imported everything and opened nothing, so a child starts in milliseconds and shares its memory; a child
enters its namespaces before its first thread.  While nobody asks, it imports what children will need, the
first needed first; a request that comes earlier waits only for the modules of its own child.

One SOCK_SEQPACKET socket (FD) to the supervisor carries JSON requests with descriptors, and answers:

    {"id", "op": "lab", "lab": NAME}                           -> {"id", "pid"}
    {"id", "op": "place", "init": PID, "spec": PlaceSpec}      -> {"id"} + a pidfd
    {"id", "op": "child", "main": "module:function", "config", "namespaces", "log", "name"} + descriptors
                                                               -> {"id", "pid"}
    any failure                                                -> {"id", "error"}
    a child ended                                              -> {"ended": PID, "status": N}

The descriptors of a child become 3, 4, ... in the order sent.  When the supervisor goes, the fork server ends;
children run on.  What it forks keeps its command line until it executes something else: `sweep` knows it by LAB.
"""

from __future__ import annotations

import dataclasses
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from todoku.lab.places import PlaceSpec, Share, start_lab, start_place
from todoku.linux import namespaces, process
from todoku.linux.namespaces import Namespaces

Json = dict[str, Any]
_MAX_MESSAGE = 1 << 18
_MAX_DESCRIPTORS = 16
_FIRST = 3

# In the order in which children need them; in small pieces, because requests wait for the one at hand.
PRELOAD = (
    "asyncio",
    "uvloop",
    "aiohttp",
    "cryptography.x509",
    "joserfc.jwt",
    "todoku.api.resources",
    "todoku.apiserver.server",
    "todoku.lab.children.apiserver",
    "todoku.lab.children.controllers",
    "todoku.lab.children.node",
    "todoku.lab.children.images",
    "todoku.lab.children.ready",
)


def main(descriptor: int) -> None:
    """Serve until the supervisor goes."""
    process.set_name("todoku-fork")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the command's business
    link = socket.socket(fileno=descriptor)
    link.set_inheritable(False)
    wake, notify = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake, select.POLLIN)
    pending = list(PRELOAD)
    while True:
        ready = dict(poll.poll(0 if pending else None))
        if wake in ready:
            os.read(wake, 4096)
            _reap(link)
        if link.fileno() in ready:
            try:
                request, descriptors = _receive(link)
            except EOFError:
                return
            _serve(link, request, descriptors)
        elif pending:
            _preload(pending.pop(0))


def _preload(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception:
        # The child that needs it will fail with the same error, in a log that somebody reads.
        traceback.print_exc()
    if module == PRELOAD[-1]:
        gc.collect()
    gc.freeze()  # a collection in a child would otherwise write to, and so copy, every page


def _reap(link: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _answer(link, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _serve(link: socket.socket, request: Json, descriptors: list[int]) -> None:
    try:
        _OPERATIONS[request["op"]](link, request, descriptors)
    except Exception as error:
        _answer(link, {"id": request["id"], "error": f"{type(error).__name__}: {error}"})
    finally:
        for one in descriptors:
            os.close(one)


def _start_lab(link: socket.socket, request: Json, _: list[int]) -> None:
    def work() -> None:
        _answer(link, {"id": request["id"], "pid": start_lab(request["lab"])})

    _fork_for(link, request, work)


def _start_place(link: socket.socket, request: Json, _: list[int]) -> None:
    spec = dict(request["spec"])
    shares = tuple(Share(**share) for share in spec.pop("shares"))
    files = tuple((path, source) for path, source in spec.pop("files"))
    keep = tuple(spec.pop("keep"))
    place = PlaceSpec(**spec, shares=shares, files=files, keep=keep)

    def work() -> None:
        # The process id here is the lab's; a pidfd means the same process everywhere.
        pidfd = os.pidfd_open(start_place(place))
        _answer(link, {"id": request["id"]}, [pidfd])

    lab = f"/proc/{request['init']}/ns"
    _fork_for(link, request, work, Namespaces(pid=f"{lab}/pid", mnt=f"{lab}/mnt"))


def _fork_for(
    link: socket.socket, request: Json, work: Callable[[], None], into: Namespaces | None = None
) -> None:
    """Fork a process that does `work`, answers and ends."""

    def failed(error: BaseException) -> None:
        _answer(link, {"id": request["id"], "error": str(error)})

    _fork_into(into or Namespaces(), work, failed)


def _start_child(link: socket.socket, request: Json, descriptors: list[int]) -> None:
    module, _, function = request["main"].partition(":")
    run = getattr(importlib.import_module(module), function)
    gc.freeze()

    def work() -> None:
        _prepare_child(request, descriptors)
        run(request["config"])

    def failed(_: BaseException) -> None:
        traceback.print_exc()

    pid = _fork_into(Namespaces(**request["namespaces"]), work, failed)
    _answer(link, {"id": request["id"], "pid": pid})


def _fork_into(
    place: Namespaces, work: Callable[[], None], failed: Callable[[BaseException], None]
) -> int:
    """Fork a process that does `work` in other namespaces and ends; its id."""
    if place.pid:
        _set_children_namespace(place.pid)  # takes only later children
    try:
        opened = namespaces.open_all(dataclasses.replace(place, pid=""))
        try:
            pid = os.fork()
            if pid == 0:
                _work_and_exit(opened, work, failed)
            return pid
        finally:
            for descriptor, _ in opened:
                os.close(descriptor)
    finally:
        if place.pid:
            _set_children_namespace("/proc/self/ns/pid")


def _set_children_namespace(path: str) -> None:
    with open(path, "rb") as file:
        namespaces.setns(file.fileno(), namespaces.CLONE_NEWPID)


def _work_and_exit(
    opened: list[tuple[int, int]],
    work: Callable[[], None],
    failed: Callable[[BaseException], None],
) -> NoReturn:
    status = 1
    try:
        namespaces.enter_opened(opened)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        failed(error)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _prepare_child(request: Json, descriptors: list[int]) -> None:
    """In the forked child: own log, own descriptors, own name."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.chdir("/")
    _redirect(request["log"])
    _place_descriptors(descriptors)
    process.set_name(f"todoku-{request['name']}")


def _redirect(log: str) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _place_descriptors(descriptors: list[int]) -> None:
    """Leave 0, 1, 2 and the given ones, which become 3, 4, ...; close all others."""
    safe = [os.dup(one) for one in descriptors]
    parked = [_duplicate_above(one, 64) for one in safe]
    for target, one in enumerate(parked, _FIRST):
        os.dup2(one, target, inheritable=False)
    os.closerange(_FIRST + len(parked), 1 << 16)


def _duplicate_above(descriptor: int, lowest: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def _receive(link: socket.socket) -> tuple[Json, list[int]]:
    data, descriptors, _, _ = socket.recv_fds(link, _MAX_MESSAGE, _MAX_DESCRIPTORS)
    if not data:
        raise EOFError
    for one in descriptors:
        os.set_inheritable(one, False)
    return json.loads(data), descriptors


def _answer(link: socket.socket, message: Json, descriptors: list[int] | None = None) -> None:
    try:
        socket.send_fds(link, [json.dumps(message).encode()], descriptors or [])
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the supervisor is gone; its children run on


_OPERATIONS: dict[str, Callable[[socket.socket, Json, list[int]], None]] = {
    "lab": _start_lab,
    "place": _start_place,
    "child": _start_child,
}

if __name__ == "__main__":
    main(int(sys.argv[2]))
