"""The queues of a priority level in a world whose time the test lets pass."""

import math
from collections import Counter

import pytest

from todoku.apiserver.flowcontrol.queueset import Counts, QueueSet, Queuing, deal


class World:
    """A level, its clock, and the requests that run."""

    def __init__(self, limit, *, queues=0, hand_size=1, length_limit=100):
        self.now = 0.0
        self.level = QueueSet(Queuing(queues, hand_size, length_limit), limit, self.now)
        self.counts = {}
        self.names = {}

    def arrives(self, name, *queues, width=1):
        """A request of flow `name`, which may use these queues."""
        hand = [self.level.queues[index] for index in queues]
        ticket = self.level.start(hand, width, self.counts.setdefault(name, Counts()), self.now)
        if ticket is not None:
            self.names[ticket] = name
        return ticket

    def after(self, seconds):
        self.now += seconds

    def finish(self, *tickets):
        for ticket in tickets:
            self.level.finish(ticket, self.now)

    def running(self):
        return Counter(name for ticket, name in self.names.items() if ticket.executing)


REJECTING = {
    "a free seat": (3, [1], [True]),
    "the last seat": (1, [1], [True]),
    "no seat": (1, [1, 1], [True, False]),
    "not enough seats": (3, [2, 2], [True, False]),
    "wider than the level, alone": (2, [5], [True]),
    "wider than the level, not alone": (2, [1, 5], [True, False]),
    "exempt": (math.inf, [100, 100], [True, True]),
    "no seats at all": (0, [0], [True]),
}


@pytest.mark.parametrize(("limit", "widths", "runs"), REJECTING.values(), ids=REJECTING)
def test_without_queues_a_request_runs_or_is_turned_away(limit, widths, runs):
    world = World(limit)
    tickets = [world.arrives("a", width=width) for width in widths]
    assert [ticket is not None and ticket.executing for ticket in tickets] == runs
    assert world.level.rejected == runs.count(False)
    assert world.counts["a"].rejected == (
        {"concurrency-limit": runs.count(False)} if not all(runs) else {}
    )


def test_a_request_waits_for_a_seat_and_is_woken():
    world, woken = World(1, queues=1), []
    first, second = world.arrives("a", 0), world.arrives("b", 0)
    second.wake = lambda: woken.append("b")
    assert (first.executing, second.executing, woken) == (True, False, [])
    world.finish(first)
    assert (second.executing, woken) == (True, ["b"])
    world.finish(second)
    assert world.level.idle
    assert (world.counts["b"].dispatched, world.counts["b"].waiting, world.counts["b"].seats) == (
        1,
        0,
        0,
    )


def test_a_full_queue_turns_away():
    world = World(1, queues=1, length_limit=2)
    assert all(world.arrives("a", 0) for _ in range(3))
    assert world.arrives("a", 0) is None
    assert world.counts["a"].rejected == {"queue-full": 1}


def test_who_gives_up_leaves_no_trace_and_lets_the_next_pass():
    world = World(2, queues=1)
    first = world.arrives("a", 0)
    wide, narrow = world.arrives("b", 0, width=2), world.arrives("c", 0)
    assert not narrow.executing  # a queue keeps its order
    world.level.leave(wide, world.now, "time-out")
    assert narrow.executing
    assert (world.level.timed_out, world.counts["b"].rejected) == (1, {"time-out": 1})
    world.finish(first, narrow)
    assert (world.level.idle, world.level.seats, world.level.waiting_seats) == (True, 0, 0)


def served(world, arrivals, rounds, seconds=0.01):
    """How many requests of each flow finish when each flow keeps its queue as full as it may."""
    done = Counter()
    for _ in range(rounds):
        for name, queue, backlog in arrivals:
            while world.counts.setdefault(name, Counts()).waiting < backlog:
                assert world.arrives(name, queue) is not None
        world.after(seconds)
        running = [ticket for ticket in world.names if ticket.executing]
        for ticket in running:
            done[world.names[ticket]] += 1
        world.finish(*running)
    return done


def test_an_elephant_does_not_starve_a_mouse():
    """One flow always has fifty waiting, the other one: both get the same."""
    done = served(World(4, queues=2), [("elephant", 0, 50), ("mouse", 1, 4)], rounds=100)
    assert done["mouse"] == pytest.approx(done["elephant"], rel=0.05)


def test_what_a_light_flow_does_not_use_goes_to_the_heavy_one():
    done = served(World(4, queues=2), [("elephant", 0, 50), ("mouse", 1, 1)], rounds=100)
    assert done["mouse"] >= 95  # each of its requests at once
    assert done["elephant"] + done["mouse"] >= 395  # and no seat stays empty


def test_wide_requests_pay_for_their_width():
    """Two flows with requests of width 1 and 3 get the same seats, not the same number of requests."""
    world, done = World(6, queues=2), Counter()
    for _ in range(200):
        for name, queue, width in (("narrow", 0, 1), ("wide", 1, 3)):
            while world.counts.setdefault(name, Counts()).waiting < 12:
                world.arrives(name, queue, width=width)
        world.after(0.01)
        running = [ticket for ticket in world.names if ticket.executing]
        for ticket in running:
            done[world.names[ticket]] += ticket.width
        world.finish(*running)
    assert done["wide"] == pytest.approx(done["narrow"], rel=0.1)


def test_an_idle_queue_saves_no_share_for_later():
    """After a long time alone, a flow does not have to stand back for one that was away."""
    world = World(2, queues=2)
    served(world, [("steady", 0, 10)], rounds=100)
    done = served(world, [("steady", 0, 10), ("returning", 1, 10)], rounds=50)
    assert done["steady"] == pytest.approx(done["returning"], rel=0.15)


def test_a_flow_uses_the_emptiest_queue_of_its_hand():
    world = World(1, queues=3, hand_size=2)
    world.arrives("a", 0)
    for _ in range(4):
        world.arrives("a", 0)
    assert world.arrives("b", 0, 2).queue.index == 2


def test_more_seats_start_who_waits_and_fewer_queues_run_empty():
    world = World(1, queues=4)
    tickets = [world.arrives("a", index) for index in range(4)]
    assert world.running()["a"] == 1
    world.level.configure(Queuing(1, 1, 50), 3, world.now)
    assert (world.running()["a"], len(world.level.queues)) == (3, 1)
    world.finish(*[one for one in tickets if one.executing])
    assert world.running()["a"] == 1
    world.finish(*[one for one in tickets if one.executing])
    assert world.level.idle


def test_demand_is_what_was_used_and_waited_for():
    world = World(1, queues=1)
    first, second = world.arrives("a", 0), world.arrives("a", 0)
    world.after(1)
    world.finish(first)
    world.after(1)
    world.finish(second)
    world.after(2)
    demand = world.level.demand(world.now)
    assert (demand.average, demand.highest) == (0.75, 2)
    assert demand.deviation == pytest.approx(math.sqrt((4 + 1) / 4 - 0.75**2))
    world.after(1)
    assert world.level.demand(world.now).highest == 0


@pytest.mark.parametrize("flow", [0, 1, 12345, 2**127 - 1])
def test_a_hand_has_different_queues_and_is_the_same_again(flow):
    hand = deal(flow, 64, 6)
    assert len(set(hand)) == 6
    assert all(0 <= card < 64 for card in hand)
    assert hand == deal(flow, 64, 6)


def test_hands_seldom_cover_each_other():
    heavy = set(deal(987654321 * 10**20, 128, 6))
    others = [deal(number * 7919**5, 128, 6) for number in range(1, 2000)]
    assert sum(set(hand) <= heavy for hand in others) == 0
    assert all(any(card in hand for hand in others) for card in range(128))
