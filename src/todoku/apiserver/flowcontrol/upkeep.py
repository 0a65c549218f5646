"""What flow control writes: the mandatory and suggested objects it keeps up, and each FlowSchema's condition.

`amend` and `condition` decide; `Upkeep` reads and writes.  Semantics: k8s.io/apiserver flowcontrol ensurer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Object, copy
from todoku.apiserver.config import Objects
from todoku.apiserver.flowcontrol import defaults
from todoku.apiserver.flowcontrol.control import FlowControl, level_of
from todoku.apiserver.flowcontrol.seats import ADJUST_SECONDS

log = logs.get(__name__)

LEVELS = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io"
SCHEMAS = "flowschemas.flowcontrol.apiserver.k8s.io"
_UPKEEP_SECONDS = 60.0
_RESOURCES = {"FlowSchema": SCHEMAS, "PriorityLevelConfiguration": LEVELS}


def amend(found: Object, wanted: Object) -> Object | None:
    """The object as it must be, None if it may stay.

    A mandatory one always has its spec (people may change what `exempt` lends); a suggested one as long as its
    annotation is true, or is missing and nobody has changed it.
    """
    name = wanted["metadata"]["name"]
    annotations = found["metadata"].get("annotations") or {}
    marked = annotations.get(defaults.AUTO_UPDATE)
    mandatory = name in defaults.MANDATORY
    untouched = marked is None and found["metadata"].get("generation", 1) == 1
    automatic = marked == "true" or untouched or (mandatory and marked != "false")
    spec = wanted["spec"]
    if mandatory and name == "exempt" and not automatic:
        spec = spec | {key: found["spec"][key] for key in ("exempt",) if key in found["spec"]}
    mark = "true" if automatic else "false"
    right = copy(found)
    if automatic or mandatory:
        right["spec"] = copy(spec)
    right["metadata"]["annotations"] = {**annotations, defaults.AUTO_UPDATE: mark}
    return None if right == found else right


def condition(schema: Object, exists: bool, now: float) -> Object | None:
    """The condition `Dangling` that the schema lacks, None if it is as it should be."""
    level = level_of(schema)
    text = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    wanted = {
        "type": "Dangling",
        "status": "False" if exists else "True",
        "reason": "Found" if exists else "NotFound",
        "message": text + (" and it exists" if exists else " but there is no such object"),
    }
    for one in (schema.get("status") or {}).get("conditions") or ():
        if all(one.get(key) == value for key, value in wanted.items()):
            return None
    return wanted | {"lastTransitionTime": times.text(now)}


class Upkeep:
    """Follows the objects for `control`, and writes."""

    def __init__(self, control: FlowControl, objects: Objects, now: Callable[[], float]) -> None:
        self._control = control
        self._objects = objects
        self._now = now
        self._changed = asyncio.Event()

    def start(self) -> None:
        self._read()
        for resource in (LEVELS, SCHEMAS):
            self._objects.subscribe(resource, self._on_change)

    async def adjust(self) -> None:
        """Lend and borrow, for ever."""
        while True:
            await asyncio.sleep(ADJUST_SECONDS)
            self._control.adjust()

    async def write(self) -> None:
        """Keep the objects up, for ever."""
        while True:
            await self._write_conditions()
            self._changed.clear()
            try:
                async with asyncio.timeout(_UPKEEP_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await self.ensure()

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old.get("spec") != new.get("spec"):
            self._read()
        self._changed.set()

    def _read(self) -> None:
        self._control.digest(self._objects.list(LEVELS), self._objects.list(SCHEMAS))

    async def _write_conditions(self) -> None:
        levels = {one["metadata"]["name"] for one in self._objects.list(LEVELS)}
        for schema in list(self._objects.list(SCHEMAS)):
            lacking = condition(schema, level_of(schema) in levels, self._now())
            if lacking is None:
                continue
            fresh = copy(schema)
            conditions = (fresh.get("status") or {}).get("conditions") or []
            others = [one for one in conditions if one.get("type") != "Dangling"]
            fresh["status"] = {"conditions": [*others, lacking]}
            await self._update(SCHEMAS, fresh, subresource="status")

    async def ensure(self) -> None:
        """Write what is missing or not as it must be, once."""
        for wanted in defaults.flow_control_objects():
            resource = _RESOURCES[wanted["kind"]]
            found = self._objects.get(resource, wanted["metadata"]["name"])
            try:
                if found is None:
                    await self._objects.create(resource, wanted)
                    continue
            except errors.ApiError as error:
                log.warning("Flow control object not written", error=error.message)
                continue
            right = amend(found, wanted)
            if right is not None:
                await self._update(resource, right)

    async def _update(self, resource: str, obj: Object, *, subresource: str = "") -> None:
        try:
            await self._objects.update(resource, obj, subresource=subresource)
        except (errors.Conflict, errors.NotFound):
            self._changed.set()  # it changed meanwhile: look again
        except errors.ApiError as error:
            log.warning("Flow control object not written", error=error.message)
