"""Which pods make room for a more important one."""

from __future__ import annotations

from tests.scheduler.builders import lab, node, pod, world
from todoku.scheduler.cycle import Unfit, schedule
from todoku.scheduler.framework import Pod, World
from todoku.scheduler.preemption import Preemption, plan

CPU4 = {"cpu": "4"}


def decide(
    one: Pod, here: World, budgets: list[dict[str, object]] | None = None
) -> Preemption | str:
    unfit = schedule(one, here)
    assert isinstance(unfit, Unfit)
    return plan(one, here, unfit, budgets or [])


def names(found: Preemption | str) -> list[str]:
    assert isinstance(found, Preemption), found
    return [one.name for one in found.victims]


def test_only_as_many_go_as_must_and_the_least_important_first():
    low, mid = (
        pod("low", requests={"cpu": "2"}, priority=1),
        pod("mid", requests={"cpu": "2"}, priority=5),
    )
    found = decide(pod(requests={"cpu": "2"}, priority=10), world(node("w1", low, mid)))
    assert names(found) == ["low"]


def test_equals_are_never_preempted():
    found = decide(
        pod(requests=CPU4, priority=5), world(node("w1", pod(requests=CPU4, priority=5)))
    )
    assert found == "0/1 nodes are available: 1 No preemption victims found for incoming pod."


def test_the_node_whose_victims_matter_least_is_chosen():
    here = world(
        node("w1", pod(requests=CPU4, priority=5)), node("w2", pod(requests=CPU4, priority=1))
    )
    found = decide(pod(requests=CPU4, priority=10), here)
    assert isinstance(found, Preemption) and found.node == "w2"


def test_a_disruption_budget_is_kept_if_another_node_will_do():
    guarded = pod("guarded", requests=CPU4, labels={"app": "db"}, priority=1)
    free = pod("free", requests=CPU4, priority=2)
    budget = {
        "metadata": {"namespace": "default", "name": "b"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}},
        "status": {"disruptionsAllowed": 0},
    }
    here = world(node("w1", guarded), node("w2", free))
    assert names(decide(pod(requests=CPU4, priority=10), here, [budget])) == ["free"]
    assert names(decide(pod(requests=CPU4, priority=10), here)) == ["guarded"]


def test_where_preemption_cannot_help_is_said():
    here = lab(on1=[pod(requests=CPU4, priority=9)], on2=[pod(requests=CPU4, priority=9)])
    assert decide(pod(requests={"cpu": "2"}, priority=5), here) == (
        "0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )


def test_a_request_no_node_could_ever_meet_preempts_nobody():
    found = decide(pod(requests={"cpu": "100"}, priority=5), world(node("w1", pod(requests=CPU4))))
    assert found == "0/1 nodes are available: 1 Preemption is not helpful for scheduling."


def test_a_pod_may_decline_to_preempt():
    found = decide(
        pod(requests=CPU4, priority=5, preemptionPolicy="Never"),
        world(node("w1", pod(requests=CPU4))),
    )
    assert found == "not eligible due to preemptionPolicy=Never."


def test_anti_affinity_is_resolved_by_removing_its_cause():
    term = {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}
    away = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    other = pod("other", labels={"app": "a"})
    found = decide(pod(priority=5, affinity=away), world(node("w1", other, pod("innocent"))))
    assert names(found) == ["other"]
