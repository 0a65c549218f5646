"""Role-based access control over the server's own roles and bindings (rbac.authorization.k8s.io/v1).

An `Index` is a pure reading of the four kinds; `RbacAuthorizer` keeps one as long as none of them changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.apiserver.config import Decision, Objects
from todoku.apiserver.request import RequestInfo, User

GROUP = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"roles.{GROUP}", f"clusterroles.{GROUP}"
ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"
KINDS = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)

_CACHED_DECISIONS = 4096


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule, as sets."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    @staticmethod
    def of(wire: Object) -> Rule:
        return Rule(
            verbs=frozenset(wire.get("verbs") or ()),
            groups=frozenset(wire.get("apiGroups") or ()),
            resources=frozenset(wire.get("resources") or ()),
            names=frozenset(wire.get("resourceNames") or ()),
            paths=tuple(wire.get("nonResourceURLs") or ()),
        )

    def allows(self, info: RequestInfo) -> bool:
        if "*" not in self.verbs and info.verb not in self.verbs:
            return False
        if not info.is_resource:
            return any(_path_matches(path, info.path) for path in self.paths)
        if "*" not in self.groups and info.group not in self.groups:
            return False
        if self.names and info.name not in self.names:
            return False
        return self._covers_resource(info.resource, info.subresource)

    def _covers_resource(self, resource: str, subresource: str) -> bool:
        if "*" in self.resources:
            return True
        combined = f"{resource}/{subresource}" if subresource else resource
        return combined in self.resources or bool(
            subresource and f"*/{subresource}" in self.resources
        )

    def wire(self) -> Object:
        """The rule as a resourceRules or nonResourceRules entry of SelfSubjectRulesReview."""
        if self.paths:
            return {"verbs": sorted(self.verbs), "nonResourceURLs": list(self.paths)}
        body: Object = {
            "verbs": sorted(self.verbs),
            "apiGroups": sorted(self.groups),
            "resources": sorted(self.resources),
        }
        if self.names:
            body["resourceNames"] = sorted(self.names)
        return body


def _path_matches(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])


@dataclass(slots=True)
class _Grants:
    """What the bindings give to one subject: cluster-wide, and per namespace."""

    everywhere: list[tuple[str, str]] = field(default_factory=list)  # (explanation, role key)
    within: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


class Index:
    """The roles and bindings of one moment, by subject."""

    def __init__(
        self,
        *,
        roles: Iterable[Object],
        cluster_roles: Iterable[Object],
        role_bindings: Iterable[Object],
        cluster_role_bindings: Iterable[Object],
    ) -> None:
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._subjects: dict[tuple[str, str], _Grants] = {}
        for role in cluster_roles:
            self._rules[f"/{role['metadata']['name']}"] = _rules(role)
        for role in roles:
            metadata = role["metadata"]
            self._rules[f"{metadata['namespace']}/{metadata['name']}"] = _rules(role)
        for binding in cluster_role_bindings:
            self._bind(binding, "")
        for binding in role_bindings:
            self._bind(binding, binding["metadata"]["namespace"])

    def _bind(self, binding: Object, namespace: str) -> None:
        reference = binding["roleRef"]
        owner = namespace if reference.get("kind") == "Role" else ""
        role = f"{owner}/{reference.get('name', '')}"
        for subject in binding.get("subjects") or ():
            grants = self._subjects.setdefault(_subject_key(subject, namespace), _Grants())
            grant = (_explained(binding, namespace, subject), role)
            if namespace:
                grants.within.setdefault(namespace, []).append(grant)
            else:
                grants.everywhere.append(grant)

    def rules_for(self, user: User, namespace: str) -> Iterator[tuple[str, Rule]]:
        """Every rule that holds for `user`, and through which binding; cluster-wide ones first."""
        granted = [grants for key in _keys(user) if (grants := self._subjects.get(key))]
        for grants in granted:
            yield from self._expanded(grants.everywhere)
        if namespace:
            for grants in granted:
                yield from self._expanded(grants.within.get(namespace, ()))

    def _expanded(self, grants: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Rule]]:
        for binding, role in grants:
            for rule in self._rules.get(role, ()):
                yield binding, rule

    def role(self, namespace: str, name: str) -> tuple[Rule, ...] | None:
        return self._rules.get(f"{namespace}/{name}")


class RbacAuthorizer:
    """Evaluates roles; decisions are remembered until a role or binding changes."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._generations: tuple[int, ...] | None = None
        self._index: Index | None = None
        self._decided: dict[tuple[object, ...], Decision] = {}

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        index = self.index()
        key = (
            user.name, user.groups, info.verb, info.group, info.resource, info.subresource,
            info.namespace, info.name, "" if info.is_resource else info.path,
        )  # fmt: skip
        decision = self._decided.get(key)
        if decision is None:
            if len(self._decided) >= _CACHED_DECISIONS:
                self._decided.clear()
            decision = self._decided[key] = _decide(index, user, info)
        return decision

    async def rules(self, user: User, namespace: str) -> Object:
        status: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
        for _, rule in self.index().rules_for(user, namespace):
            status["nonResourceRules" if rule.paths else "resourceRules"].append(rule.wire())
        return status

    def index(self) -> Index:
        """The index of the current roles and bindings."""
        generations = tuple(self._objects.generation(kind) for kind in KINDS)
        if self._index is None or generations != self._generations:
            self._generations = generations
            self._decided.clear()
            self._index = Index(
                roles=self._objects.list(ROLES),
                cluster_roles=self._objects.list(CLUSTER_ROLES),
                role_bindings=self._objects.list(ROLE_BINDINGS),
                cluster_role_bindings=self._objects.list(CLUSTER_ROLE_BINDINGS),
            )
        return self._index


def _decide(index: Index, user: User, info: RequestInfo) -> Decision:
    for binding, rule in index.rules_for(user, info.namespace):
        if rule.allows(info):
            return Decision(allowed=True, reason=f"RBAC: allowed by {binding}")
    return Decision(allowed=False)


def covers(owned: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """The single rules of `wanted` that `owned` does not grant; empty means nothing is escalated."""
    missing = []
    for rule in wanted:
        missing += [single for single in _split(rule) if not _covered(owned, single)]
    return missing


def _split(rule: Rule) -> Iterator[Rule]:
    """A rule as rules of one verb, group, resource and name each."""
    for verb in sorted(rule.verbs):
        for path in rule.paths:
            yield Rule(frozenset([verb]), paths=(path,))
        for group in sorted(rule.groups):
            for resource in sorted(rule.resources):
                for name in sorted(rule.names) or [""]:
                    names = frozenset([name]) if name else frozenset[str]()
                    yield Rule(frozenset([verb]), frozenset([group]), frozenset([resource]), names)


def _covered(owned: Sequence[Rule], single: Rule) -> bool:
    return any(_grants(rule, single) for rule in owned)


def _grants(owner: Rule, single: Rule) -> bool:
    if "*" not in owner.verbs and not single.verbs <= owner.verbs:
        return False
    if single.paths:
        return any(_path_matches(path, single.paths[0]) for path in owner.paths)
    if "*" not in owner.groups and not single.groups <= owner.groups:
        return False
    if owner.names and (not single.names or not single.names <= owner.names):
        return False
    (wanted,) = single.resources
    _, _, subresource = wanted.partition("/")
    return (
        "*" in owner.resources
        or wanted in owner.resources
        or bool(subresource and f"*/{subresource}" in owner.resources)
    )


def _rules(role: Object) -> tuple[Rule, ...]:
    return tuple(Rule.of(rule) for rule in role.get("rules") or ())


def _explained(binding: Object, namespace: str, subject: Object) -> str:
    name = binding["metadata"]["name"]
    kind, shown = (
        ("RoleBinding", f"{name}/{namespace}") if namespace else ("ClusterRoleBinding", name)
    )
    role = binding["roleRef"]
    who = f'{subject.get("kind")} "{subject.get("name")}'
    if subject.get("kind") == "ServiceAccount":
        who += f"/{subject.get('namespace') or namespace}"
    return f'{kind} "{shown}" of {role.get("kind")} "{role.get("name")}" to {who}"'


def _subject_key(subject: Object, namespace: str) -> tuple[str, str]:
    if subject.get("kind") == "ServiceAccount":
        owner = subject.get("namespace") or namespace
        return "User", f"system:serviceaccount:{owner}:{subject.get('name', '')}"
    return str(subject.get("kind", "")), str(subject.get("name", ""))


def _keys(user: User) -> list[tuple[str, str]]:
    return [("User", user.name), *(("Group", group) for group in user.groups)]
