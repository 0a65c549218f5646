"""`get`: tables from the server, or whole objects."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from urllib.parse import urlencode

from todoku.api import errors
from todoku.api.meta import Object
from todoku.cli.kubectl_lib.catalog import Catalog
from todoku.cli.kubectl_lib.output import formatted
from todoku.cli.kubectl_lib.refusals import Failed, worded
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.tables import render_table
from todoku.cli.kubectl_lib.targets import Target, existing, parse
from todoku.client import Client
from todoku.client.client import raise_for_status

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def get(session: Session) -> int:
    """Run `get`."""
    given = session.given
    namespace = "" if given.all_namespaces else session.namespace
    targets = parse(given.words, session.catalog, namespace)
    if given.output not in ("", "wide"):
        single = len(targets) == 1 and bool(targets[0].name)
        found = await existing(
            session.client, targets, labels=given.selector, fields=given.field_selector
        )
        pairs = [(target.kind, obj) for target, obj in found]
        sys.stdout.write(formatted(given.output, pairs, single=single))
        return 0
    return await _print_tables(session, targets)


async def get_table(
    client: Client, target: Target, *, labels: str = "", fields: str = ""
) -> Object:
    """The server-side Table of a target (meta/v1 Table, rows with their objects' metadata)."""
    query = {"labelSelector": labels, "fieldSelector": fields}
    path = _path(target, {name: value for name, value in query.items() if value})
    async with client.raw("GET", path, headers={"Accept": TABLE}) as response:
        await raise_for_status(response)
        table: Object = json.loads(await response.read())
    if table.get("kind") != "Table":
        raise Failed("the server did not answer with a table")
    return table


async def get_all(
    client: Client, catalog: Catalog, namespace: str, *, wide: bool = False, labels: str = ""
) -> str:
    """What `kubectl get all [-o wide]` prints for a namespace; "" if it is empty."""
    texts = []
    for target in parse(["all"], catalog, namespace):
        table = await get_table(client, target, labels=labels)
        prefix = target.kind.label("")
        texts.append(render_table(table, wide=wide, prefix=prefix, namespace=not namespace))
    return "\n".join(text for text in texts if text)


async def _print_tables(session: Session, targets: Sequence[Target]) -> int:
    """One table per resource (named objects of one kind share theirs), apart by an empty line."""
    given, status, texts = session.given, 0, []
    several = len({target.kind.named.name for target in targets}) > 1
    merged: dict[str, Object] = {}
    for target in targets:
        try:
            table = await get_table(
                session.client, target, labels=given.selector, fields=given.field_selector
            )
        except errors.NotFound as refusal:
            if not given.ignore_not_found:
                print(worded(refusal), file=sys.stderr)
                status = 1
            continue
        name = target.kind.named.name
        if name in merged:
            merged[name]["rows"] += table.get("rows") or []
        else:
            merged[name] = table | {"rows": list(table.get("rows") or ())}
    for target in {one.kind.named.name: one for one in targets}.values():
        table = merged.get(target.kind.named.name, {})
        texts.append(
            render_table(
                table,
                wide=given.output == "wide",
                headers=not given.no_headers,
                namespace=given.all_namespaces and target.kind.named.namespaced,
                prefix=target.kind.label("") if several or given.words[0] == "all" else "",
                labels=given.show_labels,
            )
        )
    text = "\n".join(one for one in texts if one)
    sys.stdout.write(text)
    sys.stdout.flush()
    if given.watch or given.watch_only:
        await _watch(session, targets, merged)
    elif not text and status == 0 and not given.ignore_not_found:
        where = (
            ""
            if given.all_namespaces or not targets[0].namespace
            else f" in {session.namespace} namespace"
        )
        print(f"No resources found{where}.".replace("found.", "found"), file=sys.stderr)
    return status


async def _watch(session: Session, targets: Sequence[Target], shown: dict[str, Object]) -> None:
    """Print a row for every change, until interrupted or the server ends the watch."""
    if len(targets) != 1:
        raise Failed("you may only specify a single resource type to watch")
    given, target = session.given, targets[0]
    columns = shown.get(target.kind.named.name, {}).get("columnDefinitions")
    version = (shown.get(target.kind.named.name, {}).get("metadata") or {}).get(
        "resourceVersion", ""
    )
    query = {"watch": "1", "labelSelector": given.selector, "resourceVersion": version}
    if target.name:
        query["fieldSelector"] = f"metadata.name={target.name}"
    collection = Target(target.kind, "", target.namespace)
    path = _path(collection, {name: value for name, value in query.items() if value})
    silent = bool(shown.get(target.kind.named.name, {}).get("rows"))
    async with session.client.raw("GET", path, headers={"Accept": TABLE}) as response:
        await raise_for_status(response)
        async for line in response.lines():
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise errors.from_status(event["object"])
            if event["type"] == "BOOKMARK":
                continue
            table = event["object"]
            columns = table.get("columnDefinitions") or columns
            text = render_table(
                table | {"columnDefinitions": columns},
                wide=given.output == "wide",
                headers=not given.no_headers and not silent,
                namespace=given.all_namespaces and target.kind.named.namespaced,
                labels=given.show_labels,
            )
            silent = True
            sys.stdout.write(text)
            sys.stdout.flush()


def _path(target: Target, query: dict[str, str]) -> str:
    path = target.kind.named.path(target.namespace, target.name)
    return (
        f"{path}?{urlencode(query)}"
        if query and not (target.name and "watch" not in query)
        else path
    )
