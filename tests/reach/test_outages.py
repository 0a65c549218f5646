"""An outage runs from the last success to the next one, and names what came just before it ended."""

from todoku.reach.outages import Tracker, longest
from todoku.reach.outcome import Outcome


def test_an_outage_is_measured_from_success_to_success():
    tracker: Tracker[str] = Tracker()
    assert tracker.feed("lb", 1.0, Outcome.OK) is None
    assert tracker.feed("lb", 1.5, Outcome.TIMEOUT) is None
    tracker.mark(1.7, "announcer is now worker2")
    assert tracker.failing() == [("lb", 1.0)]
    outage = tracker.feed("lb", 1.9, Outcome.OK)
    assert outage is not None
    assert round(outage.milliseconds) == 900
    assert (outage.failures, outage.outcome) == (1, Outcome.TIMEOUT)
    assert outage.waited_for == "announcer is now worker2"


def test_a_closed_cell_is_not_an_outage():
    tracker: Tracker[str] = Tracker()
    for moment in range(3):
        assert tracker.feed("clusterip", float(moment), Outcome.TIMEOUT) is None
    assert tracker.feed("clusterip", 9.0, Outcome.OK) is None
    assert tracker.failing() == []


def test_a_mark_before_the_outage_explains_nothing():
    tracker: Tracker[str] = Tracker()
    tracker.mark(0.5, "too early")
    tracker.feed("a", 1.0, Outcome.OK)
    tracker.feed("a", 2.0, Outcome.REFUSED)
    outage = tracker.feed("a", 3.0, Outcome.OK)
    assert outage is not None
    assert outage.waited_for == ""


def test_the_longest_outage_of_each_cell_is_reported():
    tracker: Tracker[str] = Tracker()
    outages = []
    for moment, word in [(0, "ok"), (1, "timeout"), (2, "ok"), (3, "timeout"), (9, "ok")]:
        ended = tracker.feed("a", float(moment), Outcome(word))
        outages += [ended] if ended else []
    assert longest(outages)["a"].milliseconds == 7000
