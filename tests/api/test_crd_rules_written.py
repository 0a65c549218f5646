"""CEL rules, types and lists when a definition is written."""

import pytest

from todoku.api.crd.schema_check import schema_form_problems
from todoku.api.errors import Path

TEXT, INT = {"type": "string"}, {"type": "integer"}


def has(*rules, **properties):
    schema = {"type": "object", "properties": properties}
    return schema | ({"x-kubernetes-validations": list(rules)} if rules else {})


def problems(schema, *, root=False, **options):
    """Of a schema under `spec`, below which the texts begin."""
    whole = schema if root else has(spec=schema)
    found = [str(one) for one in schema_form_problems(whole, Path("s"), **options)]
    return [one.removeprefix("s.properties[spec].") for one in found]


def rule(text, **more):
    return {"rule": text, **more}


def shown(text, **more):
    keys = ("Rule", "Message", "MessageExpression")
    values = [text, more.get("message", ""), more.get("messageExpression", "")]
    start = ",".join(f'"{key}":"{value}"' for key, value in zip(keys, values, strict=True))
    return "{" + start + ',"Reason":null,"FieldPath":"","OptionalOldSelf":null}'


R = "x-kubernetes-validations[0]"


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (rule(" "), f"{R}.rule: Required value: rule is not specified"),
        (rule("true", message=" "), f'{R}.message: Invalid value: " ": message must be non-empty if specified'),
        (rule("true", message="a\nb"), f'{R}.message: Invalid value: "a\\nb": message must not contain line breaks'),
        (rule("true\n"), None),
        (rule("true ||\nfalse"), f"{R}.message: Required value: message must be specified if rule contains line breaks"),
        (rule("true", messageExpression=" "), f"{R}.messageExpression: Required value: messageExpression must be non-empty if specified"),
        (rule("true", reason="Odd"), f'{R}.reason: Unsupported value: "Odd": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"'),
        (rule("true", fieldPath=".b"), f'{R}.fieldPath: Invalid value: ".b": fieldPath must be a valid path'),
        (rule("true", fieldPath="['a']"), None),
        (rule("self.z == 1"), f"{R}.rule: Invalid value: {shown('self.z == 1')}: compilation failed: ERROR: <input>:1:5: undefined field 'z'\n | self.z == 1\n | ....^"),
        (rule("self.a"), f"{R}.rule: Invalid value: {shown('self.a')}: cel expression must evaluate to a bool"),
        (rule("self.a < 1 && z"), f"{R}.rule: Invalid value: {shown('self.a ' + chr(92) + 'u003c 1 ' + chr(92) + 'u0026' + chr(92) + 'u0026 z')}: compilation failed: ERROR: <input>:1:15: undeclared reference to 'z' (in container '')\n | self.a < 1 && z\n | ..............^"),
        (rule("true", messageExpression="self.a"), f"{R}.messageExpression: Invalid value: {shown('true', messageExpression='self.a')}: messageExpression must evaluate to a string"),
        (rule("true", optionalOldSelf=True), f"{R}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"),
        (rule("oldSelf.hasValue()", optionalOldSelf=True), None),
        (rule("self.a >= oldSelf.a", messageExpression="'was %d'.format([oldSelf.a])"), None),
    ],
)  # fmt: skip
def test_a_rule_is_refused_when_it_is_written(one, told):
    assert problems(has(one, a=INT)) == ([] if told is None else [told])


def test_old_self_needs_items_that_can_be_told_apart():
    item = has(rule("self.a >= oldSelf.a"), a=INT)
    listed = {"type": "array", "maxItems": 5, "items": item}
    [told] = problems(has(list=listed))
    assert told.endswith(
        'Invalid value: "self.a >= oldSelf.a": oldSelf cannot be used on the uncorrelatable portion'
        " of the schema within s.properties[spec].properties[list]"
    )
    keyed = listed | {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["a"],
        "items": item | {"required": ["a"]},
    }
    assert problems(has(list=keyed)) == []
    atomic = has(rule("self.a == oldSelf.a"), a=INT) | {"x-kubernetes-map-type": "atomic"}
    assert problems(atomic) == []
    assert len(problems(has(x=item) | {"x-kubernetes-map-type": "atomic"})) == 1


HINT = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"


def test_rules_that_cost_too_much_are_refused():
    text = "self.all(x, self.all(y, x == y))"
    listed = {"type": "array", "items": TEXT, "x-kubernetes-validations": [rule(text)]}
    found = problems(has(list=listed))
    at = "properties[list].x-kubernetes-validations[0].rule"
    assert found == [
        f"{at}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {HINT}",
        f"{at}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema",
        "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        f" exceeds budget by factor of more than 100x {HINT}",
    ]
    bounded = listed | {"maxItems": 20, "items": TEXT | {"maxLength": 20}}
    assert problems(has(list=bounded)) == []


def test_a_rule_costs_as_often_as_it_may_be_evaluated():
    checked = TEXT | {"maxLength": 1000, "x-kubernetes-validations": [rule("self.contains('abc')")]}
    listed = {"type": "array", "items": checked, "maxItems": 30_000}
    [told] = problems(has(list=listed))
    assert f"estimated rule cost exceeds budget by factor of 1.203000x {HINT}" in told
    listed["maxItems"] = 90_000
    [told] = problems(has(list=listed))
    assert f"estimated rule cost exceeds budget by factor of 3.6x {HINT}" in told
    assert problems(has(list=listed), unchanged=True) == []
    listed["maxItems"] = 10_000
    assert problems(has(list=listed)) == []


def test_rules_are_looked_into_where_the_schema_is_in_order():
    bad = has(rule("self.z == 1"), list={"type": "array"})
    assert problems(bad) == ["properties[list].items: Required value: must be specified"]


def keyed(keys, items, **more):
    kinds = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
    return {"type": "array", "items": items, **kinds, **more}


K = "properties[x]"


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (keyed(["n"], has(n=INT)), [f"{K}.items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"]),
        (keyed(["n"], has(n=INT | {"default": 1, "nullable": True})), [f"{K}.items.properties[n].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be nullable"]),
        (keyed(["m"], has(n=INT)), [f'{K}.x-kubernetes-list-map-keys: Invalid value: ["m"]: entries must all be names of item properties']),
        (keyed(["n", "n"], has(n=INT) | {"required": ["n"]}), [f'{K}.x-kubernetes-list-map-keys: Invalid value: ["n","n"]: must not contain duplicate entries']),
        (keyed(["n"], TEXT), [f'{K}.items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map']),
        ({"type": "array", "items": TEXT, "x-kubernetes-list-map-keys": ["n"]}, [f"{K}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"]),
        ({"type": "array", "items": has(), "x-kubernetes-list-type": "set"}, [f'{K}.items.x-kubernetes-map-type: Invalid value: "null": must be atomic as item of a list with x-kubernetes-list-type=set']),
        ({"type": "array", "items": TEXT | {"nullable": True}, "x-kubernetes-list-type": "set"}, [f"{K}.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"]),
        (TEXT | {"x-kubernetes-list-type": "set"}, [f'{K}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified']),
        (has() | {"x-kubernetes-map-type": "odd"}, [f'{K}.x-kubernetes-map-type: Unsupported value: "odd": supported values: "atomic", "granular"']),
        (has() | {"x-kubernetes-preserve-unknown-fields": False}, [f"{K}.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"]),
        ({"type": "array", "items": TEXT, "uniqueItems": True}, [f"{K}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"]),
        ({"type": "object", "x-kubernetes-embedded-resource": True}, [f"{K}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"]),
        (has(a=TEXT) | {"default": {"a": "x", "b": 1}}, [f'{K}.default: Invalid value: {{"a":"x","b":1}}: must not have unknown fields']),
        (has(a=TEXT) | {"default": {"a": 1}}, [f'{K}.default.a: Invalid value: "integer": a in body must be of type string: "integer"']),
        (has(a=TEXT) | {"oneOf": [{"properties": {"b": {"pattern": "x"}}}]}, [f"{K}.properties[b]: Required value: because it is defined in s.properties[spec].{K}.oneOf[0].properties[b]"]),
        (TEXT | {"anyOf": [{"type": "string", "description": "d"}]}, [f"{K}.anyOf[0].description: Forbidden: must be empty to be structural", f"{K}.anyOf[0].type: Forbidden: must be empty to be structural"]),
        ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}, []),
        (TEXT | {"pattern": "("}, None),
    ],
)  # fmt: skip
def test_lists_defaults_and_structure(schema, told):
    found = problems(has(x=schema))
    if told is None:
        [one] = found
        assert one.startswith(
            f'{K}.pattern: Invalid value: "(": must be a valid regular expression'
        )
    else:
        assert found == told


def test_what_may_stand_at_the_root():
    told = problems(has(a=TEXT) | {"oneOf": [{"required": ["a"]}]}, root=True, status=True)
    assert told[0].endswith(
        "fields are allowed at the root of the schema if the status subresource is enabled"
    )
    metadata = {"type": "object", "properties": {"name": TEXT, "labels": {"type": "object"}}}
    [told] = problems(has(metadata=metadata), root=True)
    assert told == (
        "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName,"
        " but metadata is implicitly specified"
    )
    named = {"type": "object", "properties": {"name": TEXT | {"maxLength": 5}}}
    assert problems(has(metadata=named), root=True) == []
    defaulted = {"type": "object", "properties": {"name": TEXT | {"default": "x"}}}
    [told] = problems(has(metadata=defaulted), root=True)
    assert told.endswith("default: Forbidden: must not be set in top-level metadata")
