"""Custom resources: pruning, defaulting, validation, list types and CEL rules of a structural schema."""

import pytest

from todoku.api import crd
from todoku.api.patches import apply


def structural(spec, **more):
    return crd.structural(
        {"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, **more}}}}
    )


def obj(spec):
    return {"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}


def problems(schema, new, old=None):
    found = structural(schema).validate(obj(new), obj(old) if old is not None else None)
    return [str(one) for one in found]


def thing(**properties):
    return {"type": "object", "properties": properties}


INT, STRING = {"type": "integer"}, {"type": "string"}


def test_unknown_fields_are_pruned_and_named():
    schema = structural(
        thing(a=INT, open={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    )
    value = obj({"a": 1, "b": 2, "open": {"c": 3}}) | {"extra": 1}
    value["metadata"]["unknown"] = "x"
    assert schema.prune(value) == obj({"a": 1, "open": {"c": 3}})
    assert schema.unknown(value) == [
        'unknown field "extra"',
        'unknown field "metadata.unknown"',
        'unknown field "spec.b"',
    ]


def test_embedded_resources_keep_their_metadata():
    embedded = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {"spec": thing(a=INT)},
    }
    inner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "bad": 1},
        "spec": {"a": 1, "b": 2},
    }
    pruned = structural(thing(template=embedded)).prune(obj({"template": inner}))
    assert pruned["spec"]["template"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"a": 1},
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"a": 1, "o": {"b": "x"}}),
        ({"a": 5}, {"a": 5, "o": {"b": "x"}}),
        ({"a": None}, {"a": 1, "o": {"b": "x"}}),
        ({"o": {}}, {"a": 1, "o": {"b": "x"}}),
        ({"l": [{}]}, {"a": 1, "o": {"b": "x"}, "l": [{"b": "x"}]}),
        ({"m": {"k": {}}}, {"a": 1, "o": {"b": "x"}, "m": {"k": {"b": "x"}}}),
        ({"n": None}, {"a": 1, "o": {"b": "x"}, "n": None}),
    ],
)
def test_defaults(before, after):
    inner = thing(b={"type": "string", "default": "x"})
    schema = structural(
        thing(
            a={"type": "integer", "default": 1},
            o={**inner, "default": {}},
            l={"type": "array", "items": inner},
            m={"type": "object", "additionalProperties": inner},
            n={"type": "string", "nullable": True, "default": "y"},
        )
    )
    value = obj(before)
    schema.default(value)
    assert value["spec"] == {"n": "y"} | after


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        pytest.param(INT, "1", 'spec.x: Invalid value: "string": spec.x in body must be of type integer: "string"', id="type"),
        pytest.param(INT, None, 'spec.x: Invalid value: "null": spec.x in body must be of type integer: "null"', id="null"),
        pytest.param({"type": "integer", "minimum": 1}, 0, "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1", id="minimum"),
        pytest.param({"type": "integer", "maximum": 1}, 2, "spec.x: Invalid value: 2: spec.x in body should be less than or equal to 1", id="maximum"),
        pytest.param({"type": "string", "enum": ["a", "b"]}, "c", 'spec.x: Unsupported value: "c": supported values: "a", "b"', id="enum"),
        pytest.param({"type": "string", "pattern": "^a$"}, "b", "spec.x: Invalid value: \"b\": spec.x in body should match '^a$'", id="pattern"),
        pytest.param({"type": "string", "minLength": 2}, "b", 'spec.x: Invalid value: "b": spec.x in body should be at least 2 chars long', id="minLength"),
        pytest.param({"type": "string", "maxLength": 2}, "bcd", "spec.x: Too long: may not be more than 2 bytes", id="maxLength"),
        pytest.param({"type": "array", "items": INT, "maxItems": 1}, [1, 2], "spec.x: Too many: 2: must have at most 1 item", id="maxItems"),
        pytest.param({"type": "array", "items": INT}, [1, "a"], 'spec.x[1]: Invalid value: "string": spec.x[1] in body must be of type integer: "string"', id="items"),
        pytest.param({"type": "object", "required": ["y"], "properties": {"y": INT}}, {}, "spec.x.y: Required value", id="required"),
        pytest.param({"type": "string", "format": "ipv4"}, "x", 'spec.x: Invalid value: "x": spec.x in body must be of type ipv4: "x"', id="format"),
        pytest.param({"x-kubernetes-int-or-string": True}, True, 'spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean"', id="int or string"),
        pytest.param({"type": "object", "additionalProperties": INT}, {"k": "v"}, 'spec.x.k: Invalid value: "string": spec.x.k in body must be of type integer: "string"', id="map values"),
        pytest.param({"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 1}]}, 3, 'spec.x: Invalid value: "": "spec.x" must validate at least one schema (anyOf)', id="anyOf"),
        pytest.param({"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}, ["a", "a"], 'spec.x[1]: Duplicate value: "a"', id="set"),
        pytest.param(
            {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": thing(n=STRING)},
            [{"n": "a"}, {"n": "a"}], 'spec.x[1]: Duplicate value: {"n":"a"}', id="keyed list",
        ),
    ],
)  # fmt: skip
def test_wording_of_problems(schema, value, problem):
    assert problems(thing(x=schema), {"x": value}) == [problem]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, 1),
        (INT, 1.0),
        ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "80%"),
        ({"type": "string", "format": "unheard-of"}, "x"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
    ],
)
def test_values_that_fit(schema, value):
    assert problems(thing(x=schema), {"x": value}) == []


def test_what_was_bad_before_may_stay():
    schema = thing(x={"type": "integer", "maximum": 1}, y=INT)
    assert problems(schema, {"x": 5, "y": 2}, old={"x": 5, "y": 1}) == []
    assert len(problems(schema, {"x": 6}, old={"x": 5})) == 1


def rule(text, **more):
    return {"rule": text, **more}


@pytest.mark.parametrize(
    ("rules", "value", "old", "wanted"),
    [
        pytest.param([rule("self.a < self.b", message="a before b")], {"a": 1, "b": 2}, None, [], id="holds"),
        pytest.param([rule("self.a < self.b", message="a before b")], {"a": 2, "b": 2}, None, ['spec: Invalid value: "object": a before b'], id="message"),
        pytest.param([rule("self.a < self.b")], {"a": 2, "b": 2}, None, ['spec: Invalid value: "object": failed rule: self.a < self.b'], id="no message"),
        pytest.param([rule("self.a < self.b", messageExpression="'a is ' + string(self.a)")], {"a": 2, "b": 2}, None, ['spec: Invalid value: "object": a is 2'], id="message expression"),
        pytest.param([rule("self.a < self.b", reason="FieldValueForbidden", fieldPath=".a", message="no")], {"a": 2, "b": 2}, None, ["spec.a: Forbidden: no"], id="reason and path"),
        pytest.param([rule("self.a >= oldSelf.a", message="only up")], {"a": 1}, None, [], id="transition, on create"),
        pytest.param([rule("self.a >= oldSelf.a", message="only up")], {"a": 1}, {"a": 2}, ['spec: Invalid value: "object": only up'], id="transition"),
        pytest.param([rule("oldSelf.hasValue() || self.a == 0", optionalOldSelf=True, message="start at 0")], {"a": 1}, None, ['spec: Invalid value: "object": start at 0'], id="optional, on create"),
        pytest.param([rule("oldSelf.hasValue() || self.a == 0", optionalOldSelf=True, message="start at 0")], {"a": 1}, {"a": 0}, [], id="optional, on update"),
    ],
)  # fmt: skip
def test_rules(rules, value, old, wanted):
    assert problems(thing(a=INT, b=INT) | {"x-kubernetes-validations": rules}, value, old) == wanted


def test_rules_are_checked_beside_values_out_of_range_but_not_beside_what_is_missing_or_of_another_type():
    small = {"type": "integer", "maximum": 5}
    schema = thing(a=small, b=INT) | {
        "required": ["b"],
        "x-kubernetes-validations": [rule("self.a < self.b", message="a before b")],
    }
    assert problems(schema, {"a": 7, "b": 1})[1:] == ['spec: Invalid value: "object": a before b']
    unchecked = (
        '<nil>: Invalid value: "null": some validation rules were not checked because the object was'
        " invalid; correct the existing errors to complete validation"
    )
    assert problems(schema, {"a": 3}) == ["spec.b: Required value", unchecked]
    assert problems(schema, {"a": "x", "b": 1})[1:] == [unchecked]
    assert problems(thing(b=INT) | {"required": ["b"]}, {}) == ["spec.b: Required value"]


def test_rules_inside_keyed_lists_see_their_old_selves():
    item = thing(n=STRING, v=INT) | {
        "x-kubernetes-validations": [rule("self.v >= oldSelf.v", message="up")]
    }
    listed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n"],
        "items": item,
    }
    old = {"l": [{"n": "a", "v": 5}, {"n": "b", "v": 1}]}
    new = {"l": [{"n": "b", "v": 2}, {"n": "a", "v": 4}]}
    assert problems(thing(l=listed), new, old) == ['spec.l[1]: Invalid value: "object": up']


def test_custom_types_drive_server_side_apply():
    item = thing(n=STRING, v=INT)
    listed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n"],
        "items": item,
    }
    schema = structural(thing(l=listed)).type
    one = apply(
        None, obj({"l": [{"n": "a", "v": 1}]}), manager="1", force=False, schema=schema, now=0
    ).object
    two = apply(
        one, obj({"l": [{"n": "b", "v": 2}]}), manager="2", force=False, schema=schema, now=0
    ).object
    assert two["spec"]["l"] == [{"n": "a", "v": 1}, {"n": "b", "v": 2}]


NOT_FOO = STRING | {"enum": ["bar"]}
FOO_RULE = STRING | {"x-kubernetes-validations": [rule("self != 'foo'")]}


@pytest.mark.parametrize("item", [NOT_FOO, FOO_RULE], ids=["schema", "rule"])
@pytest.mark.parametrize("kind", ["atomic", "set"])
def test_items_that_cannot_be_told_apart_stay_bad_only_in_a_list_that_stays(item, kind):
    schema = thing(l={"type": "array", "items": item, "x-kubernetes-list-type": kind}, other=STRING)
    old = {"l": ["foo"]}
    assert problems(schema, {"l": ["foo"], "other": "x"}, old) == []
    [told] = problems(schema, {"l": ["foo", "bar"]}, old)
    assert told.startswith("spec.l[0]: ")


@pytest.mark.parametrize("item", [NOT_FOO, FOO_RULE], ids=["schema", "rule"])
def test_bad_values_may_stay_in_keyed_lists_and_maps(item):
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "items": thing(k=STRING, f=item),
    }
    schema = thing(f=item, l=keyed, m={"type": "object", "additionalProperties": thing(f=item)})
    bad = {"f": "foo"}
    old = {"f": "foo", "l": [{"k": "a", **bad}], "m": {"x": bad}}
    new = {"f": "foo", "l": [{"k": "b", "f": "bar"}, {"k": "a", **bad}], "m": {"x": bad, "y": {}}}
    assert problems(schema, new, old) == []
    new = {"f": "foo", "l": [{"k": "b", **bad}], "m": {"x": bad, "y": bad}}
    told = [one.partition(": ")[0] for one in problems(schema, new, old)]
    assert told == ["spec.l[0].f", "spec.m.y.f" if item is NOT_FOO else "spec.m[y].f"]


def test_fields_of_an_atomic_map_are_compared_with_it():
    schema = thing(a=NOT_FOO, b=STRING) | {"x-kubernetes-map-type": "atomic"}
    assert problems(thing(m=schema, c=INT), {"m": {"a": "foo"}, "c": 1}, {"m": {"a": "foo"}}) == []
    assert len(problems(thing(m=schema), {"m": {"a": "foo", "b": "x"}}, {"m": {"a": "foo"}})) == 1


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (rule("self.a > 'x'"), "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.a > 'x'"),
        (rule("self.b == 1"), "no such key: b evaluating rule: self.b == 1"),
        (rule("self.b == 1", message="b is one"), "no such key: b evaluating rule: b is one"),
        (rule("false", messageExpression="'x' * 2", message="m"), "m"),
        (rule("false", messageExpression="'\\n'", message="m"), "m"),
    ],
)  # fmt: skip
def test_rules_that_fail(one, told):
    schema = thing(a={"x-kubernetes-int-or-string": True}) | {"x-kubernetes-validations": [one]}
    assert problems(schema, {"a": 1}) == [f'spec: Invalid value: "object": {told}']


def test_reasons_and_places_of_problems():
    rules = [
        rule("false", reason="FieldValueRequired", fieldPath=".m['a.b'].c", message="needed"),
        rule("false", reason="FieldValueDuplicate", fieldPath=".d"),
    ]
    inner = {"type": "object", "additionalProperties": thing(c=INT)}
    schema = thing(m=inner, d=STRING) | {"x-kubernetes-validations": rules}
    assert problems(schema, {}) == [
        "spec.m[a.b].c: Required value: needed",
        'spec.d: Duplicate value: "object"',
    ]


def test_dates_are_timestamps_to_rules():
    schema = thing(d={"type": "string", "format": "date"}) | {
        "x-kubernetes-validations": [rule("self.d < timestamp('2026-01-02T00:00:00Z')")]
    }
    assert problems(schema, {"d": "2026-01-01"}) == []
    assert len(problems(schema, {"d": "2026-01-03"})) == 1


def test_nulls_that_may_not_be_are_dropped():
    schema = structural(
        thing(
            a=INT,
            b=INT | {"nullable": True},
            c=INT | {"default": 1},
            l={"type": "array", "items": thing(a=INT)},
            m={"type": "object", "additionalProperties": INT},
        )
    )
    value = obj({"a": None, "b": None, "c": None, "l": [{"a": None}], "m": {"x": None, "y": 1}})
    assert schema.prune(value)["spec"] == {"b": None, "c": None, "l": [{}], "m": {"y": 1}}
