import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoku.api.errors import ApiError, BadRequest, Invalid, TooLarge
from todoku.api.patches import DoesNotApply, json_patch, merge_patch

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


FAILURES = {
    "add under nothing": ({"op": "add", "path": "/x/y", "value": 1}, 'add operation does not apply: doc is missing path: "/x/y": missing value'),
    "add to the document": ({"op": "add", "path": "", "value": 1}, 'add operation does not apply: doc is missing path: "": missing value'),
    "add without a path": ({"op": "add"}, "add operation failed to decode path: missing value"),
    "add beyond the end": ({"op": "add", "path": "/l/3", "value": 1}, "error in add for path: '/l/3': Unable to access invalid index: 3: invalid index"),
    "replace what is not there": ({"op": "replace", "path": "/b", "value": 1}, "replace operation does not apply: doc is missing key: /b: missing value"),
    "remove what is not there": ({"op": "remove", "path": "/a/x"}, "error in remove for path: '/a/x': Unable to remove nonexistent key: x: missing value"),
    "remove beyond the end": ({"op": "remove", "path": "/l/2"}, "error in remove for path: '/l/2': Unable to access invalid index: 2: invalid index"),
    "move from nowhere": ({"op": "move", "from": "/x/y", "path": "/z"}, "move operation does not apply: doc is missing from path: /x/y: missing value"),
    "move into itself": ({"op": "move", "from": "/a", "path": "/a/b"}, "move operation does not apply: doc is missing destination path: /a/b: missing value"),
    "copy from nowhere": ({"op": "copy", "from": "/b", "path": "/z"}, "error in copy for from: '/b': unable to get nonexistent key: b: missing value"),
    "a pointer without a slash": ({"op": "test", "path": "a", "value": 1}, "test operation does not apply: is missing path: a: missing value"),
    "true is not 1": ({"op": "test", "path": "/l/0", "value": True}, "testing value /l/0 failed: test failed"),
    "no such operation": ({"op": "fly", "path": "/a"}, "Unexpected kind: fly"),
}  # fmt: skip


@pytest.mark.parametrize(("operation", "why"), FAILURES.values(), ids=FAILURES)
def test_an_operation_that_does_not_fit_says_why(operation, why):
    with pytest.raises(DoesNotApply) as refused:
        json_patch({"a": {"b": 1}, "l": [1, 2]}, [operation])
    assert refused.value.why == why


def test_an_index_may_count_from_the_end_and_null_is_what_is_missing():
    operations = [
        {"op": "test", "path": "/none", "value": None},
        {"op": "add", "path": "/l/-1", "value": 3},
        {"op": "remove", "path": "/l/-3"},
    ]
    assert json_patch({"l": [1, 2]}, operations) == {"l": [2, 3]}


def test_what_is_copied_is_another_value_afterwards():
    operations = [
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/b/x", "value": 1},
    ]
    assert json_patch({"a": {}}, operations) == {"a": {}, "b": {"x": 1}}


def test_copies_that_double_the_document_come_to_an_end():
    start = {"op": "add", "path": "/a", "value": {"x": "y" * 1000}}
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(9000)]
    with pytest.raises(DoesNotApply) as refused:
        json_patch({}, [start, *doubling])
    assert refused.value.why.startswith("unable to copy, the accumulated size increase of copy is")


def test_moves_make_nothing_deeper_than_a_body_may_be():
    deeper = [
        {"op": "add", "path": "/y", "value": {}},
        {"op": "move", "from": "/x", "path": "/y/y"},
        {"op": "move", "from": "/y", "path": "/x"},
    ]
    for times in (300, 3000):
        with pytest.raises(DoesNotApply) as refused:
            json_patch({"x": {}}, deeper * times)
        assert refused.value.why == "exceeded max depth"


def test_the_last_of_many_operations_fails_as_fast_as_the_first():
    large = {"data": {str(number): "x" for number in range(2000)}}
    fits = [{"op": "test", "path": "/data/1", "value": "x"}] * 9999
    with pytest.raises(DoesNotApply):
        json_patch(large, [*fits, {"op": "test", "path": "/data/1", "value": "y"}])
