import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoku.api import schemas
from todoku.api.errors import ApiError, BadRequest, Unclassified
from todoku.api.patches import strategic_merge_patch

POD = schemas.type_of("io.k8s.api.core.v1.Pod")
SERVICE = schemas.type_of("io.k8s.api.core.v1.Service")
DEPLOYMENT = schemas.type_of("io.k8s.api.apps.v1.Deployment")


def pod(*containers, **spec):
    return {"spec": {"containers": [*containers], **spec}}


A, B, C = (
    {"name": "a", "image": "a:1"},
    {"name": "b", "image": "b:1"},
    {"name": "c", "image": "c:1"},
)


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        pytest.param(pod(A), {"spec": {"nodeName": "n"}}, pod(A, nodeName="n"), id="maps merge"),
        pytest.param(pod(A, nodeName="n"), {"spec": {"nodeName": None}}, pod(A), id="null removes"),
        pytest.param(
            pod(A, B), pod({"name": "b", "image": "b:2"}), pod(A, {"name": "b", "image": "b:2"}),
            id="list items merge by key",
        ),
        pytest.param(pod(A), pod(B), pod(B, A), id="new items come in front, as upstream orders them"),
        pytest.param(pod(A, B), pod({"name": "a", "$patch": "delete"}), pod(B), id="delete an item"),
        pytest.param(
            pod(A, B), pod({"$patch": "replace"}, C), pod(C), id="replace a list"
        ),
        pytest.param(
            pod(A, tolerations=[{"key": "x"}]), {"spec": {"tolerations": [{"key": "y"}]}},
            pod(A, tolerations=[{"key": "y"}]), id="lists without a merge key are replaced",
        ),
        pytest.param(
            pod(A, B), {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}, pod(B, A),
            id="order without content",
        ),
        pytest.param(
            pod(A, B),
            {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                      "containers": [C, {"name": "b", "$patch": "delete"}]}},
            pod(C, A), id="order, add and delete at once",
        ),
        pytest.param(
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
            {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
            {"spec": {"strategy": {"type": "Recreate"}}}, id="retainKeys clears the rest",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}}, id="delete from a list of scalars",
        ),
        pytest.param(
            {"metadata": {"finalizers": ["a"]}}, {"metadata": {"finalizers": ["b", "a"]}},
            {"metadata": {"finalizers": ["b", "a"]}}, id="lists of scalars are united",
        ),
        pytest.param(
            {"spec": {"selector": {"a": "1"}}}, {"spec": {"$patch": "replace", "type": "NodePort"}},
            {"spec": {"type": "NodePort"}}, id="replace a map",
        ),
        pytest.param(
            {"spec": {"selector": {"a": "1"}}}, {"spec": {"selector": {"$patch": "delete"}}},
            {"spec": {"selector": {}}}, id="delete a map's content",
        ),
        pytest.param(
            {}, {"spec": {"containers": [A, {"name": "z", "$patch": "delete"}], "x": None}},
            {"spec": {"containers": [A]}}, id="new values lose nulls and directives",
        ),
    ],
)  # fmt: skip
def test_strategic_merge(before, patch, after):
    type_ = DEPLOYMENT if "strategy" in before.get("spec", {}) else POD
    assert strategic_merge_patch(before, patch, type_) == after


def test_service_ports_merge_by_port_number():
    before = {"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 443}]}}
    patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}
    after = {
        "spec": {"ports": [{"port": 80, "nodePort": 30080, "targetPort": 8080}, {"port": 443}]}
    }
    assert strategic_merge_patch(before, patch, SERVICE) == after


@pytest.mark.parametrize(
    ("patch", "error", "text"),
    [
        ([], BadRequest, "cannot unmarshal array"),
        ({"spec": {"$patch": "explode"}}, Unclassified, "unknown patch type: explode in map: map[$patch:explode]"),
        ({"spec": {"containers": [{"image": "no name"}]}}, Unclassified, "map: map[image:no name] does not contain declared merge key: name"),
        ({"spec": {"containers": [{"name": "a", "$patch": "merge"}]}}, Unclassified, "merging lists cannot yet be specified"),
        ({"spec": {"$retainKeys": "x"}}, BadRequest, "invalid patch format of retainKeys"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [B]}},
            Unclassified,
            "the order in patch list:\n[map[image:b:1 name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]",
        ),
    ],
)  # fmt: skip
def test_malformed_patches_are_refused(patch, error, text):
    with pytest.raises(error, match=re.escape(text)):
        strategic_merge_patch(pod(A), patch, POD)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["spec", "containers", "name", "ports", "$patch", "$retainKeys", "metadata", "finalizers",
             "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "labels"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values, json_values)
def test_any_patch_is_applied_or_refused_and_changes_no_argument(obj, patch):
    original = obj if isinstance(obj, dict) else {}
    shown = repr((original, patch))
    try:
        strategic_merge_patch(original, patch, POD)
    except ApiError:
        pass
    assert repr((original, patch)) == shown
