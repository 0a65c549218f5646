"""Warnings about pods and templates: deprecated and doubtful fields (pkg/api/pod GetWarningsForPod)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from todoku.api import quantities
from todoku.api.errors import Path, quoted
from todoku.api.meta import Object
from todoku.api.podspec.security import APPARMOR_CONTAINER, SECCOMP_CONTAINER, SECCOMP_POD
from todoku.api.podspec.spec import containers_with_paths
from todoku.api.validation import dns1123_label

DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_DEPRECATED_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
# field -> (how the path calls it, what is said)
GONE_VOLUMES = {
    "photonPersistentDisk": (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    "gitRepo": ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "flocker": ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "quobyte": ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}
_BYTES = ("memory", "ephemeral-storage")


def pod_warnings(new: Object, old: Object | None) -> list[str]:
    """Only for creates: an unchanged pod is not complained about again."""
    if old is not None:
        return []
    metadata = new.get("metadata") or {}
    found: list[str] = []
    if texts := dns1123_label(metadata.get("name") or ""):
        why = " ".join(texts)
        found.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior;"
            f" a DNS label is recommended: [{why}]"
        )
    return found + template_warnings({"metadata": metadata, "spec": new.get("spec")}, "")


def template_warnings(template: Object, path: str) -> list[str]:
    """`path` is where the template lies (`spec.template`), "" for a Pod itself."""
    spec, metadata = template.get("spec") or {}, template.get("metadata") or {}
    root = Path(path)
    at, annotations = root / "spec", metadata.get("annotations") or {}
    containers = [pair for pair in containers_with_paths(spec, at) if isinstance(pair[0], dict)]
    found = list(_placement(spec, at))
    found += _annotations(annotations, root / "metadata" / "annotations")
    found += _volumes(spec.get("volumes") or (), at / "volumes")
    found += _repeated(spec.get("hostAliases") or (), at / "hostAliases", "ip")
    found += _repeated(spec.get("imagePullSecrets") or (), at / "imagePullSecrets", "name")
    found += [
        f'{at / "imagePullSecrets" / index / "name"}: invalid empty name ""'
        for index, one in enumerate(spec.get("imagePullSecrets") or ())
        if not one.get("name")
    ]
    found += _fractions(spec.get("overhead") or {}, at / "overhead")
    if annotations:
        found += _profiles(spec, annotations, containers, root)
    for container, where in containers:
        found += _container(container, where)
    found += _ports(containers)
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        text = "must be >= 0; negative values are invalid and will be treated as 1"
        found.append(f"{at / 'terminationGracePeriodSeconds'}: {text}")
    return found + list(_affinity_selectors(spec.get("affinity") or {}, at / "affinity"))


_NEEDED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
_NO_SELECTOR = "a null labelSelector results in matching no pod"


def _placement(spec: Object, at: Path) -> Iterator[str]:
    """Node labels that have newer names, and spreading that counts nothing."""
    for key in spec.get("nodeSelector") or ():
        if key in DEPRECATED_LABELS:
            yield f"{(at / 'nodeSelector').key(key)}: {DEPRECATED_LABELS[key]}"
    node = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    where = at / "affinity" / "nodeAffinity"
    for index, term in enumerate((node.get(_NEEDED) or {}).get("nodeSelectorTerms") or ()):
        yield from node_term_warnings(term, where / _NEEDED / "nodeSelectorTerms" / index)
    for index, one in enumerate(node.get(_PREFERRED) or ()):
        yield from node_term_warnings(
            one.get("preference") or {}, where / _PREFERRED / index / "preference"
        )
    for index, one in enumerate(spec.get("topologySpreadConstraints") or ()):
        where = at / "topologySpreadConstraints" / index
        key = one.get("topologyKey") or ""
        if key in DEPRECATED_LABELS:
            yield f"{where / 'topologyKey'}: {key} is {DEPRECATED_LABELS[key]}"
        if one.get("labelSelector") is None:
            yield f"{where / 'labelSelector'}: {_NO_SELECTOR}"


def node_term_warnings(term: Object, at: Path) -> Iterator[str]:
    """Of one node selector term; volumes have them, too."""
    for index, one in enumerate(term.get("matchExpressions") or ()):
        key = one.get("key") or ""
        if key in DEPRECATED_LABELS:
            where = at / "matchExpressions" / index / "key"
            yield f"{where}: {key} is {DEPRECATED_LABELS[key]}"


def _affinity_selectors(affinity: Object, at: Path) -> Iterator[str]:
    for field in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(field) or {}
        for index, term in enumerate(rules.get(_NEEDED) or ()):
            if term.get("labelSelector") is None:
                yield f"{at / field / _NEEDED / index / 'labelSelector'}: {_NO_SELECTOR}"
        for index, one in enumerate(rules.get(_PREFERRED) or ()):
            if (one.get("podAffinityTerm") or {}).get("labelSelector") is None:
                where = at / field / _PREFERRED / index / "podAffinityTerm" / "labelSelector"
                yield f"{where}: {_NO_SELECTOR}"


def _annotations(annotations: Mapping[str, str], at: Path) -> list[str]:
    return [
        f"{at.key(key)}: {text}"
        for key, text in _DEPRECATED_ANNOTATIONS.items()
        if key in annotations
    ]


def _volumes(volumes: Sequence[Object], at: Path) -> list[str]:
    found: list[str] = []
    tokens: set[str] = set()
    for index, volume in enumerate(volumes):
        for field, (shown, text) in GONE_VOLUMES.items():
            if volume.get(field) is not None:
                found.append(f"{at / index / shown}: {text}")
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template:
            where = at / index / "ephemeral" / "volumeClaimTemplate" / "spec"
            found += claim_warnings(template.get("spec") or {}, where)
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                tokens.add(source["serviceAccountToken"].get("path") or "")
    for index, volume in enumerate(volumes if tokens else ()):
        for source in (volume.get("projected") or {}).get("sources") or ():
            found += _over_token(source, tokens, at / index / "projected" / "sources")
    return found


def _over_token(source: Object, tokens: set[str], at: Path) -> list[str]:
    """Files of a projected volume that lie where a token is to lie."""
    return [
        f"{at / shown / index}: has duplicated path with ServiceAccountToken {quoted(item['path'])}"
        for field, shown in (
            ("configMap", "configMap"),
            ("secret", "secrets"),
            ("downwardAPI", "downwardAPI"),
        )
        for index, item in enumerate((source.get(field) or {}).get("items") or ())
        if item.get("path") in tokens
    ]


def claim_warnings(spec: Object, at: Path) -> list[str]:
    """A claim for part of a byte (GetWarningsForPersistentVolumeClaimSpec)."""
    found: list[str] = []
    for field in ("requests", "limits"):
        amounts = (spec.get("resources") or {}).get(field) or {}
        where = (at / "resources" / field).key("storage")
        found += [
            f'{where}: fractional byte value "{amount}" is invalid, must be an integer'
            for amount in _fractional(amounts, ("storage",)).values()
        ]
    return found


def _fractional(amounts: Object, names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        amount = amounts.get(name)
        if amount is not None and quantities.is_quantity(amount):
            quantity = quantities.parse(amount)
            if quantity.value.denominator != 1 and quantity.milli() % 1000:
                found[name] = str(quantity)
    return found


def _fractions(amounts: Object, at: Path) -> list[str]:
    return [
        f'{at.key(name)}: fractional byte value "{amount}" is invalid, must be an integer'
        for name, amount in _fractional(amounts, _BYTES).items()
    ]


def _repeated(items: Sequence[Object], at: Path, field: str) -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for index, one in enumerate(items if len(items) > 1 else ()):
        value = one.get(field) or ""
        if value in seen:
            found.append(f"{at / index / field}: duplicate {field} {quoted(value)}")
        seen.add(value)
    return found


def _profiles(
    spec: Object,
    annotations: Mapping[str, str],
    containers: Sequence[tuple[Object, Path]],
    root: Path,
) -> list[str]:
    """Annotations whose fields are not used."""
    context, at = spec.get("securityContext") or {}, root / "metadata" / "annotations"
    seccomp = 'non-functional in v1.27+; use the "seccompProfile" field instead'
    apparmor = 'deprecated since v1.30; use the "appArmorProfile" field instead'
    found: list[str] = []
    if SECCOMP_POD in annotations and context.get("seccompProfile") is None:
        found.append(f"{at.key(SECCOMP_POD)}: {seccomp}")
    for container, _ in containers:
        own, name = container.get("securityContext") or {}, container.get("name")
        key = f"{SECCOMP_CONTAINER}{name}"
        if key in annotations and own.get("seccompProfile") is None:
            found.append(f"{at.key(key)}: {seccomp}")
        key = f"{APPARMOR_CONTAINER}{name}"
        profile = own.get("appArmorProfile") or context.get("appArmorProfile")
        if key in annotations and profile is None:
            found.append(f"{at.key(key)}: {apparmor}")
    return found


def _container(container: Object, at: Path) -> list[str]:
    found: list[str] = []
    resources = container.get("resources")
    if resources:
        fractional = {
            field: _fractional(resources.get(field) or {}, _BYTES)
            for field in ("limits", "requests")
        }
        found += [
            f'{(at / "resources" / field).key(name)}: fractional byte value "{amounts[name]}" is invalid,'
            " must be an integer"
            for name in _BYTES
            for field, amounts in fractional.items()
            if name in amounts
        ]
    names: set[str] = set()
    for index, variable in enumerate(container.get("env") or ()):
        name = variable.get("name") or ""
        if name in names and _hides(variable, name):
            text = f"hides previous definition of {quoted(name)}, which may be dropped when using apply"
            found.append(f"{at / 'env' / index}: {text}")
        names.add(name)
    return found


def _hides(variable: Object, name: str) -> bool:
    """Whether a second definition drops the first: one that is made of it does not."""
    reference, value = f"$({name})", variable.get("value") or ""
    if variable.get("valueFrom") is not None:
        return True
    return value == reference or reference not in value


def _ports(containers: Sequence[tuple[Object, Path]]) -> list[str]:
    """The same port of the pod, or of its host, named twice."""
    found: list[str] = []
    seen: dict[tuple[object, object], _Taken] = {}
    for container, at in containers:
        for index, port in enumerate(container.get("ports") or ()):
            where = at / "ports" / index
            if port.get("hostIP") and not port.get("hostPort"):
                found.append(f"{where}: hostIP set without hostPort: {_go_port(port)}")
            key = port.get("containerPort"), port.get("protocol")
            taken = seen.setdefault(key, _Taken())
            for text, place in taken.clashes(port) if len(found) < _MAX_PORTS else ():
                found.append(f"{where}: {text} port definition with {place}")
            taken.add(port, where)
    return found


# Every port may clash with every other; an answer has room for fewer warnings than these.
_MAX_PORTS = 500


class _Taken:
    """The definitions of one port so far, by what they take of the host."""

    def __init__(self) -> None:
        self._places: dict[int, dict[str, list[tuple[int, Path]]]] = {}
        self._count = 0

    def add(self, port: Object, where: Path) -> None:
        host, ip = port.get("hostPort") or 0, port.get("hostIP") or ""
        places = self._places.setdefault(host, {}).setdefault(ip, [])
        places.append((self._count, where))
        self._count += 1

    def clashes(self, port: Object) -> Iterator[tuple[str, Path]]:
        """What is wrong with the port beside which others, in their order."""
        host, ip = port.get("hostPort") or 0, port.get("hostIP") or ""
        found: list[tuple[int, Path, str]] = []
        for taken in (host, 0) if host else self._places:
            by_ip = self._places.get(taken) or {}
            for other in dict.fromkeys((ip, "")) if host and ip and taken else by_ip:
                text = _clash(host, ip, taken, other)
                found += [(order, where, text) for order, where in by_ip.get(other, ())]
        return ((text, where) for _, where, text in sorted(found, key=lambda one: one[0]))


def _go_port(port: Object) -> str:
    """The port as Go prints a ContainerPort."""
    fields = (
        ("Name", "name", ""), ("HostPort", "hostPort", 0), ("ContainerPort", "containerPort", 0),
        ("Protocol", "protocol", ""), ("HostIP", "hostIP", ""),
    )  # fmt: skip
    return "{" + " ".join(f"{shown}:{port.get(key, none)}" for shown, key, none in fields) + "}"


def _clash(host: int, ip: str, taken: int, other_ip: str) -> str:
    if host == taken and ip == other_ip:
        return "duplicate"
    return "overlapping" if not host or not taken else "dangerously ambiguous"
