"""One container at a time: image, root file system, OCI configuration, monitor; and its end.

Everything here acts; what is to be done was decided in `plan`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from todoku.aio import log as logs
from todoku.aio.threads import thread, to_the_end
from todoku.api.images import Image, ImageConfig
from todoku.api.meta import Object
from todoku.kubelet import environment, files, oci, resources, security
from todoku.kubelet.context import Context
from todoku.kubelet.environment import ConfigError, Facts
from todoku.kubelet.plan import spec_hash
from todoku.kubelet.records import Container, PodRecord, State
from todoku.linux import commands, mounts
from todoku.linux.containers import RuntimeFailed
from todoku.linux.process import start_time

log = logs.get(__name__)

Json = dict[str, Any]
_TERMINATION_LIMIT = 4096
_LOG_TAIL_LIMIT, _LOG_TAIL_LINES = 2048, 80


class Runner:
    """Creates, starts, ends and cleans up the containers of a node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._root = context.config.root_dir / "containers"
        self._root.mkdir(parents=True, exist_ok=True)

    async def create(
        self,
        record: PodRecord,
        kind: str,
        spec: Object,
        image: Image,
        facts: Facts,
        *,
        restarts: int,
    ) -> Container:
        """Make everything ready for `start`.  Raises ConfigError, OSError, RuntimeFailed; cleans up then."""
        context = self._context
        identity = secrets.token_hex(32)
        container = Container(
            id=identity, name=spec["name"], kind=kind, restarts=restarts, image=spec["image"],
            image_id=_image_id(image), image_ref=image.reference, spec_hash=spec_hash(spec),
            created_at=context.clock.now(), stop_signal=image.config.stop_signal,
        )  # fmt: skip
        log_file = log_path(context.config.pod_logs, record.pod, spec["name"], restarts)
        container.log = str(log_file)
        try:
            config = await thread(self._prepare, record, spec, image, facts, container)
            making = context.containers.create(
                identity,
                msgspec.json.encode(config),
                log_file,
                terminal=bool(spec.get("tty")),
                stdin=bool(spec.get("stdin")),
                stdin_stays_open=not spec.get("stdinOnce"),
            )
            container.pid = await to_the_end(making)
        except BaseException:
            await self.clean_up(container)
            raise
        container.pid_started = start_time(container.pid) or 0
        return container

    async def start(self, container: Container) -> None:
        """Let it run.  Raises RuntimeFailed."""
        container.started_at = self._context.clock.now()
        try:
            await self._context.containers.start(container.id)
        except BaseException:
            container.started_at = 0.0
            raise
        if (
            container.state is State.CREATED
        ):  # a short one's end may be seen before we hear of its start
            container.state = State.RUNNING

    def signal(self, container: Container, number: int) -> None:
        """Signal the container's first process, and nobody else."""
        try:
            descriptor = os.pidfd_open(container.pid)
        except ProcessLookupError:
            return
        try:
            if start_time(container.pid) == container.pid_started:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)

    def stop_signal(self, container: Container, spec: Object) -> int:
        name = (spec.get("lifecycle") or {}).get("stopSignal") or container.stop_signal or "SIGTERM"
        if name.isdecimal():
            return int(name)
        full = name if name.startswith("SIG") else f"SIG{name}"
        try:
            return int(signal.Signals[full])
        except KeyError:
            return int(signal.SIGTERM)

    def alive(self, container: Container) -> bool:
        """Whether the container's first process still runs."""
        return container.pid > 0 and start_time(container.pid) == container.pid_started

    def ended(self, container: Container) -> bool:
        """Whether the monitor has written the container's end."""
        return self._context.containers.exit(container.id) is not None

    def observe(self, record: PodRecord, container: Container, spec: Object) -> bool:
        """Look whether a container has ended; True if it just turned out so."""
        if container.state is State.EXITED:
            return False
        ended = self._context.containers.exit(container.id)
        if ended is None:
            return False
        container.exit_code, container.finished_at = ended
        container.state = State.EXITED
        container.started = False
        container.ready = False
        self._explain(container, spec)
        return True

    def lost(self, container: Container) -> None:
        """Write down that a container is gone and nobody saw its end (a power cut, or its monitor was killed)."""
        container.state = State.EXITED
        container.exit_code, container.reason = 255, "Unknown"
        container.finished_at = self._context.clock.now()
        container.started, container.ready = False, False

    async def kill_hard(self, container: Container) -> None:
        """Kill all that the container runs, now."""
        self.signal(container, signal.SIGKILL)

    async def clean_up(self, container: Container) -> None:
        """Remove what a container that has ended leaves behind, but not its log.  Idempotent."""
        await self.clean_up_id(container.id)

    async def clean_up_id(self, identity: str) -> None:
        try:
            await self._context.containers.delete(identity)
        except (RuntimeFailed, commands.TimedOut) as error:
            log.warning("Container not deleted", container=identity[:12], error=error)
        await thread(self._remove, identity)

    def known(self) -> set[str]:
        """The ids of all containers that have left anything here."""
        return {path.name for path in self._root.iterdir()} | set(self._context.containers.names())

    async def exec(
        self, container: Container, command: Sequence[str], timeout_seconds: float
    ) -> tuple[int, str]:
        """Run a command in the container; (exit status, output cut to 10 KiB).  Raises TimeoutError."""
        path = self._context.containers.control(container.id) / f"exec-{secrets.token_hex(6)}.json"
        path.write_bytes(msgspec.json.encode(self.process(container, command, terminal=False)))
        try:
            done = await commands.run(
                self._context.containers.exec_argv(container.id, path),
                timeout_seconds=timeout_seconds,
                limit_bytes=10 * 1024,
            )
        except commands.TimedOut as error:
            raise TimeoutError from error
        finally:
            path.unlink(missing_ok=True)
        return done.status, (done.output + done.error).decode(errors="replace")

    def process(self, container: Container, command: Sequence[str], *, terminal: bool) -> Json:
        """The OCI process for `exec`: the container's own, with another command."""
        config = msgspec.json.decode(
            (self._context.containers.control(container.id) / "config.json").read_bytes()
        )
        process: Json = dict(config["process"]) | {"args": list(command), "terminal": terminal}
        if terminal and not any(one.startswith("TERM=") for one in process["env"]):
            process["env"] = [*process["env"], "TERM=xterm"]
        return process

    # --- blocking parts, in a thread ---

    def _prepare(
        self, record: PodRecord, spec: Object, image: Image, facts: Facts, container: Container
    ) -> Json:
        """Root file system, files and configuration; the OCI document."""
        pod, sandbox = record.pod, record.sandbox
        assert sandbox is not None, "containers are made after the sandbox"
        folder = self._root / container.id
        rootfs = self._mount_rootfs(folder, image)
        variables = environment.environment(spec, facts)
        user = security.user(spec, pod, image.config, **_accounts(rootfs))
        kept = security.capabilities(spec, bounding=self._context.bounding)
        request = oci.Request(
            rootfs=str(rootfs),
            hostname=files.hostname(pod, self._context.config.node_name),
            arguments=environment.command(spec, image.config, variables),
            environment=_complete(
                variables, image.config, pod, spec, self._context.config.node_name
            ),
            working_dir=self._working_dir(spec, image.config, rootfs),
            user=user,
            capabilities=kept,
            mounts=self._mounts(record, spec, variables, container, folder),
            sandbox=sandbox,
            shm=self._context.sandboxes.shm(sandbox.id),
            limits=resources.container_limits(spec),
            cgroup=self._cgroup(pod, container),
            terminal=bool(spec.get("tty")),
            read_only=bool((spec.get("securityContext") or {}).get("readOnlyRootFilesystem")),
            privileged=security.privileged(spec),
            no_new_privileges=security.no_new_privileges(spec),
            unmasked=(spec.get("securityContext") or {}).get("procMount") == "Unmasked",
            seccomp=self._seccomp(spec, pod, kept),
            oom_score_adj=self._oom_score(pod, spec),
            host_pid=bool(pod["spec"].get("hostPID")),
            share_pid_of=sandbox.pid or _target_pid(record, spec),
            devices=_devices() if security.privileged(spec) else (),
            cgroup_v2=self._context.cgroups.version == "v2",
        )
        container.user = {
            "linux": {"uid": user.uid, "gid": user.gid, "supplementalGroups": list(user.groups)}
        }
        Path(container.log).parent.mkdir(parents=True, exist_ok=True)
        return oci.config(request)

    def _mount_rootfs(self, folder: Path, image: Image) -> Path:
        upper, work, rootfs = folder / "upper", folder / "work", folder / "rootfs"
        for path in (upper, work, rootfs):
            path.mkdir(parents=True)
        upper.chmod(0o755)
        mounts.overlay(str(rootfs), image.layers, str(upper), str(work))
        return rootfs

    def _mounts(
        self,
        record: PodRecord,
        spec: Object,
        variables: Mapping[str, str],
        container: Container,
        folder: Path,
    ) -> list[oci.Mount]:
        pod, context = record.pod, self._context
        context.volumes.drop_sub_paths(record.uid, spec["name"])
        found = [
            context.volumes.mount_for(pod, mount, variables, index, spec["name"])
            for index, mount in enumerate(spec.get("volumeMounts") or ())
        ]
        given = {mount.target.rstrip("/") for mount in found}
        pod_folder = context.volumes.pod_folder(record.uid)
        for name, target in (
            ("etc-hosts", "/etc/hosts"),
            ("resolv.conf", "/etc/resolv.conf"),
            ("hostname", "/etc/hostname"),
        ):
            if target not in given and (pod_folder / name).exists():
                found.append(oci.Mount(str(pod_folder / name), target))
        path = spec.get("terminationMessagePath") or "/dev/termination-log"
        message = folder / "termination-log"
        message.touch()
        message.chmod(0o666)
        found.append(oci.Mount(str(message), path))
        return found

    def _working_dir(self, spec: Object, image: ImageConfig, rootfs: Path) -> str:
        path = spec.get("workingDir") or image.working_dir or "/"
        if not (rootfs / path.lstrip("/")).exists():
            mounts.make_directories_beneath(str(rootfs), path)
        return path

    def _cgroup(self, pod: Object, container: Container) -> str:
        group = pod_cgroup(self._context.config.cgroup_parent, pod)
        return f"{group}/{container.id}" if group else ""

    def _seccomp(self, spec: Object, pod: Object, kept: Sequence[str]) -> Json | None:
        kind, path = security.seccomp_profile(spec, pod)
        config = self._context.config
        if kind == "Unconfined":
            return None
        file = (
            config.seccomp_profile
            if kind == "RuntimeDefault"
            else config.root_dir / "seccomp" / path
        )
        try:
            return security.load_seccomp(file.read_text(), kept, os.uname().machine)
        except FileNotFoundError as error:
            raise ConfigError(f"seccomp profile {file} does not exist") from error

    def _oom_score(self, pod: Object, spec: Object) -> int | None:
        wanted = resources.oom_score_adj(pod, spec, self._context.memory_bytes)
        # Lowering one's score takes CAP_SYS_RESOURCE; without it the present value is as low as it goes.
        if "CAP_SYS_RESOURCE" in self._context.bounding:
            return wanted
        return max(wanted, int(Path("/proc/self/oom_score_adj").read_text()))

    def _explain(self, container: Container, spec: Object) -> None:
        """Fill in reason and message of an end."""
        if container.exit_code != 0 and self._context.containers.out_of_memory(container.id):
            container.reason = "OOMKilled"
        else:
            container.reason = "Completed" if container.exit_code == 0 else "Error"
        message = self._root / container.id / "termination-log"
        text = ""
        if message.exists():
            text = message.read_bytes()[:_TERMINATION_LIMIT].decode(errors="replace")
        policy = spec.get("terminationMessagePolicy")
        if not text and policy == "FallbackToLogsOnError" and container.exit_code != 0:
            text = _log_tail(Path(container.log))
        container.message = text or container.message

    def _remove(self, identity: str) -> None:
        folder = self._root / identity
        if folder.exists():
            mounts.umount_all(f"/{self._root.name}/{identity}/rootfs/")
            shutil.rmtree(folder, ignore_errors=True)
        self._context.containers.forget(identity)


def _target_pid(record: PodRecord, spec: Object) -> int:
    """The container whose processes a debugging container wants to see, or 0."""
    target = record.last(spec.get("targetContainerName") or "")
    return target.pid if target is not None and target.running else 0


def pod_cgroup(parent: str, pod: Object) -> str:
    """The group of a pod, as upstream's cgroupfs driver names it; "" without a parent."""
    if not parent:
        return ""
    quality = resources.qos_class(pod).lower()
    level = "" if quality == "guaranteed" else f"/{quality}"
    return f"{parent}/kubepods{level}/pod{pod['metadata']['uid']}"


def pod_log_folder(pod_logs: Path, pod: Object) -> Path:
    metadata = pod["metadata"]
    return pod_logs / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def log_path(pod_logs: Path, pod: Object, container: str, restarts: int) -> Path:
    """`/var/log/pods/NAMESPACE_NAME_UID/CONTAINER/N.log`."""
    return pod_log_folder(pod_logs, pod) / container / f"{restarts}.log"


def _image_id(image: Image) -> str:
    if image.digest:
        return f"{image.reference.partition('@')[0].rpartition(':')[0]}@{image.digest}"
    return image.id


def _accounts(rootfs: Path) -> dict[str, str]:
    return {name: _read_beneath(rootfs, f"etc/{name}") for name in ("passwd", "group")}


def _read_beneath(rootfs: Path, path: str) -> str:
    try:
        descriptor = mounts.open_beneath(str(rootfs), path, os.O_RDONLY)
    except OSError:
        return ""
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        return file.read()


def _complete(
    variables: Mapping[str, str], image: ImageConfig, pod: Object, spec: Object, node_name: str
) -> list[str]:
    """The image's variables, the host name, then the pod's own."""
    merged = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    merged["HOSTNAME"] = files.hostname(pod, node_name)
    if spec.get("tty"):
        merged["TERM"] = "xterm"
    for one in image.env:
        name, _, value = one.partition("=")
        merged[name] = value
    merged |= variables
    return [f"{name}={value}" for name, value in merged.items()]


def _devices() -> list[Json]:
    """Every device node of this /dev, for a privileged container."""
    found: list[Json] = []
    for folder, _, names in os.walk("/dev"):
        if folder.startswith(("/dev/pts", "/dev/shm", "/dev/mqueue")):
            continue
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            kind = {0o020000: "c", 0o060000: "b"}.get(status.st_mode & 0o170000)
            if kind and path not in ("/dev/console", "/dev/tty", "/dev/ptmx"):
                found.append({"path": path, "type": kind, "major": os.major(status.st_rdev),
                              "minor": os.minor(status.st_rdev), "fileMode": status.st_mode & 0o777,
                              "uid": status.st_uid, "gid": status.st_gid})  # fmt: skip
    return found


def _log_tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 65536, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    texts = [line.split(" ", 3)[3] for line in lines[-_LOG_TAIL_LINES:] if line.count(" ") >= 3]
    return "".join(f"{text}\n" for text in texts)[-_LOG_TAIL_LIMIT:]


def elapsed(since: float) -> str:
    """A duration as Go prints it, to the millisecond."""
    seconds = round(time.monotonic() - since, 3)
    return f"{seconds:g}s" if seconds >= 1 else f"{round(seconds * 1000)}ms"
