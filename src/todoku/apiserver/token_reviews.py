"""TokenRequest, TokenReview and SelfSubjectReview: the resources that make and judge tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from todoku.api.errors import BadRequest, Conflict, FieldError, Invalid, NotFound, Path, invalid
from todoku.api.meta import Object
from todoku.apiserver.config import Call, Handler, Objects
from todoku.apiserver.tokens import Binding, InvalidToken, ServiceAccountTokens, TokenAuthenticator

GROUP = "authentication.k8s.io"
_MIN_SECONDS = 600
_INVALID = "invalid bearer token"
_MAX_SECONDS = 1 << 32
_DEFAULT_SECONDS = 3600


def handlers(
    objects: Objects, tokens: ServiceAccountTokens | None, authenticator: TokenAuthenticator
) -> Mapping[str, Handler]:
    async def review(call: Call) -> Object:
        return {**call.body, "status": _review(authenticator, call.body)}

    async def self_review(call: Call) -> Object:
        return {**call.body, "status": {"userInfo": call.user.info()}}

    served: dict[str, Handler] = {
        f"tokenreviews.{GROUP}": review,
        f"selfsubjectreviews.{GROUP}": self_review,
    }
    if tokens is not None:
        served["serviceaccounts/token"] = TokenRequests(objects, tokens).create
    return served


def _review(authenticator: TokenAuthenticator, body: Object) -> Object:
    spec = body.get("spec", {})
    token = spec.get("token", "")
    if not token:
        raise BadRequest("token is required for TokenReview in authentication")
    try:
        user, audiences = authenticator.authenticate_token(token, spec.get("audiences") or ())
    except InvalidToken as error:
        why = str(error)
        return {"user": {}, "error": why if why == _INVALID else f"[{_INVALID}, {why}]"}
    info = user.info()
    groups = info.get("groups") or []
    assert isinstance(groups, list)
    info["groups"] = [*groups, "system:authenticated"]
    return {"authenticated": True, "user": info, "audiences": audiences}


class TokenRequests:
    def __init__(self, objects: Objects, tokens: ServiceAccountTokens) -> None:
        self._objects = objects
        self._tokens = tokens

    async def create(self, call: Call) -> Object:
        """POST serviceaccounts/NAME/token: answers with the request, its status filled."""
        assert call.parent is not None
        body = {**call.body, "spec": dict(call.body.get("spec") or {})}
        spec = body["spec"]
        spec["audiences"] = list(spec.get("audiences") or self._tokens.api_audiences)
        spec.setdefault("expirationSeconds", _DEFAULT_SECONDS)
        problems = _problems(spec)
        metadata = call.parent["metadata"]
        if problems:
            raise Invalid.of("TokenRequest", GROUP, metadata["name"], problems)
        bound, node = self._binding(spec.get("boundObjectRef"), call.parent)
        issued = self._tokens.issue(
            call.parent,
            audiences=spec["audiences"],
            seconds=spec["expirationSeconds"],
            bound=bound,
            node=node,
        )
        body["metadata"] = {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "creationTimestamp": _stamp(issued.expires - spec["expirationSeconds"]),
        }
        body["status"] = {"token": issued.token, "expirationTimestamp": _stamp(issued.expires)}
        return body

    def _binding(
        self, reference: Object | None, account: Object
    ) -> tuple[Binding | None, Binding | None]:
        """What the token is bound to, and the node of a bound pod."""
        if not reference:
            return None, None
        kind, name = str(reference.get("kind", "")), str(reference.get("name", ""))
        if reference.get("apiVersion") != "v1" or kind not in ("Pod", "Secret", "Node"):
            raise BadRequest(
                f"cannot bind token to object of type {reference.get('apiVersion', '')}, Kind={kind}"
            )
        resource = f"{kind.lower()}s"
        namespace = "" if kind == "Node" else account["metadata"]["namespace"]
        found = self._objects.get(resource, name, namespace)
        if found is None:
            raise NotFound.of(resource, name)
        uid = found["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match "
                f"the UID in record. The object might have been deleted and then recreated"
            )
            raise Conflict.of(resource, name, why)
        if kind == "Pod":
            _check_account(found, account)
        return Binding(kind.lower(), name, uid), self._node_of(found) if kind == "Pod" else None

    def _node_of(self, pod: Object) -> Binding | None:
        name = pod.get("spec", {}).get("nodeName", "")
        node = self._objects.get("nodes", name) if name else None
        return Binding("node", name, node["metadata"]["uid"]) if node else None


def _check_account(pod: Object, account: Object) -> None:
    used = pod.get("spec", {}).get("serviceAccountName", "")
    if used != account["metadata"]["name"]:
        raise BadRequest(
            f'cannot bind token for serviceaccount "{account["metadata"]["name"]}" to pod running '
            f'with different serviceaccount name "{used}"'
        )


def _problems(spec: Object) -> list[FieldError]:
    path, seconds = Path("spec") / "expirationSeconds", spec["expirationSeconds"]
    if seconds < _MIN_SECONDS:
        return [invalid(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > _MAX_SECONDS:
        return [invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
