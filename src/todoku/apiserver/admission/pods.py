"""Small plugins for pods: Priority, DefaultTolerationSeconds, RuntimeClass."""

from __future__ import annotations

from todoku.api.meta import Object
from todoku.api.resources.policy import SYSTEM_CLASSES
from todoku.apiserver.admission.base import (
    Plugin,
    creates,
    is_main,
    is_mirror_pod,
    new_object,
    new_spec,
    refusal,
    updates,
)
from todoku.apiserver.config import Attributes, Objects

PRIORITY_CLASSES = "priorityclasses.scheduling.k8s.io"
RUNTIME_CLASSES = "runtimeclasses.node.k8s.io"
_NODE_FAILURES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_NODE_FAILURE_SECONDS = 300
_PREEMPT = "PreemptLowerPriority"


class Priority(Plugin):
    """Turns priorityClassName into a number; a class marked as the default serves pods that name none."""

    name = "Priority"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if updates(attributes, "pods"):
            _keep_priority(new_object(attributes), attributes.old)
        if not creates(attributes, "pods"):
            return
        spec = new_spec(attributes)
        found = self._class_of(attributes, spec.get("priorityClassName", ""))
        value = found["value"] if found else 0
        given = spec.get("priority")
        if given is not None and given != value and not is_mirror_pod(new_object(attributes)):
            raise refusal(
                attributes,
                f"the integer value of priority ({given}) must not be provided in pod spec; priority "
                f"admission controller computed {value} from the given PriorityClass name",
            )
        policy = (found or {}).get("preemptionPolicy") or _PREEMPT
        if spec.get("preemptionPolicy") not in (None, "", policy):
            raise refusal(
                attributes,
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided "
                f"in pod spec; priority admission controller computed {policy} from the given "
                "PriorityClass name",
            )
        if found:
            spec["priorityClassName"] = found["metadata"]["name"]
        spec["priority"], spec["preemptionPolicy"] = value, policy

    async def validate(self, attributes: Attributes) -> None:
        if not is_main(attributes, PRIORITY_CLASSES):
            return
        if attributes.verb == "delete" and attributes.name in SYSTEM_CLASSES:
            raise refusal(attributes, "this is a system priority class and cannot be deleted")
        if attributes.operation not in ("CREATE", "UPDATE"):
            return
        if not new_object(attributes).get("globalDefault"):
            return
        for other in self._objects.list(PRIORITY_CLASSES):
            if other.get("globalDefault") and other["metadata"]["name"] != attributes.name:
                raise refusal(
                    attributes,
                    f"PriorityClass {other['metadata']['name']} is already marked as default. "
                    "Only one default can exist",
                )

    def _class_of(self, attributes: Attributes, name: str) -> Object | None:
        if not name:
            marked = [
                one for one in self._objects.list(PRIORITY_CLASSES) if one.get("globalDefault")
            ]
            return min(marked, key=lambda one: int(one["value"])) if marked else None
        found = self._objects.get(PRIORITY_CLASSES, name)
        if found is None:
            raise refusal(attributes, f"no PriorityClass with name {name} was found")
        return found


def _keep_priority(pod: Object, old: Object | None) -> None:
    """An update that leaves the computed fields out means the old ones."""
    for field in ("priority", "preemptionPolicy"):
        if old and old["spec"].get(field) is not None and pod["spec"].get(field) is None:
            pod["spec"][field] = old["spec"][field]


class DefaultTolerationSeconds(Plugin):
    """A pod stays five minutes on a node that is not ready or unreachable, unless it says otherwise."""

    name = "DefaultTolerationSeconds"

    async def mutate(self, attributes: Attributes) -> None:
        if not (creates(attributes, "pods") or updates(attributes, "pods")):
            return
        spec = new_spec(attributes)
        for key in _NODE_FAILURES:
            if not any(_tolerates(one, key) for one in spec.get("tolerations") or ()):
                spec.setdefault("tolerations", []).append(
                    {
                        "key": key,
                        "operator": "Exists",
                        "effect": "NoExecute",
                        "tolerationSeconds": _NODE_FAILURE_SECONDS,
                    }
                )


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in (
        "",
        "NoExecute",
    )


class RuntimeClass(Plugin):
    """Copies a runtime class' overhead and placement into the pods that name it."""

    name = "RuntimeClass"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def mutate(self, attributes: Attributes) -> None:
        if not creates(attributes, "pods"):
            return
        found = self._class_of(attributes)
        if found is None:
            return
        spec = new_spec(attributes)
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise refusal(
                    attributes,
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
                )
            spec["overhead"] = dict(overhead)
        _place(attributes, spec, found.get("scheduling") or {})

    async def validate(self, attributes: Attributes) -> None:
        if not creates(attributes, "pods"):
            return
        found = self._class_of(attributes)
        overhead = new_spec(attributes).get("overhead")
        if overhead and not ((found or {}).get("overhead") or {}).get("podFixed"):
            what = "RuntimeClass did not define one" if found else "no RuntimeClass was specified"
            raise refusal(
                attributes,
                f"pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead ({what})",
            )

    def _class_of(self, attributes: Attributes) -> Object | None:
        name = new_spec(attributes).get("runtimeClassName")
        if not name:
            return None
        found = self._objects.get(RUNTIME_CLASSES, name)
        if found is None:
            raise refusal(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _place(attributes: Attributes, spec: Object, scheduling: Object) -> None:
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        own = spec.setdefault("nodeSelector", {})
        if own.setdefault(key, value) != value:
            raise refusal(
                attributes,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}",
            )
    tolerations = spec.get("tolerations") or []
    added = [one for one in scheduling.get("tolerations") or () if one not in tolerations]
    if added:
        spec["tolerations"] = [*tolerations, *added]
