"""Packing endpoints into EndpointSlices with as few writes as possible.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object
from todoku.controllers import endpoints_of
from todoku.controllers.controller import owner_reference

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100


@dataclass(slots=True)
class Plan:
    """Slices to write; what needs no change is in none of them."""

    create: list[Object] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def plan(
    service: Object, members: Sequence[Object], existing: Sequence[Object], nodes: Mapping[str, Object],
    *, trigger: str = "",
) -> Plan:  # fmt: skip
    """What makes the Service's slices say what its pods are (spec/service-networking 2)."""
    types = endpoints_of.address_types(service)
    decided = Plan(delete=[one for one in existing if one.get("addressType") not in types])
    for family in types:
        mine = [one for one in existing if one.get("addressType") == family]
        wanted = _wanted(service, members, family, nodes)
        _pack(service, family, wanted, mine, decided)
    _reuse(decided)
    if trigger:
        for one in [*decided.create, *decided.update]:
            one["metadata"].setdefault("annotations", {})[endpoints_of.TRIGGER_TIME] = trigger
    return decided


def _wanted(
    service: Object, members: Sequence[Object], family: str, nodes: Mapping[str, Object]
) -> dict[str, tuple[list[Object], dict[str, Object]]]:
    """Port sets, by their text, with the endpoints that serve them, by target."""
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    groups: dict[str, tuple[list[Object], dict[str, Object]]] = {}
    for pod in members:
        if not endpoints_of.address(pod, family):
            continue
        node = pod["spec"].get("nodeName")
        if node and node not in nodes and not always:
            continue  # a pod of an unknown node is reachable by nobody
        ports = endpoints_of.ports(service, pod)
        made = endpoints_of.endpoint(service, pod, family, nodes)
        groups.setdefault(_text(ports), (ports, {}))[1][_identity(made)] = made
    if not groups:
        groups[_text([])] = ([], {})  # the placeholder says: this Service has no endpoints
    return groups


def _pack(
    service: Object,
    family: str,
    wanted: dict[str, tuple[list[Object], dict[str, Object]]],
    existing: Sequence[Object],
    decided: Plan,
) -> None:
    for text, (ports, endpoints) in wanted.items():
        same = [one for one in existing if _text(one.get("ports") or []) == text]
        _pack_group(service, family, ports, dict(endpoints), same, decided)
    known = set(wanted)
    decided.delete += [one for one in existing if _text(one.get("ports") or []) not in known]


def _pack_group(
    service: Object,
    family: str,
    ports: list[Object],
    left: dict[str, Object],
    existing: Sequence[Object],
    decided: Plan,
) -> None:
    clean: list[Object] = []
    dirty: list[Object] = []
    for one in existing:
        kept = [left.pop(i) for i in map(_identity, one.get("endpoints") or []) if i in left]
        fresh = _slice(service, family, ports, kept, one)
        changed = fresh["endpoints"] != (one.get("endpoints") or [])
        (dirty if changed else clean).append(fresh)
    pending = list(left.values())
    emptied = [one for one in dirty if not one["endpoints"]]
    dirty = [one for one in dirty if one["endpoints"]]
    dirty.sort(key=lambda one: len(one["endpoints"]), reverse=True)
    for one in dirty:
        room = MAX_ENDPOINTS - len(one["endpoints"])
        one["endpoints"] += pending[:room]
        pending = pending[room:]
    if pending and len(pending) <= MAX_ENDPOINTS:
        pending = _into_fitting(pending, clean, dirty)
    new: list[Object] = []
    while pending:
        made = emptied.pop() if emptied else _slice(service, family, ports, [], None)
        made["endpoints"], pending = pending[:MAX_ENDPOINTS], pending[MAX_ENDPOINTS:]
        (dirty if "name" in made["metadata"] else new).append(made)
    if not (clean or dirty or new):
        # The placeholder: a slice without endpoints.
        if emptied:
            dirty.append(emptied.pop())
        else:
            new.append(_slice(service, family, ports, [], None))
    decided.create += new
    originals = {one["metadata"]["name"]: one for one in existing}
    decided.update += dirty + [c for c in clean if _differs(c, originals[c["metadata"]["name"]])]
    decided.delete += emptied


def _into_fitting(pending: list[Object], clean: list[Object], dirty: list[Object]) -> list[Object]:
    """Into the fullest untouched slice that takes them all; else nothing is placed."""
    fitting = [one for one in clean if len(one["endpoints"]) + len(pending) <= MAX_ENDPOINTS]
    if not fitting:
        return pending
    best = max(fitting, key=lambda one: len(one["endpoints"]))
    best["endpoints"] = best["endpoints"] + pending
    clean.remove(best)
    dirty.append(best)
    return []


def _slice(
    service: Object, family: str, ports: list[Object], endpoints: list[Object], old: Object | None
) -> Object:
    meta = service["metadata"]
    if old is None:
        metadata: Object = {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "ownerReferences": [owner_reference(service)],
        }
    else:
        metadata = dict(old["metadata"])
        metadata["annotations"] = dict(metadata.get("annotations") or {})
        if not metadata["annotations"]:
            del metadata["annotations"]
    metadata["labels"] = labels(service)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }


def labels(service: Object) -> dict[str, str]:
    """The Service's labels and the three that say what this slice is."""
    own = dict(service["metadata"].get("labels") or {})
    own.pop(endpoints_of.HEADLESS, None)
    own |= {SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: CONTROLLER}
    if endpoints_of.is_headless(service):
        own[endpoints_of.HEADLESS] = ""
    return own


def _differs(new: Object, old: Object) -> bool:
    labelled = (old["metadata"].get("labels") or {}) == new["metadata"]["labels"]
    return not labelled or bool((old.get("endpoints") or []) != new["endpoints"])


def _reuse(decided: Plan) -> None:
    """A slice to create and one of its type to delete are one slice to update."""
    for made in list(decided.create):
        spare = next((d for d in decided.delete if d["addressType"] == made["addressType"]), None)
        if spare is None:
            continue
        decided.create.remove(made)
        decided.delete.remove(spare)
        made["metadata"] = spare["metadata"] | {"labels": made["metadata"]["labels"]}
        decided.update.append(made)


def _identity(endpoint: Object) -> str:
    target = endpoint.get("targetRef") or {}
    return f"{target.get('uid', '')}/{','.join(endpoint.get('addresses') or ())}"


def _text(ports: Sequence[Object]) -> str:
    plain = [{k: v for k, v in port.items() if v not in (None, "")} for port in ports]
    return json.dumps(
        sorted(plain, key=lambda port: json.dumps(port, sort_keys=True)), sort_keys=True
    )
