"""How seats are shared: by shares, and by lending."""

import pytest

from todoku.apiserver.flowcontrol import seats
from todoku.apiserver.flowcontrol.queueset import Demand
from todoku.apiserver.flowcontrol.seats import Claim, Limits, Shares, Wanted

# The seats of kube-apiserver's own levels when it serves 600 requests: nominal, lowest.
DEFAULTS = {
    "catch-all": (Shares(5), 13, 13),
    "exempt": (Shares(0), 0, 0),
    "global-default": (Shares(20, 50), 49, 24),
    "leader-election": (Shares(10), 25, 25),
    "node-high": (Shares(40, 25), 98, 73),
    "system": (Shares(30, 33), 74, 50),
    "workload-high": (Shares(40, 50), 98, 49),
    "workload-low": (Shares(100, 90), 245, 24),
}


def test_the_default_levels_get_what_kube_apiserver_gives_them():
    found = seats.limits([shares for shares, *_ in DEFAULTS.values()], 600)
    assert [(one.nominal, one.lowest) for one in found] == [
        (nominal, lowest) for _, nominal, lowest in DEFAULTS.values()
    ]
    assert found[0].highest == 613  # no borrowing limit


def test_borrowing_may_be_limited():
    first, second = seats.limits([Shares(1, 0, 50), Shares(1, 0, 0)], 100)
    assert (first.highest, second.highest) == (75, 50)


def test_no_shares_are_no_seats():
    assert seats.limits([Shares(0)], 600) == [Limits(0, 0, 600)]


WIDEST = {
    "a big level": (245, 6, 37),
    "a small level": (13, 6, 2),
    "a tiny one": (3, 6, 1),
    "many queues per flow": (98, 20, 4),
}


@pytest.mark.parametrize(("nominal", "hand", "widest"), WIDEST.values(), ids=WIDEST)
def test_a_request_is_no_wider_than_its_level_bears(nominal, hand, widest):
    assert seats.widest(nominal, hand) == widest


DIVISIONS = {
    "by target": (30, [(0, 30, 10), (0, 30, 20)], [10, 20]),
    "a lower bound": (30, [(15, 30, 15), (0, 30, 30)], [15, 15]),
    "an upper bound": (30, [(0, 5, 10), (0, 30, 10)], [5, 25]),
    "all at their lowest": (30, [(10, 30, 10), (20, 30, 20)], [10, 20]),
    "all at their highest": (30, [(0, 10, 1), (0, 20, 1)], [10, 20]),
    "nobody wants any": (30, [(0, 30, 0), (0, 30, 0)], [15, 15]),
    "too few": (30, [(20, 30, 20), (20, 30, 20)], None),
    "too many": (30, [(0, 10, 20), (0, 10, 20)], None),
    "none": (0, [], None),
}


@pytest.mark.parametrize(("total", "claims", "parts"), DIVISIONS.values(), ids=DIVISIONS)
def test_seats_are_divided(total, claims, parts):
    found = seats.divide(total, [Claim(*one) for one in claims])
    assert (found and found[0]) == (pytest.approx(parts) if parts else None)


def test_a_busy_level_borrows_from_idle_ones_but_not_below_what_they_keep():
    found = seats.limits([shares for shares, *_ in DEFAULTS.values()], 600)
    wanted = [Wanted() for _ in found]
    busy = [*DEFAULTS].index("workload-low")
    wanted[busy] = Wanted().after(Demand(1000, 0, 1000))
    claims = [seats.claim(one, want) for one, want in zip(found, wanted, strict=True)]
    total = sum(one.nominal for one in found)
    parts = seats.divide(total, claims)[0]
    assert sum(parts) == pytest.approx(total)
    for index, (limits, part) in enumerate(zip(found, parts, strict=True)):
        if index == busy:
            assert part > limits.nominal
        else:
            assert part == pytest.approx(limits.lowest, abs=0.01)


def test_a_level_that_comes_to_life_gets_its_own_seats_back():
    limits = Limits(nominal=40, lowest=10, highest=600)
    assert seats.claim(limits, Wanted().after(Demand(1, 0, 55))).lowest == 40


def test_what_is_wanted_rises_at_once_and_falls_slowly():
    wanted = Wanted().after(Demand(90, 10, 120))
    assert wanted.smoothed == 100
    for _ in range(30):  # five minutes
        wanted = wanted.after(Demand(0, 0, 0))
    assert 45 < wanted.smoothed < 55
