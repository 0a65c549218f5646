"""Nobody gives away rights they do not hold: writing roles and bindings (RBAC privilege escalation prevention).

Source: docs, Using RBAC Authorization, Privilege escalation prevention and bootstrapping.
"""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object
from todoku.apiserver import rbac
from todoku.apiserver.admission.base import Plugin, new_object, refusal
from todoku.apiserver.config import Attributes, Authorizer
from todoku.apiserver.rbac import RbacAuthorizer, Rule
from todoku.apiserver.request import SYSTEM_MASTERS, RequestInfo

_ROLES = (rbac.ROLES, rbac.CLUSTER_ROLES)
_BINDINGS = (rbac.ROLE_BINDINGS, rbac.CLUSTER_ROLE_BINDINGS)


class RbacEscalation(Plugin):
    name = "RBACEscalation"

    def __init__(self, authorizer: Authorizer, roles: RbacAuthorizer) -> None:
        self._authorizer = authorizer
        self._roles = roles

    async def mutate(self, attributes: Attributes) -> None:
        """Runs first, as upstream's storage does: before any other plugin can refuse."""
        if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
            return
        if SYSTEM_MASTERS in attributes.user.groups:
            return
        if attributes.resource.name in _ROLES:
            await self._check_role(attributes)
        elif attributes.resource.name in _BINDINGS:
            await self._check_binding(attributes)

    async def _check_role(self, attributes: Attributes) -> None:
        new, old = new_object(attributes), attributes.old
        if old is not None and _same(new, old, "rules", "aggregationRule"):
            return
        if await self._may(attributes, "escalate", attributes.resource.plural, attributes.name):
            return
        wanted = [Rule.of(one) for one in new.get("rules") or ()]
        if new.get("aggregationRule"):
            wanted.append(Rule(frozenset("*"), frozenset("*"), frozenset("*")))
        self._require(attributes, wanted)

    async def _check_binding(self, attributes: Attributes) -> None:
        new, old = new_object(attributes), attributes.old
        if old is not None and _same(new, old, "subjects", "roleRef"):
            return
        reference = new.get("roleRef") or {}
        plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
        name = str(reference.get("name", ""))
        if await self._may(attributes, "bind", plural, name):
            return
        namespace = attributes.namespace if plural == "roles" else ""
        rules = self._roles.index().role(namespace, name)
        if rules is None:
            raise refusal(attributes, f'{plural}.{rbac.GROUP} "{name}" not found')
        self._require(attributes, rules)

    async def _may(self, attributes: Attributes, verb: str, plural: str, name: str) -> bool:
        info = RequestInfo(
            verb=verb,
            path="",
            group=rbac.GROUP,
            version="v1",
            resource=plural,
            namespace=attributes.namespace,
            name=name,
        )
        return (await self._authorizer.authorize(attributes.user, info)).allowed

    def _require(self, attributes: Attributes, wanted: Sequence[Rule]) -> None:
        user = attributes.user
        owned = [rule for _, rule in self._roles.index().rules_for(user, attributes.namespace)]
        missing = rbac.covers(owned, wanted)
        if missing:
            groups = " ".join(f'"{group}"' for group in user.groups)
            listed = "\n".join(_shown(rule) for rule in _compacted(missing))
            raise refusal(
                attributes,
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
                f"not currently held:\n{listed}",
            )


def _same(new: Object, old: Object, *fields: str) -> bool:
    return all((new.get(field) or None) == (old.get(field) or None) for field in fields)


def _compacted(rules: Sequence[Rule]) -> list[Rule]:
    """Single rules that differ in their verb only, put together again."""
    merged: dict[tuple[object, ...], Rule] = {}
    for rule in rules:
        key = (rule.groups, rule.resources, rule.names, rule.paths)
        known = merged.get(key)
        verbs = known.verbs | rule.verbs if known else rule.verbs
        merged[key] = Rule(verbs, rule.groups, rule.resources, rule.names, rule.paths)
    return list(merged.values())


def _shown(rule: Rule) -> str:
    parts = []
    if rule.paths:
        parts.append(("NonResourceURLs", rule.paths))
    else:
        parts += [
            ("APIGroups", tuple(sorted(rule.groups))),
            ("Resources", tuple(sorted(rule.resources))),
        ]
        if rule.names:
            parts.append(("ResourceNames", tuple(sorted(rule.names))))
    parts.append(("Verbs", tuple(sorted(rule.verbs))))
    texts = [f"{name}:[" + " ".join(f'"{one}"' for one in values) + "]" for name, values in parts]
    return "{" + ", ".join(texts) + "}"
