"""PodSecurity: the Pod Security Standards, per namespace label (`pod-security.kubernetes.io/enforce` and so on).

`enforce` refuses pods; `warn` warns about pods and templates, `audit` notes them.  `pod_standards` has the checks.
Source: k8s.io/pod-security-admission admission.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from todoku.api.errors import FieldError, Invalid, Path, invalid
from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin, is_main, new_object, refusal
from todoku.apiserver.admission.pod_standards import LATEST, violations
from todoku.apiserver.config import Attributes, Objects

_PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
_VERSION = re.compile(r"v1\.(0|[1-9]\d*)")
_MOST_EXISTING_PODS = 3000
_IGNORED_SUBRESOURCES = frozenset(
    {"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"}
)

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


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the standards in a version of them."""

    name: str = "privileged"
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"

    def problems(self, metadata: Object, spec: Object) -> list[str]:
        match = _VERSION.fullmatch(self.version)
        return violations(self.name, metadata, spec, int(match.group(1)) if match else LATEST)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace's labels ask for."""

    enforce: Level
    audit: Level
    warn: Level

    @staticmethod
    def of(labels: Mapping[str, str]) -> Policy:
        """Labels that cannot be read enforce the strictest; without a level to warn of, the enforced one is warned of."""
        enforce = _level(labels, "enforce", unreadable="restricted")
        audit = _level(labels, "audit", unreadable="privileged")
        warn = _level(labels, "warn", unreadable="privileged")
        asked = labels.get(f"{_PREFIX}enforce")
        if f"{_PREFIX}warn" not in labels and asked in LEVELS and asked != "privileged":
            told = f"{_PREFIX}warn-version" in labels
            warn = Level(asked, warn.version if told else enforce.version)
        return Policy(enforce, audit, warn)


def _level(labels: Mapping[str, str], mode: str, *, unreadable: str) -> Level:
    name = labels.get(_PREFIX + mode, "privileged")
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    return Level(
        name if name in LEVELS else unreadable, version if _is_version(version) else "latest"
    )


def _is_version(text: str) -> bool:
    return text == "latest" or bool(_VERSION.fullmatch(text))


def label_problems(labels: Mapping[str, str]) -> list[FieldError]:
    """Labels of a namespace that ask for no level or version there is."""
    problems = []
    for mode in ("enforce", "audit", "warn"):
        key = _PREFIX + mode
        if key in labels and labels[key] not in LEVELS:
            text = f"must be one of {', '.join(LEVELS)}"
            problems.append(invalid(_LABELS.key(key), labels[key], text))
        key = f"{key}-version"
        if key in labels and not _is_version(labels[key]):
            problems.append(invalid(_LABELS.key(key), labels[key], 'must be "latest" or "v1.x"'))
    return problems


_LABELS = Path("metadata") / "labels"


class PodSecurity(Plugin):
    name = "PodSecurity"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE"):
            return
        if is_main(attributes, "namespaces"):
            self._judge_namespace(attributes)
        elif attributes.resource.name == "pods":
            if attributes.subresource not in _IGNORED_SUBRESOURCES:
                self._judge_pod(attributes)
        elif attributes.resource.name in _TEMPLATES and not attributes.subresource:
            self._judge_template(attributes)

    def _judge_pod(self, attributes: Attributes) -> None:
        pod, old = new_object(attributes), attributes.old
        if old is not None and not _is_significant(pod, old):
            return
        policy = self._policy(attributes.namespace)
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        attributes.annotations[f"{_PREFIX}enforce-policy"] = str(policy.enforce)
        problems = policy.enforce.problems(metadata, spec)
        _audit(attributes, policy, metadata, spec)
        if problems:
            text = f'violates PodSecurity "{policy.enforce}": {", ".join(problems)}'
            raise refusal(attributes, text)
        _warn(attributes, policy, metadata, spec)

    def _judge_template(self, attributes: Attributes) -> None:
        template: object = new_object(attributes)
        for part in _TEMPLATES[attributes.resource.name]:
            template = template.get(part) if isinstance(template, dict) else None
        if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
            return
        policy = self._policy(attributes.namespace)
        metadata = template.get("metadata") or {}
        _audit(attributes, policy, metadata, template["spec"])
        _warn(attributes, policy, metadata, template["spec"])

    def _judge_namespace(self, attributes: Attributes) -> None:
        """Labels must be readable; a stricter level says which pods it would refuse, but touches none."""
        labels = new_object(attributes)["metadata"].get("labels") or {}
        before = ((attributes.old or {}).get("metadata") or {}).get("labels") or {}
        problems = label_problems(labels)
        if problems and (attributes.old is None or problems != label_problems(before)):
            raise Invalid.of("Namespace", "", attributes.name, problems)
        if attributes.old is None:
            return
        new, old = Policy.of(labels).enforce, Policy.of(before).enforce
        relaxed = new.version == old.version and LEVELS.index(new.name) <= LEVELS.index(old.name)
        if new.name != "privileged" and new != old and not relaxed:
            self._warn_of_existing(attributes, new)

    def _warn_of_existing(self, attributes: Attributes, level: Level) -> None:
        found: dict[str, list[str]] = {}
        pods = self._objects.list("pods", attributes.name)
        for pod in pods[:_MOST_EXISTING_PODS]:
            problems = level.problems(pod["metadata"], pod["spec"])
            if problems:
                summary = ", ".join(problem.partition(" (")[0] for problem in problems)
                found.setdefault(summary, []).append(pod["metadata"]["name"])
        if len(pods) > _MOST_EXISTING_PODS:
            attributes.warnings.append(
                "new PodSecurity enforce level only checked against the first "
                f"{_MOST_EXISTING_PODS} of {len(pods)} existing pods"
            )
        if found:
            attributes.warnings.append(
                f'existing pods in namespace "{attributes.name}" violate the new PodSecurity '
                f'enforce level "{level}"'
            )
        attributes.warnings += sorted(
            f"{_pods(sorted(names))}: {summary}" for summary, names in found.items()
        )

    def _policy(self, namespace: str) -> Policy:
        found = self._objects.get("namespaces", namespace)
        return Policy.of(((found or {}).get("metadata") or {}).get("labels") or {})


def _warn(attributes: Attributes, policy: Policy, metadata: Object, spec: Object) -> None:
    problems = policy.warn.problems(metadata, spec)
    if problems:
        text = f'would violate PodSecurity "{policy.warn}": {", ".join(problems)}'
        attributes.warnings.append(text)


def _audit(attributes: Attributes, policy: Policy, metadata: Object, spec: Object) -> None:
    problems = policy.audit.problems(metadata, spec)
    if problems:
        text = f'would violate PodSecurity "{policy.audit}": {", ".join(problems)}'
        attributes.annotations[f"{_PREFIX}audit-violations"] = text


def _pods(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    others = len(names) - 1
    return f"{names[0]} (and {others} other pod{'s' if others > 1 else ''})"


def _is_significant(pod: Object, old: Object) -> bool:
    """Only new containers and other images are judged, so that old pods can still be updated."""
    new_spec, old_spec = pod.get("spec") or {}, old.get("spec") or {}
    for field in ("containers", "initContainers"):
        now, before = new_spec.get(field) or (), old_spec.get(field) or ()
        if [one.get("image") for one in now] != [one.get("image") for one in before]:
            return True
    known = {one.get("name"): one.get("image") for one in old_spec.get("ephemeralContainers") or ()}
    return any(
        one.get("name") not in known or known[one.get("name")] != one.get("image")
        for one in new_spec.get("ephemeralContainers") or ()
    )
