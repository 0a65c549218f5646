"""MutatingAdmissionPolicy: CEL that builds what is merged into the object, or a JSON patch for it (KEP-3962)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from todoku.api import cel, patches, schemas
from todoku.api.cel.literals import as_maps
from todoku.api.errors import ApiError
from todoku.api.meta import Object, copy
from todoku.api.patches import fieldsets, typed
from todoku.api.schemas import Type
from todoku.apiserver.admission.base import Plugin, new_object
from todoku.apiserver.admission.conditions import Expressions
from todoku.apiserver.admission.matching import take_back
from todoku.apiserver.admission.policies import (
    Bound,
    Invoked,
    Misconfigured,
    Policies,
    denial,
    evaluation_of,
)
from todoku.apiserver.config import Attributes, Objects


class Refused(Exception):
    """A mutation cannot be made; the text says why."""


class MutatingPolicies(Plugin):
    name = "MutatingAdmissionPolicy"

    def __init__(self, objects: Objects, policies: Policies, expressions: Expressions) -> None:
        self._objects = objects
        self._policies = policies
        self._expressions = expressions

    async def mutate(self, attributes: Attributes) -> None:
        """Every policy is applied; the first error that its failure policy does not ignore is the answer."""
        if attributes.object is None:
            return
        seen: dict[tuple[str, ...], Object | None] = attributes.kept.setdefault(self.name, {})
        refusals: list[str] = []
        for bound in self._policies.concerning(attributes):
            if isinstance(bound, Misconfigured):
                refusals.append(_refusal(bound.policy, bound.binding, bound.why))
                continue
            if attributes.again and not self._wants_again(bound, seen, attributes):
                continue
            invoked = await Invoked.of(bound, attributes, self._objects, self._expressions)
            try:
                await self._apply(invoked, attributes)
            except (Refused, cel.CelError) as problem:
                if not bound.fails_open:
                    refusals.append(_refusal(bound.policy_name, bound.binding_name, str(problem)))
            seen[bound.key] = copy(attributes.object)
        if refusals:
            raise denial(attributes, refusals[0], "Invalid")

    @staticmethod
    def _wants_again(
        bound: Bound, seen: dict[tuple[str, ...], Object | None], attributes: Attributes
    ) -> bool:
        return (
            bound.spec.get("reinvocationPolicy") == "IfNeeded"
            and bound.key in seen
            and seen[bound.key] != attributes.object
        )

    async def _apply(self, invoked: Invoked, attributes: Attributes) -> None:
        """Make all mutations of a policy, each over what the one before made; one that fails changes nothing.

        Raises the first Refused or CelError once all have been tried.
        """
        if not invoked.applies():
            return
        shown, before = invoked.shown, invoked.shown.object
        problems: list[Exception] = []
        for mutation in invoked.bound.spec.get("mutations") or ():
            try:
                self._mutate_once(mutation, invoked)
            except (Refused, cel.CelError) as problem:
                problems.append(problem)
        if shown.object != before:
            await take_back(shown, self._objects)
            attributes.reinvoke = True
        if problems:
            raise problems[0]

    def _mutate_once(self, mutation: Object, invoked: Invoked) -> None:
        shown = invoked.shown
        evaluation = evaluation_of(invoked.bound, shown, self._objects, self._expressions)
        type_ = type_of(shown, self._objects)
        shown.object = _mutated(mutation, new_object(shown), type_, evaluation.value)
        if shown.kind == shown.resource.gvk:
            shown.resource.strategy.default(shown.object)


def _refusal(policy: str, binding: str, why: str) -> str:
    if not binding:
        return f"policy '{policy}' denied request: {why}"
    return f"policy '{policy}' with binding '{binding}' denied request: {why}"


def _mutated(mutation: Object, current: Object, type_: Type | None, value: Any) -> Object:
    """The object after one mutation.  Raises Refused, CelError."""
    if mutation.get("patchType") == "JSONPatch":
        return _json_patched(current, _evaluated(mutation, "jsonPatch", value))
    configuration = _evaluated(mutation, "applyConfiguration", value)
    if not isinstance(configuration, dict):
        raise Refused("unsupported return type from ApplyConfiguration expression")
    try:
        return _applied(current, configuration, type_)
    except (fieldsets.FieldError, ApiError) as error:
        why = error.message if isinstance(error, ApiError) else str(error)
        raise Refused(f"error applying patch: {why}") from error


def _evaluated(mutation: Object, field: str, value: Any) -> Any:
    expression = str((mutation.get(field) or {}).get("expression", ""))
    try:
        return value(as_maps(expression))
    except cel.CelError as error:
        # what was evaluated is not what was written
        raise cel.CelError(str(error).replace(as_maps(expression), expression)) from error


def _json_patched(current: Object, operations: Any) -> Object:
    if not isinstance(operations, list):
        raise Refused("type mismatch: JSONPatchType.expression should evaluate to array")
    try:
        patched = patches.json_patch(copy(current), [_operation(one) for one in operations])
    except patches.DoesNotApply as error:
        if error.tested:
            return current  # a test that does not hold: the patch is not applied
        raise Refused(f"JSONPath: {error.why}") from error
    except ApiError as error:
        raise Refused(f"JSONPath: {error.message}") from error
    return dict(patched)


def _operation(operation: Any) -> Any:
    if not isinstance(operation, dict):
        raise Refused(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch"
        )
    return {key: one for key, one in operation.items() if one is not None or key == "value"}


def type_of(attributes: Attributes, objects: Objects) -> Type | None:
    """The schema of what is admitted: of a subresource's own kind too."""
    if attributes.kind == attributes.resource.gvk:
        return objects.schema(attributes.resource)
    name = schemas.names_by_kind().get(attributes.kind)
    return schemas.type_of(name) if name else None


def _applied(current: Object, configuration: Object, type_: Type | None) -> Object:
    """The configuration merged by the types of the fields.  Raises Refused, FieldError."""
    if type_ is None:
        return dict(patches.merge_patch(current, configuration))
    undeclared = list(_undeclared(configuration, type_, ""))
    if undeclared:
        problems = [f"{one}: field not declared in schema" for one in undeclared]
        why = problems[0] if len(problems) == 1 else "\n  ".join(["errors:", *problems])
        text = f"failed to convert patch object to typed object: {why}"
        raise Refused(f"error applying patch: {text}")
    atomic = list(_atomics(configuration, type_, ""))
    if atomic:
        listed = ", ".join(atomic)
        why = f"may not mutate atomic arrays, maps or structs: {listed}"
        raise Refused(f"error applying patch: invalid ApplyConfiguration: {why}")
    return dict(typed.merge(current, configuration, type_))


def _undeclared(value: Any, type_: Type, path: str) -> Iterator[str]:
    """Fields that a configuration sets and the schema does not have."""
    if isinstance(value, dict):
        for key, child in value.items():
            below = type_.fields.get(key) if type_.kind == "struct" else type_.items
            if below is not None:
                yield from _undeclared(child, below, f"{path}.{key}")
            elif type_.kind == "struct" and not type_.open:
                yield f"{path}.{key}"
    elif isinstance(value, list) and type_.items is not None:
        for index, child in enumerate(value):
            yield from _undeclared(child, type_.items, f"{path}[{index}]")


def _atomics(value: Any, type_: Type, path: str) -> Iterator[str]:
    """Where a configuration sets what can only be replaced as a whole."""
    if isinstance(value, dict):
        if type_.kind in ("struct", "map", "any") and type_.map_type == "atomic":
            yield path
        for key, child in value.items():
            below = type_.fields.get(key) if type_.kind == "struct" else type_.items
            if below is not None:
                yield from _atomics(child, below, f"{path}.{key}")
    elif isinstance(value, list) and type_.kind == "list":
        if type_.list_type == "atomic":
            yield path
        for index, child in enumerate(value):
            if type_.items is not None:
                yield from _atomics(child, type_.items, f"{path}[{index}]")
