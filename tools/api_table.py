"""Writes the table of every kind, its verbs and subresources into the API server's README, from a running server.

    .venv/bin/python tools/api_table.py

`table(lists)` is pure: the APIResourceLists of the server's discovery to Markdown.  tests/apiserver/test_table.py
compares the README with the server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "src/todoku/apiserver/README.md"
BEGIN, END = "<!-- kinds: tools/api_table.py -->", "<!-- end of kinds -->"

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_COMMON = ("get", "patch", "update")


def table(lists: Iterable[dict[str, Any]]) -> str:
    """One row per resource: kind, name, version, scope, verbs, subresources with theirs."""
    rows = ["| kind | resource | scope | verbs | subresources |", "|---|---|---|---|---|"]
    for one in sorted(
        lists, key=lambda found: ("/" in found["groupVersion"], found["groupVersion"])
    ):
        resources = one["resources"]
        for main in sorted(resources, key=lambda found: found["name"]):
            if "/" in main["name"]:
                continue
            subs = [sub for sub in resources if sub["name"].startswith(f"{main['name']}/")]
            rows.append(_row(one["groupVersion"], main, subs))
    return "\n".join(rows)


def _row(version: str, main: dict[str, Any], subs: Sequence[dict[str, Any]]) -> str:
    names = main["name"] + (f" ({', '.join(main['shortNames'])})" if main.get("shortNames") else "")
    cells = [
        f"{version} {main['kind']}",
        names,
        "namespace" if main["namespaced"] else "cluster",
        _verbs(main["verbs"], _ALL, "all"),
        "; ".join(_subresource(sub) for sub in sorted(subs, key=lambda found: found["name"])),
    ]
    return f"| {' | '.join(cells)} |"


def _subresource(sub: dict[str, Any]) -> str:
    name, verbs = sub["name"].partition("/")[2], _verbs(sub["verbs"], _COMMON, "")
    return f"{name} ({verbs})" if verbs else name


def _verbs(verbs: Sequence[str], usual: Sequence[str], word: str) -> str:
    return word if sorted(verbs) == sorted(usual) else ", ".join(sorted(verbs))


def placed(text: str, made: str) -> str:
    """The README's text with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


async def discovered(api: Any) -> list[dict[str, Any]]:
    """Every APIResourceList that a `RunningApi` serves."""
    _, groups = await api.request("GET", "/apis")
    versions = [one["groupVersion"] for group in groups["groups"] for one in group["versions"]]
    lists = [(await api.request("GET", "/api/v1"))[1]]
    return lists + [(await api.request("GET", f"/apis/{one}"))[1] for one in versions]


async def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.support.apiserver import running_api

    async with running_api() as api:
        made = table(await discovered(api))
    README.write_text(placed(README.read_text(), made))


if __name__ == "__main__":
    asyncio.run(main())
