"""Objects that fit their schema but mean nothing, and some that do not fit: refused with a reason, never a 500.

The objects are drawn from each kind's own schema by a seeded generator, so that a failure repeats.
"""

import random

import pytest

from todoku.api import schemas
from todoku.api.resources import registry

ODD = [
    None, 0, -1, 2**40, 1.5, "", "a", "A b", "é" * 10, "10.0.0.1", "100m", [], {}, [1], [None], [{}],
    {"a": 1}, {"a": None}, True, "x" * 300, [["a"]], {"name": "x"}, "1.2.3.4/33", "2020-01-01T00:00:00Z",
]  # fmt: skip
WORDS = {
    "integer": [0, 1, -1, 80, 65536, 2**31 - 1],
    "number": [0, 1.5, -1],
    "boolean": [True, False],
    "quantity": ["1", "100m", "-1", "1Gi", "bogus", 5],
    "int-or-string": [1, "http", "50%", -1, ""],
    "time": ["2020-01-01T00:00:00Z", "bogus"],
    "microtime": ["2020-01-01T00:00:00.000000Z", "bogus"],
    "bytes": ["YQ==", "!", ""],
    "any": [{}, {"a": 1}, "x", []],
    "string": ["a", "web", "TCP", "ClusterIP", "", "1.2.3.4", "Always", "UPPER", "a.b/c", "x" * 70],
}
PATCHES = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def drawn(dice, type_, depth=0):
    if dice.random() < 0.04:
        return dice.choice(ODD)
    if type_.kind == "struct":
        fields = type_.fields.keys() if depth < 7 else ()
        return {
            name: drawn(dice, type_.fields[name], depth + 1)
            for name in fields
            if dice.random() < (0.9 if name in type_.required else 0.35)
        }
    if type_.kind == "map":
        keys = dice.sample(["a", "app", "x.y/z", "Bad Key"], dice.randint(0, 2))
        return {key: drawn(dice, type_.items, depth + 1) for key in keys}
    if type_.kind == "list":
        return [drawn(dice, type_.items, depth + 1) for _ in range(dice.randint(0, 2))]
    return dice.choice(WORDS[type_.kind])


def nonsense(dice, resource, name):
    obj = drawn(dice, schemas.type_of(resource.schema))
    obj = obj if isinstance(obj, dict) else {}
    if dice.random() < 0.9:
        obj["metadata"] = {"name": name, "labels": {"a": "b"}}
    return obj | {"kind": resource.kind, "apiVersion": resource.api_version}


def path_of(resource):
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else "/api/v1"
    scope = "/namespaces/default" if resource.namespaced else ""
    return f"{base}{scope}/{resource.plural}"


async def check(api, *request, **options):
    status, answer = await api.request(*request, **options)
    assert status != 500, (request, answer)
    return status


@pytest.mark.parametrize("seed", range(6))
async def test_nonsense_of_every_kind_is_never_an_internal_error(api, seed):
    dice = random.Random(seed)
    await api.request(
        "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    for resource in registry():
        if "create" not in resource.verbs:
            continue
        path, name = path_of(resource), f"n{seed}"
        await check(api, "POST", path, nonsense(dice, resource, name))
        if "patch" not in resource.verbs:
            continue
        plain = {"metadata": {"name": name}}
        await check(api, "POST", path, plain)
        for kind in PATCHES:
            patch = nonsense(dice, resource, name)
            patch.pop("metadata", None)
            query = "?fieldManager=x&force=true" if "apply" in kind else ""
            await check(api, "PATCH", f"{path}/{name}{query}", patch, content_type=kind)
        await check(api, "GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
