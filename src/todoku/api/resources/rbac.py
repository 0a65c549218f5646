"""Role, ClusterRole and their bindings (rbac.authorization.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from todoku.api import validation
from todoku.api.errors import FieldError, Path, invalid, not_supported, required
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, CREATED_AT, NAME
from todoku.api.resources.rules import Rules
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

GROUP = "rbac.authorization.k8s.io"


def _rule_problems(rules: Sequence[Object], path: Path, *, namespaced: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, rule in enumerate(rules):
        at = path / index
        if not rule.get("verbs"):
            problems.append(required(at / "verbs", "verbs must contain at least one value"))
        urls = rule.get("nonResourceURLs") or []
        if urls:
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                problems.append(invalid(at / "nonResourceURLs", urls, text))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                problems.append(invalid(at / "nonResourceURLs", urls, text))
            continue
        if not rule.get("apiGroups"):
            problems.append(
                required(at / "apiGroups", "resource rules must supply at least one api group")
            )
        if not rule.get("resources"):
            problems.append(
                required(at / "resources", "resource rules must supply at least one resource")
            )
    return problems


def _validate_role(new: Object, old: Object | None) -> list[FieldError]:
    return _rule_problems(new.get("rules") or (), Path("rules"), namespaced=True)


def _validate_cluster_role(new: Object, old: Object | None) -> list[FieldError]:
    problems = _rule_problems(new.get("rules") or (), Path("rules"), namespaced=False)
    aggregation = new.get("aggregationRule")
    if aggregation is not None:
        path = Path("aggregationRule") / "clusterRoleSelectors"
        selectors = aggregation.get("clusterRoleSelectors") or ()
        if not selectors:
            text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            problems.append(required(path, text))
        for index, selector in enumerate(selectors):
            found = selector_problems(selector, path / index)
            problems += found
            if found:
                problems.append(invalid(path / index, selector, "invalid label selector."))
    return problems


def _default_role(obj: Object) -> None:
    if "rules" not in obj:
        obj["rules"] = None


def default_binding(obj: Object) -> None:
    reference = obj.setdefault("roleRef", {})
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in obj.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP


def _binding_problems(obj: Object, kinds: tuple[str, ...], *, namespaced: bool) -> list[FieldError]:
    reference, path = obj.get("roleRef") or {}, Path("roleRef")
    problems: list[FieldError] = []
    if reference.get("apiGroup") != GROUP:
        problems.append(not_supported(path / "apiGroup", reference.get("apiGroup") or "", (GROUP,)))
    if reference.get("kind") not in kinds:
        problems.append(not_supported(path / "kind", reference.get("kind") or "", kinds))
    name = reference.get("name") or ""
    if not name:
        problems.append(required(path / "name"))
    else:
        problems += [invalid(path / "name", name, text) for text in validation.path_segment(name)]
    for index, subject in enumerate(obj.get("subjects") or ()):
        problems += _subject_problems(subject, Path("subjects") / index, namespaced=namespaced)
    return problems


def _subject_problems(subject: Object, at: Path, *, namespaced: bool) -> list[FieldError]:
    kind, group, name = (
        subject.get("kind") or "",
        subject.get("apiGroup") or "",
        subject.get("name") or "",
    )
    problems: list[FieldError] = []
    if not name:
        problems.append(required(at / "name"))
    if kind == "ServiceAccount":
        if name:
            problems += [
                invalid(at / "name", name, text) for text in validation.dns1123_subdomain(name)
            ]
        if group:
            problems.append(not_supported(at / "apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            problems.append(required(at / "namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            problems.append(not_supported(at / "apiGroup", group, (GROUP,)))
    else:
        problems.append(not_supported(at / "kind", kind, ("ServiceAccount", "User", "Group")))
    return problems


def _validate_binding(new: Object, old: Object | None, *, namespaced: bool) -> list[FieldError]:
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    problems = _binding_problems(new, kinds, namespaced=namespaced)
    if old is not None and new.get("roleRef") != old.get("roleRef"):
        shown = rendered(new.get("roleRef"), "RoleRef")
        problems.append(invalid(Path("roleRef"), shown, "cannot change roleRef"))
    return problems


def _role_row(obj: Object) -> list[object]:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp") or "<unknown>"]


def _names(obj: Object, kind: str) -> str:
    found = [one for one in obj.get("subjects") or () if one.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{one.get('namespace', '')}/{one.get('name', '')}" for one in found)
    return ", ".join(one.get("name", "") for one in found)


def _binding_row(obj: Object) -> list[object]:
    reference = obj.get("roleRef") or {}
    return [
        obj["metadata"]["name"],
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        created(obj),
        _names(obj, "User"),
        _names(obj, "Group"),
        _names(obj, "ServiceAccount"),
    ]


_ROLE_COLUMNS = (NAME, CREATED_AT)


def _binding_columns(kind: str) -> tuple[Column, ...]:
    where = f"in the {kind[0].lower()}{kind[1:]}"
    return (
        NAME,
        Column(name="Role", documents=f"rbac.v1.{kind}.roleRef"),
        AGE,
        Column(name="Users", priority=1, description=f"Users {where}"),
        Column(name="Groups", priority=1, description=f"Groups {where}"),
        Column(name="ServiceAccounts", priority=1, description=f"ServiceAccounts {where}"),
    )


def _role(validate: Callable[[Object, Object | None], list[FieldError]]) -> Rules:
    return Rules(
        strategy=Strategy(
            default=_default_role,
            validate=validate,
            has_status=False,
            has_generation=False,
        ),
        columns=_ROLE_COLUMNS,
        row=_role_row,
    )


def _binding(*, namespaced: bool) -> Rules:
    return Rules(
        strategy=Strategy(
            default=default_binding,
            validate=lambda new, old: _validate_binding(new, old, namespaced=namespaced),
            has_status=False,
            has_generation=False,
        ),
        columns=_binding_columns("RoleBinding" if namespaced else "ClusterRoleBinding"),
        row=_binding_row,
    )


ROLE = _role(_validate_role)
CLUSTER_ROLE = _role(_validate_cluster_role)
ROLE_BINDING = _binding(namespaced=True)
CLUSTER_ROLE_BINDING = _binding(namespaced=False)
