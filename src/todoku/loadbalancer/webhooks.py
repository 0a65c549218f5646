"""Admission of MetalLB's custom resources, and conversion of BGPPeer (decisions; `serving` is in http.py).

Each review lists the resources it concerns from the API server at that very moment, puts the incoming object
in its place among them, and parses the whole configuration; references to what may still come are not
checked.  Source: admission.k8s.io/v1, apiextensions.k8s.io/v1 and v1beta1 ConversionReview; MetalLB v0.14.9.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from todoku.api.meta import Object, copy
from todoku.loadbalancer.config import Resources, parse
from todoku.loadbalancer.fields import BadConfig, name_of, spec_of
from todoku.loadbalancer.http import Handler, Reply, Request

Lister = Callable[[str], Awaitable[Sequence[Object]]]
"""Lists a resource by its dotted name: the install namespace's, or all nodes."""

_FIELD_OF = {
    "ipaddresspools.metallb.io": "pools",
    "l2advertisements.metallb.io": "l2_advertisements",
    "bgpadvertisements.metallb.io": "bgp_advertisements",
    "bgppeers.metallb.io": "peers",
    "communities.metallb.io": "communities",
    "nodes": "nodes",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What one path reviews, and which lists its verdict rests on."""

    resource: str
    reads: tuple[str, ...]


_POOLS, _L2, _BGP, _PEERS, _COMMUNITIES, _NODES = _FIELD_OF

RULES = {
    "/validate-metallb-io-v1beta1-ipaddresspool": Rule(_POOLS, (_POOLS,)),
    "/validate-metallb-io-v1beta1-l2advertisement": Rule(_L2, (_L2, _POOLS)),
    "/validate-metallb-io-v1beta1-bgpadvertisement": Rule(_BGP, (_BGP, _POOLS, _NODES)),
    "/validate-metallb-io-v1beta2-bgppeer": Rule(_PEERS, (_PEERS,)),
    "/validate-metallb-io-v1beta1-community": Rule(_COMMUNITIES, (_COMMUNITIES,)),
    "/validate-metallb-io-v1beta1-bfdprofile": Rule("bfdprofiles.metallb.io", (_PEERS,)),
}


def handler(list_resource: Lister, namespace: str) -> Handler:
    """Answers every webhook path; `namespace` is where the resources must live."""

    async def handle(request: Request) -> Reply:
        if request.method != "POST":
            return Reply(b"webhooks take POST\n", 405)
        try:
            review = json.loads(request.body)
            asked = review["request"]
        except (ValueError, KeyError, TypeError):
            return Reply(b"the body is no review\n", 400)
        if request.path == "/convert":
            return _json(_answer(review, convert(asked)))
        rule = RULES.get(request.path)
        if rule is None:
            return Reply(b"no such webhook\n", 404)
        refusal = await review_request(rule, asked, list_resource, namespace)
        return _json(_answer(review, _verdict(asked, refusal)))

    return handle


async def review_request(
    rule: Rule, asked: Object, list_resource: Lister, namespace: str
) -> str | None:
    """Why the request is refused, or None."""
    operation, obj = asked.get("operation"), asked.get("object")
    if operation == "CREATE" and asked.get("namespace") != namespace:
        return f"resource must be created in {namespace} namespace"
    lists = {name: list(await list_resource(name)) for name in rule.reads}
    if rule.resource == "bfdprofiles.metallb.io":
        return _used_profile(asked, lists[_PEERS]) if operation == "DELETE" else None
    if operation == "DELETE" or obj is None:
        return None
    lists[rule.resource] = _with(lists[rule.resource], obj)
    return refusal_of(lists)


def refusal_of(lists: dict[str, list[Object]]) -> str | None:
    """The problem of a configuration made of these lists only, references to other objects apart."""
    known: dict[str, Any] = {
        _FIELD_OF[name]: [_without_references(obj) for obj in objects]
        for name, objects in lists.items()
    }
    try:
        parse(Resources(**known))
    except BadConfig as problem:
        return str(problem)
    return None


def convert(asked: Object) -> Object:
    """BGPPeer between v1beta1 and v1beta2; the answer's part of a ConversionReview."""
    wanted = asked["desiredAPIVersion"]
    answer: Object = {"uid": asked["uid"], "result": {"status": "Success"}}
    try:
        answer["convertedObjects"] = [_converted(obj, wanted) for obj in asked["objects"]]
    except ValueError as problem:
        answer["result"] = {"status": "Failed", "message": str(problem)}
        answer["convertedObjects"] = []
    return answer


def _converted(obj: Object, wanted: str) -> Object:
    if obj.get("kind") != "BGPPeer":
        raise ValueError(f"unsupported kind {obj.get('kind')}")
    if (obj["apiVersion"], wanted) == ("metallb.io/v1beta1", "metallb.io/v1beta2"):
        spec = _to_v1beta2(spec_of(obj))
    elif (obj["apiVersion"], wanted) == ("metallb.io/v1beta2", "metallb.io/v1beta1"):
        spec = _to_v1beta1(spec_of(obj))
    elif obj["apiVersion"] == wanted:
        return obj
    else:
        raise ValueError(f"cannot convert {obj['apiVersion']} to {wanted}")
    return obj | {"apiVersion": wanted, "spec": spec}


_SAME = ("myASN", "peerASN", "peerAddress", "sourceAddress", "peerPort", "routerID",
         "password", "bfdProfile", "ebgpMultiHop")  # fmt: skip


def _to_v1beta2(spec: Object) -> Object:
    """An absent hold or keepalive time becomes an explicit 0, as upstream's conversion has it."""
    converted = {name: spec[name] for name in _SAME if name in spec}
    for name in ("holdTime", "keepaliveTime"):
        converted[name] = spec.get(name) or "0s"
    selectors = [_plain(one) for one in spec.get("nodeSelectors") or ()]
    return converted | ({"nodeSelectors": selectors} if selectors else {})


def _to_v1beta1(spec: Object) -> Object:
    converted = {name: spec[name] for name in _SAME if name in spec}
    converted.setdefault("peerASN", 0)
    for name in ("holdTime", "keepaliveTime"):
        if spec.get(name) is not None:
            converted[name] = spec[name]
    selectors = [
        {field: one[field] for field in ("matchLabels", "matchExpressions") if one.get(field)}
        for one in spec.get("nodeSelectors") or ()
    ]
    for one in selectors:
        for expression in one.get("matchExpressions", ()):
            expression.setdefault("values", [])
    return converted | ({"nodeSelectors": selectors} if selectors else {})


def _plain(selector: Object) -> Object:
    return {name: value for name, value in copy(selector).items() if value}


def _used_profile(asked: Object, peers: Sequence[Object]) -> str | None:
    profile = asked.get("name") or name_of(asked.get("oldObject") or {"metadata": {}})
    for peer in peers:
        if spec_of(peer).get("bfdProfile") == profile:
            return f"failed to delete BFDProfile {profile}, used by peer {name_of(peer)}"
    return None


def _with(objects: Sequence[Object], incoming: Object) -> list[Object]:
    """The list as it will be: the incoming object replaces its namesake, or comes last."""
    name = name_of(incoming)
    if all(name_of(obj) != name for obj in objects):
        return [*objects, incoming]
    return [incoming if name_of(obj) == name else obj for obj in objects]


def _without_references(obj: Object) -> Object:
    """What an object says by itself: profiles, password Secrets and bare aliases may come later."""
    spec = dict(spec_of(obj))
    for field in ("bfdProfile", "passwordSecret"):
        spec.pop(field, None)
    listed = spec.get("communities") or ()
    if any(isinstance(one, str) for one in listed):
        spec["communities"] = [one for one in listed if ":" in one]
    return obj | {"spec": spec}


def _verdict(asked: Object, refusal: str | None) -> Object:
    if refusal is None:
        return {"uid": asked["uid"], "allowed": True}
    status = {"metadata": {}, "message": refusal, "reason": "Forbidden", "code": 403}
    return {"uid": asked["uid"], "allowed": False, "status": status}


def _answer(review: Object, response: Object) -> Object:
    """The reply echoes the version in which it was asked."""
    return {
        "kind": review.get("kind"),
        "apiVersion": review.get("apiVersion"),
        "response": response,
    }


def _json(body: Object) -> Reply:
    return Reply(json.dumps(body).encode(), content_type="application/json")
