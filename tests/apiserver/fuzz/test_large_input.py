"""Bodies as large as they may be: answered in time that grows with their size, and bounded where upstream bounds it."""

import asyncio

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def test_many_owners_are_compared_in_time(api):
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"p{number}", "uid": f"u{number}"}
        for number in range(9_000)
    ]
    async with asyncio.timeout(20):
        body = {"metadata": {"name": "owned", "ownerReferences": [*owners, owners[7]]}}
        status, answer = await api.request("POST", CONFIG_MAPS, body)
    assert status == 201, answer
    assert answer["metadata"]["ownerReferences"] == owners


async def test_strict_decoding_tells_of_the_first_hundred_problems(api):
    body = {"metadata": {"name": "strict"}, **{f"x{number}": 1 for number in range(5000)}}
    path = f"{CONFIG_MAPS}?fieldValidation=Strict"
    status, answer = await api.request("POST", path, body)
    assert status == 400
    assert answer["message"].endswith('unknown field "x98", unknown field "x99"')
