"""The committed data is what the build tool makes of its sources, and says what upstream's does."""

import importlib.util
from pathlib import Path

import pytest

from todoku.api import schemas
from todoku.api.meta import GroupVersionKind
from todoku.api.resources import registry

ROOT = Path(__file__).resolve().parents[2]


def test_data_files_are_reproducible():
    pytest.importorskip("kubernetes_validate")
    spec = importlib.util.spec_from_file_location("build_schemas", ROOT / "tools/build_schemas.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name, content in tool.build().items():
        assert (ROOT / "src/todoku/api/data" / name).read_bytes() == content, name


def test_definitions_are_upstream_s():
    assert len(schemas.definitions()) == 771
    port = schemas.definition("io.k8s.api.core.v1.ServicePort")
    assert port["properties"]["port"]["type"] == "integer"
    assert port["properties"]["targetPort"]["$ref"].startswith("#/definitions/")


def test_every_resource_has_a_definition_with_its_kind():
    for resource in registry():
        kinds = schemas.definition(resource.schema)["x-kubernetes-group-version-kind"]
        assert kinds[0]["kind"] == resource.kind


@pytest.mark.parametrize(
    ("name", "kind", "namespaced", "short", "subresources"),
    [
        ("pods", "Pod", True, "po", "attach binding ephemeralcontainers eviction exec log portforward proxy resize status"),
        ("services", "Service", True, "svc", "proxy status"),
        ("nodes", "Node", False, "no", "proxy status"),
        ("namespaces", "Namespace", False, "ns", "finalize status"),
        ("deployments.apps", "Deployment", True, "deploy", "scale status"),
        ("serviceaccounts", "ServiceAccount", True, "sa", "token"),
        ("leases.coordination.k8s.io", "Lease", True, "", ""),
        ("customresourcedefinitions.apiextensions.k8s.io", "CustomResourceDefinition", False, "crd crds", "status"),
    ],
)  # fmt: skip
def test_resources(name, kind, namespaced, short, subresources):
    resource = registry().find(name)
    assert (resource.kind, resource.namespaced) == (kind, namespaced)
    assert " ".join(resource.short_names) == short
    assert " ".join(one.name for one in resource.subresources) == subresources


def test_preferred_version_and_lookup_by_version():
    assert registry().find("horizontalpodautoscalers.autoscaling").version == "v2"
    assert registry().find("horizontalpodautoscalers.autoscaling", "v1").version == "v1"
    assert registry().versions("autoscaling") == ["v2", "v1"]


def test_lookup_by_kind_and_path():
    assert registry().by_kind(GroupVersionKind("apps", "v1", "Deployment")).plural == "deployments"
    assert registry().by_path("", "v1", "pods").kind == "Pod"
    assert registry().find("unicorns") is None


def test_groups_start_with_core_and_list_no_beta():
    assert registry().groups()[:3] == ["", "apiregistration.k8s.io", "apps"]
    assert {resource.version for resource in registry()} == {"v1", "v2"}


def test_types_know_merge_keys_and_list_keys():
    pod = schemas.type_of("io.k8s.api.core.v1.PodSpec")
    containers = pod.fields["containers"]
    assert (containers.merge_key, containers.list_type, containers.list_keys) == (
        "name",
        "map",
        ("name",),
    )
    assert containers.items.fields["ports"].items.defaults == {"protocol": "TCP"}
    assert pod.fields["volumes"].strategies == ("merge", "retainKeys")
    assert containers.go_name == "[]v1.Container"
