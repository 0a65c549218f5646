"""HorizontalPodAutoscalers: as many replicas as their pods' use of cpu and memory asks for (autoscaling/v2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import quote

import msgspec

from todoku.api import errors, quantities, times
from todoku.api.meta import Key, Object
from todoku.api.selectors import parse_labels
from todoku.client import Unreachable, WatchEvent
from todoku.client.client import raise_for_status
from todoku.client.names import Named
from todoku.controllers import autoscaling, conditions, pods
from todoku.controllers.autoscaling import History, NoMetric, Proposal
from todoku.controllers.controller import Controller, deleting

METRICS = "metrics.k8s.io"
_FAILED = {
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}


@dataclass(slots=True)
class Wish:
    """What the metrics ask for together: the most that any of them does."""

    replicas: int = -1
    reason: str = ""  # the metric that decided, as Events name it
    statuses: list[Object] = field(default_factory=list)
    failures: list[NoMetric] = field(default_factory=list)


class HorizontalPodAutoscalerController(Controller):
    name: ClassVar[str] = "horizontal-pod-autoscaler"
    component: ClassVar[str] = "horizontal-pod-autoscaler"
    reconciles: ClassVar[str] = "horizontalpodautoscalers.autoscaling"

    def setup(self) -> None:
        self.pods = self.watch("pods")
        pods.index(self.pods)
        self._histories: dict[str, History] = {}

    def enqueue(self, event: WatchEvent) -> None:
        old = event.old
        if event.type == "MODIFIED" and old is not None and old["spec"] == event.object["spec"]:
            return  # our own word; the time to look again is set
        if event.type == "DELETED":
            self._histories.pop(event.object["metadata"]["uid"], None)
        super().enqueue(event)

    async def reconcile(self, key: Key) -> None:
        one = self.cache.get(key)
        if one is None or deleting(one):
            return
        self.queue.add_after(key, self.config.timings.autoscale_every)
        status = dict(one.get("status") or {})
        kept = status.get("conditions")
        status["conditions"] = [dict(c) for c in kept or ()]
        await self._autoscale(one, status)
        status.setdefault("desiredReplicas", 0)
        written = await self.write_status(self.reconciles, one, status)
        await self.cache.reached(written["metadata"]["resourceVersion"])

    async def _autoscale(self, one: Object, status: Object) -> None:
        """One round; `status` is brought up to date in place."""
        reference = one["spec"]["scaleTargetRef"]
        try:
            target = await self._target(reference)
            namespace = one["metadata"]["namespace"]
            scale = await self.client.get(
                target.name, reference["name"], namespace, subresource="scale"
            )
        except (errors.ApiError, Unreachable) as error:
            self.recorder.event(one, "Warning", "FailedGetScale", str(error))
            text = f"the HPA controller was unable to get the target's current scale: {error}"
            self._set(status, "AbleToScale", "False", "FailedGetScale", text)
            return
        text = "the HPA controller was able to get the target's current scale"
        self._set(status, "AbleToScale", "True", "SucceededGetScale", text)
        current = int((scale.get("spec") or {}).get("replicas", 0))
        status["currentReplicas"] = int((scale.get("status") or {}).get("replicas", 0))
        decided = await self._decide(one, scale, current, status)
        if decided is None:
            return
        desired, reason = decided
        if desired == current:
            status["desiredReplicas"] = desired
            return
        await self._rescale(one, target, scale, desired, reason, status)

    async def _target(self, reference: Object) -> Named:
        group = str(reference.get("apiVersion", "")).rpartition("/")[0]
        for named in await self.client.discover():
            if (named.group, named.kind) == (group, reference["kind"]):
                return named
        raise errors.NotFound(f'no matches for kind "{reference["kind"]}" in group "{group}"')

    async def _decide(
        self, one: Object, scale: Object, current: int, status: Object
    ) -> tuple[int, str] | None:
        """The replicas to have and why; None when that is not known."""
        spec = one["spec"]
        low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
        history = self._histories.setdefault(one["metadata"]["uid"], History())
        now = self.clock.now()
        if not history.recommended:
            history.recommended.append((now, current))
        if current == 0 and low != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            self._set(status, "ScalingActive", "False", "ScalingDisabled", text)
            return 0, ""
        if current > high:
            return high, "Current number of replicas above Spec.MaxReplicas"
        if current < low:
            return low, "Current number of replicas below Spec.MinReplicas"
        wish = await self._wish(one, scale, current)
        status["currentMetrics"] = wish.statuses
        if wish.failures and (wish.replicas < 0 or wish.replicas < current):
            self._unknown(one, wish, status)
            return None
        text = f"the HPA was able to successfully calculate a replica count from {wish.reason}"
        self._set(status, "ScalingActive", "True", "ValidMetricFound", text)
        taken = autoscaling.step(spec, history, current=current, desired=wish.replicas, now=now)
        for condition in taken.conditions:
            self._set(status, *(condition[k] for k in ("type", "status", "reason", "message")))
        reason = f"{wish.reason} above target" if wish.replicas > current else ""
        return taken.replicas, reason or "All metrics below target"

    def _unknown(self, one: Object, wish: Wish, status: Object) -> None:
        first = wish.failures[0]
        text = f"the HPA was unable to compute the replica count: {first}"
        self._set(status, "ScalingActive", "False", first.reason, text)
        for failure in wish.failures:
            self.recorder.event(one, "Warning", failure.reason, str(failure))
        count, total = len(wish.failures), len(one["spec"].get("metrics") or ())
        head = f"invalid metrics ({count} invalid out of {total}), first error is: "
        self.recorder.event(one, "Warning", "FailedComputeMetricsReplicas", head + first.long)

    async def _wish(self, one: Object, scale: Object, current: int) -> Wish:
        wish = Wish()
        selector = str((scale.get("status") or {}).get("selector") or "")
        for metric in one["spec"].get("metrics") or ():
            try:
                proposal, name, told = await self._propose(one, metric, selector, current)
            except NoMetric as failure:
                wish.failures.append(failure)
                wish.statuses.append({"type": ""})
                continue
            wish.statuses.append(told)
            if proposal.replicas > wish.replicas:
                wish.replicas, wish.reason = proposal.replicas, name
        return wish

    async def _propose(
        self, one: Object, metric: Object, selector: str, current: int
    ) -> tuple[Proposal, str, Object]:
        """What one metric asks for, its name, and its status.  Raises NoMetric."""
        kind = metric["type"]
        if kind not in ("Resource", "ContainerResource"):
            text = f"metrics of type {kind} are not supported: no adapter for them is consulted"
            raise NoMetric(_FAILED.get(kind, "InvalidMetricSourceType"), text)
        source = metric["resource" if kind == "Resource" else "containerResource"]
        resource, container = source["name"], source.get("container", "")
        target = source["target"]
        percent, value = target.get("averageUtilization"), target.get("averageValue")
        try:
            if not selector:
                raise NoMetric("InvalidSelector", "selector is required")
            namespace = one["metadata"]["namespace"]
            listed = await self._measure(namespace, selector, resource)
            mine = self._pods(namespace, selector)
            proposal = autoscaling.propose(
                mine, autoscaling.samples(listed, resource, container), resource=resource,
                current=current, now=self.clock.now(), percent=percent,
                average=quantities.parse(str(value)).milli() if value is not None else None,
                requested=autoscaling.requests(mine, resource, container) if percent is not None else None,
            )  # fmt: skip
        except NoMetric as failure:
            about = f"{resource} utilization" if percent is not None else f"{resource} usage"
            reason = failure.reason if kind == "Resource" else "FailedGetContainerResourceMetric"
            text = f"failed to get {about}: {failure}"
            value_of = f"{resource} {'container ' if container else ''}resource metric value"
            raise NoMetric(reason, text, f"failed to get {value_of}: {text}") from failure
        name = f"{resource} {'container ' if container else ''}resource"
        name += " utilization (percentage of request)" if percent is not None else ""
        return proposal, name, _told(metric, proposal)

    def _pods(self, namespace: str, selector: str) -> list[Object]:
        chosen = parse_labels(selector)
        here = self.pods.by_index("namespace", namespace)
        return [pod for pod in here if chosen.matches(pod["metadata"].get("labels"))]

    async def _measure(self, namespace: str, selector: str, resource: str) -> Sequence[Object]:
        """PodMetrics of metrics.k8s.io.  Raises NoMetric."""
        target = (
            f"/apis/{METRICS}/v1beta1/namespaces/{namespace}/pods?labelSelector={quote(selector)}"
        )
        try:
            async with self.client.raw("GET", target) as response:
                if response.status == 404:
                    raise errors.NotFound(
                        f"the server could not find the requested resource (get pods.{METRICS})"
                    )
                await raise_for_status(response)
                items: list[Object] = msgspec.json.decode(await response.read()).get("items") or []
        except (errors.ApiError, Unreachable) as error:
            text = f"unable to fetch metrics from resource metrics API: {error}"
            raise NoMetric("FailedGetResourceMetric", _about(resource, text)) from error
        if not items:
            text = "no metrics returned from resource metrics API"
            raise NoMetric("FailedGetResourceMetric", _about(resource, text))
        return items

    async def _rescale(
        self, one: Object, target: Named, scale: Object, desired: int, reason: str, status: Object
    ) -> None:
        before = int((scale.get("spec") or {}).get("replicas", 0))
        try:
            await self.client.update(
                target.name, scale | {"spec": {"replicas": desired}}, subresource="scale"
            )
        except errors.ApiError as error:
            text = f"New size: {desired}; reason: {reason}; error: {error}"
            self.recorder.event(one, "Warning", "FailedRescale", text)
            text = f"the HPA controller was unable to update the target scale: {error}"
            self._set(status, "AbleToScale", "False", "FailedUpdateScale", text)
            return
        text = f"the HPA controller was able to update the target scale to {desired}"
        self._set(status, "AbleToScale", "True", "SucceededRescale", text)
        text = f"New size: {desired}; reason: {reason}"
        self.recorder.event(one, "Normal", "SuccessfulRescale", text)
        now = self.clock.now()
        history = self._histories[one["metadata"]["uid"]]
        (history.grown if desired > before else history.shrunk).append((now, abs(desired - before)))
        status |= {"desiredReplicas": desired, "lastScaleTime": times.text(now)}

    def _set(self, status: Object, type: str, word: str, reason: str, message: str) -> None:
        condition = {"type": type, "status": word, "reason": reason, "message": message}
        now = times.text(self.clock.now())
        status["conditions"] = conditions.with_condition(status["conditions"], condition, now)


def _about(resource: str, why: str) -> str:
    return f"unable to get metrics for resource {resource}: {why}"


def _told(metric: Object, proposal: Proposal) -> Object:
    """The metric's part of the status."""
    key = "resource" if metric["type"] == "Resource" else "containerResource"
    current: Object = {"averageValue": _milli_text(proposal.usage.average)}
    if proposal.usage.percent is not None:
        current["averageUtilization"] = proposal.usage.percent
    same = {k: v for k, v in metric[key].items() if k != "target"}
    return {"type": metric["type"], key: same | {"current": current}}


def _milli_text(amount: int) -> str:
    return quantities.canonical(f"{amount}m")
