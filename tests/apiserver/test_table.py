"""The README's table of kinds is what the server serves, and the server does what the table says."""

import pytest

from tools import api_table

OPTIONS = {"update": "PUT", "patch": "PATCH", "get": "GET", "delete": "DELETE"}
NOT_STORED = {"bindings", "tokenreviews"}


async def test_the_readme_lists_what_is_served(api):
    wanted = api_table.table(await api_table.discovered(api))
    written = api_table.README.read_text()
    assert api_table.placed(written, wanted) == written, (
        "the table is stale: run .venv/bin/python tools/api_table.py"
    )


def path_of(version, one, name):
    base = "/api/v1" if version == "v1" else f"/apis/{version}"
    scope = "/namespaces/default" if one["namespaced"] else ""
    plural, _, sub = one["name"].partition("/")
    return base + scope + "/" + "/".join(part for part in (plural, name, sub) if part)


async def answered(api, method, path):
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    body = {} if method in ("POST", "PUT", "PATCH") else None
    status, answer = await api.request(method, f"{path}?dryRun=All", body, content_type=kind)
    return status, answer


@pytest.mark.parametrize("verb", ["get", "update", "patch", "delete"])
async def test_listed_verbs_are_served_and_others_refused(api, verb):
    """On a name that does not exist: 404 of the object where the verb is served, else 405."""
    for one_list in await api_table.discovered(api):
        for one in one_list["resources"]:
            if one["name"].partition("/")[2] in ("proxy", "exec", "attach", "portforward", "log"):
                continue
            path = path_of(one_list["groupVersion"], one, "none")
            status, answer = await answered(api, OPTIONS[verb], path)
            if verb in one["verbs"]:
                assert status != 405, (path, answer)
                assert not (status == 404 and "requested resource" in answer["message"]), path
            else:
                assert status == 405, (path, answer)


@pytest.mark.parametrize("verb", ["list", "create", "deletecollection"])
async def test_listed_verbs_of_collections_are_served_and_others_refused(api, verb):
    method = {"list": "GET", "create": "POST", "deletecollection": "DELETE"}[verb]
    for one_list in await api_table.discovered(api):
        for one in one_list["resources"]:
            if "/" in one["name"]:
                continue
            path = path_of(one_list["groupVersion"], one, "")
            status, answer = await answered(api, method, path)
            assert (status != 405) == (verb in one["verbs"]), (path, status, answer)
