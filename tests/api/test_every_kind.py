"""No object that decodes may make the rules of its kind fail: a refusal is a list of problems, never an exception."""

import random

import pytest

from todoku.api import decoding, schemas
from todoku.api.meta import copy
from todoku.api.patches import track_update
from todoku.api.resources import registry
from todoku.api.tables import columns_of, table

STRINGS = [
    "",
    "a",
    "x.io/v1",
    "TCP",
    "10.0.0.1",
    "10.0.0.0/8",
    "Always",
    "-",
    "a b",
    "80%",
    "None",
    "ü",
    "1",
    "IPv4",
]
STRINGS += [
    "RollingUpdate",
    "ClientIP",
    "Exists",
    "In",
    "NodePort",
    "LoadBalancer",
    "Webhook",
    "Localhost",
    "[",
    "*/5 * * * *",
]
INTEGERS = [-1, 0, 1, 80, 100, 70000, 2**31 - 1]
QUANTITIES = ["0", "1", "100m", "1Gi", "-1"]


def value(type_, rng, depth):
    """A random value that the decoder accepts."""
    if type_.kind == "struct":
        names = list(type_.fields)
        kept = names if rng.random() < 0.1 else [one for one in names if rng.random() < 0.45]
        kept = kept[: 12 if depth else 3]
        return {one: value(type_.fields[one], rng, depth - 1) for one in kept if depth > 0}
    if type_.kind == "map":
        return {
            rng.choice(STRINGS): value(type_.items, rng, depth - 1)
            for _ in range(rng.randint(0, 2))
        }
    if type_.kind == "list":
        return (
            [value(type_.items, rng, depth - 1) for _ in range(rng.randint(0, 2))]
            if depth > 0
            else []
        )
    return rng.choice(
        {
            "integer": INTEGERS,
            "number": [0.5, 1],
            "boolean": [True, False],
            "bytes": ["", "YQ=="],
            "quantity": QUANTITIES,
            "int-or-string": [0, 1, "25%", "http", "x"],
            "time": ["2026-01-01T00:00:00Z"],
            "microtime": ["2026-01-01T00:00:00.000000Z"],
            "any": [{}, {"a": 1}],
        }.get(type_.kind, STRINGS)
    )


def random_object(resource, rng):
    type_ = schemas.type_of(resource.schema)
    obj = {one: value(type_.fields[one], rng, 7) for one in type_.fields if rng.random() < 0.8}
    obj = decoding.normalize(obj, type_)
    obj |= {"apiVersion": resource.api_version, "kind": resource.kind}
    obj["metadata"] = obj.get("metadata", {}) | {"name": "a", "uid": "u"}
    obj["metadata"].pop("managedFields", None)
    return obj


@pytest.mark.parametrize(
    "resource", [pytest.param(one, id=f"{one.name}.{one.version}") for one in registry()]
)
def test_rules_never_fail(resource):
    rng = random.Random(resource.name)
    strategy, type_ = resource.strategy, schemas.type_of(resource.schema)
    columns, row = columns_of(resource)
    before = None
    for _ in range(40):
        obj = random_object(resource, rng)
        decoding.check_types(obj, type_, kind=resource.kind, version=resource.version)
        strategy.default(obj)
        again = copy(obj)
        strategy.default(again)
        assert again == obj, "defaulting twice changes nothing"
        fresh = copy(obj)
        strategy.prepare_create(fresh)
        strategy.validate(fresh, None)
        strategy.warnings(fresh, None)
        assert set(strategy.selectable_fields(fresh)) == set(strategy.selectable_field_names)
        decoding.check_types(fresh, type_, kind=resource.kind, version=resource.version)
        assert decoding.strict_problems(fresh, type_) == []
        [shown] = table(columns, row, [fresh], now=0)["rows"]
        assert len(shown["cells"]) == len(columns)
        track_update(None, fresh, manager="m", schema=type_, now=0)
        if strategy.graceful:
            strategy.graceful(fresh)
        if resource.to_storage:
            resource.from_storage(resource.to_storage(copy(fresh)))
        if before is not None:
            for prepare, validate in (
                (strategy.prepare_update, strategy.validate),
                (strategy.prepare_status, strategy.validate_status),
            ):
                changed = copy(obj)
                prepare(changed, before)
                validate(changed, before)
                strategy.warnings(changed, before)
        before = fresh
