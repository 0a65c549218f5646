"""CustomResourceDefinitions themselves."""

import pytest

from todoku.api import crd
from todoku.api.meta import copy
from todoku.api.resources import registry

CRDS = registry().find("customresourcedefinitions.apiextensions.k8s.io")


def definition(schema=None, **spec):
    schema = schema or {"type": "object", "properties": {"spec": {"type": "object"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "metadata": {"name": "things.x.io"},
        "spec": {
            "group": "x.io",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [version],
            **spec,
        },
    }


def problems(obj, old=None):
    obj = copy(obj)
    CRDS.strategy.default(obj)
    CRDS.strategy.prepare_create(obj)
    return [str(one) for one in CRDS.strategy.validate(obj, old)]


def test_names_and_conversion_are_defaulted():
    obj = definition()
    crd.default_definition(obj)
    assert obj["spec"]["names"] == {
        "plural": "things",
        "kind": "Thing",
        "singular": "thing",
        "listKind": "ThingList",
    }
    assert obj["spec"]["conversion"] == {"strategy": "None"}
    assert problems(obj) == []


ROOT = "spec.validation.openAPIV3Schema"


@pytest.mark.parametrize(
    ("obj", "problem"),
    [
        (definition(group="y.io"), 'metadata.name: Invalid value: "things.x.io": must be spec.names.plural+"."+spec.group'),
        (definition(scope="Galaxy"), 'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'),
        (definition(versions=[]), "spec.versions: Invalid value: []: must have exactly one version marked as storage version"),
        (definition({"type": "string"}), f'{ROOT}.type: Invalid value: "string": must be object at the root'),
        (
            definition({"type": "object", "properties": {"a": {}}}),
            f"{ROOT}.properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            definition({"type": "object", "properties": {"a": {"type": "array"}}}),
            f"{ROOT}.properties[a].items: Required value: must be specified",
        ),
        (
            definition({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            f'{ROOT}.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            definition({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}}}),
            f"{ROOT}.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            definition({"type": "object", "anyOf": [{"type": "object"}]}),
            f"{ROOT}.anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            definition({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}}}),
            f"{ROOT}.properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            definition(conversion={"strategy": "Webhook"}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
    ],
)  # fmt: skip
def test_malformed_definitions_are_refused(obj, problem):
    assert problem in problems(obj)


def test_rules_are_compiled_when_the_definition_is_written():
    bad = {"type": "object", "x-kubernetes-validations": [{"rule": "self.a +"}]}
    [problem] = problems(definition(bad))
    assert problem.startswith(
        f'{ROOT}.x-kubernetes-validations[0].rule: Invalid value: {{"Rule":"self.a +","Message":"",'
    )


def test_protected_groups_need_approval():
    obj = definition(group="x.k8s.io")
    obj["metadata"]["name"] = "things.x.k8s.io"
    assert any("api-approved.kubernetes.io" in problem for problem in problems(obj))


def test_a_stored_version_cannot_vanish():
    old = definition()
    CRDS.strategy.default(old)
    CRDS.strategy.prepare_create(old)
    new = definition()
    new["spec"]["versions"][0]["name"] = "v2"
    CRDS.strategy.default(new)
    CRDS.strategy.prepare_update(new, old)
    assert new["status"]["storedVersions"] == ["v1", "v2"]
    [problem] = [str(one) for one in CRDS.strategy.validate(new, old)]
    assert problem.startswith(
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions'
    )


def test_published_definitions_carry_kind_and_metadata():
    obj = definition()
    crd.default_definition(obj)
    found = crd.definitions(obj, obj["spec"]["versions"][0])
    own = found["io.x.v1.Thing"]
    assert own["x-kubernetes-group-version-kind"] == [
        {"group": "x.io", "version": "v1", "kind": "Thing"}
    ]
    assert set(own["properties"]) == {"apiVersion", "kind", "metadata", "spec"}
    assert found["io.x.v1.ThingList"]["properties"]["items"]["items"] == {
        "$ref": "#/definitions/io.x.v1.Thing"
    }
