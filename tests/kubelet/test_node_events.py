"""Which Events tell of a node's changes."""

import pytest

from todoku.kubelet.node import conditions, facts, news

WELL = facts(conditions(""), {})
FIRST = ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]
CHANGES = {
    "registered": ({}, WELL, [*FIRST, "NodeReady"]),
    "registered while its network is missing": ({}, facts(conditions("x"), {}), [*FIRST, "NodeNotReady"]),
    "nothing new": (WELL, WELL, []),
    "cordoned": (WELL, facts(conditions(""), {"unschedulable": True}), ["NodeNotSchedulable"]),
    "uncordoned": (facts(conditions(""), {"unschedulable": True}), WELL, ["NodeSchedulable"]),
    "shutting down": (WELL, facts(conditions("node is shutting down"), {}), ["NodeNotReady"]),
}  # fmt: skip


@pytest.mark.parametrize(("before", "now", "expected"), CHANGES.values(), ids=CHANGES)
def test_news_of_a_node(before, now, expected):
    assert news(before, now) == expected
