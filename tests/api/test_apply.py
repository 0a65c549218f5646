import json

import pytest

from todoku.api import schemas
from todoku.api.errors import Unclassified
from todoku.api.patches import ApplyConflict, apply, through, track_update
from todoku.api.patches.fieldsets import decode, encode, show

DEPLOYMENT = schemas.type_of("io.k8s.api.apps.v1.Deployment")
CONFIG_MAP = schemas.type_of("io.k8s.api.core.v1.ConfigMap")


def config_map(data, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", **metadata},
        "data": data,
    }


def applied(live, obj, manager="one", force=False, schema=CONFIG_MAP, now=0.0):
    return apply(live, obj, manager=manager, force=force, schema=schema, now=now).object


def test_an_apply_creates_and_owns_what_it_names():
    live = applied(None, config_map({"a": "1"}))
    assert live["data"] == {"a": "1"}
    assert live["metadata"]["managedFields"] == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "1970-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}},
        }
    ]


def test_an_apply_that_names_a_field_no_more_removes_it():
    live = applied(None, config_map({"a": "1", "b": "2"}))
    assert applied(live, config_map({"b": "2"}))["data"] == {"b": "2"}


def test_a_field_that_another_manager_owns_stays():
    live = applied(None, config_map({"a": "1"}))
    live = applied(live, config_map({"a": "1"}), manager="two")
    nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    live = applied(live, nothing)
    assert live["data"] == {"a": "1"}
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["two"]


def test_changing_what_another_owns_is_a_conflict():
    live = applied(None, config_map({"a": "1"}))
    with pytest.raises(ApplyConflict) as caught:
        applied(live, config_map({"a": "2"}), manager="two")
    status = caught.value.status()
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert (status["code"], status["reason"]) == (409, "Conflict")
    assert status["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.a"}
    ]


def test_several_conflicts_are_listed_by_manager():
    live = applied(None, config_map({"a": "1", "b": "1"}))
    live["metadata"]["managedFields"] += track_update(
        None, config_map({"c": "1"}), manager="kubectl-edit", schema=CONFIG_MAP, now=5
    )
    live["data"]["c"] = "1"
    with pytest.raises(ApplyConflict) as caught:
        applied(live, config_map({"a": "2", "b": "2", "c": "2"}), manager="two")
    assert caught.value.message == (
        "Apply failed with 3 conflicts: "
        'conflicts with "kubectl-edit" using v1:\n- .data.c\n'
        'conflicts with "one":\n- .data.a\n- .data.b'
    )


def test_force_takes_ownership():
    live = applied(None, config_map({"a": "1", "b": "1"}))
    live = applied(live, config_map({"a": "2"}), manager="two", force=True)
    assert live["data"] == {"a": "2", "b": "1"}
    owners = {entry["manager"]: entry["fieldsV1"] for entry in live["metadata"]["managedFields"]}
    assert owners == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}


def test_applying_the_same_again_changes_nothing():
    live = applied(None, config_map({"a": "1"}))
    again = apply(
        live, config_map({"a": "1"}), manager="one", force=False, schema=CONFIG_MAP, now=99
    )
    assert not again.changed
    assert again.object == live


def test_an_update_takes_what_it_changes():
    live = applied(None, config_map({"a": "1", "b": "1"}))
    changed = {**live, "data": {"a": "9", "b": "1"}}
    entries = track_update(live, changed, manager="kubectl-edit", schema=CONFIG_MAP, now=9)
    assert {entry["manager"]: entry["fieldsV1"] for entry in entries} == {
        "one": {"f:data": {"f:b": {}}},
        "kubectl-edit": {"f:data": {"f:a": {}}},
    }


def deployment(*containers, **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [*containers]},
            },
            **spec,
        },
    }


def test_list_items_are_owned_by_their_key():
    first = deployment({"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]})
    live = applied(None, first, schema=DEPLOYMENT)
    fields = live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]
    assert fields["f:containers"] == {
        'k:{"name":"a"}': {
            ".": {},
            "f:image": {},
            "f:name": {},
            "f:ports": {
                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
            },
        }
    }


def test_managers_share_a_list():
    live = applied(None, deployment({"name": "a", "image": "a:1"}), schema=DEPLOYMENT)
    live = applied(
        live, deployment({"name": "b", "image": "b:1"}), manager="two", schema=DEPLOYMENT
    )
    assert [one["name"] for one in live["spec"]["template"]["spec"]["containers"]] == ["a", "b"]
    live = applied(live, deployment(), schema=DEPLOYMENT)
    assert [one["name"] for one in live["spec"]["template"]["spec"]["containers"]] == ["b"]


def test_removing_an_item_removes_defaults_inside_it():
    live = applied(
        None,
        deployment({"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}),
        schema=DEPLOYMENT,
    )
    for container in live["spec"]["template"]["spec"]["containers"]:
        container["imagePullPolicy"] = "Always"
    live = applied(live, deployment({"name": "b", "image": "b:1"}), schema=DEPLOYMENT)
    assert live["spec"]["template"]["spec"]["containers"] == [
        {"name": "b", "image": "b:1", "imagePullPolicy": "Always"}
    ]


def test_objects_without_owners_are_owned_by_before_first_apply():
    live = config_map({"a": "1"})
    with pytest.raises(ApplyConflict, match='conflict with "before-first-apply" using v1'):
        applied(live, config_map({"a": "2"}))
    live = applied(live, config_map({"a": "1"}))
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == [
        "one",
        "before-first-apply",
    ]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            deployment({"name": "a"}, {"name": "a"}),
            r"failed to create typed patch object \(default/d; apps/v1, Kind=Deployment\): "
            r'.spec.template.spec.containers: duplicate entries for key \[name="a"\]',
        ),
        (deployment(replica=1), "\\.spec\\.replica: field not declared in schema"),
        (
            deployment(replicas="2"),
            ".spec.replicas: expected numeric \\(int or float\\), got string",
        ),
        (
            deployment({"name": "a", "image": 1}),
            r'.containers\[name="a"\].image: expected string, got &value.valueUnstructured\{Value:1\}',
        ),
        (
            deployment(replica=1, selector=[], paused="no"),
            "errors:\n  .spec.selector: expected map, got &{\\[\\]}\n"
            "  .spec.replica: field not declared in schema\n  .spec.paused: expected boolean, got &{no}",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(obj, message):
    with pytest.raises(Unclassified, match=message):
        applied(None, obj, schema=DEPLOYMENT)


def test_metadata_stays_when_its_last_applied_field_goes():
    live = applied(None, config_map({}, labels={"a": "b"}))
    live["metadata"] |= {"uid": "u", "annotations": {"of": "nobody"}}
    live = applied(live, config_map({}))
    assert live["metadata"]["uid"] == "u"
    assert live["metadata"]["annotations"] == {"of": "nobody"}
    assert "labels" not in live["metadata"]


def test_a_create_is_tracked_without_what_go_holds_by_value():
    obj = deployment({"name": "a", "image": "a:1"}, replicas=3)
    [entry] = track_update(None, obj, manager="kubectl-create", schema=DEPLOYMENT, now=0)
    spec = entry["fieldsV1"]["f:spec"]
    assert "." not in spec
    assert spec["f:replicas"] == {}
    assert spec["f:template"]["f:metadata"] == {"f:labels": {".": {}, "f:app": {}}}


def test_status_belongs_to_its_subresource():
    obj = deployment() | {"status": {"replicas": 1}}
    [main] = track_update(None, obj, manager="m", schema=DEPLOYMENT, now=0)
    assert "f:status" not in main["fieldsV1"]
    entries = track_update(
        deployment(), obj, manager="m", schema=DEPLOYMENT, now=0, subresource="status"
    )
    assert entries[-1]["fieldsV1"] == {"f:status": {"f:replicas": {}}}
    assert entries[-1]["subresource"] == "status"


def test_old_update_entries_are_merged():
    live = config_map({})
    for number in range(15):
        new = config_map({**live["data"], f"k{number}": "x"})
        new["metadata"]["managedFields"] = track_update(
            live, new, manager=f"m{number:02}", schema=CONFIG_MAP, now=number
        )
        live = new
    entries = live["metadata"]["managedFields"]
    assert len(entries) == 10
    assert entries[0]["manager"] == "ancient-changes"


def test_fields_v1_round_trip_and_words():
    trie = {
        "f:spec": {".": {}, "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}
    }
    assert encode(decode(trie)) == trie
    path = ("f:spec", 'k:{"port":80,"protocol":"TCP"}', 'v:"x"', "i:0")
    assert show(path) == '.spec[port=80,protocol="TCP"][="x"][0]'


LAST = "kubectl.kubernetes.io/last-applied-configuration"


def by_client(data, last):
    """An object as `kubectl apply` without --server-side leaves it."""
    text = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": last}
    )
    obj = config_map(data, annotations={LAST: text})
    how = {"manager": "kubectl-client-side-apply", "schema": CONFIG_MAP, "now": 0}
    obj["metadata"]["managedFields"] = track_update(None, obj, **how)
    return obj


def test_kubectl_takes_over_what_it_applied_on_the_client_side():
    live = applied(by_client({"a": "1"}, {"a": "1"}), config_map({"a": "2"}), manager="kubectl")
    assert live["data"] == {"a": "2"}
    assert json.loads(live["metadata"]["annotations"][LAST]) == config_map({"a": "2"})


@pytest.mark.parametrize("last", [{"a": "0"}, {}], ids=["another value", "another field"])
def test_kubectl_does_not_take_over_what_somebody_else_has_changed_since(last):
    with pytest.raises(ApplyConflict, match="kubectl-client-side-apply"):
        applied(by_client({"a": "1"}, last), config_map({"a": "2"}), manager="kubectl")


def test_only_the_fields_of_others_remain_conflicts():
    live = by_client({"a": "1", "b": "1"}, {"a": "1"})
    with pytest.raises(ApplyConflict) as caught:
        applied(live, config_map({"a": "2", "b": "2"}), manager="kubectl")
    assert [one["field"] for one in caught.value.details["causes"]] == [".data.b"]


def test_other_managers_do_not_take_over_from_the_client_side():
    with pytest.raises(ApplyConflict):
        applied(by_client({"a": "1"}, {"a": "1"}), config_map({"a": "2"}), manager="other")


def test_an_annotation_that_cannot_be_read_gives_nothing_away():
    live = by_client({"a": "1"}, {"a": "1"})
    live["metadata"]["annotations"][LAST] = "["
    with pytest.raises(ApplyConflict):
        applied(live, config_map({"a": "2"}), manager="kubectl")


REPLICAS = ("f:spec", "f:replicas")


def entry(manager, fields, subresource=""):
    kept = {"manager": manager, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": fields}
    return kept | ({"subresource": subresource} if subresource else {})


def test_a_field_applied_through_another_kind_changes_hands():
    both = {"f:spec": {"f:paused": {}, "f:replicas": {}}}
    owners = [entry("one", both), entry("two", {"f:spec": {"f:paused": {}}})]
    [seen] = through.shown(owners, REPLICAS, as_=REPLICAS, api_version="autoscaling/v1")
    assert (seen["manager"], seen["apiVersion"]) == ("one", "autoscaling/v1")
    assert seen["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    taker = entry("three", {"f:spec": {"f:replicas": {}}}, "scale")
    after = through.merged(owners, [taker], REPLICAS, api_version="apps/v1")
    assert [(one["manager"], one["fieldsV1"]["f:spec"]) for one in after] == [
        ("one", {"f:paused": {}}),
        ("two", {"f:paused": {}}),
        ("three", {"f:replicas": {}}),
    ]
    shared = through.merged(owners, [seen, taker], REPLICAS, api_version="apps/v1")
    assert shared[0] == owners[0]
