"""What OpenAPI says of custom resources, in its two versions."""

import pytest

from todoku.api.crd.publish import definitions, published, to_v2, to_v3

OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TEXT = {"type": "string"}


def test_version_2_says_nothing_of_an_object_that_keeps_unknown_fields():
    schema = OPEN | {"description": "x", "properties": {"a": TEXT}}
    assert published(schema, False) == {"type": "object"}
    assert published(None, False) == {"type": "object"}
    whole = published(schema, False, v3=True)
    assert set(whole["properties"]) == {"a", "apiVersion", "kind", "metadata"}
    assert whole["x-kubernetes-preserve-unknown-fields"] is True


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        (TEXT | {"nullable": True}, {}),
        ({"type": "array", "nullable": True, "items": TEXT}, {}),
        ({"type": "array", "x-kubernetes-preserve-unknown-fields": True, "items": TEXT}, {"x-kubernetes-preserve-unknown-fields": True}),
        (OPEN | {"properties": {"a": TEXT}}, {"x-kubernetes-preserve-unknown-fields": True}),
        (TEXT | {"oneOf": [{"pattern": "a"}], "default": "x"}, TEXT | {"default": "x"}),
        (
            {"type": "object", "required": ["a", "b"], "properties": {"a": TEXT | {"nullable": True}, "b": TEXT}},
            {"type": "object", "required": ["b"], "properties": {"a": {}, "b": TEXT}},
        ),
        (
            {"type": "object", "required": ["a"], "properties": {"a": TEXT | {"nullable": True}}},
            {"type": "object", "properties": {"a": {}}},
        ),
    ],
    ids=["null", "list or null", "open list", "open object", "junctors", "required", "nothing required"],
)  # fmt: skip
def test_version_2_keeps_what_its_clients_cope_with(schema, shown):
    assert to_v2(schema) == shown


def test_version_3_tells_a_schema_whole():
    schema = {
        "type": "object",
        "nullable": True,
        "oneOf": [{"required": ["a"]}],
        "properties": {"a": TEXT, "n": {"x-kubernetes-int-or-string": True}},
        "x-kubernetes-validations": [{"rule": "true"}],
    }
    shown = to_v3(schema)
    assert shown["properties"].pop("n") == {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
    }
    schema["properties"].pop("n")
    assert shown == schema


def test_embedded_objects_have_a_kind_and_metadata():
    schema = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"a": TEXT}}
    for convert in (to_v2, to_v3):
        shown = convert(schema)
        assert set(shown["properties"]) == {"a", "apiVersion", "kind", "metadata"}
        assert shown["required"] == ["kind", "apiVersion"]


def test_selectable_fields_are_published():
    version = {
        "name": "v1",
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"color": TEXT}}},
        "selectableFields": [{"jsonPath": ".color"}],
    }
    names = {"plural": "things", "kind": "Thing", "listKind": "ThingList"}
    found = definitions({"spec": {"group": "x.io", "names": names}}, version)
    assert found["io.x.v1.Thing"]["x-kubernetes-selectable-fields"] == [{"fieldPath": "color"}]
