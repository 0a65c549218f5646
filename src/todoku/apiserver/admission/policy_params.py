"""Who writes a policy or binding must be able to read the parameters it names (KEP-3488).

Semantics: pkg/registry/admissionregistration, authz of policies and bindings.
"""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api.errors import Invalid, Path, forbidden
from todoku.api.meta import GroupVersionKind, Object
from todoku.apiserver.admission.base import Plugin, new_object
from todoku.apiserver.config import Attributes, Authorizer, Objects
from todoku.apiserver.request import SYSTEM_MASTERS, RequestInfo, User

_GROUP = "admissionregistration.k8s.io"
_POLICIES = frozenset(f"{one}admissionpolicies.{_GROUP}" for one in ("validating", "mutating"))
# bindings -> their policies
_BINDINGS: Mapping[str, str] = {
    f"{one}admissionpolicybindings.{_GROUP}": f"{one}admissionpolicies.{_GROUP}"
    for one in ("validating", "mutating")
}


class PolicyParams(Plugin):
    name = "PolicyParams"

    def __init__(self, objects: Objects, authorizer: Authorizer) -> None:
        self._objects = objects
        self._authorizer = authorizer

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
            return
        name = attributes.resource.name
        if name not in _POLICIES and name not in _BINDINGS:
            return
        if SYSTEM_MASTERS in attributes.user.groups:
            return
        spec = new_object(attributes).get("spec") or {}
        old = (attributes.old or {}).get("spec") or {}
        if name in _POLICIES:
            await self._check_kind(attributes, spec.get("paramKind"), old.get("paramKind"))
        elif any(spec.get(key) != old.get(key) for key in ("paramRef", "policyName")):
            policy = self._objects.get(_BINDINGS[name], str(spec.get("policyName", "")))
            kind = ((policy or {}).get("spec") or {}).get("paramKind")
            await self._check_reference(attributes, spec.get("paramRef"), kind)

    async def _check_kind(
        self, attributes: Attributes, kind: Object | None, old: Object | None
    ) -> None:
        if not kind or kind == old:
            return
        info = self._reading(kind, name="*", namespace="*")
        if not (await self._authorizer.authorize(attributes.user, info)).allowed:
            text = (
                f'user {_shown(attributes.user)} must have "get" permission on all objects of the referenced '
                f"paramKind (kind={kind.get('kind')}, apiVersion={kind.get('apiVersion')})"
            )
            raise _refused(attributes, "paramKind", text)

    async def _check_reference(
        self, attributes: Attributes, reference: Object | None, kind: Object | None
    ) -> None:
        if not reference:
            return
        info = self._reading(
            kind, name=reference.get("name") or "", namespace=reference.get("namespace") or ""
        )
        if not (await self._authorizer.authorize(attributes.user, info)).allowed:
            text = (
                f'user {_shown(attributes.user)} does not have "get" permission on the object '
                "referenced by paramRef"
            )
            raise _refused(attributes, "paramRef", text)

    def _reading(self, kind: Object | None, *, name: str, namespace: str) -> RequestInfo:
        """What is asked; of a kind that is not known, everything it might be."""
        group = version = plural = "*"
        if kind:
            group, _, version = str(kind.get("apiVersion", "")).rpartition("/")
            found = self._objects.served(GroupVersionKind(group, version, str(kind.get("kind"))))
            plural = found.plural if found else "*"
        return RequestInfo(
            verb="get",
            path="",
            group=group,
            version=version,
            resource=plural,
            namespace=namespace,
            name=name,
        )


def _refused(attributes: Attributes, field: str, text: str) -> Invalid:
    resource = attributes.resource
    problem = forbidden(Path("spec") / field, text)
    return Invalid.of(resource.kind, resource.group, attributes.name, [problem])


def _shown(user: User) -> str:
    """As Go prints the identity."""
    extra = " ".join(f"{key}:[{' '.join(values)}]" for key, values in sorted(user.extra.items()))
    return f"&{{{user.name} {user.uid} [{' '.join(user.groups)}] map[{extra}]}}"
