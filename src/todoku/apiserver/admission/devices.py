"""Devices: who may ask for admin access to them, and who may write which part of a claim's status.

Semantics: pkg/registry/resource (KEP-5018 DRAAdminAccess, KEP-4817 DRAResourceClaimGranularStatusAuthorization).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from todoku.api import errors, times
from todoku.api.errors import FieldError, Path
from todoku.api.meta import Object
from todoku.apiserver.admission.base import Plugin, creates, is_main, new_object, new_spec
from todoku.apiserver.authorization import forbidden
from todoku.apiserver.config import Attributes, Authorizer, Objects
from todoku.apiserver.request import RequestInfo, User

CLAIMS = "resourceclaims.resource.k8s.io"
TEMPLATES = "resourceclaimtemplates.resource.k8s.io"
SLICES = "resourceslices.resource.k8s.io"
ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_NODE_NAME = "authentication.kubernetes.io/node-name"
_ACCOUNT = "system:serviceaccount:"
_STATUS = Path("status")


class DeviceAccess(Plugin):
    name = "DeviceAccess"

    def __init__(
        self, objects: Objects, authorizer: Authorizer, clock: Callable[[], float] = time.time
    ) -> None:
        self._objects = objects
        self._authorizer = authorizer
        self._clock = clock

    async def mutate(self, attributes: Attributes) -> None:
        """Taints of devices say since when they are there."""
        if attributes.operation == "DELETE" or not is_main(attributes, SLICES):
            return
        for device in new_spec(attributes).get("devices") or ():
            for taint in device.get("taints") or ():
                if not taint.get("timeAdded"):
                    taint["timeAdded"] = times.text(self._clock())

    async def validate(self, attributes: Attributes) -> None:
        problems: list[FieldError] = []
        if creates(attributes, CLAIMS):
            problems = self._admin(attributes, _asked(new_spec(attributes)))
        elif creates(attributes, TEMPLATES):
            problems = self._admin(attributes, _asked(new_spec(attributes).get("spec") or {}))
        elif attributes.resource.name == CLAIMS and attributes.subresource == "status":
            problems = await self._status(attributes)
        if problems:
            gvk = attributes.kind
            raise errors.Invalid.of(gvk.kind, gvk.group, attributes.name, problems)

    def _admin(self, attributes: Attributes, asked: Path | None) -> list[FieldError]:
        """Admin access is for namespaces that are labelled for it."""
        if asked is None:
            return []
        namespace = self._objects.get("namespaces", attributes.namespace) or {}
        labels = (namespace.get("metadata") or {}).get("labels") or {}
        if labels.get(ADMIN_LABEL) == "true":
            return []
        text = (
            f"admin access to devices requires the `{ADMIN_LABEL}: true` label "
            "on the containing namespace"
        )
        return [errors.forbidden(asked, text)]

    async def _status(self, attributes: Attributes) -> list[FieldError]:
        new = new_object(attributes).get("status") or {}
        old = (attributes.old or {}).get("status") or {}
        problems: list[FieldError] = []
        if _granted(old) is None:
            problems = self._admin(attributes, _granted(new))
        problems += await self._binding(attributes, new, old)
        return problems + await self._drivers(attributes, new, old)

    async def _binding(self, attributes: Attributes, new: Object, old: Object) -> list[FieldError]:
        """What the scheduler writes is not for everybody who may write the status."""
        if all(
            (new.get(key) or None) == (old.get(key) or None)
            for key in ("allocation", "reservedFor")
        ):
            return []
        info = _synthetic(attributes.verb, "binding", "", "")
        why = await self._refused(attributes.user, [info])
        if not why:
            return []
        text = (
            "changing status.allocation or status.reservedFor requires "
            f'resource="resourceclaims/binding", verb="{info.verb}" permission: {why}'
        )
        return [errors.forbidden(_STATUS, text)]

    async def _drivers(self, attributes: Attributes, new: Object, old: Object) -> list[FieldError]:
        """Each driver writes the state of its own devices, on a node those of the claims bound there."""
        drivers = _changed_drivers(new, old)
        verbs = [f"arbitrary-node:{attributes.verb}"]
        if _on_its_node(attributes.user, new):
            verbs.insert(0, f"associated-node:{attributes.verb}")
        problems = []
        for driver in drivers:
            rights = [_synthetic(verb, "driver", attributes.namespace, driver) for verb in verbs]
            why = await self._refused(attributes.user, rights)
            if why:
                text = (
                    'changing status.devices requires resource="resourceclaims/driver", '
                    f'verb="[{" ".join(verbs)}]" permission: {why}'
                )
                problems.append(errors.forbidden(_STATUS / "devices", text))
        return problems

    async def _refused(self, user: User, rights: Sequence[RequestInfo]) -> str:
        """Why the first of the rights is missing, empty when one of them is there."""
        first = ""
        for info in rights:
            decision = await self._authorizer.authorize(user, info)
            if decision.allowed:
                return ""
            first = first or forbidden(user, info, decision).message
        return first


def _synthetic(verb: str, subresource: str, namespace: str, name: str) -> RequestInfo:
    return RequestInfo(
        verb=verb,
        path="",
        group="resource.k8s.io",
        version="v1",
        resource="resourceclaims",
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def _asked(spec: Object) -> Path | None:
    """Where a claim asks for admin access."""
    for index, request in enumerate((spec.get("devices") or {}).get("requests") or ()):
        if (request.get("exactly") or {}).get("adminAccess"):
            return Path("spec") / "devices" / "requests" / index / "adminAccess"
    return None


def _granted(status: Object) -> Path | None:
    """Where an allocation grants admin access."""
    devices = (status.get("allocation") or {}).get("devices") or {}
    for index, result in enumerate(devices.get("results") or ()):
        if result.get("adminAccess"):
            return _STATUS / "allocation" / "devices" / "results" / index / "adminAccess"
    return None


def _changed_drivers(new: Object, old: Object) -> list[str]:
    before, after = _by_device(old), _by_device(new)
    keys = before.keys() | after.keys()
    return sorted({key[0] for key in keys if before.get(key) != after.get(key)})


def _by_device(status: Object) -> dict[tuple[str, ...], Object]:
    parts = ("driver", "pool", "device", "shareID")
    devices = status.get("devices") or ()
    return {tuple(str(one.get(part, "")) for part in parts): one for one in devices}


def _on_its_node(user: User, status: Object) -> bool:
    """Whether the user is a service account of a pod on the one node that the claim is allocated to."""
    if not user.name.startswith(_ACCOUNT):
        return False
    selector: Object = (status.get("allocation") or {}).get("nodeSelector") or {}
    match selector.get("nodeSelectorTerms"):
        case [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}], **rest}
        ]:
            return not rest.get("matchExpressions") and user.extra.get(_NODE_NAME, ()) == (node,)
    return False
