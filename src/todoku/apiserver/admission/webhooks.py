"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook.

Mutating webhooks run one after the other, in the order of their configurations' names; when one of them changed the
object, all mutating plugins run once more, and of the webhooks those that asked to be reinvoked and did not see the
last change.  Validating webhooks run all at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from todoku.api import decoding, patches, schemas
from todoku.api.errors import ApiError, BadRequest, InternalError
from todoku.api.meta import Object, copy
from todoku.apiserver import custom_bodies
from todoku.apiserver.admission.base import Plugin, refusal
from todoku.apiserver.admission.conditions import ConditionsFailed, Expressions, conditions_hold
from todoku.apiserver.admission.hooks import Caller, Hook, Verdict, denial
from todoku.apiserver.admission.matching import is_exempt, matching_version, shown_as, take_back
from todoku.apiserver.config import Attributes, Objects
from todoku.apiserver.encoding import dumps

MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"


class Hooks:
    """The webhooks of one kind of configuration, read again only when one changed."""

    def __init__(self, objects: Objects, resource: str, expressions: Expressions) -> None:
        self.objects = objects
        self._resource = resource
        self._expressions = expressions
        self._generation: int | None = None
        self._hooks: Sequence[Hook] = ()

    async def shown(self, hook: Hook, attributes: Attributes) -> Attributes | None:
        """The request as the hook sees it; None if it does not concern the hook.

        Raises Forbidden when a match condition cannot be evaluated.
        """
        version = matching_version(hook.rules, attributes, self.objects, exact=hook.exact)
        if version is None or not hook.selectors.matches(attributes, self.objects):
            return None
        shown = await shown_as(attributes, version, self.objects)
        return shown if self._conditions_hold(hook, shown) else None

    def _conditions_hold(self, hook: Hook, attributes: Attributes) -> bool:
        if not hook.conditions:
            return True
        try:
            return conditions_hold(
                hook.conditions,
                self._expressions.over(attributes),
                fails_open=hook.fails_open,
                what=f'webhook "{hook.name}"',
            )
        except ConditionsFailed as failure:
            raise refusal(attributes, str(failure)) from failure

    def all(self, attributes: Attributes) -> Sequence[Hook]:
        """Every hook, in order; none for the objects that configure admission."""
        generation = self.objects.generation(self._resource)
        if generation != self._generation:
            self._generation = generation
            configurations = sorted(
                self.objects.list(self._resource), key=lambda one: str(one["metadata"]["name"])
            )
            self._hooks = [
                Hook.of(one["metadata"]["name"], wire, index)
                for one in configurations
                for index, wire in enumerate(one.get("webhooks") or ())
            ]
        return () if not self._hooks or is_exempt(attributes) else self._hooks


class MutatingWebhooks(Plugin):
    name = "MutatingAdmissionWebhook"

    def __init__(self, hooks: Hooks, caller: Caller) -> None:
        self._hooks = hooks
        self._caller = caller

    async def mutate(self, attributes: Attributes) -> None:
        seen: dict[tuple[str, int], Object | None] = attributes.kept.setdefault(self.name, {})
        for hook in self._hooks.all(attributes):
            if attributes.again and not self._wants_again(hook, seen, attributes):
                continue
            shown = await self._hooks.shown(hook, attributes)
            if shown is None:
                continue
            if await self._apply(hook, shown):
                await take_back(shown, self._hooks.objects)
                attributes.reinvoke = True
            seen[hook.key] = copy(attributes.object)

    @staticmethod
    def _wants_again(
        hook: Hook, seen: dict[tuple[str, int], Object | None], attributes: Attributes
    ) -> bool:
        return hook.reinvoked and hook.key in seen and seen[hook.key] != attributes.object

    async def _apply(self, hook: Hook, attributes: Attributes) -> bool:
        """Ask one webhook and apply its patch; whether the object changed."""
        verdict = await self._caller.ask(hook, attributes, mutating=True)
        if verdict is None:
            return False
        _note(hook, verdict, attributes)
        if not verdict.allowed:
            raise denial(hook, verdict.status)
        if not verdict.patch:
            return False
        before = attributes.object
        if before is None:
            text = f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation'
            raise InternalError.of(text)
        try:
            patched = patches.json_patch(copy(before), verdict.patch)
        except patches.DoesNotApply as error:
            raise InternalError.of(error.why) from error
        except ApiError as error:
            raise InternalError.of(error.message) from error
        if not isinstance(patched, dict) or patched == before:
            return False
        attributes.object = _object(patched, attributes)
        return True


def _object(patched: Object, attributes: Attributes) -> Object:
    """What a patch has made, with its defaults.  Raises InternalError for what is no object of its kind any more."""
    for field in ("kind", "apiVersion"):
        if not isinstance(patched.get(field), str) or not patched[field]:
            word = "Kind" if field == "kind" else "apiVersion"
            raise InternalError.of(f"Object '{word}' is missing in '{dumps(patched).decode()}'")
    if patched.get("metadata") is None:
        patched["metadata"] = {}
    if attributes.kind != attributes.resource.gvk:
        return patched
    resource = attributes.resource
    try:
        if resource.schema in schemas.definitions():
            type_ = schemas.type_of(resource.schema)
            decoding.check_types(patched, type_, kind=resource.kind, version=resource.version)
        else:
            custom_bodies.check_metadata(patched["metadata"], resource.gvk)
    except BadRequest as error:
        raise InternalError.of(error.message) from error
    resource.strategy.default(patched)
    return patched


class ValidatingWebhooks(Plugin):
    name = "ValidatingAdmissionWebhook"

    def __init__(self, hooks: Hooks, caller: Caller) -> None:
        self._hooks = hooks
        self._caller = caller

    async def validate(self, attributes: Attributes) -> None:
        concerned = []
        for hook in self._hooks.all(attributes):
            shown = await self._hooks.shown(hook, attributes)
            if shown is not None:
                concerned.append((hook, shown))
        if not concerned:
            return
        outcomes = await asyncio.gather(
            *(self._judge(hook, shown) for hook, shown in concerned), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _judge(self, hook: Hook, attributes: Attributes) -> None:
        verdict = await self._caller.ask(hook, attributes)
        if verdict is None:
            return
        _note(hook, verdict, attributes)
        if not verdict.allowed:
            raise denial(hook, verdict.status)


def _note(hook: Hook, verdict: Verdict, attributes: Attributes) -> None:
    """Warnings for the client and annotations for the audit log count whatever the verdict is."""
    attributes.warnings.extend(verdict.warnings)
    for key, value in verdict.annotations.items():
        attributes.annotations[f"{hook.name}/{key}"] = str(value)
