"""PodSecurity: the Pod Security Standards, per namespace label (`pod-security.kubernetes.io/enforce` and so on).

`enforce` refuses pods, `warn` warns about pods and templates.  Each check is one function that tells what is wrong
in the words clients know.  Source: docs, Pod Security Standards; k8s.io/pod-security-admission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin, is_main, new_object, refusal
from todoku.apiserver.config import Attributes, Objects

_PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")

Check: TypeAlias = Callable[[Object, Object], str]
"""(metadata, spec) -> what is wrong, or ""."""

_TEMPLATES = {
    "deployments.apps": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "replicationcontrollers": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
    "podtemplates": ("template",),
}


class PodSecurity(Plugin):
    name = "PodSecurity"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE"):
            return
        if is_main(attributes, "namespaces"):
            self._warn_of_existing(attributes)
        elif attributes.resource.name == "pods" and attributes.subresource in (
            "",
            "ephemeralcontainers",
        ):
            self._judge_pod(attributes)
        elif attributes.resource.name in _TEMPLATES and not attributes.subresource:
            self._judge_template(attributes)

    def _judge_pod(self, attributes: Attributes) -> None:
        pod, old = new_object(attributes), attributes.old
        if old is not None and not _security_changed(pod, old):
            return
        labels = self._labels(attributes.namespace)
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        level, version = level_of(labels, "enforce")
        problems = violations(level, metadata, spec)
        if problems:
            raise refusal(
                attributes, f'violates PodSecurity "{level}:{version}": {", ".join(problems)}'
            )
        self._warn(attributes, labels, metadata, spec)

    def _judge_template(self, attributes: Attributes) -> None:
        template: object = new_object(attributes)
        for part in _TEMPLATES[attributes.resource.name]:
            template = template.get(part) if isinstance(template, dict) else None
        if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
            return
        labels = self._labels(attributes.namespace)
        self._warn(attributes, labels, template.get("metadata") or {}, template["spec"])

    def _warn(
        self, attributes: Attributes, labels: Mapping[str, str], metadata: Object, spec: Object
    ) -> None:
        level, version = level_of(labels, "warn")
        problems = violations(level, metadata, spec)
        if problems:
            text = f'would violate PodSecurity "{level}:{version}": {", ".join(problems)}'
            attributes.warnings.append(text)

    def _warn_of_existing(self, attributes: Attributes) -> None:
        """Raising a namespace's level does not touch the pods in it, but says which would be refused."""
        new = new_object(attributes)["metadata"].get("labels") or {}
        old = ((attributes.old or {}).get("metadata") or {}).get("labels") or {}
        level, version = level_of(new, "enforce")
        before, _ = level_of(old, "enforce")
        if LEVELS.index(level) <= LEVELS.index(before):
            return
        found: dict[str, list[str]] = {}
        for pod in self._objects.list("pods", attributes.name):
            problems = violations(level, pod["metadata"], pod["spec"])
            if problems:
                summary = ", ".join(problem.partition(" (")[0] for problem in problems)
                found.setdefault(summary, []).append(pod["metadata"]["name"])
        if not found:
            return
        attributes.warnings.append(
            f'existing pods in namespace "{attributes.name}" violate the new PodSecurity '
            f'enforce level "{level}:{version}"'
        )
        attributes.warnings += [f"{_pods(names)}: {summary}" for summary, names in found.items()]

    def _labels(self, namespace: str) -> Mapping[str, str]:
        found = self._objects.get("namespaces", namespace)
        labels: Mapping[str, str] = ((found or {}).get("metadata") or {}).get("labels") or {}
        return labels


def _pods(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    others = len(names) - 1
    return f"{names[0]} (and {others} other pod{'s' if others > 1 else ''})"


def level_of(labels: Mapping[str, str], mode: str) -> tuple[str, str]:
    """Level and version that a namespace's labels ask for; an unknown level is the strictest."""
    level = labels.get(_PREFIX + mode, "privileged")
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    return (level if level in LEVELS else "restricted"), version


def violations(level: str, metadata: Object, spec: Object) -> list[str]:
    """What of a pod is against a level, worded for the client; [] for the privileged one."""
    if level == "privileged":
        return []
    checks = _BASELINE if level == "baseline" else [*_BASELINE_FOR_RESTRICTED, *_RESTRICTED]
    return [problem for check in checks if (problem := check(metadata, spec))]


def _security_changed(pod: Object, old: Object) -> bool:
    """Only changes that could matter are judged, so that old pods can still be updated."""
    return any(
        (pod.get("spec") or {}).get(field) != (old.get("spec") or {}).get(field)
        for field in ("containers", "initContainers", "ephemeralContainers", "securityContext")
    ) or pod["metadata"].get("annotations") != old["metadata"].get("annotations")


# -- reading a pod


def _containers(spec: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def _context(holder: Object) -> Object:
    context = holder.get("securityContext") or {}
    assert isinstance(context, dict)
    return context


def _named(spec: Object, bad: Callable[[Object], object]) -> list[str]:
    return [str(one.get("name", "")) for one in _containers(spec) if bad(one)]


def _list(what: str, names: Sequence[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"{what}{'s' if len(names) > 1 else ''} {quoted}"


def _quoted(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


# -- baseline


def _host_namespaces(metadata: Object, spec: Object) -> str:
    used = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return f"host namespaces ({', '.join(used)})" if used else ""


def _privileged(metadata: Object, spec: Object) -> str:
    names = _named(spec, lambda one: _context(one).get("privileged"))
    if not names:
        return ""
    return f"privileged ({_list('container', names)} must not set securityContext.privileged=true)"


_BASE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
        "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip


def _added(container: Object) -> list[str]:
    capabilities = _context(container).get("capabilities") or {}
    return list(capabilities.get("add") or ())


def _capabilities(metadata: Object, spec: Object) -> str:
    bad = {one for container in _containers(spec) for one in _added(container)} - _BASE_CAPABILITIES
    names = _named(spec, lambda one: set(_added(one)) - _BASE_CAPABILITIES)
    if not bad:
        return ""
    return (
        f"non-default capabilities ({_list('container', names)} must not include "
        f"{_quoted(sorted(bad))} in securityContext.capabilities.add)"
    )


def _host_paths(metadata: Object, spec: Object) -> str:
    names = [str(one.get("name", "")) for one in spec.get("volumes") or () if one.get("hostPath")]
    return f"hostPath volumes ({_list('volume', names)})" if names else ""


def _host_ports(metadata: Object, spec: Object) -> str:
    ports: list[str] = []
    names = []
    for container in _containers(spec):
        used = [
            str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")
        ]
        if used:
            names.append(str(container.get("name", "")))
            ports += used
    if not ports:
        return ""
    word = "hostPorts" if len(ports) > 1 else "hostPort"
    uses = "use" if len(names) > 1 else "uses"
    return f"hostPort ({_list('container', names)} {uses} {word} {', '.join(ports)})"


_SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)


def _selinux(metadata: Object, spec: Object) -> str:
    for holder in (spec, *_containers(spec)):
        options = _context(holder).get("seLinuxOptions") or {}
        for field, allowed in (("type", _SELINUX_TYPES), ("user", {""}), ("role", {""})):
            if options.get(field, "") not in allowed:
                return f'seLinuxOptions (pod or container set forbidden securityContext.seLinuxOptions: {field} "{options[field]}")'
    return ""


def _proc_mount(metadata: Object, spec: Object) -> str:
    names = _named(spec, lambda one: _context(one).get("procMount", "Default") != "Default")
    return (
        f"procMount ({_list('container', names)} must not set securityContext.procMount)"
        if names
        else ""
    )


def _unconfined(metadata: Object, spec: Object) -> str:
    where = []
    if (_context(spec).get("seccompProfile") or {}).get("type") == "Unconfined":
        where.append("pod")
    names = _named(
        spec, lambda one: (_context(one).get("seccompProfile") or {}).get("type") == "Unconfined"
    )
    if names:
        where.append(_list("container", names))
    if not where:
        return ""
    return f'seccompProfile ({" and ".join(where)} must not set securityContext.seccompProfile.type to "Unconfined")'


_SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    }
)  # fmt: skip


def _sysctls(metadata: Object, spec: Object) -> str:
    used = [str(one.get("name", "")) for one in _context(spec).get("sysctls") or ()]
    bad = [one for one in used if one not in _SAFE_SYSCTLS]
    return f"forbidden sysctls ({', '.join(bad)})" if bad else ""


def _app_armor(metadata: Object, spec: Object) -> str:
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    annotations = metadata.get("annotations") or {}
    bad = [
        f"{key}={value}" for key, value in annotations.items()
        if key.startswith(prefix) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    ]  # fmt: skip
    for holder in (spec, *_containers(spec)):
        if (_context(holder).get("appArmorProfile") or {}).get("type") == "Unconfined":
            bad.append('securityContext.appArmorProfile.type="Unconfined"')
    return f"forbidden AppArmor profiles ({', '.join(bad)})" if bad else ""


def _host_probes(metadata: Object, spec: Object) -> str:
    def hosts(container: Object) -> list[str]:
        lifecycle = container.get("lifecycle") or {}
        handlers = [
            container.get(one) for one in ("livenessProbe", "readinessProbe", "startupProbe")
        ]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        return [
            (handler.get(kind) or {})["host"]
            for handler in handlers if handler
            for kind in ("httpGet", "tcpSocket") if (handler.get(kind) or {}).get("host")
        ]  # fmt: skip

    names = _named(spec, hosts)
    return (
        f"probe or lifecycle host ({_list('container', names)} must not set host in probes or lifecycle hooks)"
        if names
        else ""
    )


# -- restricted

_VOLUMES = frozenset(
    {
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
        "projected", "secret",
    }
)  # fmt: skip


def _restricted_volumes(metadata: Object, spec: Object) -> str:
    names, kinds = [], []
    for volume in spec.get("volumes") or ():
        bad = [key for key in volume if key != "name" and key not in _VOLUMES]
        if bad:
            names.append(str(volume.get("name", "")))
            kinds += [one for one in bad if one not in kinds]
    if not names:
        return ""
    uses = "uses" if len(names) == 1 else "use"
    kind = "type" if len(kinds) == 1 else "types"
    return f"restricted volume types ({_list('volume', names)} {uses} restricted volume {kind} {_quoted(kinds)})"


def _escalation(metadata: Object, spec: Object) -> str:
    names = _named(spec, lambda one: _context(one).get("allowPrivilegeEscalation") is not False)
    if not names or _is_windows(spec):
        return ""
    return (
        f"allowPrivilegeEscalation != false ({_list('container', names)} must set "
        "securityContext.allowPrivilegeEscalation=false)"
    )


def _non_root(metadata: Object, spec: Object) -> str:
    if _context(spec).get("runAsNonRoot") is False:
        return "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    explicit = _named(spec, lambda one: _context(one).get("runAsNonRoot") is False)
    if explicit:
        return f"runAsNonRoot != true ({_list('container', explicit)} must not set securityContext.runAsNonRoot=false)"
    if _context(spec).get("runAsNonRoot"):
        return ""
    names = _named(spec, lambda one: not _context(one).get("runAsNonRoot"))
    return (
        f"runAsNonRoot != true (pod or {_list('container', names)} must set "
        "securityContext.runAsNonRoot=true)"
        if names
        else ""
    )


def _user(metadata: Object, spec: Object) -> str:
    where = ["pod"] if _context(spec).get("runAsUser") == 0 else []
    names = _named(spec, lambda one: _context(one).get("runAsUser") == 0)
    if names:
        where.append(_list("container", names))
    return f"runAsUser=0 ({' and '.join(where)} must not set runAsUser=0)" if where else ""


def _seccomp(metadata: Object, spec: Object) -> str:
    good = ("RuntimeDefault", "Localhost")
    tail = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    if _is_windows(spec):
        return ""
    if (_context(spec).get("seccompProfile") or {}).get("type") == "Unconfined":
        return f"seccompProfile (pod must set {tail}"
    pod_good = (_context(spec).get("seccompProfile") or {}).get("type") in good
    missing = _named(
        spec,
        lambda one: (
            (_context(one).get("seccompProfile") or {}).get("type") not in good
            and not (pod_good and not _context(one).get("seccompProfile"))
        ),
    )
    return (
        f"seccompProfile (pod or {_list('container', missing)} must set {tail}" if missing else ""
    )


def _restricted_capabilities(metadata: Object, spec: Object) -> str:
    if _is_windows(spec):
        return ""
    parts = []

    def keeps(container: Object) -> bool:
        capabilities = _context(container).get("capabilities") or {}
        return "ALL" not in (capabilities.get("drop") or ())

    names = _named(spec, keeps)
    if names:
        parts.append(
            f'{_list("container", names)} must set securityContext.capabilities.drop=["ALL"]'
        )
    extra = _named(spec, lambda one: set(_added(one)) - {"NET_BIND_SERVICE"})
    if extra:
        bad = sorted({a for one in _containers(spec) for a in _added(one)} - {"NET_BIND_SERVICE"})
        parts.append(
            f"{_list('container', extra)} must not include {_quoted(bad)} in "
            "securityContext.capabilities.add"
        )
    return f"unrestricted capabilities ({'; '.join(parts)})" if parts else ""


def _is_windows(spec: Object) -> bool:
    return bool((spec.get("os") or {}).get("name") == "windows")


_SHARED: list[Check] = [
    _host_namespaces, _host_ports, _privileged, _proc_mount, _selinux, _sysctls, _app_armor, _host_probes,
]  # fmt: skip
_BASELINE: list[Check] = [*_SHARED, _capabilities, _host_paths, _unconfined]
# restricted has stricter checks of its own for capabilities, volumes and seccomp
_BASELINE_FOR_RESTRICTED: list[Check] = _SHARED
_RESTRICTED: list[Check] = [
    _escalation, _restricted_capabilities, _restricted_volumes, _non_root, _user, _seccomp,
]  # fmt: skip
