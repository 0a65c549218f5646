"""The ordered list of kinds that have rules of their own: (resource, version) -> Rules."""

from __future__ import annotations

from todoku.api.resources.daemonset import CONTROLLER_REVISION, DAEMON_SET
from todoku.api.resources.deployment import DEPLOYMENT
from todoku.api.resources.pod import POD, POD_TEMPLATE
from todoku.api.resources.replicaset import REPLICA_SET, REPLICATION_CONTROLLER
from todoku.api.resources.rules import Rules
from todoku.api.resources.service import SERVICE
from todoku.api.resources.statefulset import STATEFUL_SET

RULES: dict[tuple[str, str], Rules] = {
    ("pods", "v1"): POD,
    ("podtemplates", "v1"): POD_TEMPLATE,
    ("services", "v1"): SERVICE,
    ("replicationcontrollers", "v1"): REPLICATION_CONTROLLER,
    ("deployments.apps", "v1"): DEPLOYMENT,
    ("replicasets.apps", "v1"): REPLICA_SET,
    ("daemonsets.apps", "v1"): DAEMON_SET,
    ("statefulsets.apps", "v1"): STATEFUL_SET,
    ("controllerrevisions.apps", "v1"): CONTROLLER_REVISION,
}
