"""`rollout status`, for Deployments, DaemonSets and StatefulSets."""

from __future__ import annotations

import asyncio

from todoku.api.meta import Object
from todoku.cli.kubectl_lib.refusals import Failed, Usage
from todoku.cli.kubectl_lib.session import Session
from todoku.cli.kubectl_lib.targets import parse

_LOOK_SECONDS = 0.2


async def rollout(session: Session) -> int:
    """Run `rollout status`; other sub-commands are stock kubectl's."""
    given = session.given
    if not given.words or given.words[0] != "status":
        asked = given.words[0] if given.words else ""
        raise Usage(f'"rollout {asked}" is not in this small kubectl: install stock kubectl for it')
    targets = parse(given.words[1:], session.catalog, session.namespace)
    for target in targets:
        if not target.name or target.kind.named.plural not in _STATUS:
            raise Usage("expected 'rollout status deployment|daemonset|statefulset NAME'")
        progress = _STATUS[target.kind.named.plural]
        shown = ""
        try:
            async with asyncio.timeout(given.timeout or None):
                while True:
                    obj = await session.client.get(
                        target.kind.named.name, target.name, target.namespace
                    )
                    text, done = progress(obj)
                    if text != shown:
                        print(text, flush=True)
                    shown = text
                    if done or given.watch is False:
                        break
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise Failed("error: timed out waiting for the condition") from None
    return 0


def deployment_progress(obj: Object) -> tuple[str, bool]:
    """What kubectl says of a Deployment, and whether it is done.  Raises Failed past its deadline."""
    name, spec, status = obj["metadata"]["name"], obj["spec"], obj.get("status") or {}
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if obj["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    for one in status.get("conditions") or ():
        if one["type"] == "Progressing" and one.get("reason") == "ProgressDeadlineExceeded":
            raise Failed(f'error: deployment "{name}" exceeded its progress deadline')
    if updated < wanted:
        return (
            f'Waiting for deployment "{name}" rollout to finish: '
            f"{updated} out of {wanted} new replicas have been updated...", False,
        )  # fmt: skip
    if status.get("replicas", 0) > updated:
        old = status["replicas"] - updated
        return (
            f'Waiting for deployment "{name}" rollout to finish: '
            f"{old} old replicas are pending termination...", False,
        )  # fmt: skip
    available = status.get("availableReplicas", 0)
    if available < updated:
        return (
            f'Waiting for deployment "{name}" rollout to finish: '
            f"{available} of {updated} updated replicas are available...", False,
        )  # fmt: skip
    return f'deployment "{name}" successfully rolled out', True


def daemonset_progress(obj: Object) -> tuple[str, bool]:
    """The same for a DaemonSet."""
    name, status = obj["metadata"]["name"], obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    if obj["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for daemon set spec update to be observed...", False
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    if updated < wanted:
        return (
            f'Waiting for daemon set "{name}" rollout to finish: '
            f"{updated} out of {wanted} new pods have been updated...", False,
        )  # fmt: skip
    if available < wanted:
        return (
            f'Waiting for daemon set "{name}" rollout to finish: '
            f"{available} of {wanted} updated pods are available...", False,
        )  # fmt: skip
    return f'daemon set "{name}" successfully rolled out', True


def statefulset_progress(obj: Object) -> tuple[str, bool]:
    """The same for a StatefulSet."""
    spec, status = obj["spec"], obj.get("status") or {}
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    if obj["metadata"].get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for statefulset spec update to be observed...", False
    if ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...", False
    current, update = status.get("currentRevision"), status.get("updateRevision")
    if current != update:
        return (
            f"waiting for statefulset rolling update to complete {status.get('updatedReplicas', 0)} "
            f"pods at revision {update}...", False,
        )  # fmt: skip
    return (
        f"statefulset rolling update complete {status.get('currentReplicas', 0)} pods at revision {current}...",
        True,
    )


_STATUS = {
    "deployments": deployment_progress,
    "daemonsets": daemonset_progress,
    "statefulsets": statefulset_progress,
}
