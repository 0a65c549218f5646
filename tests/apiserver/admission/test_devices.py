"""Devices: admin access is for namespaces labelled for it, and each part of a claim's status has its writers."""

from __future__ import annotations

import pytest

from todoku.api.errors import Invalid
from todoku.api.meta import GroupVersionKind
from todoku.api.resources import registry
from todoku.apiserver.admission.devices import (
    ADMIN_LABEL,
    CLAIMS,
    SLICES,
    TEMPLATES,
    DeviceAccess,
)
from todoku.apiserver.config import Attributes, Decision
from todoku.apiserver.request import User

ADMIN = {"devices": {"requests": [{"name": "a"}, {"name": "b", "exactly": {"adminAccess": True}}]}}
ON_NODE = {
    "nodeSelector": {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
        ]
    }
}
DRIVER = User(
    "system:serviceaccount:a:driver", extra={"authentication.kubernetes.io/node-name": ("n1",)}
)
NEEDED = (
    "Forbidden: admin access to devices requires the "
    "`resource.kubernetes.io/admin-access: true` label on the containing namespace"
)


class Rights:
    def __init__(self, *allowed):
        self.allowed, self.asked = allowed, []

    async def authorize(self, user, info):
        one = (info.verb, f"{info.resource}/{info.subresource}", info.namespace, info.name)
        self.asked.append(one)
        return Decision(one in self.allowed)


class Namespaces:
    def __init__(self, labels):
        self._labels = labels

    def get(self, resource, name):
        return {"metadata": {"name": name, "labels": self._labels}}


def write(resource, new, old=None, *, user=DRIVER, verb="update", subresource=""):
    found = registry().find(resource)
    kind = "ResourceClaim" if resource == CLAIMS else "ResourceClaimTemplate"
    return Attributes(
        operation="UPDATE" if old is not None else "CREATE",
        user=user,
        resource=found,
        subresource=subresource,
        kind=GroupVersionKind("resource.k8s.io", "v1", kind),
        namespace="a",
        name="c",
        object=new,
        old=old,
        options={},
        verb=verb,
    )


async def problems(attributes, *rights, labels=None):
    """The causes of the refusal, and what was asked."""
    authorizer = Rights(*rights)
    plugin = DeviceAccess(Namespaces(labels or {}), authorizer)
    try:
        await plugin.validate(attributes)
    except Invalid as refusal:
        causes = refusal.details["causes"]
        return [f"{one['field']}: {one['message']}" for one in causes], authorizer.asked
    return [], authorizer.asked


async def status(new, old=None, *rights, **more):
    attributes = write(CLAIMS, {"status": new}, {"status": old or {}}, subresource="status", **more)
    return await problems(attributes, *rights)


@pytest.mark.parametrize(("resource", "spec"), [(CLAIMS, ADMIN), (TEMPLATES, {"spec": ADMIN})])
async def test_admin_access_needs_a_labelled_namespace(resource, spec):
    made = write(resource, {"spec": spec})
    assert (await problems(made))[0] == [f"spec.devices.requests[1].adminAccess: {NEEDED}"]
    assert (await problems(made, labels={ADMIN_LABEL: "yes"}))[0]
    assert (await problems(made, labels={ADMIN_LABEL: "true"}))[0] == []
    assert (await problems(write(resource, {"spec": {}})))[0] == []


async def test_an_allocation_with_admin_access_needs_one_too():
    granted = {"allocation": {"devices": {"results": [{"adminAccess": True}]}}}
    allowed = ("update", "resourceclaims/binding", "", "")
    assert (await status(granted, {}, allowed))[0] == [
        f"status.allocation.devices.results[0].adminAccess: {NEEDED}"
    ]
    assert await status(granted, granted) == ([], [])


async def test_binding_is_its_own_right_for_all_namespaces():
    found, asked = await status({"reservedFor": [{"name": "p"}]}, verb="patch")
    assert asked == [("patch", "resourceclaims/binding", "", "")]
    assert found == [
        "status: Forbidden: changing status.allocation or status.reservedFor requires "
        'resource="resourceclaims/binding", verb="patch" permission: '
        'resourceclaims.resource.k8s.io is forbidden: User "system:serviceaccount:a:driver" cannot patch '
        'resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope'
    ]
    assert (
        await status({"allocation": ON_NODE}, {}, ("update", "resourceclaims/binding", "", ""))
    )[0] == []


async def test_a_driver_writes_its_devices_on_its_node():
    old = {"allocation": ON_NODE, "devices": [{"driver": "x", "pool": "p", "device": "1"}]}
    new = {"allocation": ON_NODE, "devices": [{"driver": "y", "pool": "p", "device": "1"}]}
    own = ("associated-node:update", "resourceclaims/driver", "a", "x")
    others = ("arbitrary-node:update", "resourceclaims/driver", "a", "y")
    found, asked = await status(new, old, own, others)
    assert found == []
    assert asked == [own, ("associated-node:update", *others[1:]), others]
    found, _ = await status(new, old, own)
    assert found == [
        'status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", '
        'verb="[associated-node:update arbitrary-node:update]" permission: '
        'resourceclaims.resource.k8s.io "y" is forbidden: User "system:serviceaccount:a:driver" cannot '
        'associated-node:update resource "resourceclaims/driver" in API group "resource.k8s.io" '
        'in the namespace "a"'
    ]


async def test_taints_say_since_when_they_are_there():
    then, now = "1970-01-01T00:00:01Z", "1970-01-01T00:00:09Z"
    taints = [{"key": "a", "timeAdded": then}, {"key": "b"}]
    made = write(SLICES, {"spec": {"devices": [{"name": "a"}, {"name": "b", "taints": taints}]}})
    await DeviceAccess(Namespaces({}), Rights(), lambda: 9).mutate(made)
    assert [one["timeAdded"] for one in taints] == [then, now]


@pytest.mark.parametrize(
    ("user", "allocation"),
    [(User("ann", extra=DRIVER.extra), ON_NODE), (User(DRIVER.name), ON_NODE), (DRIVER, {})],
)
async def test_others_need_the_right_for_any_node(user, allocation):
    new = {"allocation": allocation, "devices": [{"driver": "x", "pool": "p", "device": "1"}]}
    _, asked = await status(new, {"allocation": allocation}, user=user)
    assert asked == [("arbitrary-node:update", "resourceclaims/driver", "a", "x")]
