"""The single walks of the main path say the same as the walks and comparisons they stand for, on every kind."""

import random

import pytest

from tests.api.test_every_kind import random_object
from todoku.api import decoding, keeping, schemas
from todoku.api.errors import BadRequest
from todoku.api.meta import copy
from todoku.api.patches import claims, fieldsets, track_update
from todoku.api.patches.apply import UNOWNED, UNOWNED_WITH_STATUS, blank_object
from todoku.api.resources import registry

KINDS = [pytest.param(one, id=f"{one.name}.{one.version}") for one in registry()]
WRONG = [None, "", "x", -1, 2**40, 1.5, True, [], {}, [None], {"unknown": 1}, {"a": None}, ["x"]]


def spoiled(value, rng):
    """The value with some of its parts replaced by what does not belong there, or put beside it."""
    if isinstance(value, dict):
        out = {key: spoiled(child, rng) for key, child in value.items()}
        return {**out, "unknown": rng.choice(WRONG)} if rng.random() < 0.02 else out
    if isinstance(value, list):
        return [spoiled(child, rng) for child in value]
    return rng.choice(WRONG) if rng.random() < 0.01 else value


def walked(obj, type_, kind):
    """What the three walks make of it; None where they find something."""
    try:
        decoding.check_types(obj, type_, kind=kind, version="v1")
    except BadRequest:
        return None
    return None if decoding.strict_problems(obj, type_) else decoding.normalize(obj, type_)


@pytest.mark.parametrize("resource", KINDS)
def test_a_right_body_is_kept_as_the_walks_keep_it_and_a_wrong_one_is_left_to_them(resource):
    type_, rng = schemas.type_of(resource.schema), random.Random(resource.schema)
    kept = 0
    for _ in range(60):
        obj = spoiled(random_object(resource, rng), rng)
        before = copy(obj)
        expected, found = walked(obj, type_, resource.kind), keeping.kept(obj, type_)
        assert obj == before
        if found is not None:
            kept += 1
            assert found == expected
            assert list(found) == list(expected)
        else:
            assert expected is None
    assert kept > 10


@pytest.mark.parametrize("resource", KINDS)
def test_a_creation_owns_what_comparing_with_nothing_says(resource):
    type_, rng = schemas.type_of(resource.schema), random.Random(resource.schema)
    same = 0
    for _ in range(60):
        obj = decoding.normalize(random_object(resource, rng), type_)
        obj["metadata"] = {**obj.get("metadata", {}), "name": "x"}
        obj["metadata"].pop("managedFields", None)
        settings = {"manager": "m", "schema": type_, "now": 0.0}
        blank, ignored = blank_object(type_), UNOWNED_WITH_STATUS
        if "status" not in type_.fields:
            ignored = UNOWNED
        fields = claims.created(obj, type_, blank=blank, ignored=ignored)
        if fields is None:
            continue
        same += 1
        compared = track_update({"metadata": {}}, obj, **settings)
        assert [one["fieldsV1"] for one in compared] == ([fields] if fields else [])
        assert track_update(None, obj, **settings) == compared
        assert _order(fields) == _order(fieldsets.encode(fieldsets.decode(fields)))
    assert same > 10


def _order(trie):
    return [(key, _order(child)) for key, child in trie.items()]


def test_list_items_that_are_not_to_be_told_apart_are_left_to_the_comparison():
    type_ = schemas.type_of("io.k8s.api.core.v1.Pod")
    pod = {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}
    assert claims.created(pod, type_, blank={}, ignored=frozenset()) is None
