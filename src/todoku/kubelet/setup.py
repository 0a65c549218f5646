"""What a pod needs before its containers: facts for references, volumes, and a sandbox with its network."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from todoku.aio import log as logs
from todoku.aio.threads import thread
from todoku.api import errors
from todoku.api.meta import Key, Object
from todoku.client import Unreachable
from todoku.kubelet import environment, files, payload
from todoku.kubelet.context import Context
from todoku.kubelet.environment import ConfigError, Facts
from todoku.kubelet.network import HostPort, PodRef
from todoku.kubelet.payload import PAYLOAD_SOURCES
from todoku.kubelet.records import PodRecord, Sandbox, all_specs
from todoku.kubelet.resources import pod_limits
from todoku.kubelet.runner import pod_cgroup
from todoku.kubelet.volumes import kind_of

log = logs.get(__name__)


class SandboxFailed(Exception):
    """The text of FailedCreatePodSandBox."""


class VolumeFailed(Exception):
    """The text of FailedMount; `waits` if a change of an object can heal it."""

    def __init__(self, volume: str, cause: Exception) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {cause}')
        self.waits = isinstance(cause, payload.Missing)


class Setup:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def facts(self, record: PodRecord) -> Facts:
        """Everything that variables and volumes of the pod may refer to, watched from now on."""
        pod, objects = record.pod, self._context.objects
        namespace = pod["metadata"]["namespace"]
        maps, secrets = _references(pod)
        wanted = [("configmaps", name) for name in maps] + [("secrets", name) for name in secrets]
        await objects.need(
            record.uid, [(resource, Key(namespace, name)) for resource, name in wanted]
        )
        found_maps = {name: objects.get("configmaps", namespace, name) for name in maps}
        found_secrets = {name: objects.get("secrets", namespace, name) for name in secrets}
        return Facts(
            pod=pod,
            pod_ips=record.sandbox.ips if record.sandbox else (),
            host_ips=self._context.config.node_ips,
            node_allocatable=self._context.allocatable,
            config_maps={name: None if one is None else one.get("data") or {} for name, one in found_maps.items()},
            config_map_bytes={
                name: None if one is None else payload.config_map_data(one) for name, one in found_maps.items()
            },
            secrets={name: None if one is None else payload.secret_data(one) for name, one in found_secrets.items()},
            services=self._context.services(),
        )  # fmt: skip

    async def volumes(self, record: PodRecord, facts: Facts) -> None:
        """Make what is missing and refresh what changed.  Raises VolumeFailed."""
        for volume in record.pod["spec"].get("volumes") or ():
            try:
                await self._volume(record.pod, volume, facts)
            except (ConfigError, OSError, errors.ApiError, Unreachable) as error:
                raise VolumeFailed(volume["name"], error) from error

    async def _volume(self, pod: Object, volume: Object, facts: Facts) -> None:
        if kind_of(volume) not in PAYLOAD_SOURCES:
            await thread(self._context.volumes.set_up, pod, volume)
            return
        tokens = await self._context.tokens.get(pod, payload.wanted_tokens(volume))
        contents = payload.payload(volume, facts, tokens)
        await thread(self._context.volumes.fill, pod, volume, contents)

    async def sandbox(self, record: PodRecord) -> Sandbox:
        """Make the pod's namespaces and attach its network.  Raises SandboxFailed, and leaves nothing then."""
        pod, context = record.pod, self._context
        spec = pod["spec"]
        host_network = bool(spec.get("hostNetwork"))
        sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
        identity = secrets.token_hex(32)
        try:
            paths = await thread(
                context.sandboxes.create,
                identity,
                hostname=files.hostname(pod, context.config.node_name),
                host_network=host_network,
                host_ipc=bool(spec.get("hostIPC")),
                sysctls={one["name"]: one["value"] for one in sysctls},
            )
        except OSError as error:
            raise SandboxFailed(str(error)) from error
        except asyncio.CancelledError:
            await thread(context.sandboxes.remove, identity)
            raise
        sandbox = Sandbox(
            id=identity,
            created_at=context.clock.now(),
            netns=paths.get("net", ""),
            ipcns=paths.get("ipc", ""),
            utsns=paths.get("uts", ""),
            host_network=host_network,
            attempt=record.sandbox_attempts,
        )
        try:
            sandbox.ips = await self._addresses(pod, sandbox)
        except asyncio.CancelledError:
            await self.release(pod, sandbox)
            raise
        except (
            Exception
        ) as error:  # the network is another room's: whatever it says goes into the event
            log.warning("Pod not attached to the network", pod=pod["metadata"]["name"], error=error)
            await self.release(pod, sandbox)
            raise SandboxFailed(f"failed to set up pod network: {error}") from error
        await thread(self._files, pod, sandbox)
        return sandbox

    async def release(self, pod: Object, sandbox: Sandbox) -> None:
        """Let the network and the namespaces go.  Idempotent."""
        if not sandbox.host_network:
            await self._context.network.detach(pod_ref(pod), sandbox.netns)
        await thread(self._context.sandboxes.remove, sandbox.id)

    def group(self, record: PodRecord) -> None:
        """Make the pod's control group, with its limits."""
        group = pod_cgroup(self._context.config.cgroup_parent, record.pod)
        if not group:
            return
        self._context.cgroups.create(group, controllers=("cpu", "memory", "pids"))
        refused = self._context.cgroups.limit(group, pod_limits(record.pod))
        if refused:
            log.warning(
                "Limits that this machine has no controller for",
                pod=str(record.uid),
                files=" ".join(refused),
            )

    async def _addresses(self, pod: Object, sandbox: Sandbox) -> tuple[str, ...]:
        if sandbox.host_network:
            return self._context.config.node_ips
        attached = await self._context.network.attach(pod_ref(pod), sandbox.netns)
        return attached.ips

    def _files(self, pod: Object, sandbox: Sandbox) -> None:
        config = self._context.config
        folder = self._context.volumes.pod_folder(pod["metadata"]["uid"])
        folder.mkdir(parents=True, exist_ok=True)
        resolv = files.resolv_conf(
            pod, node_text=_read(config.host_resolv_conf), cluster_dns=config.cluster_dns,
            cluster_domain=config.cluster_domain,
        )  # fmt: skip
        hosts = files.hosts(
            pod,
            sandbox.ips,
            cluster_domain=config.cluster_domain,
            node_hosts=_read(config.host_hosts),
        )
        (folder / "resolv.conf").write_text(resolv)
        (folder / "etc-hosts").write_text(hosts)
        (folder / "hostname").write_text(files.hostname(pod, config.node_name) + "\n")


def pod_ref(pod: Object) -> PodRef:
    metadata = pod["metadata"]
    ports = tuple(
        HostPort(
            port.get("protocol", "TCP"),
            port["hostPort"],
            port["containerPort"],
            port.get("hostIP", ""),
        )
        for _, spec in all_specs(pod)
        for port in spec.get("ports") or ()
        if port.get("hostPort")
    )
    return PodRef(metadata["namespace"], metadata["name"], metadata["uid"], ports)


def _references(pod: Object) -> tuple[set[str], set[str]]:
    maps, secrets = payload.references(pod["spec"].get("volumes") or ())
    for _, spec in all_specs(pod):
        more_maps, more_secrets = environment.references(spec)
        maps |= more_maps
        secrets |= more_secrets
    secrets |= {one["name"] for one in pod["spec"].get("imagePullSecrets") or () if one.get("name")}
    return maps, secrets


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
