"""Shapes of definitions that operators really ship: they are accepted, and their rules decide right."""

import pytest

from todoku.api.crd.rules import compile_rules
from todoku.api.crd.schema_check import schema_form_problems
from todoku.api.crd.values import schema_problems
from todoku.api.errors import Path

TEXT, INT = {"type": "string"}, {"type": "integer"}
NAME = {"type": "string", "minLength": 1, "maxLength": 253}


def record(*rules, required=(), **fields):
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return ruled(schema, *rules)


def ruled(schema, *rules):
    return schema | {"x-kubernetes-validations": [{"rule": one, "message": one} for one in rules]}


UNIQUE_PORTS = (
    "self.all(a, self.exists_one(b, a.port == b.port && a.protocol == b.protocol &&"
    " (has(a.host) && has(b.host) ? a.host == b.host : !has(a.host) && !has(b.host))))"
)
LISTENERS = ruled(
    {
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": record(required=["name"], name=NAME, host=NAME, port=INT, protocol=NAME),
    },
    UNIQUE_PORTS,
)

SAME_NAMESPACE = (
    "((!has(a.__namespace__) || a.__namespace__ == '') && (!has(b.__namespace__) || b.__namespace__ == '')"
    " || has(a.__namespace__) && has(b.__namespace__) && a.__namespace__ == b.__namespace__)"
)
PARENTS = ruled(
    {
        "type": "array",
        "maxItems": 32,
        "items": record(required=["name"], name=NAME, namespace=NAME, section=NAME),
    },
    f"self.all(a, self.exists_one(b, a.name == b.name && {SAME_NAMESPACE}))",
)

WHILE_ADMITTED = (
    "has(oldSelf.conditions) && oldSelf.conditions.exists(c, c.type == 'Admitted' && c.status == 'True')"
    " ? (has(oldSelf.limit) ? oldSelf.limit : 0) == (has(self.limit) ? self.limit : 0) : true"
)
ADMITTED = record(
    WHILE_ADMITTED,
    limit=INT,
    conditions={
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": record(required=["type"], type=TEXT, status=TEXT),
    },
)

RESTRICTED = (
    'self.all(k, k in ["a.example.io/arch"] || k.find("^([^/]+)").endsWith("free.example.io")'
    ' || !k.find("^([^/]+)").endsWith("example.io"))'
)
LABELS = ruled({"type": "object", "maxProperties": 100, "additionalProperties": TEXT}, RESTRICTED)

PERCENT = ruled(
    {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
    "type(self) == int ? self >= 0 : self.matches('^(100|[0-9]{1,2})%$')",
)
AMOUNT = ruled(
    {"x-kubernetes-int-or-string": True},
    "type(self) == int ? self > 0 : quantity(string(self)).isGreaterThan(quantity('0'))",
)

TIMEOUTS = record(
    "!(has(self.all) && has(self.each) && duration(self.all) != duration('0s')"
    " && duration(self.each) > duration(self.all))",
    all={"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"},
    each={"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"},
)

ONE_OF = ruled(
    record(a=TEXT, b=TEXT) | {"minProperties": 1, "maxProperties": 1}, "has(self.a) != has(self.b)"
)
SNAKE_AND_CAMEL = record("self.max_size >= self.maxSize", max_size=INT, maxSize=INT)
TOLERANT_CASE = {"type": "string", "pattern": "^(?i)(always|never)$"}
UNICODE_NAME = {"type": "string", "pattern": r"^\p{L}[\pL\pN ]*$"}

PORT = {"name": "a", "port": 80, "protocol": "HTTP"}
QUEUED = {"conditions": [{"type": "Admitted", "status": "True"}], "limit": 5}


MANY = [{"name": f"p{n}", "port": n, "protocol": "TCP"} for n in range(250)]


@pytest.mark.parametrize(
    ("listed", "fits"),
    [(MANY, True), ([*MANY, MANY[0] | {"name": "again"}], False), ([*MANY, {"name": "x"}], None)],
    ids=["all differ", "two are alike", "one has no port"],
)
def test_hundreds_of_items_are_compared_with_each_other(listed, fits):
    rules = compile_rules(
        record(
            f"!has(self.off) && {UNIQUE_PORTS.replace('self.all', 'self.ports.all').replace('self.exists_one', 'self.ports.exists_one')}",
            ports={**LISTENERS, "x-kubernetes-validations": []},
        )
    )
    problems = [str(one) for one in rules({"ports": listed}, None)]
    assert (not problems) is (fits is True)
    if fits is None:
        assert "no such key: port" in problems[0]


def test_what_nobody_can_compute_ends():
    rule = "self.all(a, self.all(b, self.all(c, a + b != c)))"
    rules = compile_rules(ruled({"type": "array", "items": INT}, rule))
    (problem,) = rules([1000 + n for n in range(300)], None)
    assert "no further validation rules will be run due to call cost exceeds limit" in str(problem)


@pytest.mark.parametrize(
    ("schema", "value", "old", "fits"),
    [
        (LISTENERS, [PORT, PORT | {"name": "b", "host": "x"}], None, True),
        (LISTENERS, [PORT, PORT | {"name": "b"}], None, False),
        (PARENTS, [{"name": "a"}, {"name": "a", "namespace": "x"}], None, True),
        (PARENTS, [{"name": "a"}, {"name": "a", "namespace": ""}], None, False),
        (ADMITTED, QUEUED, QUEUED, True),
        (ADMITTED, QUEUED | {"limit": 6}, QUEUED, False),
        (ADMITTED, QUEUED | {"limit": 6}, None, True),
        (LABELS, {"b.free.example.io/x": "1", "a.example.io/arch": "2", "x/y": "3"}, None, True),
        (LABELS, {"a.example.io/other": "1"}, None, False),
        (PERCENT, "50%", None, True),
        (PERCENT, 3, None, True),
        (PERCENT, "101%", None, False),
        (PERCENT, -1, None, False),
        (AMOUNT, "500m", None, True),
        (AMOUNT, "-1Gi", None, False),
        (TIMEOUTS, {"all": "10s", "each": "1s500ms"}, None, True),
        (TIMEOUTS, {"all": "1s", "each": "2s"}, None, False),
        (TIMEOUTS, {"all": "1 s"}, None, False),
        (ONE_OF, {"a": "x"}, None, True),
        (ONE_OF, {"a": "x", "b": "y"}, None, False),
        (SNAKE_AND_CAMEL, {"max_size": 2, "maxSize": 1}, None, True),
        (SNAKE_AND_CAMEL, {"max_size": 1, "maxSize": 2}, None, False),
        (TOLERANT_CASE, "ALWAYS", None, True),
        (TOLERANT_CASE, "often", None, False),
        (UNICODE_NAME, "届く 1", None, True),
        (UNICODE_NAME, "1届く", None, False),
    ],
)
def test_a_shape(schema, value, old, fits):
    whole = {"type": "object", "properties": {"spec": schema}}
    assert [str(one) for one in schema_form_problems(whole, Path("s"))] == []
    new, before = {"spec": value}, None if old is None else {"spec": old}
    found = schema_problems(new, before, whole)
    rules = compile_rules(whole)
    found += rules(new, before) if rules else []
    assert (not found) is fits
