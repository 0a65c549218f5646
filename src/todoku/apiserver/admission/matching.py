"""Which requests a webhook or policy is meant for: rules, versions, namespace and object selectors.

Source: admissionregistration.k8s.io/v1 RuleWithOperations, NamedRuleWithOperations, MatchResources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from todoku.api.meta import Object
from todoku.api.resource import Resource
from todoku.api.selectors import LabelSelector, from_selector
from todoku.apiserver.config import Attributes, Objects

# These configure admission themselves and are never sent through it.
_EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations", "mutatingwebhookconfigurations",
        "validatingadmissionpolicies", "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
    }
)  # fmt: skip


def is_exempt(attributes: Attributes) -> bool:
    resource = attributes.resource
    return resource.group == "admissionregistration.k8s.io" and resource.plural in _EXEMPT


def matching_version(
    rules: Sequence[Object], attributes: Attributes, objects: Objects, *, exact: bool
) -> Resource | None:
    """The version in which one of the rules names the request's resource; its own goes first, None if none does."""
    if any(rule_matches(rule, attributes) for rule in rules):
        return attributes.resource
    if exact:
        return None
    for other in objects.equivalents(attributes.resource, attributes.subresource):
        if any(rule_matches(rule, attributes, other) for rule in rules):
            return other
    return None


async def shown_as(attributes: Attributes, version: Resource, objects: Objects) -> Attributes:
    """The request as who asked for that version of its resource sees it."""
    own = attributes.resource
    if version is own:
        return attributes
    kind = version.gvk if attributes.kind == own.gvk else attributes.kind
    shown = replace(attributes, resource=version, kind=kind, asked=attributes)
    if attributes.kind == own.gvk:
        shown.object = await _converted(attributes.object, own, version, objects)
        shown.old = await _converted(attributes.old, own, version, objects)
    return shown


async def _converted(
    obj: Object | None, own: Resource, wanted: Resource, objects: Objects
) -> Object | None:
    return None if obj is None else await objects.converted(obj, own, wanted)


async def take_back(shown: Attributes, objects: Objects) -> None:
    """What was changed in another version becomes the request's object."""
    asked = shown.asked
    if asked is None or shown.object is None:
        return
    if shown.kind == shown.resource.gvk:
        asked.object = await objects.converted(shown.object, shown.resource, asked.resource)
    else:
        asked.object = shown.object


def rule_matches(rule: Object, attributes: Attributes, version: Resource | None = None) -> bool:
    """One RuleWithOperations (resourceNames counts for policies only)."""
    resource = version or attributes.resource
    names = rule.get("resourceNames") or ()
    return (
        _among(rule.get("operations"), attributes.operation)
        and _among(rule.get("apiGroups"), resource.group)
        and _among(rule.get("apiVersions"), resource.version)
        and _resource_matches(rule.get("resources") or (), resource.plural, attributes.subresource)
        and _scope_matches(rule.get("scope", "*"), attributes)
        and (not names or attributes.name in names)
    )


def _among(listed: Sequence[str] | None, value: str) -> bool:
    return "*" in (listed or ()) or value in (listed or ())


def _resource_matches(patterns: Sequence[str], resource: str, subresource: str) -> bool:
    for pattern in patterns:
        wanted, _, sub = pattern.partition("/")
        if wanted in ("*", resource) and sub in ("*", subresource):
            return True
    return False


def _scope_matches(scope: str, attributes: Attributes) -> bool:
    if scope == "*" or not scope:
        return True
    # a Namespace is a cluster-wide object although requests for it name a namespace
    namespaced = attributes.resource.namespaced and attributes.resource.name != "namespaces"
    return namespaced is (scope == "Namespaced")


class Selectors:
    """Namespace and object selector of one hook, parsed once."""

    def __init__(self, namespaces: Object | None, objects: Object | None) -> None:
        self._namespaces = from_selector(namespaces or {})
        self._objects = from_selector(objects or {})

    def matches(self, attributes: Attributes, objects: Objects) -> bool:
        return self._namespace_matches(attributes, objects) and self._object_matches(attributes)

    def _namespace_matches(self, attributes: Attributes, objects: Objects) -> bool:
        if self._namespaces.empty:
            return True
        if attributes.resource.name == "namespaces" and not attributes.subresource:
            # a namespace is judged by its own labels: the new ones, or those it still has
            about = attributes.old if attributes.operation == "DELETE" else attributes.object
            return self._namespaces.matches(labels_of(about))
        if not attributes.namespace:
            return True
        return self._namespaces.matches(labels_of(objects.get("namespaces", attributes.namespace)))

    def _object_matches(self, attributes: Attributes) -> bool:
        """Either of the two objects may match, so that removing a label does not escape the hook."""
        if self._objects.empty:
            return True
        return any(
            _has_labels(one) and self._objects.matches(labels_of(one))
            for one in (attributes.object, attributes.old)
        )


def labels_of(obj: Object | None) -> dict[str, str]:
    metadata = (obj or {}).get("metadata") or {}
    return dict(metadata.get("labels") or {})


def _has_labels(obj: Object | None) -> bool:
    return isinstance(obj, dict) and isinstance(obj.get("metadata"), dict)


__all__ = [
    "LabelSelector",
    "Selectors",
    "is_exempt",
    "labels_of",
    "matching_version",
    "rule_matches",
    "shown_as",
    "take_back",
]
