import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoku.api import selectors
from todoku.api.errors import Path
from todoku.api.selectors import SelectorError, from_selector, parse_fields, parse_labels

LABELS = {"app": "web", "tier": "front", "weight": "7"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app!=web", False),
        ("missing!=web", True),
        ("app in (web, api)", True),
        ("app notin (web,api)", False),
        ("missing notin (web)", True),
        ("app", True),
        ("!app", False),
        ("! missing", True),
        ("weight>5", True),
        ("weight<5", False),
        ("app>5", False),
        ("app=", False),
        ("app in (web),tier notin (back)", True),
        ("example.com/part-of=x", False),
    ],
)
def test_label_selectors(text, matches):
    assert parse_labels(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "found 'b'"),
        ("a in b", "expected: '('"),
        ("a in (b", "expected: ',', ')' or identifier"),
        ("a,", "expected: identifier after ','"),
        ("a=-b", "a valid label must be an empty string"),
        ("a/b/c=d", "unable to parse requirement"),
        ("=x", "expected: !, identifier, or 'end of string'"),
        ("a>b", "must be an integer"),
    ],
)
def test_malformed_label_selectors_are_refused(text, message):
    with pytest.raises(SelectorError, match=message.replace("(", r"\(").replace(")", r"\)")):
        parse_labels(text)


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused(text):
    try:
        selector = parse_labels(text)
    except SelectorError:
        return
    assert parse_labels(str(selector)) == selector


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "api"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_workload_selectors(selector, matches):
    assert from_selector(selector).matches(LABELS) is matches


def test_selector_problems_name_the_field():
    selector = {
        "matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Like"}]
    }
    problems = selectors.selector_problems(selector, Path("spec") / "selector")
    assert [str(problem) for problem in problems] == [
        "spec.selector.matchExpressions[0].values: Required value: "
        "must be specified when `operator` is 'In' or 'NotIn'",
        'spec.selector.matchExpressions[1].operator: Invalid value: "Like": not a valid selector operator',
    ]


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=web", True),
        ("metadata.name==web,status.phase!=Running", False),
        ("status.phase!=Failed", True),
        ("spec.nodeName=", True),
        ("metadata.name=we\\,b", False),
    ],
)
def test_field_selectors(text, matches):
    fields = {"metadata.name": "web", "status.phase": "Running"}
    assert parse_fields(text).matches(fields) is matches


@pytest.mark.parametrize("text", ["name", "a=b=c", "a=\\x"])
def test_malformed_field_selectors_are_refused(text):
    with pytest.raises(SelectorError):
        parse_fields(text)


@given(st.text(max_size=20))
def test_field_values_survive_escaping(value):
    selector = selectors.FieldSelector((selectors.FieldRequirement("a.b", "=", value),))
    assert parse_fields(str(selector)) == selector
