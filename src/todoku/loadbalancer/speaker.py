"""The speaker process: membership, layer-2 announcements, status objects, metrics."""

import asyncio
import json
import os
from pathlib import Path

from todoku.aio import log as logs
from todoku.client import Client, EventRecorder, InformerFactory
from todoku.loadbalancer.announcer import Announcer
from todoku.loadbalancer.apart import Failed, run_apart
from todoku.loadbalancer.heartbeat import PORT, Heartbeat
from todoku.loadbalancer.http import serving
from todoku.loadbalancer.l2status import L2Statuses
from todoku.loadbalancer.layer2 import DEFAULT_EXCLUDED, Layer2
from todoku.loadbalancer.membership import PeerAddress
from todoku.loadbalancer.metrics import Registry, metrics_handler
from todoku.loadbalancer.options import Options

log = logs.get(__name__)

SYNC_SECONDS = 120.0
_EXCLUDES = Path("/etc/metallb/excludel2.yaml")
_READ_EXCLUDES = (
    "import json, sys, yaml; print(json.dumps((yaml.safe_load(sys.stdin) or {})"
    ".get('announcedInterfacesToExclude') or []))"
)


class NotConfigured(RuntimeError):
    """The environment lacks what the manifest gives; the message names it."""


async def run(options: Options) -> None:
    """Work until cancelled; then leave, so that another speaker takes over at once."""
    node, bind = _environment("METALLB_NODE_NAME"), _environment("METALLB_ML_BIND_ADDR")
    labels = _environment("METALLB_ML_LABELS")
    secret = (Path(_environment("METALLB_ML_SECRET_KEY_PATH")) / "secretkey").read_bytes()
    excluded = await excluded_interfaces(_EXCLUDES)
    async with Client(options.client) as client:
        pod = await client.get("pods", _environment("METALLB_POD_NAME"), options.namespace)
        informers = InformerFactory(client)
        recorder = EventRecorder(client, component="metallb-speaker", host=node)
        registry = Registry()
        heartbeat = Heartbeat(
            node, bind=PeerAddress(bind, PORT), secret=secret,
            changed=lambda view: announcer.membership_changed(view),
        )  # fmt: skip
        layer2 = Layer2(excluded=excluded, may_speak=heartbeat.may_speak, registry=registry)
        announcer = Announcer(
            informers, recorder, layer2,
            node=node, namespace=options.namespace, lb_class=options.lb_class,
            ignore_exclude_label=options.ignore_exclude_label, registry=registry,
        )  # fmt: skip
        statuses = L2Statuses(
            client, informers, namespace=options.namespace, node=node, pod=pod,
            announced=announcer.interfaces_of, alive=lambda: heartbeat.view.alive,
        )  # fmt: skip
        announcer.status_changed = statuses.refresh
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(heartbeat.run(), name="heartbeat")
            tasks.create_task(
                heartbeat.follow_pods(client, options.namespace, labels), name="peers"
            )
            tasks.create_task(informers.run(), name="informers")
            async with asyncio.timeout(SYNC_SECONDS):
                await informers.synced()
            tasks.create_task(layer2.run(), name="layer2")
            tasks.create_task(recorder.run(), name="events")
            tasks.create_task(announcer.run(), name="announcer")
            tasks.create_task(statuses.run(), name="l2status")
            handler = metrics_handler(registry)
            async with serving(handler, options.host, options.port) as port:
                log.info("Serving", metrics=port, node=node)
                await asyncio.Event().wait()


async def excluded_interfaces(path: Path) -> tuple[str, ...]:
    """The patterns of `announcedInterfacesToExclude` (YAML), or the default ones without the file.

    A process of its own reads it: a YAML parser would stay in this one's memory for good.
    """
    try:
        text = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        return DEFAULT_EXCLUDED
    try:
        output = await run_apart("-c", _READ_EXCLUDES, data=text)
    except Failed as problem:
        raise NotConfigured(f"{path} is not readable: {problem}") from None
    return tuple(str(pattern) for pattern in json.loads(output))


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise NotConfigured(
            f"the environment variable {name} is not set; MetalLB's manifest sets it"
        )
    return value
