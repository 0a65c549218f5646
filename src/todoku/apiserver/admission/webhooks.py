"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook.

Mutating webhooks run one after the other, in the order of their configurations' names; when one of them changed the
object, the built-in mutating plugins run once more, and webhooks that asked to be reinvoked do too if the object
changed after they saw it.  Validating webhooks run all at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from todoku.api import patches
from todoku.api.errors import ApiError, InternalError
from todoku.api.meta import Object, copy
from todoku.apiserver.admission.base import Plugin, is_main, new_object
from todoku.apiserver.admission.conditions import Conditions, MatchConditionSyntax
from todoku.apiserver.admission.hooks import Caller, Hook, denial
from todoku.apiserver.admission.matching import is_exempt, rule_matches
from todoku.apiserver.config import AdmissionPlugin, Attributes, Objects

MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"


class Hooks:
    """The webhooks of one kind of configuration, read again only when one changed."""

    def __init__(self, objects: Objects, resource: str, conditions: Conditions) -> None:
        self._objects = objects
        self._resource = resource
        self._conditions = conditions
        self._generation: int | None = None
        self._hooks: Sequence[Hook] = ()

    async def matching(self, attributes: Attributes) -> list[Hook]:
        """The webhooks to call for a request.  Raises when a match condition cannot be evaluated."""
        if is_exempt(attributes):
            return []
        return [hook for hook in self._all() if await self._matches(hook, attributes)]

    async def _matches(self, hook: Hook, attributes: Attributes) -> bool:
        return (
            any(rule_matches(rule, attributes) for rule in hook.rules)
            and hook.selectors.matches(attributes, self._objects)
            and await self._conditions.hold(
                hook.conditions,
                attributes,
                fails_open=hook.fails_open,
                what=f'webhook "{hook.name}"',
            )
        )

    def _all(self) -> Sequence[Hook]:
        generation = self._objects.generation(self._resource)
        if generation != self._generation:
            self._generation = generation
            configurations = sorted(
                self._objects.list(self._resource), key=lambda one: str(one["metadata"]["name"])
            )
            self._hooks = [
                Hook.of(one["metadata"]["name"], wire)
                for one in configurations
                for wire in one.get("webhooks") or ()
            ]
        return self._hooks


class _Configured(Plugin):
    """Both plugins also refuse configurations whose match conditions do not compile."""

    resource = ""

    def _check(self, attributes: Attributes) -> None:
        if attributes.operation in ("CREATE", "UPDATE") and is_main(attributes, self.resource):
            MatchConditionSyntax.check(attributes, new_object(attributes).get("webhooks") or ())


class MutatingWebhooks(_Configured):
    name = "MutatingAdmissionWebhook"
    resource = MUTATING

    def __init__(self, hooks: Hooks, caller: Caller, earlier: Sequence[AdmissionPlugin]) -> None:
        self._hooks = hooks
        self._caller = caller
        self._earlier = earlier

    async def mutate(self, attributes: Attributes) -> None:
        hooks = await self._hooks.matching(attributes)
        if not hooks:
            return
        seen: dict[str, Object | None] = {}
        changed = False
        for hook in hooks:
            changed |= await self._apply(hook, attributes)
            seen[hook.name] = copy(attributes.object)
        if not changed:
            return
        for plugin in self._earlier:
            await plugin.mutate(attributes)
        for hook in await self._hooks.matching(attributes):
            if hook.reinvoked and seen.get(hook.name) != attributes.object:
                await self._apply(hook, attributes)

    async def validate(self, attributes: Attributes) -> None:
        self._check(attributes)

    async def _apply(self, hook: Hook, attributes: Attributes) -> bool:
        """Ask one webhook and apply its patch; whether the object changed."""
        verdict = await self._caller.ask(hook, attributes)
        if verdict is None:
            return False
        attributes.warnings.extend(verdict.warnings)
        if not verdict.allowed:
            raise denial(hook, verdict.status)
        if not verdict.patch or attributes.object is None:
            return False
        before = attributes.object
        try:
            patched = patches.json_patch(copy(before), verdict.patch)
        except ApiError as error:
            raise InternalError(f"Internal error occurred: {error.message}") from error
        if not isinstance(patched, dict) or patched == before:
            return False
        attributes.object = patched
        attributes.resource.strategy.default(patched)
        return True


class ValidatingWebhooks(_Configured):
    name = "ValidatingAdmissionWebhook"
    resource = VALIDATING

    def __init__(self, hooks: Hooks, caller: Caller) -> None:
        self._hooks = hooks
        self._caller = caller

    async def validate(self, attributes: Attributes) -> None:
        self._check(attributes)
        hooks = await self._hooks.matching(attributes)
        if not hooks:
            return
        outcomes = await asyncio.gather(
            *(self._judge(hook, attributes) for hook in hooks), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _judge(self, hook: Hook, attributes: Attributes) -> None:
        verdict = await self._caller.ask(hook, attributes)
        if verdict is None:
            return
        attributes.warnings.extend(verdict.warnings)
        if not verdict.allowed:
            raise denial(hook, verdict.status)
