"""Warnings about pods and templates: deprecated and doubtful fields (pkg/api/pod GetWarningsForPod)."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object

DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}


def pod_warnings(new: Object, old: Object | None) -> list[str]:
    """Only for creates: an unchanged pod is not complained about again."""
    if old is not None:
        return []
    return template_warnings({"metadata": new.get("metadata"), "spec": new.get("spec")}, "")


def template_warnings(template: Object, path: str) -> list[str]:
    """`path` is where the template lies (`spec.template`), "" for a Pod itself."""
    spec = template.get("spec") or {}
    prefix = f"{path}.spec" if path else "spec"
    found: list[str] = []
    for key in spec.get("nodeSelector") or ():
        if key in DEPRECATED_LABELS:
            found.append(f"{prefix}.nodeSelector[{key}]: {DEPRECATED_LABELS[key]}")
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        found.append(
            f"{prefix}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    for field in ("initContainers", "containers"):
        containers = [one for one in spec.get(field) or () if isinstance(one, dict)]
        for index, container in enumerate(containers):
            found += _container_warnings(container, f"{prefix}.{field}[{index}]")
        found += _duplicate_ports(containers, f"{prefix}.{field}")
    found += _duplicate_secrets(spec.get("imagePullSecrets") or (), f"{prefix}.imagePullSecrets")
    return found


def _container_warnings(container: Object, at: str) -> list[str]:
    found: list[str] = []
    for field in ("limits", "requests"):
        for name, amount in ((container.get("resources") or {}).get(field) or {}).items():
            if name in ("memory", "ephemeral-storage") and str(amount).endswith("m"):
                where = f"{at}.resources.{field}[{name}]"
                found.append(
                    f'{where}: fractional byte value "{amount}" is invalid, must be an integer'
                )
    names: set[str] = set()
    for index, variable in enumerate(container.get("env") or ()):
        name = variable.get("name", "")
        if name in names:
            where = f"{at}.env[{index}]"
            found.append(
                f'{where}: hides previous definition of "{name}", which may be dropped when using apply'
            )
        names.add(name)
    return found


def _duplicate_ports(containers: Sequence[Object], at: str) -> list[str]:
    found: list[str] = []
    seen: dict[tuple[object, ...], str] = {}
    for index, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or ()):
            where = f"{at}[{index}].ports[{number}]"
            key = (
                index,
                port.get("containerPort"),
                port.get("protocol", "TCP"),
                port.get("hostPort"),
                port.get("hostIP"),
            )
            if key in seen:
                found.append(f"{where}: duplicate port definition with {seen[key]}")
            seen.setdefault(key, where)
    return found


def _duplicate_secrets(secrets: Sequence[Object], at: str) -> list[str]:
    found: list[str] = []
    names: set[str] = set()
    for index, one in enumerate(secrets):
        name = one.get("name", "")
        if not name:
            found.append(f'{at}[{index}].name: invalid empty name ""')
        elif name in names:
            found.append(f'{at}[{index}].name: duplicate name "{name}"')
        names.add(name)
    return found
