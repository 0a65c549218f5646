"""All controllers and the scheduler, as clients like anyone, in the control-plane node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from todoku import scheduler
from todoku.client import Client, ClientConfig, InformerFactory
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
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informers.run(), name="informers")
            tasks.create_task(
                run_controllers(lambda _: client, _settings(config), informers=informers),
                name="controllers",
            )
            tasks.create_task(
                scheduler.run(planner, scheduler.Config(), informers=informers), name="scheduler"
            )


def _settings(config: dict[str, Any]) -> Config:
    pki = Path(config["pki"])
    return Config(
        cluster_cidrs=(config["pod_cidr"],),
        root_ca=(pki / "ca.crt").read_text(),
        signing_ca_cert=(pki / "ca.crt").read_bytes(),
        signing_ca_key=(pki / "ca.key").read_bytes(),
        timings=KUBERNETES if config["timings"] == "kubernetes" else Timings(),
    )
