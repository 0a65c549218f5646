"""What the proxy says about its health: /healthz, /livez and health-check node ports.  Pure."""

import json
from datetime import UTC, datetime

from todoku.aio.http import Answer
from todoku.api.meta import Key, Object

STUCK_SECONDS = 60.0
_AUTOSCALER_TAINT = "ToBeDeletedByClusterAutoscaler"


def healthz(*, programmed: bool, node: Object | None, updated: float, now: float) -> Answer:
    """Whether a balancer may send traffic here: rules are current and the node is not going away."""
    eligible = node_eligible(node)
    body = {
        "lastUpdated": _time(updated), "currentTime": _time(now), "nodeEligible": eligible,
    }  # fmt: skip
    return Answer(200 if programmed and eligible else 503, json.dumps(body))


def livez(*, programmed: bool, updated: float, now: float) -> Answer:
    """Whether the proxy itself works, whatever becomes of the node."""
    body = {"lastUpdated": _time(updated), "currentTime": _time(now)}
    return Answer(200 if programmed else 503, json.dumps(body))


def node_eligible(node: Object | None) -> bool:
    """False while the node is being deleted or drained by an autoscaler."""
    if node is None:
        return True
    if node["metadata"].get("deletionTimestamp"):
        return False
    taints = (node.get("spec") or {}).get("taints") or ()
    return all(taint.get("key") != _AUTOSCALER_TAINT for taint in taints)


def service_health(service: Key, *, local_endpoints: int, proxy_healthy: bool) -> Answer:
    """What a health-check node port says: 200 if this node has a ready endpoint of the Service."""
    body = {
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": proxy_healthy,
    }
    return Answer(
        200 if local_endpoints and proxy_healthy else 503,
        json.dumps(body),
        headers={
            "X-Load-Balancing-Endpoint-Weight": str(local_endpoints),
            "X-Content-Type-Options": "nosniff",
        },
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
