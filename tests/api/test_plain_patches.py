import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoku.api.errors import ApiError, BadRequest, Invalid, TooLarge
from todoku.api.patches import json_patch, merge_patch

# The examples of RFC 7386, appendix A.
RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("before", "patch", "after"), RFC_7386)
def test_merge_patch(before, patch, after):
    assert merge_patch(before, patch) == after


def test_json_patch():
    before = {"metadata": {"labels": {"a": "1"}}, "list": [1, 2]}
    operations = [
        {"op": "test", "path": "/metadata/labels/a", "value": "1"},
        {"op": "add", "path": "/metadata/labels/b~1c", "value": "2"},
        {"op": "remove", "path": "/list/0"},
        {"op": "replace", "path": "/list/0", "value": 9},
    ]
    after = {"metadata": {"labels": {"a": "1", "b/c": "2"}}, "list": [9]}
    assert json_patch(before, operations) == after
    assert before["list"] == [1, 2]


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ({}, BadRequest),
        (["x"], BadRequest),
        ([{"op": "fly", "path": "/a"}], Invalid),
        ([{"op": "add"}], Invalid),
        ([{"op": "remove", "path": "/missing"}], Invalid),
        ([{"op": "test", "path": "/a", "value": 2}], Invalid),
        ([{"op": "replace", "path": "/list/x", "value": 2}], Invalid),
        ([{"op": "test", "path": "/a", "value": 1}] * 10_001, TooLarge),
    ],
)
def test_bad_json_patches_are_refused(operations, error):
    with pytest.raises(error):
        json_patch({"a": 1, "list": []}, operations)


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)
operations = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]) | values,
        "path": st.sampled_from(["", "/", "/a", "/a/b", "/l/0", "/l/-", "/l/99", "a", "/~2"])
        | values,
        "from": st.sampled_from(["", "/a", "/l/0", "x"]) | values,
        "value": values,
    },
)


@given(st.lists(operations, max_size=4) | values)
def test_any_json_patch_is_applied_or_refused(patch):
    try:
        json_patch({"a": {"b": 1}, "l": [1, 2]}, patch)
    except ApiError:
        pass
