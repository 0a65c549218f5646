"""Expressions over a schema: their types and what they cost at most."""

import pytest

from todoku.api.cel import CelError
from todoku.api.cel.cost import LIMIT, max_cost
from todoku.api.cel.declared import declared, max_cardinality
from todoku.api.cel.schema_rules import RuleChecker
from todoku.api.cel.syntax import Tree

TEXT, INT, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
ITEM = {"type": "object", "properties": {"name": TEXT, "n": INT}}
SELF = {
    "type": "object",
    "properties": {
        "n": INT,
        "f": NUMBER,
        "s": TEXT,
        "list": {"type": "array", "items": ITEM},
        "map": {"type": "object", "additionalProperties": TEXT},
        "deep": {"type": "array", "items": {"type": "array", "items": INT}},
        "port": {"x-kubernetes-int-or-string": True},
        "at": {"type": "string", "format": "date-time"},
        "for": {"type": "string", "format": "duration"},
        "fooBar": TEXT,
        "a-b": TEXT,
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


@pytest.mark.parametrize(
    "text",
    [
        "self.n > 1 && self.f > 1 && self.f <= 2.5",
        "self.list.all(one, one.n > 0 && one.name.startsWith('a'))",
        "self.map.exists(key, self.map[key] == 'x')",
        "self.deep.all(row, row.all(one, one > 0))",
        "self.port == 80 || self.port == 'http'",
        "self.at < timestamp('2026-01-01T00:00:00Z') && self.__for__ == duration('1s')",
        "self.a__dash__b == self.fooBar",
        "has(self.open)",
        "self == oldSelf || self.n >= oldSelf.n",
        "self.?s.orValue('') == ''",
        "cel.bind(x, self.n, x == 1)",
        "quantity(self.s).isLessThan(quantity('1')) && self.list.map(one, one.n).sum() == 3",
    ],
)
def test_well_typed_expressions(text):
    assert RuleChecker(declared(SELF)).check(text).result_type == "BOOL"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("self.z == 1", "ERROR: <input>:1:5: undefined field 'z'\n | self.z == 1\n | ....^"),
        ("self.n == 'a'", "ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'\n | self.n == 'a'\n | .......^"),
        ("self.list.all(one, one.no)", "ERROR: <input>:1:23: undefined field 'no'\n | self.list.all(one, one.no)\n | ......................^"),
        ("self.metadata.name == 'x'", "ERROR: <input>:1:5: undefined field 'metadata'\n | self.metadata.name == 'x'\n | ....^"),
        ("self.n == 1 &&\nnone", "ERROR: <input>:2:1: undeclared reference to 'none' (in container '')\n | none\n | ^"),
        ("self.all(x, true)", "ERROR: <input>:1:1: expression of type 'selfType' cannot be range of a comprehension (must be list, map, or dynamic)\n | self.all(x, true)\n | ^"),
    ],
    ids=["field", "types", "item's field", "metadata", "second line", "no list"],
)  # fmt: skip
def test_ill_typed_expressions(text, problem):
    with pytest.raises(CelError) as refused:
        RuleChecker(declared(SELF)).check(text)
    assert str(refused.value) == f"compilation failed: {problem}"


def test_an_optional_old_self_has_the_same_type():
    checker = RuleChecker(declared(SELF))
    text = "oldSelf.hasValue() ? oldSelf.value().n == 1 : oldSelf.orValue(self) == self"
    assert checker.check(text, optional=True).result_type == "BOOL"
    with pytest.raises(CelError) as refused:
        checker.check("oldSelf.value().z == 1", optional=True)
    assert str(refused.value).startswith(
        "compilation failed: ERROR: <input>:1:16: undefined field 'z'\n | oldSelf"
    )


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (TEXT, "self == 'x'"),
        ({"type": "array", "items": ITEM}, "self.all(one, one.n > 1)"),
        ({"type": "object", "additionalProperties": ITEM}, "self.all(key, self[key].n > 1)"),
        ({"x-kubernetes-int-or-string": True}, "self == 1"),
        ({"type": "array", "items": {"type": "object", "additionalProperties": ITEM}}, "self[0]['x'].n == 1"),
    ],
)  # fmt: skip
def test_rules_on_what_is_no_object(schema, text):
    assert RuleChecker(declared(schema)).check(text).result_type == "BOOL"


def test_the_root_has_the_names_of_its_metadata():
    checker = RuleChecker(declared(SELF, root=True))
    text = "self.metadata.name == 'x' && self.apiVersion == 'v1' && has(self.metadata.generateName)"
    assert checker.check(text).result_type == "BOOL"
    with pytest.raises(CelError, match="undefined field 'labels'"):
        checker.check("has(self.metadata.labels)")


def cost(schema, text):
    one = declared(schema)
    tree = Tree(RuleChecker(one).check(text).serialized)
    return max_cost(tree, {"self": one, "oldSelf": one})


def listed(items, **more):
    return {"type": "array", "items": items, **more}


def mapped(values, **more):
    return {"type": "object", "additionalProperties": values, **more}


def has(**properties):
    return {"type": "object", "properties": properties}


LONG, LIST = 3 * 1024 * 1024 - 2, "self.all(x, true)"


@pytest.mark.parametrize(
    ("schema", "text", "units"),
    [
        # As kube-apiserver counts: 3 for each item (2 of the loop, 1 of the condition), 2 around.
        (listed(NUMBER), LIST, 3 * (LONG // 2) + 2),
        (listed(NUMBER, maxItems=10), LIST, 32),
        (listed(TEXT), LIST, 3 * (LONG // 3) + 2),
        (listed({"type": "string", "format": "duration"}), LIST, 2359295),
        (listed({"type": "string", "format": "date-time"}), LIST, 428963),
        (listed(has(a=TEXT) | {"required": ["a"]}), LIST, 3 * (LONG // 10) + 2),
        (mapped(NUMBER), LIST, 1348169),
        (mapped(TEXT, maxProperties=3), LIST, 11),
        (listed(NUMBER, maxItems=10), "self.all(x, self.all(y, true))", 352),
        (TEXT, "self.contains('test')", 314574),
        (TEXT | {"maxLength": 10}, "self.contains('test')", 5),
        (TEXT, "self.startsWith('test')", 2),
        (TEXT, 'self.matches("x")', 314574),
        (TEXT, 'size(self + "hello") > size("hello")', 314578),
        (TEXT | {"enum": ["a", "long"]}, "self.contains('a')", 2),
        (listed(TEXT), "self[1] == self[1]", 314577),
        (listed(NUMBER), "self[1] == 0.0", 2),
        (mapped({"type": "string", "format": "date-time"}), 'self["a"] == self["b"]', 8),
        (listed(TEXT | {"maxLength": 10}, maxItems=10), "self.join(' ') == 'aa bb'", 43),
        (listed(TEXT | {"maxLength": 10}, maxItems=10), "self.isSorted() == true", 52),
        (has(s=TEXT | {"maxLength": 4}, b=TEXT | {"maxLength": 2}, a=TEXT | {"maxLength": 4}), "self.s.replace(self.b, self.a) == 'a longer text'", 12),
        (TEXT | {"maxLength": 10}, "self.find('[0-9]+') == ''", 11),
        (mapped(INT), "oldSelf.size() == self.size()", 5),
        (TEXT, "quantity(self) == quantity('1')", 4),
        (has(a={"type": "boolean"}), "true", 0),
    ],
)  # fmt: skip
def test_what_an_expression_may_cost(schema, text, units):
    assert cost(schema, text) == units


def test_costs_stop_at_the_largest_number():
    nested = "self.all(a, self.all(b, self.all(c, self.all(d, a == d))))"
    assert cost(listed(TEXT), nested) == LIMIT


def test_how_many_values_fit_into_a_request():
    assert max_cardinality(declared(has(a=TEXT))) == 3 * 1024 * 1024 // 3
