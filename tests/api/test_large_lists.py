"""Rules that look at pairs of list items do so in time that grows with the list, not with its square."""

import time

import pytest

from tests.support.kinds import known, made_of
from tests.support.minimal import minimal
from todoku.api import patches, schemas
from todoku.api.patches import typed

MANY = 4000


def pod(container=None, **spec):
    return {
        "spec": {"containers": [{"name": "c", "image": "i", **(container or {})}], **spec},
    }


LISTS = {
    "ports that all clash": ("pods", lambda n: pod({"ports": [{"containerPort": 80}] * n})),
    "ports of many addresses": (
        "pods",
        lambda n: pod(
            {
                "ports": [
                    {"containerPort": 80, "hostPort": 80, "hostIP": f"10.0.{i >> 8}.{i & 255}"}
                    for i in range(n)
                ]
            }
        ),
    ),
    "claims of a container": (
        "pods",
        lambda n: pod(
            {"resources": {"claims": [{"name": f"a{i}"} for i in range(n)]}},
            resourceClaims=[{"name": f"b{i}", "resourceClaimName": "x"} for i in range(n)],
        ),
    ),
    "spread constraints": (
        "pods",
        lambda n: pod(
            topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": f"k{i}", "whenUnsatisfiable": "DoNotSchedule"}
                for i in range(n)
            ]
        ),
    ),
    "label keys of a constraint": (
        "pods",
        lambda n: pod(
            topologySpreadConstraints=[
                {
                    "maxSkew": 1,
                    "topologyKey": "k",
                    "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {},
                    "matchLabelKeys": ["a"] * n,
                }
            ]
        )
        | {"metadata": {"labels": {"a": "b"}}},
    ),
    "networks of a node": (
        "nodes",
        lambda n: {"spec": {"podCIDRs": [f"10.{i >> 8}.{i & 255}.0/24" for i in range(n)]}},
    ),
}  # fmt: skip


def seconds(resource, fields):
    metadata = fields.pop("metadata", {})
    began = time.thread_time()
    obj = made_of(resource, minimal(resource) | fields, metadata)
    resource.strategy.validate(obj, None)
    resource.strategy.warnings(obj, None)
    return time.thread_time() - began


@pytest.mark.parametrize(("name", "fields"), LISTS.values(), ids=LISTS)
def test_eight_times_the_items_take_about_eight_times_as_long(name, fields):
    resource = known(name)
    few = min(seconds(resource, fields(MANY // 8)) for _ in range(2))
    assert seconds(resource, fields(MANY)) < 25 * few + 0.1


def test_long_sets_are_merged_in_time_that_grows_with_them():
    type_ = schemas.type_of("io.k8s.api.core.v1.ConfigMap")

    def merged_in(count):
        live = {"metadata": {"finalizers": [f"a.b/{n}" for n in range(count)]}}
        applied = {"metadata": {"finalizers": [f"a.b/{n}" for n in reversed(range(count))]}}
        began = time.thread_time()
        typed.merge(live, applied, type_)
        patches.strategic_merge_patch(live, applied, type_)
        return time.thread_time() - began

    few = min(merged_in(MANY // 8) for _ in range(2))
    assert merged_in(MANY) < 25 * few + 0.1
