"""Runs every enabled controller in one process, over shared informers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from todoku.aio import log as logs
from todoku.client import Client, EventRecorder, InformerFactory
from todoku.controllers.certificate_requests import CertificateRequestController
from todoku.controllers.controller import Config, Context, Controller
from todoku.controllers.cronjob import CronJobController
from todoku.controllers.daemonset import DaemonSetController
from todoku.controllers.deployment import DeploymentController
from todoku.controllers.disruption import DisruptionController
from todoku.controllers.endpoint_mirroring import EndpointMirroringController
from todoku.controllers.endpoints import EndpointsController
from todoku.controllers.endpointslice import EndpointSliceController
from todoku.controllers.garbage import GarbageCollector
from todoku.controllers.hpa import HorizontalPodAutoscalerController
from todoku.controllers.job import JobController
from todoku.controllers.namespace import NamespaceController
from todoku.controllers.node_ipam import NodeIpamController
from todoku.controllers.node_lifecycle import NodeLifecycleController
from todoku.controllers.pod_gc import PodGcController
from todoku.controllers.policy_types import PolicyTypesController
from todoku.controllers.protection import ClaimProtectionController, VolumeProtectionController
from todoku.controllers.replicaset import ReplicaSetController, ReplicationControllerController
from todoku.controllers.resource_quota import ResourceQuotaController
from todoku.controllers.role_aggregation import RoleAggregationController
from todoku.controllers.root_ca import RootCaController
from todoku.controllers.service_cidr import ServiceCidrController
from todoku.controllers.serviceaccount import ServiceAccountController
from todoku.controllers.statefulset import StatefulSetController
from todoku.controllers.taint_eviction import TaintEvictionController
from todoku.controllers.token_cleanup import TokenCleanupController
from todoku.controllers.ttl_after_finished import TtlAfterFinishedController
from todoku.controllers.volume_binder import VolumeBinderController

log = logs.get(__name__)

# In the order in which they start; one line per controller.
ALL: tuple[type[Controller], ...] = (
    NodeIpamController,
    NodeLifecycleController,
    TaintEvictionController,
    NamespaceController,
    ServiceAccountController,
    RootCaController,
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
    DaemonSetController,
    StatefulSetController,
    JobController,
    CronJobController,
    EndpointSliceController,
    EndpointsController,
    EndpointMirroringController,
    ServiceCidrController,
    HorizontalPodAutoscalerController,
    DisruptionController,
    ResourceQuotaController,
    PodGcController,
    TtlAfterFinishedController,
    VolumeBinderController,
    ClaimProtectionController,
    VolumeProtectionController,
    RoleAggregationController,
    TokenCleanupController,
    CertificateRequestController,
    PolicyTypesController,
    GarbageCollector,  # last: it shares the informers of all before it
)


def enabled(wanted: Sequence[str]) -> list[type[Controller]]:
    """The controllers that a list of names, `*` and `-name` means.  Raises ValueError for unknown names."""
    known = {kind.name for kind in ALL}
    unknown = [name for name in wanted if name != "*" and name.removeprefix("-") not in known]
    if unknown:
        raise ValueError(
            f"controllers: {', '.join(unknown)}: no such controller; known: {', '.join(sorted(known))}"
        )
    without = {name[1:] for name in wanted if name.startswith("-")}
    chosen = known if "*" in wanted else {name for name in wanted if not name.startswith("-")}
    return [kind for kind in ALL if kind.name in chosen - without]


async def run(
    client_for: Callable[[str], Client],
    config: Config,
    *,
    informers: InformerFactory | None = None,
) -> None:
    """Run the enabled controllers until cancelled.

    `client_for(name)` gives the client as which a controller writes ("" is asked for reading); the clients stay the
    caller's to close.  With `informers` the caller shares, and runs, the caches.
    """
    factory = informers or InformerFactory(client_for(""))
    async with asyncio.TaskGroup() as tasks:
        if informers is None:
            tasks.create_task(factory.run(), name="controllers-informers")
        for kind in enabled(config.controllers):
            client = client_for(kind.name)
            recorder = EventRecorder(client, component=kind.component or f"{kind.name}-controller")
            context = Context(client=client, informers=factory, recorder=recorder, config=config)
            tasks.create_task(recorder.run(), name=f"{kind.name}-events")
            tasks.create_task(kind(context).run(), name=kind.name)
        log.info("Controllers run", controllers=len(enabled(config.controllers)))
