"""Tables of custom resources, JSONPath, and the rules of metadata."""

import pytest

from todoku.api import tables, validation
from todoku.api.jsonpath import JsonPathError, find, parse

VALUE = {"a": {"b": [{"t": "x", "v": 1}, {"t": "y", "v": 2}], "c.d": 3}, "n": None, "x/y": 4}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b[0].v", [1]),
        ("{.a.b[1].v}", [2]),
        (".a.b[-1].v", [2]),
        (".a.b[*].v", [1, 2]),
        ('.a.b[?(@.t=="y")].v', [2]),
        (".a.b[?(@.v>1)].t", ["y"]),
        (".a['c.d']", [3]),
        (r".a.c\.d", [3]),
        (r".x/y", [4]),
        (".a.b[0:1].t", ["x"]),
        ("..v", [1, 2]),
        (".missing.x", []),
        (".n", [None]),
    ],
)
def test_json_path(path, found):
    assert find(parse(path), VALUE) == found


@pytest.mark.parametrize("path", ["a[", ".a[?(]", ".a{", "[x]"])
def test_other_paths_are_refused(path):
    with pytest.raises(JsonPathError):
        parse(path)


def test_custom_columns_convert_by_type():
    columns, row = tables.custom_columns(
        [
            {"name": "V", "type": "integer", "jsonPath": ".spec.v"},
            {"name": "S", "type": "string", "jsonPath": ".spec.s", "priority": 1},
            {"name": "Ready", "type": "boolean", "jsonPath": ".status.ready"},
            {"name": "Since", "type": "date", "jsonPath": ".spec.since"},
            {"name": "All", "type": "string", "jsonPath": ".spec.list[*]"},
        ]
    )
    obj = {
        "metadata": {"name": "x"},
        "spec": {"v": 3, "s": {"k": 1}, "since": "1970-01-01T00:00:00Z", "list": ["a", "b"]},
    }
    [shown] = tables.table(columns, row, [obj], now=90)["rows"]
    assert shown["cells"] == ["x", 3, '{"k":1}', None, "90s", "a"]  # of several matches the first
    assert [column.priority for column in columns] == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("string", True, "true"),
        ("string", 1234567.5, "1.2345675e+06"),
        ("string", {"b": "<x>", "a": "é"}, r'{"a":"é","b":"\u003cx\u003e"}'),
        ("string", ["x", 1], '["x",1]'),
        ("string", None, "<no value>"),
        ("integer", 2.7, 2),
        ("integer", "2", None),
        ("integer", True, None),
        ("number", 2, 2),
        ("number", 2.5, 2.5),
        ("boolean", "true", None),
        ("date", "", "<unknown>"),
        ("date", "soon", "<invalid>"),
        ("date", 5, None),
        ("date", None, None),
    ],
)
def test_custom_cells(kind, value, cell):
    columns, row = tables.custom_columns([{"name": "V", "type": kind, "jsonPath": ".v"}])
    [shown] = tables.table(columns, row, [{"metadata": {"name": "x"}, "v": value}], now=90)["rows"]
    assert shown["cells"] == ["x", cell]


def test_without_columns_there_are_name_and_age():
    columns, row = tables.custom_columns([])
    assert [column.name for column in columns] == ["Name", "Age"]
    assert row({"metadata": {"name": "x"}}) == ["x", None]


def meta(**more):
    problems = validation.object_meta({"name": "a", "namespace": "n", **more}, namespaced=True)
    return [str(one) for one in problems]


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of'),
        ({"namespace": ""}, "metadata.namespace: Required value"),
        ({"labels": {"a b": "c"}}, 'metadata.labels: Invalid value: "a b": name part must consist of'),
        ({"labels": {"a": "-"}}, 'metadata.labels: Invalid value: "-": a valid label must be an empty string'),
        ({"annotations": {"a": "x" * 262144}}, "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"finalizers": ["/x"]}, 'metadata.finalizers: Invalid value: "/x": prefix part must be non-empty'),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}, 'metadata.ownerReferences.uid: Invalid value: "": must not be empty'),
    ],
)  # fmt: skip
def test_metadata(metadata, problem):
    assert any(one.startswith(problem) for one in meta(**metadata)), meta(**metadata)


def test_good_metadata_passes():
    assert (
        meta(
            labels={"app.kubernetes.io/name": "x"}, finalizers=["x.io/y"], annotations={"a/b": "c"}
        )
        == []
    )


def test_metadata_that_may_not_change():
    old = {
        "name": "a",
        "uid": "1",
        "resourceVersion": "5",
        "deletionTimestamp": "t",
        "finalizers": ["x.io/a"],
    }
    new = {**old, "uid": "2", "finalizers": ["x.io/a", "x.io/b"]}
    found = [str(one) for one in validation.object_meta_update(new, old)]
    assert found == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"x.io/b"}',
        'metadata.uid: Invalid value: "2": field is immutable',
    ]
