"""What OpenAPI tells of a resource's operations."""

from dataclasses import replace

import pytest

from todoku.api.openapi.operations import operations
from todoku.api.resources import registry


def told(resource):
    return {
        (one.method, one.path.partition("{namespace}/")[2]): one for one in operations(resource)
    }


@pytest.mark.parametrize(
    ("method", "path", "description"),
    [
        ("get", "", "list or watch objects of kind Pod"),
        ("get", "pods", "list or watch objects of kind Pod"),
        ("post", "pods", "create a Pod"),
        ("delete", "pods", "delete collection of Pod"),
        ("get", "pods/{name}", "read the specified Pod"),
        ("put", "pods/{name}/status", "replace status of the specified Pod"),
        ("patch", "pods/{name}", "partially update the specified Pod"),
        ("delete", "pods/{name}", "delete a Pod"),
        ("post", "pods/{name}/eviction", "create eviction of a Pod"),
    ],
)
def test_each_operation_says_what_it_does(method, path, description):
    assert told(registry().find("pods"))[method, path].description == description


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("ingresses.networking.k8s.io", "create an Ingress"),
        ("endpoints", "create Endpoints"),
    ],
)
def test_a_kind_has_its_article(name, description):
    resource = registry().find(name)
    assert told(resource)["post", resource.plural].description == description


def test_custom_objects_have_no_protobuf():
    custom = told(replace(registry().find("configmaps"), strategic_merge=False))
    types = ("application/json", "application/yaml")
    assert {one.produces for one in custom.values()} == {types}
    assert custom["post", "configmaps"].consumes == types
    assert custom["get", "configmaps"].description == "list objects of kind ConfigMap"
    assert (
        "application/strategic-merge-patch+json"
        not in custom["patch", "configmaps/{name}"].consumes
    )


def test_lists_of_built_in_kinds_are_watched_in_both_encodings():
    produced = told(registry().find("configmaps"))["get", "configmaps"].produces
    assert [one for one in produced if one.endswith(";stream=watch")] == [
        "application/json;stream=watch",
        "application/vnd.kubernetes.protobuf;stream=watch",
    ]
