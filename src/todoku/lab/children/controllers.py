"""All controllers and the scheduler, as clients like anyone, in the control-plane node."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from todoku import scheduler
from todoku.aio import SystemClock
from todoku.client import Client, ClientConfig, EventRecorder, InformerFactory
from todoku.client.election import Election
from todoku.controllers import KUBERNETES, Config, Timings
from todoku.controllers import run as run_controllers
from todoku.lab.children.running import run


def main(config: dict[str, Any]) -> None:
    run(_run(config))


async def _run(config: dict[str, Any]) -> None:
    manager = ClientConfig.from_kubeconfig(
        config["controller_manager"], user_agent="kube-controller-manager"
    )
    scheduling = ClientConfig.from_kubeconfig(config["scheduler"], user_agent="kube-scheduler")
    async with Client(manager) as client, Client(scheduling) as planner:
        informers = InformerFactory(client)

        async def control() -> None:
            await run_controllers(lambda _: client, _settings(config), informers=informers)

        async def schedule() -> None:
            await scheduler.run(planner, scheduler.Config(), informers=informers)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informers.run(), name="informers")
            tasks.create_task(
                _leading(client, config, "kube-controller-manager", control), name="controllers"
            )
            tasks.create_task(
                _leading(planner, config, "kube-scheduler", schedule), name="scheduler"
            )


async def _leading(
    client: Client, config: dict[str, Any], role: str, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Do the work while the role is ours: another process, on a machine that joins, may want it too."""
    component = "default-scheduler" if role == "kube-scheduler" else role
    events = EventRecorder(client, component=component)
    election = Election(client, role, _identity(config, role), clock=SystemClock(), events=events)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(events.run(), name="election-events")
        await election.acquired()
        tasks.create_task(election.hold(), name="election")
        tasks.create_task(work(), name=role)


def _identity(config: dict[str, Any], role: str) -> str:
    """The same after a restart, so that this node goes on leading without a pause."""
    authority = (Path(config["pki"]) / "ca.crt").read_text()
    return f"{os.uname().nodename}_{uuid.uuid5(uuid.NAMESPACE_OID, role + authority)}"


def _settings(config: dict[str, Any]) -> Config:
    pki = Path(config["pki"])
    return Config(
        cluster_cidrs=(config["pod_cidr"],),
        root_ca=(pki / "ca.crt").read_text(),
        signing_ca_cert=(pki / "ca.crt").read_bytes(),
        signing_ca_key=(pki / "ca.key").read_bytes(),
        timings=KUBERNETES if config["timings"] == "kubernetes" else Timings(),
    )
