"""ValidatingAdmissionPolicies checked against the types of what they match (status.typeChecking).

The warnings change nothing about a policy; they say what would fail for which kind.  Semantics:
k8s.io/apiserver pkg/admission/plugin/policy/validating, typechecking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from todoku.api import schemas
from todoku.api.crd import structural
from todoku.api.meta import GroupVersionKind, Key, Object
from todoku.api.resources import registry
from todoku.api.schemas import Type
from todoku.controllers.controller import Controller

if TYPE_CHECKING:
    from todoku.api.cel.checking import Checker

_CRDS = "customresourcedefinitions.apiextensions.k8s.io"
_MOST_TYPES = 10  # of one policy

Types = Mapping[GroupVersionKind, Type]


def matched_resources(policy: Object) -> Iterator[tuple[str, str, str]]:
    """Group, version and plural of what a policy names; what it names by wildcards is not checked."""
    constraints = (policy.get("spec") or {}).get("matchConstraints") or {}
    for rule in constraints.get("resourceRules") or ():
        groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
        if any("*" in one for one in (*groups, *versions)):
            continue
        plurals = [one for one in rule.get("resources") or () if "*" not in one and "/" not in one]
        for group in sorted(groups):
            for version in sorted(versions):
                for plural in sorted(plurals):
                    yield group, version, plural


def warnings(policy: Object, types: Types, params: Type | None) -> list[Object]:
    """The expressionWarnings of a policy over the types it matches."""
    spec = policy.get("spec") or {}
    checks = [(kind, _checker(type_, params, spec)) for kind, type_ in sorted(types.items())]
    found: list[Object] = []
    for index, one in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            expression = one.get(field) or ""
            if field == "messageExpression" and not expression:
                continue
            problems = [
                f"{_shown(kind)}: {problem}\n"
                for kind, checker in checks
                if (problem := _problem(checker, expression))
            ]
            if problems:
                ref = f"spec.validations[{index}].{field}"
                found.append({"fieldRef": ref, "warning": "\n".join(problems)})
    return found


def _checker(object_type: Type, params: Type | None, spec: Object) -> Checker:
    from todoku.api.cel import CelError, admission
    from todoku.api.cel.checking import Structures

    structures = Structures()
    kind = structures.of_type(object_type, "object")
    typed = {"object": kind, "oldObject": kind}
    if params is not None:
        typed["params"] = structures.of_type(params, "params")
    checker = admission.checker(
        params=spec.get("paramKind") is not None, structures=structures, typed=typed
    )
    for variable in spec.get("variables") or ():
        try:
            checker.define(str(variable.get("name")), str(variable.get("expression")))
        except CelError:
            continue  # it may be anything then
    return checker


def _problem(checker: Checker, expression: str) -> str:
    from todoku.api.cel import CelError

    try:
        checker.check(expression)
    except CelError as error:
        return str(error).removeprefix("compilation failed: ")
    return ""


def _shown(kind: GroupVersionKind) -> str:
    return f"{kind.group}/{kind.version}, Kind={kind.kind}"


class PolicyTypesController(Controller):
    name: ClassVar[str] = "validatingadmissionpolicy-status"
    reconciles: ClassVar[str] = "validatingadmissionpolicies.admissionregistration.k8s.io"

    def setup(self) -> None:
        self.definitions = self.watch(_CRDS)

    async def reconcile(self, key: Key) -> None:
        policy = self.cache.get(key)
        if policy is None:
            return
        generation = policy["metadata"].get("generation", 0)
        status = policy.get("status") or {}
        if generation <= status.get("observedGeneration", 0):
            return
        types = self._matched(policy)
        found = warnings(policy, types, self._params(policy))
        checking: Object = {"expressionWarnings": found} if found else {}
        wanted = status | {"observedGeneration": generation, "typeChecking": checking}
        written = await self.write_status(self.reconciles, policy, wanted)
        await self.cache.reached(written["metadata"]["resourceVersion"])

    def _matched(self, policy: Object) -> Types:
        found: dict[GroupVersionKind, Type] = {}
        for group, version, plural in matched_resources(policy):
            resource = registry().by_path(group, version, plural)
            if resource is not None:
                found[resource.gvk] = schemas.type_of(resource.schema)
            for kind, type_ in self._custom(
                group, version, lambda names: names.get("plural"), plural
            ):
                found[kind] = type_
            if len(found) >= _MOST_TYPES:
                break
        return found

    def _params(self, policy: Object) -> Type | None:
        kind = (policy.get("spec") or {}).get("paramKind")
        if not kind:
            return None
        group, _, version = str(kind.get("apiVersion", "")).rpartition("/")
        gvk = GroupVersionKind(group, version, str(kind.get("kind", "")))
        name = schemas.names_by_kind().get(gvk)
        if name:
            return schemas.type_of(name)
        found = self._custom(group, version, lambda names: names.get("kind"), gvk.kind)
        return next((type_ for _, type_ in found), None)

    def _custom(
        self, group: str, version: str, word: Callable[[Object], object], wanted: str
    ) -> Iterator[tuple[GroupVersionKind, Type]]:
        """The kind and type of a custom resource's version, found by one of its names."""
        definitions: Sequence[Object] = self.definitions.list()
        for crd in definitions:
            spec = crd["spec"]
            if spec.get("group") != group or word(spec["names"]) != wanted:
                continue
            for one in spec["versions"]:
                if one["name"] == version and one.get("served"):
                    kind = GroupVersionKind(group, version, spec["names"]["kind"])
                    yield kind, structural(one).type
