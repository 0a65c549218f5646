"""What a typed object shows of fields that nobody set, and loses of fields that no feature gate gives.

A struct that is no pointer appears as `{}` even if it is marked `omitempty`, a time or raw JSON that is no pointer as
null, and numbers, texts and lists without that mark as 0, "" and null.  Source: the field tags of k8s.io/api v1.36;
fields that validation requires, or that a kind's own defaults fill, are not repeated here.

A server drops the fields of features that are off as a strategy prepares an object (dropDisabledFields).  Source:
feature gates of v1.36 that are off unless asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from todoku.api import schemas
from todoku.api.meta import Object

_API = "io.k8s.api."
_TIMES = {"lastTransitionTime": None}
_UPDATED = {"lastUpdateTime": None, "lastTransitionTime": None}
_PROBED = {"lastProbeTime": None, "lastTransitionTime": None}
_NODE_INFO = (
    "architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "kubeletVersion",
    "machineID", "operatingSystem", "osImage", "systemUUID",
)  # fmt: skip

# Definition -> field -> its zero value.  Structs are filled in turn by their own definition's row.
ZEROS: Mapping[str, Mapping[str, Any]] = {
    f"{_API}apps.v1.ControllerRevision": {"data": None, "revision": 0},
    f"{_API}apps.v1.DaemonSetCondition": _TIMES,
    f"{_API}apps.v1.DeploymentCondition": _UPDATED,
    f"{_API}apps.v1.ReplicaSetCondition": _TIMES,
    f"{_API}apps.v1.StatefulSetCondition": _TIMES,
    f"{_API}autoscaling.v2.HorizontalPodAutoscalerCondition": _TIMES,
    f"{_API}batch.v1.CronJobSpec": {"jobTemplate": {}},
    f"{_API}batch.v1.JobCondition": _PROBED,
    f"{_API}batch.v1.JobTemplateSpec": {"metadata": {}, "spec": {}},
    f"{_API}certificates.v1.CertificateSigningRequestCondition": _UPDATED,
    f"{_API}coordination.v1.Lease": {"spec": {}},
    f"{_API}core.v1.ContainerImage": {"names": None},
    f"{_API}core.v1.ContainerStateRunning": {"startedAt": None},
    f"{_API}core.v1.ContainerStateTerminated": {"exitCode": 0, "startedAt": None, "finishedAt": None},
    f"{_API}core.v1.ContainerStatus": {
        "image": "", "imageID": "", "lastState": {}, "ready": False, "restartCount": 0, "state": {},
    },
    f"{_API}core.v1.DaemonEndpoint": {"Port": 0},
    f"{_API}core.v1.Event": {
        "eventTime": None, "firstTimestamp": None, "lastTimestamp": None, "reportingComponent": "",
        "reportingInstance": "", "source": {},
    },
    f"{_API}core.v1.EventSeries": {"lastObservedTime": None},
    f"{_API}core.v1.LimitRange": {"spec": {}},
    f"{_API}core.v1.LimitRangeSpec": {"limits": None},
    f"{_API}core.v1.NamespaceCondition": _TIMES,
    f"{_API}core.v1.Node": {"spec": {}, "status": {}},
    f"{_API}core.v1.NodeCondition": {"lastHeartbeatTime": None, "lastTransitionTime": None},
    f"{_API}core.v1.NodeDaemonEndpoints": {"kubeletEndpoint": {}},
    f"{_API}core.v1.NodeStatus": {"daemonEndpoints": {}, "nodeInfo": {}},
    f"{_API}core.v1.NodeSystemInfo": dict.fromkeys(_NODE_INFO, ""),
    f"{_API}core.v1.PersistentVolumeClaimCondition": _PROBED,
    f"{_API}core.v1.PersistentVolumeClaimSpec": {"resources": {}},
    f"{_API}core.v1.PersistentVolumeClaimTemplate": {"metadata": {}},
    f"{_API}core.v1.PodCondition": _PROBED,
    f"{_API}core.v1.PodTemplateSpec": {"metadata": {}},
    f"{_API}core.v1.ReplicationControllerCondition": _TIMES,
    f"{_API}discovery.v1.Endpoint": {"conditions": {}},
    f"{_API}discovery.v1.EndpointSlice": {"endpoints": None, "ports": None},
    f"{_API}events.v1.Event": {
        "deprecatedFirstTimestamp": None, "deprecatedLastTimestamp": None, "deprecatedSource": {}, "eventTime": None,
        "regarding": {},
    },
    f"{_API}flowcontrol.v1.FlowSchemaCondition": _TIMES,
    f"{_API}flowcontrol.v1.PriorityLevelConfigurationCondition": _TIMES,
    f"{_API}networking.v1.IngressServiceBackend": {"port": {}},
    f"{_API}resource.v1.AllocationResult": {"devices": {}},
    f"{_API}resource.v1.DeviceClass": {"spec": {}},
    f"{_API}resource.v1.ResourceClaim": {"spec": {}, "status": {}},
    f"{_API}resource.v1.ResourceClaimSpec": {"devices": {}},
    f"{_API}resource.v1.ResourceClaimTemplate": {"spec": {}},
    f"{_API}resource.v1.ResourceClaimTemplateSpec": {"metadata": {}, "spec": {}},
    f"{_API}resource.v1.ResourcePool": {"generation": 0},
    f"{_API}storage.v1.CSINode": {"spec": {}},
    f"{_API}storage.v1.CSINodeDriver": {"topologyKeys": None},
    f"{_API}storage.v1.CSINodeSpec": {"drivers": None},
    f"{_API}storage.v1.VolumeError": {"time": None},
}  # fmt: skip

# Definition -> fields whose feature gate is off and that nobody else drops (claims: `settle_sources`).
GATED: Mapping[str, tuple[str, ...]] = {
    f"{_API}coordination.v1.LeaseSpec": ("preferredHolder", "strategy"),  # CoordinatedLeaderElection
    f"{_API}core.v1.PodStatus": ("nodeAllocatableResourceClaimStatuses",),  # DRANodeAllocatableResources
    f"{_API}resource.v1.Device": ("nodeAllocatableResourceMappings",),  # DRANodeAllocatableResources
    f"{_API}resource.v1.DeviceAttribute": ("bools", "ints", "strings", "versions"),  # DRAListTypeAttributes
    f"{_API}storage.v1.CSIDriverSpec": ("preventPodSchedulingIfMissing",),  # VolumeLimitScaling
}  # fmt: skip

Fill: TypeAlias = Callable[[Object], None]


def filler(definition: str) -> Fill:
    """A function that gives an object of `definition`, in place, the zero values that it lacks, and drops what is gated.

    What a definition needs is found out when the first object comes: loading all of them takes time.
    """

    def fill(obj: Object) -> None:
        found = _filler(definition)
        if found is not None:
            found(obj)

    return fill


@functools.cache
def _filler(definition: str) -> Fill | None:
    """None where there is nothing to fill or drop in the definition and below it."""
    return _made(definition, frozenset())


def _made(definition: str, above: frozenset[str]) -> Fill | None:
    if definition in above or not definition.startswith(_API):
        return None  # recursive definitions are in neither table
    zeros, gated = ZEROS.get(definition, {}), GATED.get(definition, ())
    within = above | {definition}
    below: list[tuple[str, str, Fill]] = []
    for field, schema in schemas.definition(definition).get("properties", {}).items():
        shape, target = _target(schema)
        child = _made(target, within) if target else None
        if child is not None:
            below.append((field, shape, child))
    return _fill(zeros, gated, below) if zeros or gated or below else None


def _target(schema: Mapping[str, Any]) -> tuple[str, str]:
    """How a field holds structs (`""`: one, else `items` or `additionalProperties`) and of which definition."""
    for shape in ("items", "additionalProperties"):
        if ref := (schema.get(shape) or {}).get("$ref"):
            return shape, ref.removeprefix(schemas.PREFIX)
    return "", schema.get("$ref", "").removeprefix(schemas.PREFIX)


def _fill(
    zeros: Mapping[str, Any], gated: tuple[str, ...], below: list[tuple[str, str, Fill]]
) -> Fill:
    def fill(obj: Object) -> None:
        for field in gated:
            obj.pop(field, None)
        for field, zero in zeros.items():
            if field not in obj or (zero is None and obj[field] == []):
                obj[field] = {} if zero == {} else zero
        for field, shape, child in below:
            value = obj.get(field)
            if not shape:
                if value is not None:
                    child(value)
            elif value:
                for one in value if shape == "items" else value.values():
                    child(one)

    return fill
