"""OCI containers: a runtime (crun or runc) under a monitor (conmon) that outlives the caller.

The monitor keeps the container's log in CRI format, its attach socket, and writes the exit code to a file
named after the container when it ends.  It forks away from us, so an init must reap it.
Source: OCI runtime-spec 1.0, conmon(8), crun(1), runc(8).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from todoku.linux import commands, mounts
from todoku.linux.cgroups import Cgroups

Json = dict[str, Any]
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENV = "/usr/bin/env"  # changes directory before a program starts, which posix_spawn cannot


class RuntimeFailed(Exception):
    """What the runtime said when it refused."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Absolute paths of the runtime and its monitor; `name` is `crun` or `runc`, `version` its own."""

    name: str
    runtime: str
    conmon: str
    version: str


async def find_tools(
    *, prefer: Sequence[str] = ("crun", "runc"), own_mounts: bool | None = None
) -> Tools:
    """Choose a runtime that works here, and prepare this mount namespace for it.

    crun refuses a hybrid hierarchy in which version 2 has controllers; covering that mount gives it a plain
    version 1 view.  That is only done where nobody else sees it: in a mount namespace that is not init's
    (`own_mounts` overrules the detection).  Raises RuntimeFailed naming what is missing.
    """
    conmon = shutil.which("conmon", path=SEARCH_PATH)
    if conmon is None:
        raise RuntimeFailed("conmon is not installed; install the package conmon")
    cgroups = Cgroups()
    for name in prefer:
        path = shutil.which(name, path=SEARCH_PATH)
        if path is None:
            continue
        if name == "crun" and cgroups.version == "hybrid":
            if not (_mounts_are_ours() if own_mounts is None else own_mounts):
                continue
            assert cgroups.unified is not None
            mounts.make_private("/")
            mounts.tmpfs(str(cgroups.unified))
        done = await commands.run([path, "--version"], timeout_seconds=10)
        return Tools(name, path, conmon, done.output.decode().split("\n")[0].split()[-1])
    raise RuntimeFailed(f"none of {', '.join(prefer)} works here; install the package crun or runc")


def _mounts_are_ours() -> bool:
    """Whether this mount namespace is another than that of the first process we can see."""
    try:
        return os.stat("/proc/1/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        return False


class Containers:
    """The containers of one node: `folder` holds the runtime's state, exit files, bundles and sockets.

    `folder` lies on a tmpfs or is emptied at boot: what it says is true only while the machine is up.
    """

    def __init__(self, tools: Tools, folder: Path) -> None:
        self.tools = tools
        self.folder = folder
        self.exits = folder / "exits"
        self._state = folder / "runtime"
        for path in (self.exits, self._state):
            path.mkdir(parents=True, exist_ok=True)

    def control(self, container: str) -> Path:
        """Where the monitor of a container keeps its attach socket, control pipe and notes."""
        return self.folder / "monitors" / container

    async def create(
        self,
        container: str,
        config: bytes,
        log: Path,
        *,
        terminal: bool = False,
        stdin: bool = False,
        stdin_stays_open: bool = True,
        log_limit_bytes: int = 0,
    ) -> int:
        """Create a container from an OCI configuration; the process id of its init, which waits for `start`.

        Raises RuntimeFailed with the runtime's words.
        """
        control = self.control(container)
        control.mkdir(parents=True, exist_ok=True)
        (control / "config.json").write_bytes(config)
        argv = [
            self.tools.conmon, "--api-version", "1", "-c", container, "-u", container, "-n", container,
            "-r", self.tools.runtime, "-b", str(control), "-p", str(control / "pid"),
            "-P", str(control / "conmon.pid"), "-l", f"k8s-file:{log}", "--exit-dir", str(self.exits),
            "--persist-dir", str(control), "--socket-dir-path", str(control), "--full-attach", "--no-sync-log",
            "--runtime-arg", f"--root={self._state}", "--log-level", "error",
        ]  # fmt: skip
        argv += ["-t"] if terminal else []
        argv += ["-i"] if stdin else []
        argv += ["--leave-stdin-open"] if stdin and stdin_stays_open else []
        argv += ["--log-size-max", str(log_limit_bytes)] if log_limit_bytes else []
        answer = await _launch(argv, control)
        pid = int(answer.get("data") or answer.get("pid") or -1)
        if pid <= 0:
            message = str(answer.get("message", "")).strip() or "the monitor said nothing"
            raise RuntimeFailed(message)
        return pid

    async def start(self, container: str) -> None:
        """Let a created container run.  Raises RuntimeFailed."""
        await self._run("start", container)

    async def delete(self, container: str) -> None:
        """Kill what runs and remove the runtime's state.  Idempotent."""
        done = await commands.run(
            [self.tools.runtime, f"--root={self._state}", "delete", "--force", container], timeout_seconds=30
        )  # fmt: skip
        if done.status != 0 and (self._state / container).exists():
            raise RuntimeFailed(_words(done))

    def forget(self, container: str) -> None:
        """Remove the monitor's files.  Idempotent."""
        (self.exits / container).unlink(missing_ok=True)
        shutil.rmtree(self.control(container), ignore_errors=True)

    def known(self, container: str) -> bool:
        """Whether the runtime has a container of this name."""
        return (self._state / container).exists()

    def names(self) -> list[str]:
        """Every container that the runtime or a monitor knows of."""
        folders = [self._state, self.folder / "monitors"]
        return sorted({path.name for one in folders if one.is_dir() for path in one.iterdir()})

    def pid(self, container: str) -> int | None:
        """The process id that the monitor noted at creation."""
        try:
            return int((self.control(container) / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def exit(self, container: str) -> tuple[int, float] | None:
        """The exit code and the time of the end (UNIX seconds), or None while there is no exit file."""
        path = self.exits / container
        try:
            return int(path.read_text()), path.stat().st_mtime
        except (FileNotFoundError, ValueError):
            return None

    def out_of_memory(self, container: str) -> bool:
        """Whether the kernel killed a process of the container for want of memory."""
        return (self.control(container) / "oom").exists()

    async def reopen_log(self, container: str) -> None:
        """Tell the monitor that its log file was renamed."""
        await asyncio.to_thread(_tell, self.control(container) / "ctl", "2 0 0\n")

    def window_pipe(self, container: str) -> Path:
        """Lines `HEIGHT WIDTH` written here resize the container's terminal."""
        return self.control(container) / "winsz"

    def attach_socket(self, container: str) -> Path:
        """A SOCK_SEQPACKET socket: packets `stream byte + data` out, stdin bytes in."""
        return self.control(container) / "attach"

    def exec_argv(self, container: str, process: Path, *, console: Path | None = None) -> list[str]:
        """The command line that runs the OCI process description in the file `process`."""
        argv = [self.tools.runtime, f"--root={self._state}", "exec", "--process", str(process)]
        if console is not None:
            argv += ["--console-socket", str(console)]
        return [*argv, container]

    async def _run(self, *arguments: str) -> None:
        done = await commands.run(
            [self.tools.runtime, f"--root={self._state}", *arguments], timeout_seconds=60
        )
        if done.status != 0:
            raise RuntimeFailed(_words(done))


async def _launch(argv: Sequence[str], control: Path) -> Json:
    """Start the monitor and return the first line it sends: the container's pid, or the runtime's refusal."""
    errors = control / "conmon.log"
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(write, True)
    notes = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        try:
            environment = {**os.environ, "_OCI_SYNCPIPE": "3"}
            # Wherever the monitor stands it leaves an empty `oom` when memory runs out.
            argv = [_ENV, f"--chdir={control}", *argv]
            launcher = commands.spawn(argv, fds={2: notes, 3: write}, env=environment)
        finally:
            os.close(write)
            os.close(notes)
        # The launcher forks the monitor away and ends; an init reaps the monitor.
        answer, status = await asyncio.gather(_first_line(read), commands.wait(launcher))
    finally:
        os.close(read)
    if not answer:
        said = errors.read_text()[-500:].strip()
        return {"pid": -1, "message": f"conmon ended with status {status}: {said}"}
    return dict(json.loads(answer))


async def _first_line(descriptor: int) -> bytes:
    data = bytearray()
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            await commands.readable(descriptor)
            continue
        data += chunk
        if not chunk or b"\n" in chunk:
            return bytes(data).split(b"\n")[0]


def _tell(pipe: Path, text: str) -> None:
    descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _words(done: commands.Done) -> str:
    text = (
        done.error.decode(errors="replace").strip() or done.output.decode(errors="replace").strip()
    )
    return text or f"exit status {done.status}"
