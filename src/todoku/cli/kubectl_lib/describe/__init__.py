"""`describe`: one object for people to read, with its Events, laid out as kubectl does."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.describe.document import Document
from todoku.cli.kubectl_lib.describe.events import add_events
from todoku.cli.kubectl_lib.describe.generic import describe_generic
from todoku.cli.kubectl_lib.describe.namespace import describe_namespace
from todoku.cli.kubectl_lib.describe.node import describe_node
from todoku.cli.kubectl_lib.describe.pod import describe_pod
from todoku.cli.kubectl_lib.describe.service import describe_service
from todoku.cli.kubectl_lib.describe.workload import describe_deployment, describe_workload
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import existing, parse

Describer = Callable[[Session, Document, Object], Awaitable[None]]

_DESCRIBERS: dict[str, Describer] = {
    "pods": describe_pod,
    "services": describe_service,
    "nodes": describe_node,
    "namespaces": describe_namespace,
    "deployments.apps": describe_deployment,
    "replicasets.apps": describe_workload,
    "daemonsets.apps": describe_workload,
    "statefulsets.apps": describe_workload,
}


async def describe(session: Session) -> int:
    """Run `describe`."""
    given = session.given
    namespace = "" if given.all_namespaces else session.namespace
    targets = parse(given.words, session.catalog, namespace)
    found = await existing(session.client, targets, labels=given.selector)
    texts = []
    for target, obj in found:
        document = Document()
        describer = _DESCRIBERS.get(target.kind.named.name, describe_generic)
        await describer(session, document, obj)
        if target.kind.named.name != "namespaces":
            await add_events(session.client, document, obj)
        texts.append(document.text())
    sys.stdout.write("\n\n".join(texts))
    if not texts:
        where = f" in {session.namespace} namespace" if targets[0].namespace else ""
        print(f"No resources found{where}", file=sys.stderr)
    return 0
