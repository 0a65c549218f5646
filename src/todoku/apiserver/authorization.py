"""What an identity may do: the chain of authorizers, the reviews that ask it, and how a refusal is worded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from todoku.api.errors import BadRequest, FieldError, Forbidden, Invalid
from todoku.api.meta import Object
from todoku.api.resources import review_validation
from todoku.apiserver.config import Authorizer, Call, Decision, Handler
from todoku.apiserver.request import SYSTEM_MASTERS, RequestInfo, User

GROUP = "authorization.k8s.io"


class AlwaysAllow:
    """Authorization switched off."""

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        return Decision(allowed=True)

    async def rules(self, user: User, namespace: str) -> Object:
        return _everything()


class Chain:
    """Asks authorizers in order: the first that allows, or explicitly denies, decides.

    Members of system:masters are always allowed, before anyone is asked.
    """

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    async def authorize(self, user: User, info: RequestInfo) -> Decision:
        if SYSTEM_MASTERS in user.groups:
            return Decision(allowed=True)
        info = _named(info)
        reasons = []
        for authorizer in self._authorizers:
            decision = await authorizer.authorize(user, info)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(allowed=False, reason="\n".join(reasons))

    async def rules(self, user: User, namespace: str) -> Object:
        if SYSTEM_MASTERS in user.groups:
            return _everything()
        merged: Object = {"resourceRules": [], "nonResourceRules": [], "incomplete": False}
        for authorizer in self._authorizers:
            part = await authorizer.rules(user, namespace)
            merged["resourceRules"] += part["resourceRules"]
            merged["nonResourceRules"] += part["nonResourceRules"]
            merged["incomplete"] |= part["incomplete"]
            errors = [
                text
                for text in (merged.get("evaluationError"), part.get("evaluationError"))
                if text
            ]
            if errors:
                merged["evaluationError"] = ", ".join(errors)
        return merged


def _everything() -> Object:
    resources = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    return {"resourceRules": [resources], "nonResourceRules": [paths], "incomplete": False}


def _named(info: RequestInfo) -> RequestInfo:
    """A list or watch of one object by its name in the field selector is a request for that name."""
    if info.name or "metadata.name=" not in info.field_selector:
        return info
    for requirement in info.field_selector.split(","):
        field, _, value = requirement.partition("=")
        if field.strip() == "metadata.name":
            return replace(info, name=value.removeprefix("=").strip())
    return info


def forbidden(user: User, info: RequestInfo, decision: Decision) -> Forbidden:
    """The 403 of a refused request, worded as clients know it."""
    tail = f": {decision.reason}" if decision.reason else ""
    if not info.is_resource:
        why = f'User "{user.name}" cannot {info.verb} path "{info.path}"'
        return Forbidden(f"forbidden: {why}{tail}", details={})
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    where = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    why = (
        f'User "{user.name}" cannot {info.verb} resource "{resource}" '
        f'in API group "{info.group}" {where}{tail}'
    )
    return Forbidden.of(info.resource_name, info.name, why)


def handlers(authorizer: Authorizer) -> Mapping[str, Handler]:
    """The four review resources of authorization.k8s.io."""
    reviews = Reviews(authorizer)
    return {
        f"subjectaccessreviews.{GROUP}": reviews.subject,
        f"localsubjectaccessreviews.{GROUP}": reviews.local,
        f"selfsubjectaccessreviews.{GROUP}": reviews.own,
        f"selfsubjectrulesreviews.{GROUP}": reviews.rules,
    }


class Reviews:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def subject(self, call: Call) -> Object:
        _refuse(review_validation.subject_problems(call.body))
        return await self._decide(call.body, _subject(call.body))

    async def local(self, call: Call) -> Object:
        _refuse(review_validation.local_problems(call.body, call.info.namespace))
        return await self._decide(call.body, _subject(call.body))

    async def own(self, call: Call) -> Object:
        _refuse(review_validation.own_problems(call.body))
        return await self._decide(call.body, call.user)

    async def rules(self, call: Call) -> Object:
        namespace = call.body.get("spec", {}).get("namespace", "")
        if not namespace:
            raise BadRequest("no namespace on request")
        status = await self._authorizer.rules(call.user, namespace)
        return {**call.body, "status": status}

    async def _decide(self, review: Object, user: User) -> Object:
        decision = await self._authorizer.authorize(user, _asked(review.get("spec", {})))
        status: Object = {"allowed": decision.allowed}
        if decision.denied and not decision.allowed:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        return {**review, "status": status}


def _refuse(problems: list[FieldError]) -> None:
    """The 422 of a review: upstream names no kind, for the one that came was dropped with its version."""
    if problems:
        raise Invalid.of("", GROUP, "", problems)


def _subject(review: Object) -> User:
    spec = review.get("spec", {})
    return User(
        name=spec.get("user", ""),
        uid=spec.get("uid", ""),
        groups=tuple(spec.get("groups") or ()),
        extra={key: tuple(values) for key, values in (spec.get("extra") or {}).items()},
    )


def _asked(spec: Object) -> RequestInfo:
    """The request that a review's spec describes."""
    paths: Object | None = spec.get("nonResourceAttributes")
    resources: Object | None = spec.get("resourceAttributes")
    if paths is not None:
        return RequestInfo(verb=paths.get("verb", ""), path=paths.get("path", ""))
    assert resources is not None
    return RequestInfo(
        verb=resources.get("verb", ""),
        path="",
        group=resources.get("group", ""),
        version=resources.get("version", ""),
        # an empty resource matches no rule but the wildcard, yet stays a resource request
        resource=resources.get("resource", "") or "*",
        subresource=resources.get("subresource", ""),
        namespace=resources.get("namespace", ""),
        name=resources.get("name", ""),
    )
